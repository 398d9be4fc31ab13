"""Which way a structure's steps are carried out fastest on this machine: compiled to C, or replayed as torch's calls.

C leaves nothing between two calls; torch's libraries multiply large matrices better than what some compilers make of
ours. Which weighs more depends on the processor, the compiler and the structure, so it is measured when a structure is
first trained on a machine, and kept in the cache folder: the two ways differ in their last bits, and a configuration is
to have the same bits the next time. The lanes at hand take no part in it, for a lane's bits must not depend on company.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from gan_core.config.conditions import Execution, Precision
from gan_core.config.gan import StructureConfig
from gan_core.execution.pace import is_out_of_memory, largest_call
from gan_core.execution.programs import ProgramMaker
from gan_core.files.cache import alone, keep, writable_cache_folder
from gan_core.lanes.axis import lane_arithmetic
from gan_core.native.arithmetic import code_here, processor_name
from gan_core.native.compiler import compiler
from gan_core.native.isa import this_isa
from gan_core.native.toolchain import NoCompiler, tell
from gan_core.networks.architectures import build_networks
from gan_core.training.draws import BLOCK_STEPS

# C is kept unless it takes longer by more than this: nearer to a tie noise would decide, and two machines of one kind
# would come to other bits.
SLOWER = 1.1
AHEAD = 2.0  # where one way is so many times as fast, nothing more is measured
TURNS, TURN_SECONDS, LONGEST_SECONDS = 5, 0.002, 1.0  # timed turns of each way, the least that one takes, all of them
CALLED_BYTES = 2**24  # of weights, gradients and moments in a replayed call: of more, little is left in the caches

Seconds = Mapping[Execution, float]  # of a step of one lane
Advance = Callable[[int], object]  # trains an array by so many steps


@dataclass(frozen=True)
class Work:
    """All that decides which way is faster on a machine: a structure, on samples of this shape and so many classes, in
    a precision and a number type.
    """

    structure: StructureConfig
    sample_shape: tuple[int, ...]
    classes: int
    precision: Precision
    dtype: torch.dtype


Make = Callable[[Work, Execution, int], tuple[ProgramMaker, Advance]]  # an array of so many lanes, in one way


def fastest_execution(work: Work, make: Make) -> Execution:
    """`compiled` or `replayed`: what is faster on this machine's CPU, as it was found the first time. That takes what
    compiling and tracing takes, and beside it LONGEST_SECONDS, or a turn of each way where that is longer.

    Where no compiler works, or there is no memory to measure in, `compiled`, which is not kept: a step that cannot be
    compiled says so, and is replayed.
    """
    try:
        machine = _machine()
    except NoCompiler:
        return "compiled"
    decided = {**machine, **_plain(work)}
    key = hashlib.sha256(json.dumps(decided).encode()).hexdigest()[:32]
    path = writable_cache_folder() / f"execution-{key}.json"
    with alone(path):
        seconds = _read(path)
        if seconds is None:
            seconds = measure(work, make)
            if seconds is None:
                return "compiled"
            text = json.dumps({"seconds": dict(seconds), **decided}, indent=1)
            keep(path, lambda partial: partial.write_text(text))
    if (
        AHEAD * seconds["replayed"] < seconds["compiled"] < math.inf
    ):  # by so much that another compiler may be worth a try
        tell(f"what {compiler()} makes of some structures is far slower than torch's calls; their steps are replayed")
    return faster(seconds)


def faster(seconds: Seconds) -> Execution:
    """The way that is taken where a step takes so long in each."""
    return "replayed" if seconds["compiled"] > SLOWER * seconds["replayed"] else "compiled"


def measure(work: Work, make: Make) -> Seconds | None:
    """What a step of one lane takes in each way, in arrays that are made for it: compiled of one lane, for lanes share
    nothing there, and replayed of as many as suit a call. What is not known in C takes for ever there. None where the
    arrays do not fit the memory, or the compiler fails.
    """
    lanes: dict[Execution, int] = {"compiled": 1, "replayed": called_lanes(work)}
    try:
        with lane_arithmetic():
            ways: dict[Execution, tuple[Advance, int]] = {}
            for way, count in lanes.items():
                programs, advance = make(work, way, count)
                ways[way] = advance, count
                advance(1)  # which traces, and compiles
                if programs.lost_compiler:
                    return None
                if programs.execution != way:
                    return {"compiled": math.inf, "replayed": 0.0}
            return race(ways, time.thread_time)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def race(ways: Mapping[Execution, tuple[Advance, int]], clock: Callable[[], float]) -> dict[Execution, float]:
    """Seconds a step of a lane in each way, the least of turns that they take one after the other. ways: what makes
    steps, of so many lanes. Turns begin short, and end where C is far ahead even so, to which short ones are less kind:
    its calls are of many steps.
    """
    best, steps, turns, begun = dict.fromkeys(ways, math.inf), 1, 0, clock()
    while turns < TURNS and clock() - begun < LONGEST_SECONDS:
        took = {}
        for way, (advance, lanes) in ways.items():
            started = clock()
            advance(steps)
            took[way] = clock() - started
            best[way] = min(best[way], took[way] / steps / lanes)
        long_enough = min(took.values()) >= TURN_SECONDS or steps >= BLOCK_STEPS
        if AHEAD * best["compiled"] <= best["replayed"] or (
            long_enough and AHEAD * best["replayed"] <= best["compiled"]
        ):
            break
        turns, steps = (turns + 1, steps) if long_enough else (turns, 2 * steps)
    return best


def called_lanes(work: Work) -> int:
    """How many lanes a replayed call is measured with: what `Pace` mostly comes to."""
    networks = build_networks(work.structure, work.sample_shape, work.classes)
    numbers = networks.generator.parameter_count() + networks.discriminator.parameter_count()
    lanes = 1
    while 2 * lanes <= largest_call(work.structure) and 2 * lanes * 4 * numbers * work.dtype.itemsize <= CALLED_BYTES:
        lanes *= 2
    return lanes


def _machine() -> dict[str, str]:
    """All of this machine that decides how fast either way is. Raises NoCompiler."""
    found, isa = compiler(), this_isa()
    return {
        "processor": processor_name(),
        "isa": isa.name if isa else "",
        "compiler": f"{found}\n{found.version}",
        "torch": f"{torch.__version__} {torch.backends.cpu.get_cpu_capability()}",
        "code": code_here(),
    }


def _plain(work: Work) -> dict[str, Any]:
    return {**asdict(work), "sample_shape": list(work.sample_shape), "dtype": str(work.dtype)}


def _read(path: Path) -> Seconds | None:
    """What was measured before; None where there is nothing, or something else."""
    try:
        found = json.loads(path.read_text())["seconds"]
        return {"compiled": float(found["compiled"]), "replayed": float(found["replayed"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None
