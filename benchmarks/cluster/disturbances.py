"""What is done to a sweep, once, at a random moment."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.cluster.laws import Found
from benchmarks.cluster.sweeps import TRAINER, WORKERS, Cluster, Sweep

NOTICE_SECONDS = 10  # of a drained host
NOTICED_SECONDS = 15.0  # within which Ray ends on a host that was taken for dead, once its link is there again
RAYLET = "raylet/raylet"
JOINED_SECONDS = 30.0  # within which a host that joins is to have trained to a rung
ENDS_SECONDS = 90.0  # within which a driver ends whose head is lost


def kill(cluster: Cluster, sweep: Sweep, found: Found) -> None:
    """A host is lost with all its processes, and comes back."""
    cluster.fall(cluster.victim())
    cluster.stand(*WORKERS)


def trainer(cluster: Cluster, sweep: Sweep, found: Found) -> None:
    """One process that trains is killed."""
    trainers: list[int] = []
    if sweep.wait_for(lambda: trainers.extend(cluster.pids(cluster.victim(), TRAINER)) or trainers):
        os.kill(trainers[0], signal.SIGKILL)


def drain(cluster: Cluster, sweep: Sweep, found: Found) -> None:
    """A host is preempted: it is drained with notice, then lost, and comes back."""
    host = cluster.victim()
    ray, env = Path(sys.executable).parent / "ray", cluster.env(0)
    listed = cluster.hosts.run(
        0, sys.executable, "-c",
        "import ray; ray.init('auto', log_to_driver=False, logging_level=40); print('node', "
        f"*(n['NodeID'] for n in ray.nodes() if n['Alive'] and n['NodeManagerHostname'] == 'node{host}'))",
        env={**env, "RAY_ADDRESS": cluster.hosts.ray},
    )  # fmt: skip
    node = listed.stdout.split("node ")[-1].strip()
    answer = cluster.hosts.run(
        0, ray, "drain-node", "--address", cluster.hosts.ray, "--node-id", node, "--reason",
        "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "preempted", "--deadline-remaining-seconds",
        str(NOTICE_SECONDS), env=env,
    )  # fmt: skip
    if answer.returncode:
        raise RuntimeError(f"not drained: {answer.stdout}{answer.stderr}")
    time.sleep(NOTICE_SECONDS)
    cluster.fall(host)
    cluster.stand(*WORKERS)


def cut(seconds: float) -> Callable[[Cluster, Sweep, Found], None]:
    """The link of a host is cut for so long. Where Ray has taken the host for dead, it ends there, and starts anew."""

    def disturb(cluster: Cluster, sweep: Sweep, found: Found) -> None:
        host = cluster.victim()
        cluster.hosts.cut(host)
        time.sleep(seconds)
        cluster.hosts.mend(host)
        until = sweep.seconds + NOTICED_SECONDS
        if not sweep.wait_for(lambda: sweep.seconds > until or not cluster.pids(host, RAYLET)):
            sweep.wait()
        if not cluster.pids(host, RAYLET):
            cluster.fall(host)
            cluster.stand(*WORKERS)

    return disturb


def join(cluster: Cluster, sweep: Sweep, found: Found) -> None:
    """A host joins."""
    cluster.stand(*WORKERS)
    began = time.monotonic()
    if sweep.wait_for(lambda: any(row["node"] == "node2" for row in sweep.rows)):
        seconds = time.monotonic() - began
        found.remarks.append(f"first row {seconds:.0f} s after it joined")
        if seconds > JOINED_SECONDS:
            found.broken.append(f"first row later than {JOINED_SECONDS:.0f} s")
    else:
        found.broken.append("the host that joined trained nothing")


def head(cluster: Cluster, sweep: Sweep, found: Found) -> None:
    """Ray's head is killed, alone or with all of Ray on its host. A new one starts, with new workers, and the command
    is given again.
    """
    before, whole = sweep.warned.read_text(), cluster.chance.random() < 0.5
    for word in ("gcs_server", *["raylet"] * whole):
        for pid in cluster.pids(0, word):
            os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    code = sweep.wait()
    lines = [line for line in sweep.warned.read_text()[len(before) :].splitlines() if ": warning: " not in line]
    found.remarks.append(f"exit code {code} with {len(lines)} line after {time.monotonic() - began:.0f} s")
    if code != 2 or len(lines) != 1 or time.monotonic() - began > ENDS_SECONDS:
        found.broken.append(f"exit code {code}: {lines}")
    cluster.fall(0, *WORKERS)
    cluster.stand(*WORKERS)
    sweep.go_on()


def driver(cluster: Cluster, sweep: Sweep, found: Found) -> None:
    """The driver is killed, and its command is given again at once."""
    cluster.hosts.send(sweep.driver, signal.SIGKILL)
    sweep.wait()
    sweep.go_on()


def nothing(cluster: Cluster, sweep: Sweep, found: Found) -> None:
    """The sweep is left alone."""


DISTURBANCES: dict[str, Callable[[Cluster, Sweep, Found], None]] = {
    "undisturbed": nothing,
    "kill": kill,
    "trainer": trainer,
    "drain": drain,
    **{f"cut-{seconds}": cut(seconds) for seconds in (20, 60, 180)},
    "join": join,
    "head": head,
    "driver": driver,
}
