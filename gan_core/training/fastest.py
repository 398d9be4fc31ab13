"""Measures whether a structure's steps are faster on this machine compiled to C or replayed as torch's calls.

C has no overhead between two calls; torch's libraries multiply large matrices faster than what some compilers make of
our kernels. Which matters more depends on the processor, the compiler and the structure, so it is measured when a
structure is first trained on a machine. The decision is kept in the cache folder, because the two ways differ in their
last bits and a configuration must be bitwise reproducible. It is measured with lanes that are made for this, since a
lane's bits must not depend on the other lanes of its array.
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
from gan_core.config.gan import GanConfig
from gan_core.config.structure import StructureConfig
from gan_core.data.dataset import Dataset
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

# Steps are compiled unless that takes longer by more than this factor. Nearer to a tie noise would decide, and two
# equal machines would get different bits.
SLOWER = 1.1
AHEAD = 2.0  # where one way is so many times as fast, measuring ends
TURNS, TURN_SECONDS, LONGEST_SECONDS = 5, 0.002, 1.0  # timed turns of each way; the least duration of one; that of all
MEASURED_SAMPLES = 1_000  # of the data set that is made to measure
CALLED_BYTES = 2**24  # of weights, gradients and moments in a replayed call, beyond which they leave the caches

Seconds = Mapping[Execution, float]  # for a step of one lane
Advance = Callable[[int], object]  # trains an array by so many steps


@dataclass(frozen=True)
class Work:
    """Everything but the machine that decides which way is faster: a structure, the shape of samples and their number
    of classes, the precision of products and the number type.
    """

    structure: StructureConfig
    sample_shape: tuple[int, ...]
    classes: int
    precision: Precision
    dtype: torch.dtype


Make = Callable[[Work, Execution, int], tuple[ProgramMaker, Advance]]  # makes an array of so many lanes


def fastest_execution(work: Work, make: Make) -> Execution:
    """`compiled` or `replayed`, whichever is faster on this machine's CPU, as it was measured the first time. Measuring
    takes the time of compiling and tracing, and LONGEST_SECONDS, or one turn of each way where that is longer.

    Returns `compiled`, which is not kept, where no compiler works or memory does not suffice to measure: steps that
    cannot be compiled are then replayed, with a warning.
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
    ):  # so much slower that another compiler may be worth trying
        tell(f"what {compiler()} makes of some structures is far slower than torch's calls; their steps are replayed")
    return faster(seconds)


def measured_lanes(work: Work, lanes: int) -> tuple[list[GanConfig], Dataset]:
    """The lanes that are made to measure: of the structure's default settings, on uniform noise."""
    generator = torch.Generator().manual_seed(0)
    samples = torch.rand(MEASURED_SAMPLES, *work.sample_shape, generator=generator).mul_(2).sub_(1)
    labels = torch.arange(MEASURED_SAMPLES) % work.classes if work.classes else None
    dataset = Dataset(work.structure.dataset, samples, labels, samples, labels, work.classes, "")
    return [GanConfig(structure=work.structure, seed=seed) for seed in range(lanes)], dataset


def faster(seconds: Seconds) -> Execution:
    """The way that is chosen, given how long a step takes in each."""
    return "replayed" if seconds["compiled"] > SLOWER * seconds["replayed"] else "compiled"


def measure(work: Work, make: Make) -> Seconds | None:
    """Seconds for a step of one lane in each way, in arrays that are made for it: compiled with one lane, because C
    computes lanes one by one, and replayed with as many as suit a call. Infinite for a structure that cannot be
    compiled. None where the arrays do not fit the memory, or the compiler fails.
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
    """Seconds for a step of a lane in each way, the least over several turns that the ways take alternately. ways: what
    trains an array, and its number of lanes. The first turns are short. They suffice if C is far ahead in them, because
    short turns are a disadvantage for it: its calls take many steps.
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
    """How many lanes a replayed call is measured with: about what `Pace` chooses."""
    networks = build_networks(work.structure, work.sample_shape, work.classes)
    numbers = networks.generator.parameter_count() + networks.discriminator.parameter_count()
    lanes = 1
    while 2 * lanes <= largest_call(work.structure) and 2 * lanes * 4 * numbers * work.dtype.itemsize <= CALLED_BYTES:
        lanes *= 2
    return lanes


def _machine() -> dict[str, str]:
    """All properties of this machine that decide how fast the ways are. Raises NoCompiler."""
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
    """What was measured before; None where there is no such file, or not one of ours."""
    try:
        found = json.loads(path.read_text())["seconds"]
        return {"compiled": float(found["compiled"]), "replayed": float(found["replayed"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None
