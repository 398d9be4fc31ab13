"""A cluster of unlike hosts: who trains is decided by labels and resources, and those who do not are seen with why."""

import signal
import subprocess
import time
from pathlib import Path

import pytest
from curve_array import rows_of
from hosts import Hosts, hosts_up
from tiny_runs import TINY, settings

from results.store import RunFolder

pytestmark = pytest.mark.slow


def started(hosts: Hosts, run: Path, *asked: str) -> subprocess.Popen[str]:
    command = ["python", "-m", "sweep", "run", "--out", run, "--address", hosts.ray, *settings(*asked)]
    return hosts.start(0, *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_only_nodes_with_the_labels_and_resources_train_and_a_watcher_sees_why_others_do_not(tmp_path):
    free, bound, small = (tmp_path / name for name in ("free", "bound", "small"))
    with hosts_up(2) as hosts:
        hosts.start_ray(0)
        hosts.start_ray(1, "--labels=zone=b", '--resources={"licence": 1}')
        small_said = started(hosts, small, *TINY, "resources.labels={zone: b}", "resources.cpus_per_cohort=2")
        _, error = small_said.communicate(timeout=120)
        assert small_said.returncode == 2
        assert error.splitlines()[-1].startswith(
            "gan-sweep: resources.cpus_per_cohort: a cohort asks for 2 CPUs, and the largest node, node1, has 1 CPU; "
        )
        finished = started(hosts, free, *TINY, "resources.labels={zone: '!b'}", "resources.memory_gb=1.5")
        assert finished.communicate(timeout=240)[1].count("Traceback") == finished.returncode == 0
        assert {row["node"] for row in rows_of(RunFolder(free))} == {"node0"}  # a node without the label is not in b
        endless = [*TINY[:3], "execution=replayed", "ladder.rungs_images=[512, 50000000]", "trials=2"]
        going = started(hosts, bound, *endless, "resources.labels={zone: b}", "resources.custom={licence: 1}")
        deadline, watched = time.monotonic() + 120, ""
        while "node node1: 1 of 1 place in use" not in watched and time.monotonic() < deadline:
            time.sleep(0.5)
            assert going.poll() is None
            if (bound / "progress.json").exists():
                watched = hosts.run(0, "python", "-m", "sweep", "watch", "--once", bound).stdout
        hosts.send(going, signal.SIGINT)
        going.communicate(timeout=60)
    lines = watched.splitlines()
    assert max(map(len, lines)) <= 80
    assert "node node0 is given no cohort: its labels are not those of resources.labels" in lines
    assert "node node1: 1 of 1 place in use" in lines
    assert {row["node"] for row in rows_of(RunFolder(bound))} == {"node1"}


USERS = {1: 20_001, 2: 20_002}  # host -> the user whose it is, and whose sweep is started there


def test_the_sweeps_of_two_users_are_apart_and_neither_reads_the_others_folder():
    """With a umask that lets nobody else in. Host 0, where all cohorts train, belongs to neither."""
    with hosts_up(3) as hosts:
        runs = hosts.folder / "runs"
        runs.mkdir()
        runs.chmod(0o1777)
        hosts.start_ray(0, cpus=2, private=[runs])
        for host, user in USERS.items():
            hosts.start_ray(host, cpus=0, user=user)
        sweeps = {host: begun_by(hosts, host, runs / str(user)) for host, user in USERS.items()}
        for sweep in sweeps.values():
            _, error = sweep.communicate(timeout=300)
            assert (sweep.returncode, "Traceback" in error) == (0, False), error
        for host, user in USERS.items():
            for owner in USERS.values():
                unread = ["!", "-readable"] if user == owner else ["-readable"]
                assert hosts.run(host, "find", runs / str(owner), *unread, user=user).stdout == ""
        tables = [
            sorted(
                (row["trial"], row["rung"], row["score"], row["node"]) for row in rows_of(RunFolder(runs / str(user)))
            )
            for user in USERS.values()
        ]
    assert tables[0] == tables[1]
    assert {row[-1] for row in tables[0]} == {"node0"}


def begun_by(hosts: Hosts, host: int, run: Path) -> subprocess.Popen[str]:
    command = ["python", "-m", "sweep", "run", "--out", run, "--address", hosts.ray]
    asked = settings(*TINY, "sampler=random", "ladder.keep_fraction=1.0", "execution=replayed")
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return hosts.start(host, *command, *asked, user=USERS[host], umask=0o077, **streams)
