"""A sweep on two hosts: what is said of them, and what is right when one of them is killed."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from curve_array import rows_of, swept
from held_curves import HELD, SPEC
from hosts import ROOT, Hosts, hosts_up
from tiny_runs import TINY, settings

from gan_core.config.version import code_version
from results.store import RunFolder

pytestmark = pytest.mark.filterwarnings("ignore")


def scores(folder: RunFolder) -> list[tuple]:
    """What a table says of each trial, in whichever order rows were written."""
    return sorted((row["trial"], row["rung"], row["images_seen"], row["score"]) for row in rows_of(folder))


def waited_for(path: Path, process: subprocess.Popen) -> bool:
    deadline = time.monotonic() + 120
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return path.exists()


def test_a_host_that_is_killed_changes_no_row(tmp_path):
    with hosts_up(2) as hosts:
        for host in range(2):
            hosts.start_ray(host)
        run = tmp_path / "run"
        sweep = hosts.start(
            0, "python", "-m", "held_curves", run, env={"RAY_ADDRESS": hosts.ray},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        held = waited_for(tmp_path / HELD, sweep)
        hosts.kill(1)
        said, warned = sweep.communicate(timeout=200)
    assert held, warned
    assert sweep.returncode == 0, warned
    assert warned.count("\n") <= 2  # where the warning was raised, and its line
    assert f"the Ray cluster at {hosts.ray} asks for no token" in warned
    lines = said.splitlines()
    for host in range(2):
        (seen,) = [line for line in lines if line.startswith(f"node node{host}: 1 CPU")]
        assert f"; gan-sweep {code_version()}, python 3." in seen
    assert "state-dump" not in said + warned  # Ray's own words about a node, two screens of them
    assert scores(RunFolder(run)) == scores(swept(SPEC, tmp_path / "undisturbed"))


class Sweep:
    """A sweep of the command line on a host of a cluster, whose trials last until something ends it."""

    def __init__(self, hosts: Hosts, host: int, run: Path, env: dict[str, str] | None = None) -> None:
        self.hosts, self.run = hosts, run
        self.log = run.with_suffix(".log")
        endless = settings(*TINY[:3], "execution=replayed", "ladder.rungs_images=[512, 50000000]", "trials=2")
        command = ["python", "-m", "sweep", "run", "--out", run, "--address", hosts.ray, *endless]
        with self.log.open("w") as log:
            self.process = hosts.start(host, *command, env=env, stdout=log, stderr=log)

    def wait_for(self, line: str) -> "Sweep":
        """Returns when a line was printed."""
        deadline = time.monotonic() + 120
        while line not in self.log.read_text() and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert line in self.log.read_text(), self.log.read_text()
        return self

    def rows(self) -> list[dict[str, Any]]:
        """The rows so far."""
        folder = RunFolder(self.run)
        return rows_of(folder) if folder.rows.exists() else []

    def ended(self, seconds: float = 60.0) -> tuple[int, str]:
        """The exit code and what was printed, without how far it was."""
        code, said = self.process.wait(seconds), self.log.read_text()
        assert "Traceback" not in said
        assert "state-dump" not in said
        return code, said


@pytest.fixture(scope="module")
def two() -> Iterator[Hosts]:
    """Two hosts that share a cluster without a token. Tests leave it as it is."""
    with hosts_up(2) as hosts:
        for host in range(2):
            hosts.start_ray(host)
        yield hosts


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["connecting to Ray", "looking at the nodes", "starting the processes", " running;"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_a_sweep_on_a_cluster_with_130_and_the_line_how_to_go_on(two, tmp_path, phase, number):
    sweep = Sweep(two, 0, tmp_path / "run").wait_for(phase)
    two.send(sweep.process, number)
    code, said = sweep.ended()
    assert code == 130, said
    assert said.splitlines()[-1].startswith(f"interrupted; what was reported is in {tmp_path}/run. Go on with: gan-sw")


@pytest.mark.slow
def test_what_is_wrong_with_a_node_is_said_at_once_with_its_name(tmp_path):
    """Other code, a folder that is not shared, data that is missing, GPUs that are none, on a node that is added."""
    other, hidden = tmp_path / "other", tmp_path / "hidden"
    shutil.copytree(ROOT / "gan_core", other / "gan_core")
    (other / "gan_core" / "more.py").write_text("")
    hidden.mkdir()
    with hosts_up(2) as hosts:
        hosts.start_ray(0)
        hosts.start_ray(1, "--num-gpus=2", env={"PYTHONPATH": str(other)}, private=[hidden, ROOT])
        began = time.monotonic()
        code, said = Sweep(hosts, 0, hidden / "run").ended()
        assert code == 2, said
        line = said.splitlines()[-1]
        assert line.startswith("gan-sweep: nothing was started, because of node node1: ")
        assert f"and the sweep {code_version()}: install the same on both" in line
        assert "it offers 2 GPUs to Ray, and torch sees none there" in line
        assert "node node1: 1 CPU, 2 GPUs" in said
        assert "does not see the run's folder" in said
        assert time.monotonic() - began < 60
        asked = hosts.run(0, "python", "-m", "sweep", "doctor", "--address", hosts.ray, "--data-root", hidden)
        assert asked.returncode == 1
        assert "fault: node node1: " in asked.stdout


@pytest.mark.slow
def test_a_node_without_the_package_is_named_and_not_used_at_the_start_and_where_it_joins_later(tmp_path):
    with hosts_up(3) as hosts:
        hosts.start_ray(0)
        hosts.start_ray(1, private=[ROOT])
        sweep = Sweep(hosts, 0, tmp_path / "run")
        missing = "gan-sweep: warning: node node{}: gan-sweep is not installed there (ModuleNotFoundError"
        sweep.wait_for(missing.format(1)).wait_for(" 1 running;")
        hosts.start_ray(2, private=[ROOT])
        sweep.wait_for("node node2 has joined").wait_for(missing.format(2))
        rows = sweep.rows()
        hosts.send(sweep.process, signal.SIGTERM)
        code, said = sweep.ended()
    assert (code, {row["node"] for row in rows}) == (130, {"node0"}), said
    assert "died" not in said


DRAIN = """
import ray, subprocess, sys
ray.init(log_to_driver=False)
(node,) = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeManagerHostname"] == sys.argv[1]]
subprocess.run(["ray", "drain-node", "--node-id", node, "--reason", "DRAIN_NODE_REASON_PREEMPTION",
    "--reason-message", "test", "--deadline-remaining-seconds", "60"], check=True)
