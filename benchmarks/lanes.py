"""Lane-steps a second of a whole machine: one configuration a process against many in an array.

    python -m benchmarks.lanes [--data-root DIR] [--models NAME,...] [--seconds S] [--repeats R] [--device cpu|cuda]
                               [--precision float32|bfloat16] [--isa NAME] [--execution auto|compiled|replayed|eager]
                               [--processes N] [--json FILE]

A lane-step is one update of D and one of G of one configuration (k = 1). On the CPU one process a core, one thread
each, all busy at once: *stock* trains `benchmarks.stock`, *strong* our array with one lane, *ours* our array with as
many lanes as a short trial found best; a family whose lanes are called one by one has the same array for both, which is
measured once. In own_mlp256 and own_dcgan16 our arrays train plain classes as a person brings them
(`benchmarks.own_modules`). On a GPU one process at a time: stock, as it is and as a replayed CUDA graph, strong and
ours; and 16 processes of stock that share the card. Rates are of wall-clock windows that begin together, medians of
repeats in which the contestants take turns. The peak is a matmul's in float32, measured in the same turns;
FLOPs are those of the products of the stock step. In bfloat16 stock trains within torch.autocast. --isa: what our
kernels are made for, and what torch is held to for all contestants and the peak (`benchmarks.machine`). --execution:
of ours; with `PATH= python -m benchmarks.lanes` no compiler is found, as on a machine that has none.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import time
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Barrier
from typing import Any

import torch

from benchmarks.contestants import (
    MODELS,
    PEAK_SIDE,
    WARM_SECONDS,
    Model,
    Racer,
    Setting,
    config_of,
    contestant,
    dataset_of,
    peak_racer,
    rate,
)
from benchmarks.machine import add_isa_option, cores, machine, set_isa
from gan_core.config.conditions import EXECUTIONS
from gan_core.config.input_error import InputError, nearest
from gan_core.lanes.axis import lane_arithmetic
from gan_core.lanes.precision import check_processor

PEAK_SECONDS = 0.2
CARD_PROCESSES = 16  # of stock, that share a GPU, where --processes does not say
LATE_SECONDS = 900  # a process waits so long for the others before it gives up


@dataclass(frozen=True)
class Plan:
    """What is measured: models by name, with seconds a window, repeats, what contestants have in common and the number
    of processes. file: where figures are also written, as JSON, after every model.
    """

    models: tuple[str, ...]
    seconds: float
    repeats: int
    setting: Setting
    processes: int
    data_root: Path | None
    file: Path | None = None

    @property
    def contestants(self) -> dict[str, int]:
        """Name -> how many of the processes train it at once."""
        if self.setting.device == "cpu":
            return dict.fromkeys(("stock", "strong", "ours"), self.processes)
        return {"stock": 1, f"{self.processes} processes": self.processes, "graph": 1, "strong": 1, "ours": 1}

    def turns(self, model: Model) -> dict[str, int]:
        """Who is measured one after the other. On the CPU ours is strong where it has one lane."""
        on_card = self.setting.device == "cuda"
        turns = {"peak": 1 if on_card else self.processes, **self.contestants}
        return turns if on_card or model.lanes[0] > 1 else {name: turns[name] for name in turns if name != "ours"}


def work(plan: Plan, rank: int, barrier: Barrier, answers: Connection) -> None:
    """One process: of every model it builds its contestants and races them with the other processes; to the parent goes
    first what torch computes in, then what it measured as (contestant, rate, note), and after each model ("flops",
    FLOPs of a lane-step, "").
    """
    answers.send(torch.backends.cpu.get_cpu_capability())
    with lane_arithmetic():
        try:
            peak = peak_racer(plan.setting.device) if rank == 0 or plan.setting.device == "cpu" else None
            for name in plan.models:
                race(name, peak, plan, rank, barrier, answers)
        except BaseException:
            barrier.abort()  # the others must not wait for this one
            raise


def race(name: str, peak: Racer | None, plan: Plan, rank: int, barrier: Barrier, answers: Connection) -> None:
    """One model's part of `work`: contestants are built, then take turns."""
    model, device = Model.load(name, plan.data_root), plan.setting.device
    racers, turns = {"peak": peak} if peak else {}, plan.turns(model)
    for name, processes in turns.items():
        barrier.wait(LATE_SECONDS)  # all try at once: a trial alone would choose for a quieter machine
        if rank < processes and name != "peak":
            racers[name] = contestant(name, model, plan.setting, rank)
    for _ in range(plan.repeats):
        for name, processes in turns.items():
            racer = racers.get(name) if rank < processes else None
            if racer is not None:
                rate(racer, min(WARM_SECONDS, plan.seconds), device)
            barrier.wait(LATE_SECONDS)
            if racer is not None:
                seconds = min(PEAK_SECONDS, plan.seconds) if name == "peak" else plan.seconds
                measured = rate(racer, seconds, device)
                for each in (name, "ours") if name == "strong" and "ours" not in turns else (name,):
                    answers.send((each, measured, racer.note))
            barrier.wait(LATE_SECONDS)
    answers.send(("flops", model.flops, ""))


@dataclass
class Measured:
    """What all processes measured of one model: rates [repeats] of the whole machine, and notes, by contestant."""

    flops: float
    rates: dict[str, list[float]]
    notes: dict[str, str]


