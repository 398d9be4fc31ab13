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
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors import SafetensorError, safe_open

from benchmarks.first_sweep import family_of
from results.rows import Outcome
from results.store import JsonLines, RunFolder
from results.table import ResultsTable
from results.trial_run import TrialRun
from sweep.runners.ray.processes import RESTARTS

ROOT = Path(__file__).absolute().parent.parent
VICTIMS = {"driver": "", "trainer": "Trainable", "owner": "LaneStudy", "head": "gcs_server"}
TIMES = ["seconds", "elapsed_seconds", "device"]
KEY = ["trial", "replicate", "rung"]
SPEC = {
    "name": "kills",
    "space": {"extends": "digits", "base": {f"structure.{n}_width": 32 for n in ("generator", "discriminator")}},
    "ladder": {"rungs_images": [4_096, 16_384, 49_152], "keep_fraction": 0.5},
    "scoring": {"samples": 500},
    "lanes_per_cohort": 2,
    "tracking": {"tensorboard": False},
}
CONFIRMED, TRIALS_A_KILL = 3, 3  # finalists, each from as many seeds as there are kills over 8, and 4 at least
PATIENCE_SECONDS = 120.0  # for a row to appear, or a driver to end
LONGEST_WAIT_SECONDS = 0.4  # from a row to a kill: more than a rung takes
STARTING_SHARE = 0.2  # of the kills: while the sweep starts, and not after a row


@dataclass
class Ended:
    """How a driver ended whose victim was another process, or itself: its exit code, what it said on stderr other than
    warnings, and after how many seconds.
    """

    kind: str
    code: int
    said: list[str]
    seconds: float


@dataclass
class Record:
    """What was done to a sweep. moments: what it was at, at the kills; ends: of its drivers; checks: of its files after
    a kill; broken: files found half written under their own names; redone: rungs to be trained again beyond the one
    that was under way; twice: rows that are there again.
    """

    kills: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    ends: list[Ended] = field(default_factory=list)
    starts: int = 0
    checks: int = 0
    files: int = 0
    broken: list[str] = field(default_factory=list)
    redone: int = 0
    twice: int = 0

    def check(self, run: RunFolder) -> None:
        """Looks at what is on disk after a kill."""
        walked = os.walk(run.path)  # passes over a folder that others remove meanwhile
        files = [Path(place, name) for place, _, names in walked for name in names]
        files = [path for path in files if run.scheduler not in path.parents]
        self.checks, self.files = self.checks + 1, self.files + len(files)
        self.broken += [str(path) for path in files if not is_whole(path)]
        self.redone += redone_rungs(run)


def command(folder: Path, *arguments: str) -> list[str]:
    """The sweep's own command."""
    cores = len(os.sched_getaffinity(0))
    one_slot = ["--set", f"resources.cpus_per_cohort={cores}"]
    return [sys.executable, "-m", "sweep.commands.cli", "run", str(folder / "spec.yaml"), *one_slot, *arguments]


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


def moment(run: RunFolder) -> str:
    """What the sweep is at: by its last cohort, and whether a rung of it is being trained."""
    cohorts = JsonLines(run.cohorts).read()
    if not cohorts:
        return "starting"
    begun = any(run.checkpoint(cohorts[-1]["cohort"]).glob("rung-*.partial"))
    phase = "confirmation" if TrialRun.read(cohorts[-1]["trials"][0]).replicate else "search"
    return f"{phase}, {'training' if begun else 'between two rungs'}"


def is_whole(path: Path) -> bool:
    """Whether a file can be read, where it stands under its own name. What others remove meanwhile is no matter."""
    if ".partial" in str(path) or path.name.startswith(".tmp"):
        return True
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "np") as tensors:
                return len(list(tensors.keys())) > 0
        if path.suffix == ".json":
            return bool(json.loads(path.read_text()))
        if path.suffix == ".png":
            Image.open(path).load()
    except FileNotFoundError:
        return True
    except (SafetensorError, OSError, ValueError):
        return not path.exists()
    return True


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