"""


@pytest.mark.slow
def test_a_drained_nodes_cohort_is_saved_within_seconds_and_goes_on_on_a_node_that_joins(tmp_path):
    with hosts_up(3) as hosts:
        for host in range(2):
            hosts.start_ray(host)
        sweep = Sweep(hosts, 0, tmp_path / "run").wait_for(" 2 running;")
        while sweep.process.poll() is None and "node1" not in {row["node"] for row in sweep.rows()}:
            time.sleep(0.05)  # from then on it is on its way to a rung that it never reaches
        began = time.monotonic()
        drained = hosts.run(0, "python", "-c", DRAIN, "node1", env={"RAY_ADDRESS": hosts.ray})
        assert drained.returncode == 0, drained.stderr
        sweep.wait_for("node node1 is being drained: its cohorts go elsewhere")
        sweep.wait_for(" goes on elsewhere from where it was")
        assert time.monotonic() - began < 30
        assert len(list((tmp_path / "run" / "checkpoints").glob("cohort-*/rung-*.midway"))) == 1
        sweep.wait_for(" 1 running;")
        hosts.kill(1)
        running = sweep.log.read_text().count(" 2 running;")
        hosts.start_ray(2)
        deadline = time.monotonic() + 120
        while sweep.log.read_text().count(" 2 running;") <= running and time.monotonic() < deadline:
            time.sleep(0.05)
        assert sweep.log.read_text().count(" 2 running;") > running
        hosts.send(sweep.process, signal.SIGTERM)
        code, said = sweep.ended()
    assert code == 130, said
    assert "images are trained again" not in said


@pytest.mark.slow
def test_a_signal_is_answered_in_time_also_where_the_head_is_out_of_reach(tmp_path):
    """As by `scancel`, which ends the head and the driver together, and kills what is left after 30 seconds."""
    with hosts_up(2) as hosts:
        for host in range(2):
            hosts.start_ray(host)
        sweep = Sweep(hosts, 1, tmp_path / "run").wait_for(" 2 running;")
        hosts.cut(1)
        time.sleep(2)  # in which the driver comes to wait for the head
        began = time.monotonic()
        hosts.send(sweep.process, signal.SIGTERM)
        code, said = sweep.ended()
        seconds = time.monotonic() - began
    assert (code, seconds < 20) == (130, True), (seconds, said)
    assert "interrupted; what was reported is in" in said.splitlines()[-1]


@pytest.mark.slow
def test_a_cluster_with_a_token_takes_who_has_it_and_says_so_to_who_has_not(tmp_path):
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 32}
    with hosts_up(1) as hosts:
        hosts.start_ray(0, env=token)
        for env, code, says in (
            ({}, 2, "there is no token for Ray in RAY_AUTH_TOKEN or in"),
            ({"RAY_AUTH_TOKEN": "b" * 32}, 2, "refuses the token in RAY_AUTH_TOKEN"),
            ({"RAY_AUTH_TOKEN_PATH": "/nowhere"}, 2, "in /nowhere, which RAY_AUTH_TOKEN_PATH names,"),
            ({"RAY_AUTH_TOKEN": "a" * 32}, 0, "token: a token is asked for, and the one here is accepted"),
        ):
            for address in (hosts.ray, "auto"):
                began = time.monotonic()
                asked = hosts.run(0, "python", "-m", "sweep", "doctor", "--address", address, env=env)
                assert (asked.returncode, says in asked.stdout + asked.stderr) == (code, True), asked
                assert code == 0 or (time.monotonic() - began < 10 and asked.stderr.count("\n") == 1)


@pytest.mark.slow
def test_where_the_host_of_the_head_dies_the_sweep_ends_with_one_line(tmp_path):
    with hosts_up(2) as hosts:
        for host in range(2):
            hosts.start_ray(host)
        sweep = Sweep(hosts, 1, tmp_path / "run").wait_for(" 2 running;")
        hosts.kill(0)
        code, said = sweep.ended(120)
    assert code == 2, said
    assert said.splitlines()[-1].startswith("gan-sweep: Ray's head process died; what was reported is in ")


def raylet_of(hosts: Hosts, host: int) -> int:
    (raylet,) = [pid for pid in hosts.pids(host) if Path(f"/proc/{pid}/comm").read_text() == "raylet\n"]
    return raylet


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["connecting to Ray", "looking at the nodes", "starting the processes", " running;"])
def test_a_raylet_that_is_killed_at_any_moment_ends_the_sweep_with_one_line(tmp_path, phase):
    """Also before the first row."""
    with hosts_up(1) as hosts:
        hosts.start_ray(0)
        sweep = Sweep(hosts, 0, tmp_path / "run").wait_for(phase)
        os.kill(raylet_of(hosts, 0), signal.SIGKILL)
        code, said = sweep.ended(100)
    assert code == 2, said
    (line,) = [line for line in said.splitlines() if line.startswith("gan-sweep: ") and "warning" not in line]
    assert "raylet" in line or phase == "connecting to Ray", said


@pytest.mark.slow
def test_a_node_that_is_lost_is_one_line_and_the_raylet_beside_the_driver_ends_the_sweep_with_one(tmp_path):
    with hosts_up(3) as hosts:
        for host in range(3):
            hosts.start_ray(host)
        sweep = Sweep(hosts, 1, tmp_path / "run").wait_for(" 2 running;")
        hosts.kill(2)
        lost = "node node2 is lost"
        sweep.wait_for(lost)
        os.kill(raylet_of(hosts, 1), signal.SIGKILL)
        code, said = sweep.ended()
    assert code == 2
    assert said.count(lost) == 1
    assert said.splitlines()[-1].startswith("gan-sweep: Ray's process on this machine (its raylet) died; what was")
