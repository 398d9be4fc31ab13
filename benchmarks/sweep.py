"""Whole sweeps, from Enter to table: ours against what an expert writes today with plain Ray Tune.

    python -m benchmarks.sweep [--data-root DIR] [--cases gaussian,digits,mnist,dcgan,pbt] [--repeats 1] [--small]
                               [--precision float32|bfloat16] [--plain-precision float32|bfloat16]
                               [--isa NAME] [--execution auto|compiled|replayed|eager]

Both sides of a case get the same spec (`benchmarks.sweep_cases`): search space, number of trials, budgets, score and
how often it is computed; first without pruning, then with it (our ladder's rule, and ASHA with the same rungs and the
same share). Every run is a process started afresh, so importing and starting Ray count; ours and theirs take turns, and
medians of the repeats are printed. The feature network of the scores is made before, once for both. --isa: what our
kernels are made for, and what torch is held to on both sides (`benchmarks.machine`). --execution and --precision are
ours: plain trials train in float32, which is their faster precision, unless --plain-precision has them train within
torch.autocast. Where the two differ the scores' columns must show that nothing is lost by it. `pbt` is float32's.

Not the same on both sides, so the table says what was trained: which configurations are drawn (both use Optuna's TPE,
which is told in another order), and that ours stops a lane that is proven dead between rungs, where the plain trial
ends at a rung if its score is not a number. Ours also writes rows, checkpoints and pictures, which plain Tune does not.

Scores show that both did the same work, not who searches better. The best score of one seed is luck: over sampler seeds
0 to 3 of a quarter of `gaussian`, each side had the better best twice, by as much as a factor of five, and one seed
draws much the same in every case, so lines of one run are not independent. Each repeat takes another seed.

The case `pbt` is `benchmarks.pbt_dcgan`. --small checks all this in minutes; its ratios mean little, for starting
Ray is most of it.
"""

import argparse
import math
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.machine import ROOT, add_isa_option, cores, machine, set_isa
from benchmarks.pbt_dcgan import DIFFERENCES, measure
from benchmarks.sweep_cases import CASES, case_spec
from gan_core.config.conditions import EXECUTIONS, Conditions
from gan_core.config.input_error import InputError, nearest
from gan_core.lanes.precision import check_processor
from results.rows import Outcome
from results.table import ResultsTable
from sweep.spec.sweep_spec import SweepSpec

PBT = "pbt"
PBT_SECONDS, PBT_SMALL_SECONDS = 30.0, 6.0  # of each side; the shipped example takes its own time
LARGEST_ERROR_TEXT = 2_000  # characters of a failed run's output that are shown
HEADINGS = (
    *("case", "pruning", "ours s", "plain s", "ratio", "best score", "median score"),
    *("completed", "of", "million images"),
)


@dataclass(frozen=True)
class Sides:
    """How each side trains: precisions, and how our steps are carried out."""

    precision: str = "float32"
    plain_precision: str = "float32"
    execution: str = "compiled"


@dataclass(frozen=True)
class SweepRun:
    """One run of one side. completed: trials that reached the last rung; images: trained by all trials together."""

    seconds: float
    best_score: float
    median_score: float
    trials: int
    completed: int
    images: int


def timed(command: Sequence[str]) -> float:
    """Wall seconds of a Python module's command, one torch thread a process. Raises RuntimeError where it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - started
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-LARGEST_ERROR_TEXT:]}")
    return seconds


def run_ours(spec: SweepSpec, folder: Path) -> SweepRun:
    """`gan-sweep run` in a new run folder."""
    (file := folder / "spec.yaml").write_text(spec.to_yaml())
    seconds = timed(["sweep.commands.cli", "run", str(file), "--out", str(folder / "run")])
    table = ResultsTable.load(folder / "run")
    trials = table.trials
    outcomes = trials["outcome"].tolist()
    return SweepRun(
        seconds=seconds,
        **summary(table.contenders["score"].tolist()),
        trials=len(trials),
        completed=outcomes.count(Outcome.COMPLETED),
        images=sum(trials["images_trained"].tolist()),
    )


def run_plain(arguments: Sequence[str], spec: SweepSpec, folder: Path) -> SweepRun:
    """`benchmarks.plain_tune` with these arguments."""
    file = folder / "table.csv"
    seconds = timed(["benchmarks.plain_tune", *arguments, "--out", str(file)])
    table = pd.read_csv(file)
    images, finite = table["images"].tolist(), table["completed"].tolist()
    last = spec.ladder.rungs_images[-1]
    return SweepRun(
        seconds=seconds,
        **summary(table["score"].tolist()),
        trials=len(table),
        completed=sum(seen >= last and good for seen, good in zip(images, finite, strict=True)),
        images=sum(images),
    )


def summary(scores: Sequence[float]) -> dict[str, float]:
    """The lowest and the median of the finite scores, or NaN where there are none."""
    finite = [score for score in scores if math.isfinite(score)] or [math.nan]
    return {"best_score": min(finite), "median_score": statistics.median(finite)}


def make_features(conditions: Conditions) -> None:
    """Loads what scores need, so that what is made once on a machine exists."""
    from gan_core.workshop.workshop import Workshop

    Workshop(conditions, "cpu")


def compare(
    case: str, data_root: str | None, pruning: bool, small: bool, repeats: int, sides: Sides | None = None
) -> list[str]:
    """One line of the table: both sides in turn, so many times, each time with another sampler's seed."""
    sides = sides or Sides()
    arguments = [case, *(["--data-root", data_root] if data_root else [])]
    arguments += ["--pruning"] * pruning + ["--small"] * small + ["--precision", sides.plain_precision]
    ours, plain = [], []
    for seed in range(repeats):
        spec = case_spec(
            case,
            data_root,
            pruning=pruning,
            small=small,
            seed=seed,
            precision=sides.precision,
            execution=sides.execution,
        )
        with tempfile.TemporaryDirectory() as folder:
            ours.append(run_ours(spec, Path(folder)))
            plain.append(run_plain([*arguments, "--seed", str(seed)], spec, Path(folder)))
    return line(case, pruning, ours, plain)


