"""Whether the first sweep is luck: `gan-sweep run` from seed after seed. Linux.

    python -m benchmarks.first_impression [--seeds 20] [--first-seed 0] [--out FOLDER] [RUN ARGUMENTS]

Two slots arrive at rungs in another order each time, so that one seed gives another table each time it is run: what
holds for a first sweep is what holds for many. Prints a line of a Markdown table for each seed: what the winner is
worth, how many trials keep to both limits of `fidelity` (a lucky winner is alone), the images that were shown in all,
the seconds from Enter, those to the first line, and the processor time of all processes together, which other work on
the machine changes less. The home is empty for the first seed and kept for the others, as a person's is. Runs are kept
where --out says so. Exit code 1 where a winner breaks a limit or misses a class.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.first_sweep import family_of
from results.table import ResultsTable

ROOT = Path(__file__).absolute().parent.parent
POLL_SECONDS = 0.25
CLASSES = 10  # of the digits
COLUMNS = ("seed", "best trial", "fidelity", "Frechet distance", "classes", "class_kl", "coverage", "violation")
COLUMNS += ("within limits", "completed", "images", "first line", "wall", "CPU")


@dataclass(frozen=True)
class Watched:
    """One command: wall seconds, those to its first line, processor seconds of it and of all below it, what it said."""

    seconds: float
    first_line_seconds: float
    cpu_seconds: float
    said: str


@dataclass(frozen=True)
class Impression:
    """What a sweep came to. within_limits: the trials whose classes and coverage keep to the limits at some rung."""

    best_trial: int
    scores: Mapping[str, float]
    within_limits: int
    completed: int
    trials: int
    images: int

    @property
    def good(self) -> bool:
        """Whether the winner draws every class and breaks no limit."""
        return self.scores["violation"] == 0 and self.scores["classes_covered"] == CLASSES


def watch_command(command: Sequence[str], environment: Mapping[str, str]) -> Watched:
    """Runs it to its end. Raises RuntimeError where it fails."""
    spent: dict[int, float] = {}
    started = time.monotonic()
    with subprocess.Popen(
        command, cwd=ROOT, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        ended = threading.Event()
        poll = threading.Thread(target=_poll, args=(process.pid, spent, ended))
        poll.start()
        assert process.stdout is not None
        said = process.stdout.readline()
        first = time.monotonic() - started
        said += process.stdout.read()
        code = process.wait()
        ended.set()
        poll.join()
    if code:
        raise RuntimeError(f"{' '.join(command)} failed:\n{said[-2000:]}")
    return Watched(time.monotonic() - started, first, sum(spent.values()), said)


def _poll(pid: int, spent: dict[int, float], ended: threading.Event) -> None:
    """Processor seconds of a process and of each below it, as they were last seen."""
    while not ended.wait(POLL_SECONDS):
        for member in family_of(pid):
            try:
                numbers = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            spent[member] = (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


def impression(run: Path) -> Impression:
    """Of a finished run's folder."""
    table = ResultsTable.load(run)
    best: Any = table.best()
    frame: Any = table.frame
    trials: Any = table.trials
    names = ("fidelity", "fid", "classes_covered", "class_kl", "coverage", "violation")
    within = frame[frame["fidelity.violation"] == 0]["trial"].nunique()
    return Impression(
        best_trial=int(best["trial"]),
        scores={name: float(best[f"fidelity.{name}"]) for name in names},
        within_limits=int(within),
        completed=int((trials["outcome"] == "completed").sum()),
        trials=len(trials),
        images=int(trials["images_seen"].sum()),
    )


def line(cells: Sequence[object]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def cells(seed: int, found: Impression, took: Watched) -> list[str]:
    """What COLUMNS name."""
    scores = found.scores
    return [
        *(str(seed), str(found.best_trial), f"{scores['fidelity']:.2f}", f"{scores['fid']:.2f}"),
        *(f"{scores['classes_covered']:.0f}", f"{scores['class_kl']:.3f}", f"{scores['coverage']:.2f}"),
        *(f"{scores['violation']:g}", f"{found.within_limits} of {found.trials}", str(found.completed)),
        *(f"{found.images / 1e6:.2f} M", f"{took.first_line_seconds:.1f} s"),
        *(f"{took.seconds:.1f} s", f"{took.cpu_seconds:.0f} s"),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options, further = parser.parse_known_args()
    good = []
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "HOME": home, "GAN_SWEEP_CACHE": f"{home}/cache"}
        print(line(COLUMNS), line(["---"] * len(COLUMNS)), sep="\n", flush=True)
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            run = (options.out or Path(home)).absolute() / f"seed-{seed}"
            command = [sys.executable, "-m", "sweep", "run", "--set", f"seed={seed}", "--out", str(run), *further]
            took = watch_command(command, environment)
            found = impression(run)
            good.append(found.good)
            print(line(cells(seed, found, took)), flush=True)
    print(f"{sum(good)} of {len(good)} winners draw all {CLASSES} classes and break no limit")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
