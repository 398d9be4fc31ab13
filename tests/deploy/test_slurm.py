"""The batch file for Slurm, as it is shipped, on a Slurm of two nodes: a requeue and the time limit lose nothing."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hosts import ROOT
from slurm import Slurm, slurm_up

from results.table import ResultsTable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]

SBATCH = ROOT / "deploy" / "slurm" / "gan-sweep.sbatch"
SMALL = ["--cpus-per-task=1", "--partition=all"]
TRIALS = 12
KILL_WAIT_SECONDS = 30  # of Slurm by default: so long after its signal it kills
RUNGS = [64_000, 128_000, 256_000]
SWEEP = ["digits", "--trials", str(TRIALS), "--seed", "3", "--set", "execution=replayed"]
SWEEP += ["--set", f"ladder.rungs_images={RUNGS}", "--set", "ladder.keep_fraction=0.6", "--set", "lanes_per_cohort=2"]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with slurm_up() as slurm:
        command = slurm.hosts.folder / "gan-sweep"  # as it would be installed
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m sweep "$@"\n')
        command.chmod(0o755)
        yield slurm


def submitted(slurm: Slurm, folder: Path, *options: str, sweep: list[str] = SWEEP) -> str:
    """Submits the batch file, and returns the number of the job. Its log is `folder/log`, its run `folder/run`."""
    folder.mkdir(exist_ok=True)
    typed = ["--parsable", f"--output={folder}/log", *SMALL, *options, SBATCH, *sweep, "--out", folder / "run"]
    return slurm.command(
        "env", f"PATH={slurm.hosts.folder}:{Path(sys.executable).parent}:/usr/bin:/bin", "sbatch", *typed
    )


def wait_until(what: Callable[[], bool], folder: Path, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        log = folder / "log"
        assert time.monotonic() < deadline, log.read_text() if log.exists() else "the job has no log"
        time.sleep(0.2)


def rows(folder: Path) -> int:
    path = folder / "run" / "rows.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def check_table(folder: Path, trials: int = TRIALS) -> None:
    """Every trial has ended once, at a rung of the ladder, and none failed."""
    table = ResultsTable.load(folder / "run")
    assert sorted(table.trials["trial"]) == list(range(trials))
    assert set(table.trials["outcome"]) <= {"completed", "pruned"}
    assert not table.frame.duplicated(["trial", "images_seen"]).any()
    assert set(table.frame["images_seen"]) <= set(RUNGS)
    assert "completed" in set(table.trials["outcome"])


def left(slurm: Slurm, job: str) -> list[str]:
    """What a job has left on the nodes."""
    return [str(path) for path in Path("/tmp").glob(f"gs-{job}-*")]


def test_a_job_that_is_requeued_goes_on_and_its_table_is_whole(slurm, tmp_path):
    job = submitted(slurm, tmp_path, "--time=10")
    wait_until(lambda: rows(tmp_path) >= 4, tmp_path)
    before = rows(tmp_path)
    slurm.command("scontrol", "requeue", job)
    wait_until(lambda: slurm.state(job)["JobState"] in ("COMPLETED", "FAILED"), tmp_path)
    state, log = slurm.state(job), (tmp_path / "log").read_text()
    assert (state["JobState"], state["Restarts"], state["ExitCode"]) == ("COMPLETED", "1", "0:0"), log
    assert before < rows(tmp_path)
    assert {"node1", "node2"} <= set(re.findall(r"^node (node\d)\b", log, re.MULTILINE))
    check_table(tmp_path)
    assert left(slurm, job) == []


def test_a_job_that_reaches_its_time_limit_saves_and_goes_on_in_the_next(slurm, tmp_path):
    job = submitted(slurm, tmp_path, "--time=60", "--signal=B:USR1@110", sweep=[*SWEEP, "--trials", "24"])
    wait_until(lambda: rows(tmp_path) >= 4, tmp_path)
    hours, minutes, _ = map(int, slurm.state(job)["RunTime"].split(":"))
    slurm.command("scontrol", "update", f"JobId={job}", f"TimeLimit={60 * hours + minutes + 2}")
    wait_until(lambda: slurm.state(job)["Restarts"] == "1", tmp_path)
    slurm.command("scontrol", "update", f"JobId={job}", "TimeLimit=60")
    before = rows(tmp_path)
    wait_until(lambda: slurm.state(job)["JobState"] in ("COMPLETED", "FAILED", "TIMEOUT"), tmp_path, 600)
    state, log = slurm.state(job), (tmp_path / "log").read_text()
    assert (state["JobState"], state["Restarts"], state["ExitCode"]) == ("COMPLETED", "1", "0:0"), log
    assert log.count("interrupted; what was reported is in") == 1, log
    assert before < rows(tmp_path)
    check_table(tmp_path, 24)
    assert left(slurm, job) == []


def test_of_two_jobs_on_the_same_nodes_one_is_cancelled_and_the_other_ends_as_alone(slurm, tmp_path):
    folders = [tmp_path / name for name in ("stays", "goes")]
    stays, goes = [submitted(slurm, folder, "--time=10") for folder in folders]
    for folder in folders:
        wait_until(lambda folder=folder: rows(folder) >= 2, folder)
    slurm.command("scancel", goes)
    wait_until(lambda: slurm.state(goes)["JobState"] == "CANCELLED", folders[1])
    log = folders[1] / "log"
    wait_until(lambda: "interrupted; what was reported is in" in log.read_text(), folders[1], KILL_WAIT_SECONDS)
    assert "Traceback" not in log.read_text()
    wait_until(lambda: slurm.state(stays)["JobState"] in ("COMPLETED", "FAILED"), folders[0])
    assert slurm.state(stays)["ExitCode"] == "0:0", (folders[0] / "log").read_text()
    check_table(folders[0])
    assert rows(folders[1]) < rows(folders[0])
    wait_until(lambda: left(slurm, goes) + left(slurm, stays) == [], folders[1], 60)


def test_nobody_else_reads_the_token_of_a_job(slurm, tmp_path):
    job = submitted(slurm, tmp_path, "--time=10")
    wait_until(lambda: len(left(slurm, job)) == 2 and rows(tmp_path) > 0, tmp_path)
    for folder in map(Path, left(slurm, job)):
        token = (folder / "token").read_text()
        assert len(token) == 64
        assert (folder.stat().st_mode & 0o777, (folder / "token").stat().st_mode & 0o777) == (0o700, 0o600)
        shown = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
        assert not any(token.encode() in arguments for arguments in shown)
    slurm.command("scancel", job)


def test_a_node_that_is_lost_costs_its_cohorts_a_rung_and_the_job_nothing(slurm, tmp_path):
    job = submitted(slurm, tmp_path, "--time=10")
    wait_until(lambda: rows(tmp_path) >= 4, tmp_path)
    slurm.hosts.kill(2)
    wait_until(lambda: slurm.state(job)["JobState"] in ("COMPLETED", "FAILED", "NODE_FAIL"), tmp_path, 600)
    slurm.start_node(2)
    state, log = slurm.state(job), (tmp_path / "log").read_text()
    assert (state["JobState"], state["Restarts"], state["ExitCode"]) == ("COMPLETED", "0", "0:0"), log
    check_table(tmp_path)


@pytest.mark.parametrize(
    ("sweep", "says"),
    [
        (["digits", "--set", "ladder.height=3"], "unknown key 'height' in ladder"),
        (["absent.yaml"], "absent.yaml"),
    ],
)
def test_bad_input_ends_the_job_with_one_line(slurm, tmp_path, sweep, says):
    job = submitted(slurm, tmp_path, "--time=10", sweep=sweep)
    wait_until(lambda: slurm.state(job)["JobState"] in ("COMPLETED", "FAILED"), tmp_path)
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert slurm.state(job)["ExitCode"] == "2:0", line
    assert line.startswith("gan-sweep: ")
    assert says in line
    assert left(slurm, job) == []