class Disturbance:
    """A sweep, and the processes of it that are killed one by one, at moments that are spread over its rows. rows: how
    many it will have.
    """

    def __init__(self, folder: Path, victims: Sequence[str], rows: int, chance: random.Random) -> None:
        self.folder, self.run, self.record = folder, RunFolder(folder / "run"), Record()
        self._victims, self._waiting, self._rows, self._chance = victims, list(victims), rows, chance

    def until_finished(self, environment: dict[str, str]) -> Record:
        """Gives the command again at once whenever it was ended, whatever the old one left behind."""
        again = True
        while again:
            with tempfile.TemporaryFile() as errors:
                arguments = command(self.folder, "--out", str(self.run.path))
                driver = subprocess.Popen(
                    arguments, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=errors
                )
                kind, killed = self._kill(driver)
                code = driver.wait(timeout=10 * PATIENCE_SECONDS)
                seconds = time.monotonic() - killed
                errors.seek(0)
                said = [line for line in errors.read().decode().splitlines() if ": warning: " not in line]
            self.record.starts += 1
            self.record.check(self.run)
            again = kind not in ("", "trainer")
            if again:
                self.record.ends.append(Ended(kind, code, said, seconds))
            elif code != 0:
                raise RuntimeError(f"the sweep ended by itself, with {code}: {said}")
        self.record.twice = rows_twice(self.run)
        return self.record

    def _kill(self, driver: subprocess.Popen[bytes]) -> tuple[str, float]:
        """Kills until the driver must end, or has. The last victim's kind, and when it was killed."""
        kind, killed = "", time.monotonic()
        while self._waiting and kind in ("", "trainer"):
            starting = kind == "" and self._chance.random() < STARTING_SHARE
            found = self._wait_for_moment(driver, starting)
            if found is None:
                break
            kind, what, killed = self._waiting.pop(0), moment(self.run), time.monotonic()
            os.kill(found, signal.SIGKILL)
            self.record.kills[kind] += 1
            self.record.moments["starting" if starting else what] += 1
        return kind, killed

    def _wait_for_moment(self, driver: subprocess.Popen[bytes], starting: bool) -> int | None:
        """Waits for a further row, and for the share of rows at which the next victim's turn is, then for some time
        that chance decides; where the sweep starts, for the victim and that time alone. The victim, or None when the
        driver ends before.
        """
        kind, left = self._waiting[0], len(self._waiting) - self._chance.random()
        rows = max(_rows(self.run) + 1, int(self._rows * (1 - left / len(self._victims))))
        wait_seconds, deadline = self._chance.uniform(0.0, LONGEST_WAIT_SECONDS), time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and driver.poll() is None:
            if starting or _rows(self.run) >= rows:
                found = victim(driver.pid, kind)
                time.sleep(wait_seconds if found else 0.05)
                if found and driver.poll() is None and victim(driver.pid, kind) == found:
                    return found
            time.sleep(0.05)
        return None


def _rows(run: RunFolder) -> int:
    return run.rows.read_bytes().count(b"\n") if run.rows.exists() else 0


def rows_twice(run: RunFolder) -> int:
    """Rows of a trial, replicate and rung that has one already."""
    keys = [tuple(row[name] for name in KEY) for row in JsonLines(run.rows).read()]
    return len(keys) - len(set(keys))


def differences(mine: Path, theirs: Path) -> list[str]:
    """Columns in which two runs' rows differ, other than times; rows are compared by trial, replicate and rung."""
    frames = [
        ResultsTable.load(path).frame.drop(columns=TIMES).sort_values(KEY).reset_index(drop=True)
        for path in (mine, theirs)
    ]
    if frames[0].shape != frames[1].shape:
        return [f"shape {frames[0].shape} against {frames[1].shape}"]
    return [str(name) for name in frames[0].columns if not _equal(frames[0][name], frames[1][name])]


def _equal(one: Any, other: Any) -> bool:
    return bool(((one == other) | (one.isna() & other.isna())).all())


def order_of(kinds: Iterable[str], each: int, chance: random.Random) -> list[str]:
    """Every kind so often, shuffled, and no more trainers in a row than a cohort is started again for."""
    victims = [kind for kind in kinds for _ in range(each)]
    while True:
        chance.shuffle(victims)
        if all(set(victims[at : at + RESTARTS + 1]) != {"trainer"} for at in range(len(victims) - RESTARTS)):
            return victims


def measure(
    folder: Path, each: int, seed: int, environment: dict[str, str], kinds: Collection[str] = tuple(VICTIMS)
) -> tuple[Record, list[str]]:
    """Kills each kind so often, in a shuffled order. What was done, and the columns that differ in the end."""
    kills = each * len(kinds)
    sizes = {"trials": TRIALS_A_KILL * kills, "confirm": {"top": CONFIRMED, "seeds": max(4, kills // 8)}}
    (folder / "spec.yaml").write_text(json.dumps({**SPEC, **sizes}))
    undisturbed = command(folder, "--local", "--out", str(folder / "undisturbed"))
    subprocess.run(undisturbed, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    rows, chance = _rows(RunFolder(folder / "undisturbed")), random.Random(seed)
    record = Disturbance(folder, order_of(kinds, each, chance), rows, chance).until_finished(environment)
    return record, differences(folder / "run", folder / "undisturbed")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.add_argument("--each", type=int, default=20, help="how often each kind of process is killed")
    parser.add_argument("--seed", type=int, default=0, help="of the order and the moments")
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOME": place}
        record, differing = measure(Path(place), given.each, given.seed, environment)
    print(f"killed: {dict(record.kills)} in {record.starts} starts, {time.monotonic() - began:.0f} s in all")
    print(f"at: {dict(record.moments)}")
    for kind in ("owner", "head"):
        mine = [end for end in record.ends if end.kind == kind]
        codes, slowest = {end.code for end in mine}, max(end.seconds for end in mine)
        print(f"{kind}: exit codes {codes}, {slowest:.1f} s at most to the end")
    wordy = [end.said for end in record.ends if len(end.said) != (end.kind != "driver")]
    print("all but killed drivers ended with one line" if not wordy else f"MORE OR LESS THAN ONE LINE: {wordy}")
    print(f"{record.checks} checks after a kill, of {record.files} files: half written {record.broken}")
    print(f"rungs to train again beyond the one under way: {record.redone}; rows that are there twice: {record.twice}")
    print("the same rows as undisturbed" if not differing else f"DIFFERENT: {differing}")
    whole = set(record.kills.values()) == {given.each} and len(record.kills) == len(VICTIMS)
    sys.exit(bool(differing or record.redone or record.twice or record.broken or wordy or not whole))


if __name__ == "__main__":
    main()
