"""The parts of `benchmarks.gpu`: the command of each, and what is read of what it leaves behind. No torch."""

import json
import os
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT, cores
from results.store import ResultsError
from results.table import ResultsTable
from sweep.spec.sweep_spec import SweepSpec

MODELS = "gaussian,mlp64,mlp256,dcgan16,dcgan64"
PROCESS_CARD_BYTES, PROCESS_HOST_BYTES = 800_000_000, 2_500_000_000  # of a process of stock, with CUDA's libraries
LARGEST_PROCESSES = 16
Results = dict[str, Any]


@dataclass(frozen=True)
class Check:
    """What is checked. card_bytes: of the card's memory; local: the sweep goes without Ray; tiny: as small
    as it can be, to check the program itself.
    """

    device: str
    tiny: bool = False
    local: bool = False
    card_name: str = ""
    card_bytes: int = 0

    @property
    def processes(self) -> int:
        """That share a card: 16, or as many as its memory and the machine's hold."""
        if self.device == "cpu":
            return 1 if self.tiny else cores()
        host_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        fit = min(self.card_bytes // PROCESS_CARD_BYTES, host_bytes // PROCESS_HOST_BYTES)
        return max(1, min(LARGEST_PROCESSES, fit))


@dataclass(frozen=True)
class Part:
    """One part. command: arguments to Python, of a process that may write into a folder; limit_seconds: it is ended
    then; read: what it left there, also where it failed or was ended -> results; None: nothing. Reading raises
    PartError where results are not what they must be.
    """

    limit_seconds: float
    command: Callable[[Check, Path], list[str]]
    read: Callable[[Check, Path], Results | None]


class PartError(Exception):
    """A part ran to its end, and what it found is wrong; results: what it found."""

    def __init__(self, message: str, results: Results) -> None:
        super().__init__(message)
        self.results = results


def tests_command(check: Check, folder: Path) -> list[str]:
    """The files alone that have such tests: to read all others takes longer than these."""
    files = sorted(str(path) for path in (ROOT / "tests").rglob("test_*.py") if "pytest.mark.gpu" in path.read_text())
    return ["-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", f"--junitxml={folder / 'tests.xml'}", *files]


def read_tests(check: Check, folder: Path) -> Results | None:
    try:
        suite = next(ET.parse(folder / "tests.xml").iter("testsuite"))
    except (OSError, ET.ParseError):  # ended before, or while it was written
        return None
    counts = {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
    bad = [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None]
    passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    results: Results = {"passed": passed, **counts, "failed": bad}
    if check.device == "cuda" and passed == 0:
        raise PartError("no test ran on the GPU", results)
    return results


def lanes_command(check: Check, folder: Path) -> list[str]:
    options = ["--device", check.device, "--processes", str(check.processes), "--json", str(folder / "lanes.json")]
    size = ["--models", "gaussian", "--seconds", "0.02", "--repeats", "1"] if check.tiny else ["--models", MODELS]
    return ["-m", "benchmarks.lanes", *options, *size, *([] if check.tiny else ["--seconds", "0.3"])]


def sweep_spec(check: Check) -> SweepSpec:
    """16 trials of the 1-D family in cohorts of four, two of which share the card."""
    return SweepSpec.from_mapping(
        {
            "name": "gpu",
            "space": "gaussian",
            "trials": 4 if check.tiny else 16,
            "lanes_per_cohort": 2 if check.tiny else 4,
            "ladder": {"rungs_images": [256, 512] if check.tiny else [12_800, 51_200]},
            "scoring": {"samples": 200 if check.tiny else 0},
            "resources": {"gpus_per_cohort": 0.5 if check.device == "cuda" else 0},
            "tracking": {"tensorboard": False},
        },
        ["structure.discriminator_input=sample"],
    )


def sweep_command(check: Check, folder: Path) -> list[str]:
    (folder / "spec.yaml").write_text(sweep_spec(check).to_yaml())
    local = ["--local"] if check.local else []
    return ["-m", "sweep", "run", str(folder / "spec.yaml"), "--out", str(folder / "run"), *local]


def read_sweep(check: Check, folder: Path) -> Results | None:
    """Raises PartError where trials are missing, none was completed, or some were not trained where they should be."""
    try:
        table = ResultsTable.load(folder / "run")
    except (ResultsError, OSError):
        return None
    outcomes = Counter(str(outcome) for outcome in table.trials["outcome"].tolist())
    results: Results = {
        "trials": outcomes.total(),
        "outcomes": dict(outcomes),
        "cohorts": len(set(table.frame["cohort"].tolist())),
        "cohorts_at_once": at_once(table),
        "devices": sorted(set(table.frame["device"].tolist())),
        "best_score": min(table.contenders["score"].tolist(), default=None),
    }
    if outcomes.total() < sweep_spec(check).trials:
        raise PartError(f"{outcomes.total()} of {sweep_spec(check).trials} trials are in the table", results)
    if "completed" not in outcomes:
        raise PartError("no trial was completed", results)
    where = check.card_name if check.device == "cuda" else "cpu"
    if not all(device.startswith(where) for device in results["devices"]):
        raise PartError(f"not all were trained on {where}", results)
    return results


def at_once(table: ResultsTable) -> int:
    """How many cohorts were in training at one moment, at most: from the first step of each to its last row."""
    ends: dict[int, list[float]] = {}
    begins: dict[int, float] = {}
    columns = (table.frame[name].tolist() for name in ("cohort", "elapsed_seconds", "seconds"))
    for cohort, elapsed, seconds in zip(*columns, strict=True):
        ends.setdefault(cohort, []).append(elapsed)
        begins[cohort] = min(begins.get(cohort, elapsed), elapsed - seconds)
    return max(sum(begins[each] <= begun <= max(ends[each]) for each in ends) for begun in begins.values())


def memory_command(check: Check, folder: Path) -> list[str]:
    size = ["--models", "gaussian", "--lanes", "2"] if check.tiny else []
    return ["-m", "benchmarks.gpu_memory", "--device", check.device, "--json", str(folder / "memory.json"), *size]


def read_json(name: str) -> Callable[[Check, Path], Results | None]:
    """What a part wrote into this file, which it may have been ended while writing."""

    def read(check: Check, folder: Path) -> Results | None:
        try:
            return json.loads((folder / name).read_text())
        except (OSError, ValueError):
            return None

    return read


# What takes longest is last: it writes after every model, and has all the time that the others left.
PARTS: dict[str, Part] = {
    "tests": Part(150, tests_command, read_tests),
    "memory": Part(60, memory_command, read_json("memory.json")),
    "sweep": Part(90, sweep_command, read_sweep),
    "lanes": Part(300, lanes_command, read_json("lanes.json")),
}
