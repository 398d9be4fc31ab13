"""What the analysis of a large run takes: its table, its frames and its report.

    python -m benchmarks.analysis [RUN] [--trials N]

The rows of RUN, or of a small sweep of the digits that is made first, are multiplied to N trials (10,000) that reach
five rungs, with other numbers in each: learning rates, scores, health and times. So rows are as wide as real ones. Each
part is measured in a process of its own. `table` is importing and loading, `report` the whole command, and the frames
are measured after the table was loaded. Memory is the peak of the process.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from results.store import JsonLines, RunFolder

RUNGS, FIRST_RUNG_IMAGES, POINTS = 5, 19_200, 20
ENDS = ("completed", "pruned", "pruned", "pruned", "diverged")
PARTS = (
    "table",
    "trials",
    "history",
    "importance",
    "expected_best",
    "curves",
    "slices",
    "outcomes",
    "cost",
    "timeline",
)
MEASURE = """
import resource, sys, time
run, part, page = sys.argv[1:]
start = time.perf_counter()
if part == "report":
    from sweep.commands.cli import main
    assert main(["report", run, "-o", page]) == 0
else:
    from results.table import ResultsTable
    table = ResultsTable.load(run)
    if part != "table":
        start = time.perf_counter()
        found = getattr(table, part)
        found = found() if callable(found) else found
seconds = time.perf_counter() - start
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)
"""


def main() -> None:
    """Makes the run, measures, and prints a table for `benchmarks/RESULTS.md`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.analysis", description="What the analysis of a large run takes."
    )
    parser.add_argument("run", nargs="?", type=Path, metavar="RUN", help="a run whose rows are multiplied")
    parser.add_argument("--trials", type=int, default=10_000, metavar="N")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        source = RunFolder(options.run or _small_run(Path(place) / "small"))
        large = RunFolder(Path(place) / "large").create()
        _multiply(source, large, options.trials)
        print(machine())
        print(f"{options.trials:,} trials, {large.rows.stat().st_size / 1e6:.0f} MB of rows\n")
        print("| part | seconds | peak memory |\n|---|---|---|")
        for part in (*PARTS, "report"):
            page = Path(place) / "report.html"
            seconds, megabytes = _measured(large, part, page)
            size = f" ({page.stat().st_size / 1e6:.1f} MB)" if part == "report" else ""
            print(f"| `{part}`{size} | {seconds:.2f} | {megabytes:.0f} MB |", flush=True)


def _measured(run: RunFolder, part: str, page: Path) -> tuple[float, float]:
    """Seconds, and megabytes at most."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(run.path), part, str(page)], capture_output=True, text=True, check=True
    )
    seconds, megabytes = map(float, done.stdout.splitlines()[-1].split())
    return seconds, megabytes


def _small_run(out: Path) -> Path:
    settings = ("ladder.rungs_images=[512]", "ladder.keep_fraction=1.0", "scoring.samples=200")
    wanted = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "sweep", "run", "digits", "--local", "--trials", "8", "--quiet", "--out", str(out)]
    subprocess.run([*command, *wanted], check=True, stdout=subprocess.DEVNULL)
    return out


def _multiply(source: RunFolder, large: RunFolder, trials: int) -> None:
    """Writes the files of a run of so many trials."""
    first = [record for record in JsonLines(source.rows).read() if record["rung"] == 0 and record["replicate"] == 0]
    rungs = [FIRST_RUNG_IMAGES * 3**rung for rung in range(RUNGS)]
    spec = source.spec.read_text().partition("\nladder:\n")
    rest = spec[2].partition("\nlanes_per_cohort:")
    spec_head = re.sub("(?m)^trials: .*$", f"trials: {trials}", spec[0])
    large.spec.write_text(f"{spec_head}\nladder:\n  rungs_images: {rungs}\nlanes_per_cohort:{rest[2]}")
    random = np.random.default_rng(0)
    with large.rows.open("w") as rows, large.curves.open("w") as curves:
        for trial in range(trials):
            for record in _rows_of(trial, first[trial % len(first)], rungs, random):
                rows.write(json.dumps(record, separators=(",", ":")) + "\n")
            for images in np.geomspace(2_048, rungs[-1], POINTS).astype(int).tolist():
                losses = {name: round(random.random(), 6) for name in ("d_loss", "g_loss", "health.d_gradient")}
                point = {"trial": trial, "replicate": 0, "images_seen": images, **losses}
                curves.write(json.dumps(point, separators=(",", ":")) + "\n")


def _rows_of(trial: int, record: dict[str, Any], rungs: list[int], random: np.random.Generator) -> Iterator[Any]:
    """The records of one trial at all rungs."""
    rate, score = 10 ** random.uniform(-4.3, -2.3), random.lognormal(2, 1)
    for rung, images in enumerate(rungs):
        score *= random.uniform(0.5, 1.05)
        noisy = {
            name: value * random.uniform(0.5, 2)
            for name, value in record.items()
            if name.startswith(("fidelity.", "health.")) and isinstance(value, float)
        }
        yield {
            **record,
            **noisy,
            "trial": trial,
            "cohort": trial // 8,
            "lane": trial % 8,
            "rung": rung,
            "images_seen": images,
            "outcome": ENDS[trial % len(ENDS)] if rung == len(rungs) - 1 else "running",
            "score": score,
            "best_score": score,
            "fidelity.fidelity": score,
            "lane.generator_lr": rate,
            "seconds": 3.0**rung,
            "elapsed_seconds": 0.05 * (trial * len(rungs) + rung),
        }


if __name__ == "__main__":
    main()