def gathered(pipes: list[Connection], repeats: int) -> Measured:
    """The processes' answers on one model, added up. Raises EOFError when a process ended early."""
    found, flops = Measured(0.0, {}, {}), 0.0
    for pipe in pipes:
        turn = dict.fromkeys(found.rates, 0)
        while (answer := pipe.recv())[0] != "flops":
            name, measured, note = answer
            rates = found.rates.setdefault(name, [0.0] * repeats)
            rates[turn.setdefault(name, 0)] += measured
            turn[name] += 1
            notes = [known for known in found.notes.get(name, "").split(", ") if known]
            found.notes[name] = ", ".join(notes if note in notes or not note else [*notes, note])
        flops = answer[1]
    return replace(found, flops=flops)


def row(model: str, measured: Measured, plan: Plan) -> str:
    """One line of the table: rates, what ours is of each other, and the share of the matmul peak that ours reaches."""
    median = {name: statistics.median(rates) for name, rates in measured.rates.items()}
    others = [name for name in plan.contestants if name != "ours"]
    peak = median["peak"] * 2 * PEAK_SIDE[plan.setting.device] ** 3
    cells = [
        model + (f" ({measured.notes['stock']})" if measured.notes["stock"] else ""),
        f"{measured.flops / 1e6:.1f}",
    ]
    cells += [f"{median[name]:,.0f}" if median[name] >= 100 else f"{median[name]:.1f}" for name in (*others, "ours")]
    cells += [measured.notes["ours"], *(f"{median['ours'] / median[name]:.2f}" for name in others)]
    cells += [f"{median['ours'] * measured.flops / peak:.0%}", f"{peak / 1e9:,.0f}"]
    return f"| {' | '.join(cells)} |"


def header(plan: Plan, capability: str) -> str:
    """The machine, and the table's first two lines. capability: what torch computes in on the CPU."""
    setting, others = plan.setting, [name for name in plan.contestants if name != "ours"]
    columns = ["model (layout of stock)", "MFLOP a lane-step", *others, "ours", "lanes", *(f"ours/{n}" for n in others)]
    columns += ["of peak", "peak GFLOP/s"]
    card = f"{torch.cuda.get_device_name()}; " if setting.device == "cuda" else ""
    images = "MNIST" if plan.data_root else "uniform noise of MNIST's shape (no --data-root)"
    return (
        f"{machine()}\n{card}torch computes in {capability}; ours {setting.execution}, {setting.precision}\n"
        f"lane-steps a second, {plan.processes} processes, one thread each; medians of {plan.repeats} windows of "
        f"{plan.seconds:g} s; images: {images}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
    )


def measure(plan: Plan) -> None:
    """Starts the processes and prints the table row by row, and the seconds that it took."""
    begun = time.monotonic()
    os.environ["OMP_NUM_THREADS"] = "1"  # the processes read it when they import torch
    context = multiprocessing.get_context("spawn")
    barrier, pipes, processes = context.Barrier(plan.processes), [], []
    for rank in range(plan.processes):
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(plan, rank, barrier, theirs), daemon=True)
        process.start()
        theirs.close()  # so that the end of the process is the end of its pipe
        pipes.append(mine)
        processes.append(process)
    print(header(plan, [pipe.recv() for pipe in pipes][0]), flush=True)
    found: dict[str, Any] = {}
    for model in plan.models:
        measured = gathered(pipes, plan.repeats)
        print(row(model, measured, plan), flush=True)
        found[model] = asdict(measured)
        if plan.file is not None:
            plan.file.write_text(json.dumps(found))
    for process in processes:
        process.join()
    print(f"\n{time.monotonic() - begun:.0f} s in all")


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.lanes", description="Lane-steps a second of a whole machine."
    )
    parser.add_argument("--data-root", type=Path, help="the folder of MNIST's files; default: noise of their shape")
    parser.add_argument("--models", default=",".join(MODELS), help="names, separated by commas (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.4, help="of one window (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="windows of each contestant (default: %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of all, on the CPU")
    parser.add_argument("--execution", choices=EXECUTIONS, default="compiled", help="of ours, on the CPU")
    parser.add_argument("--processes", type=int, help="of the CPU (default: a core each), or that share a GPU (16)")
    parser.add_argument("--json", type=Path, help="a file for all figures, written after every model")
    add_isa_option(parser)
    return parser


def parsed(arguments: list[str] | None) -> Plan:
    """The plan of a command line; ends the program with one line where it makes no sense."""
    parser = options()
    given = parser.parse_args(arguments)
    try:
        set_isa(given.isa)
    except InputError as error:
        parser.exit(2, f"{parser.prog}: error: --isa: {error}\n")
    models = tuple(given.models.split(","))
    for model in models:
        if model not in MODELS:
            parser.error(f"unknown model {model!r}; {nearest(model, MODELS)}")
    if given.seconds <= 0 or given.repeats < 1:
        parser.error(f"--seconds must be above 0 and --repeats at least 1, got {given.seconds:g} and {given.repeats}")
    if given.processes is not None and given.processes < 1:
        parser.error(f"--processes must be at least 1, got {given.processes}")
    if given.json is not None and not given.json.absolute().parent.is_dir():
        parser.error(f"--json is in a folder that does not exist: {given.json}")
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs a GPU that torch can use, and there is none; use --device cpu")
    if given.device == "cuda" and given.precision != "float32":
        parser.error("--precision is of the CPU's contestants; leave it out")
    root = given.data_root.expanduser() if given.data_root else None
    try:
        check_processor(given.precision, given.device)
        dataset_of(config_of("mlp64"), root)
    except InputError as error:
        parser.error(str(error))
    processes = given.processes or (CARD_PROCESSES if given.device == "cuda" else cores())
    setting = Setting(given.device, given.precision, given.execution)
    return Plan(models, given.seconds, given.repeats, setting, processes, root, given.json)


if __name__ == "__main__":
    measure(parsed(None))
