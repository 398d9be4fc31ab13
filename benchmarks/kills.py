"""Kills processes of a real sweep at random moments, goes on with it, and compares it with one left alone. Linux.

    python -m benchmarks.kills [--each 20] [--seed 0]

One sweep of the 8x8 digits, one slot, is killed again and again: its driver, the process that trains, the study's owner
and Ray's head (gcs_server), SIGKILL each, in a shuffled order, and is given the same command after each. What a trainer
dies of Ray mends by itself. In the end every row but for times and device must equal the undisturbed sweep's.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.first_sweep import family_of
from results.rows import Outcome
from results.store import JsonLines, RunFolder
from results.table import ResultsTable

ROOT = Path(__file__).absolute().parent.parent
VICTIMS = {"driver": "", "trainer": "Trainable", "owner": "LaneStudy", "head": "gcs_server"}
TIMES = ["seconds", "elapsed_seconds", "device"]
SPEC = {
    "name": "kills",
    "space": {"extends": "digits", "base": {f"structure.{n}_width": 32 for n in ("generator", "discriminator")}},
    "ladder": {"rungs_images": [4_096, 16_384, 49_152], "keep_fraction": 0.5},
    "scoring": {"samples": 500},
    "lanes_per_cohort": 2,
    "confirm": {"top": 1, "seeds": 2},
    "tracking": {"tensorboard": False},
}
PATIENCE_SECONDS = 120.0  # for a row to appear, or a driver to end


@dataclass
class Record:
    """What was done to a sweep. kills: of each victim; checks: of checkpoints after a kill; redone: rungs that would be
    trained again beyond the one that was under way; seconds: from a kill to the end of the driver.
    """

    kills: dict[str, int] = field(default_factory=dict)
    starts: int = 0
    checks: int = 0
    redone: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


def command(folder: Path, *arguments: str) -> list[str]:
    """The sweep's own command."""
    cores = len(os.sched_getaffinity(0))
    one_slot = ["--set", f"resources.cpus_per_cohort={cores}"]
    return [sys.executable, "-m", "sweep.cli", "run", str(folder / "spec.yaml"), *one_slot, *arguments]


def victim(driver: int, kind: str) -> int | None:
    """The process of a kind below a driver, or None where there is none now."""
    if kind == "driver":
        return driver
    for pid in family_of(driver):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if VICTIMS[kind] in words and pid != driver:
            return pid
    return None


def ended(run: RunFolder) -> bool:
    """Whether the sweep's own driver has found it finished (it copies the best picture last)."""
    return run.best_samples.exists()


def redone_rungs(run: RunFolder) -> int:
    """Rungs of unfinished cohorts that were recorded, and whose checkpoint is missing: to be trained again."""
    rows = JsonLines(run.rows).read()
    lost = 0
    for cohort in JsonLines(run.cohorts).read():
        mine = [row for row in rows if row["cohort"] == cohort["cohort"]]
        going = [row["rung"] for row in mine if row["outcome"] == Outcome.RUNNING]
        last = {(row["trial"], row["replicate"]): row["outcome"] for row in mine}
        if going and Outcome.RUNNING in last.values():
            saved = [int(p.name[5:]) for p in run.checkpoint(cohort["cohort"]).glob("rung-*") if not p.suffix]
            lost += max(0, max(going) - max(saved, default=-1))
    return lost


def disturbed(folder: Path, victims: Sequence[str], chance: random.Random, environment: dict[str, str]) -> Record:
    """Runs the sweep of folder/spec.yaml to its end in folder/run, killing these processes on the way, one by one."""
    run, record, waiting = RunFolder(folder / "run"), Record(), list(victims)
    while True:
        record.starts += 1
        with subprocess.Popen(
            command(folder, "--out", str(run.path)),
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as driver:
            while waiting and _wait_for_row(run, driver):
                time.sleep(chance.uniform(0.0, 0.6))
                found = victim(driver.pid, waiting[0])
                if found is None or driver.poll() is not None:
                    continue
                kind = waiting.pop(0)
                family = family_of(driver.pid)
                os.kill(found, signal.SIGKILL)
                record.kills[kind] = record.kills.get(kind, 0) + 1
                if kind == "trainer":
                    continue
                began = time.monotonic()
                driver.wait(timeout=PATIENCE_SECONDS)
                record.seconds[kind] = max(record.seconds.get(kind, 0.0), time.monotonic() - began)
                _end(family - {driver.pid})
                record.checks, record.redone = record.checks + 1, record.redone + redone_rungs(run)
                break
            code = driver.wait(timeout=10 * PATIENCE_SECONDS)
            said = driver.stderr.read().decode() if driver.stderr else ""
        if code == 0:
            return record
        if not record.kills or record.starts > len(victims) + 2:
            raise RuntimeError(f"the sweep ended with {code}: {said[-2000:]}")


def _wait_for_row(run: RunFolder, driver: subprocess.Popen[bytes]) -> bool:
    """Waits until another row than those that are there is written. False when the driver ends before."""
    size, deadline = run.rows.stat().st_size if run.rows.exists() else 0, time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and driver.poll() is None:
        if run.rows.exists() and run.rows.stat().st_size > size:
            return True
        time.sleep(0.02)
    return False


def _end(pids: set[int]) -> None:
    """What a killed driver left of Ray; a person would wait, it ends by itself in about a minute."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def differences(mine: Path, theirs: Path) -> list[str]:
    """Columns in which two runs' rows differ, other than times; rows are compared by trial, replicate and rung."""
    key = ["trial", "replicate", "rung"]
    frames = [
        ResultsTable.load(path).frame.drop(columns=TIMES).sort_values(key).reset_index(drop=True)
        for path in (mine, theirs)
    ]
    if frames[0].shape != frames[1].shape:
        return [f"shape {frames[0].shape} against {frames[1].shape}"]
    return [str(name) for name in frames[0].columns if not _equal(frames[0][name], frames[1][name])]


def _equal(one: Any, other: Any) -> bool:
    return bool(((one == other) | (one.isna() & other.isna())).all())


def measure(folder: Path, each: int, seed: int, trials: int, environment: dict[str, str]) -> tuple[Record, list[str]]:
    """Kills every kind so often, in a shuffled order. What was done, and the columns that differ in the end."""
    (folder / "spec.yaml").write_text(json.dumps({**SPEC, "trials": trials}))
    chance = random.Random(seed)
    victims = [kind for kind in VICTIMS for _ in range(each)]
    chance.shuffle(victims)
    undisturbed = command(folder, "--local", "--out", str(folder / "undisturbed"))
    subprocess.run(undisturbed, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    record = disturbed(folder, victims, chance, environment)
    return record, differences(folder / "run", folder / "undisturbed")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.add_argument("--each", type=int, default=20, help="how often each kind of process is killed")
    parser.add_argument("--seed", type=int, default=0, help="of the order and the moments")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOME": place}
        record, differing = measure(Path(place), given.each, given.seed, 16 * given.each, environment)
    print(f"killed: {record.kills}; started {record.starts} times; to the driver's end, at most: {record.seconds}")
    print(f"{record.checks} checks after a kill; rungs to train again beyond the one under way: {record.redone}")
    print("the same rows as undisturbed" if not differing else f"DIFFERENT: {differing}")
    sys.exit(bool(differing or record.redone))


if __name__ == "__main__":
    main()
