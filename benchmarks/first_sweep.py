"""The first sweep: `gan-sweep run` from the Enter key, in an empty home. Linux.

    python -m benchmarks.first_sweep [RUN ARGUMENTS]

Prints wall seconds, the peak memory of all its processes together (proportional set size), and the share of training
time that scoring takes, which is measured in a second, local run of the same sweep.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gan_core.fidelity.scorers as scorers
from gan_core.config.reports import FidelityReport
from gan_core.training.lane_array import LaneArray
from results.store import RunFolder
from sweep.runners.local.runner import run_local
from sweep.runners.progress import ProgressDisplay
from sweep.spec.sweep_spec import SweepSpec


def family_of(pid: int) -> set[int]:
    """A process and all below it."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def proportional_bytes(pids: set[int]) -> int:
    """Memory of processes, each shared page counted once in all."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def measure_command(arguments: list[str], folder: Path) -> tuple[float, int]:
    """Wall seconds and peak bytes of one `gan-sweep run`."""
    environment = {**os.environ, "HOME": str(folder)}
    environment.pop("GAN_SWEEP_CACHE", None)
    command = [sys.executable, "-m", "sweep.commands.cli", "run", "--out", str(folder / "run"), *arguments]
    started, peak = time.monotonic(), 0
    with subprocess.Popen(command, env=environment) as process:
        while process.poll() is None:
            peak = max(peak, proportional_bytes(family_of(process.pid)))
            time.sleep(1.0)
    return time.monotonic() - started, peak


def scoring_share(folder: Path) -> float:
    """Seconds in scoring over all seconds of training and scoring, of the default sweep in this process."""
    spent, score = 0.0, scorers.ImageScorer.score

    def timed(self: scorers.ImageScorer, array: LaneArray) -> list[FidelityReport]:
        nonlocal spent
        started = time.monotonic()
        reports = score(self, array)
        spent += time.monotonic() - started
        return reports

    scorers.ImageScorer.score = timed
    spec = SweepSpec()
    run = RunFolder(folder / "local").create()
    run.spec.write_text(spec.to_yaml())
    with open(os.devnull, "w") as nowhere:
        started = time.monotonic()
        run_local(spec, run, ProgressDisplay(spec.ladder, spec.objective, [], nowhere))
    return spent / (time.monotonic() - started)


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        seconds, peak = measure_command(sys.argv[1:], Path(home))
        print(f"wall time {seconds:.1f} s, peak memory of all processes {peak / 2**30:.2f} GiB, {os.cpu_count()} cores")
        if not sys.argv[1:]:
            print(f"scoring takes {scoring_share(Path(home)):.1%} of the same sweep in one process")


if __name__ == "__main__":
    main()