def line(case: str, pruning: bool, ours: Sequence[SweepRun], plain: Sequence[SweepRun]) -> list[str]:
    """Medians of the repeats under HEADINGS."""
    mine, theirs = (statistics.median(run.seconds for run in runs) for runs in (ours, plain))
    best = [f"{statistics.median(run.best_score for run in runs):.4g}" for runs in (ours, plain)]
    typical = [f"{statistics.median(run.median_score for run in runs):.4g}" for runs in (ours, plain)]
    completed = [f"{statistics.median(run.completed for run in runs):.0f}" for runs in (ours, plain)]
    trials = [f"{runs[0].trials}" for runs in (ours, plain)]
    images = [f"{statistics.median(run.images for run in runs) / 1e6:.2f}" for runs in (ours, plain)]
    numbers = [f"{mine:.1f}", f"{theirs:.1f}", f"{theirs / mine:.2f}"]
    work = [" / ".join(both) for both in (best, typical, completed, trials, images)]
    return [case, "yes" if pruning else "no", *numbers, *work]


def show(lines: Sequence[Sequence[str]]) -> None:
    """Prints lines as a Markdown table; ours / plain where a column holds both."""
    for cells in (HEADINGS, ["---"] * len(HEADINGS), *lines):
        print("| " + " | ".join(cells) + " |")


def chosen_cases(text: str, data_root: str | None) -> list[str]:
    """The names of --cases. Raises InputError for one that is unknown or needs data that was not given."""
    names, known = text.split(","), (*CASES, PBT)
    for name in names:
        if name not in known:
            raise InputError(f"unknown case {name!r}; {nearest(name, known)}")
        if name != PBT:
            case_spec(name, data_root)
        elif data_root is None:
            raise InputError("case 'pbt' needs MNIST on disk, got no folder; give --data-root DIR")
    return names


PRUNING = {"both": (False, True), "no": (False,), "yes": (True,)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description=__doc__)
    parser.add_argument("--data-root", help="the folder that holds MNIST/raw/*.gz")
    parser.add_argument("--cases", default=",".join((*CASES, PBT)))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--pruning", choices=tuple(PRUNING), default="both")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of ours")
    parser.add_argument("--plain-precision", choices=("float32", "bfloat16"), default="float32", help="of theirs")
    parser.add_argument("--execution", choices=EXECUTIONS, default="compiled", help="of ours")
    add_isa_option(parser)
    given = parser.parse_args()
    try:
        set_isa(given.isa)
    except InputError as error:
        parser.exit(2, f"{parser.prog}: error: --isa: {error}\n")
    root = os.path.abspath(os.path.expanduser(given.data_root)) if given.data_root else None
    try:
        cases = chosen_cases(given.cases, root)
        check_processor(given.precision, "cpu")
        sides = Sides(given.precision, given.plain_precision, given.execution)
        how = f"ours {sides.execution}, {sides.precision}; plain in {sides.plain_precision}"
        print(f"{machine(('torch', 'ray', 'optuna'))}\n{how}")
        measure_all(cases, root, given.small, max(1, given.repeats), PRUNING[given.pruning], sides)
    except InputError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")


def measure_all(
    cases: Sequence[str],
    data_root: str | None,
    small: bool,
    repeats: int,
    prunings: Sequence[bool],
    sides: Sides | None = None,
) -> None:
    """Runs and prints every case."""
    lines = []
    for case in cases:
        if case == PBT:
            continue
        conditions = case_spec(case, data_root, small=small).conditions()
        making = multiprocessing.get_context("spawn").Process(target=make_features, args=(conditions,))
        making.start()
        making.join()
        for pruning in prunings:
            lines.append(compare(case, data_root, pruning, small, repeats, sides))
            print("  ".join(lines[-1]), file=sys.stderr, flush=True)
    if lines:
        show(lines)
    if PBT in cases:
        assert data_root is not None
        seconds = PBT_SMALL_SECONDS if small else PBT_SECONDS
        rates = measure(data_root, cores(), seconds)
        print("\nray.tune.examples.pbt_dcgan_mnist", *rates.lines(), "", DIFFERENCES, sep="\n", end="")


if __name__ == "__main__":
    main()
