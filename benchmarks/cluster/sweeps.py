"""Ray on hosts of this machine, and sweeps on it."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.kills import ROOT
from results.store import JsonLines, RunFolder

sys.path.insert(0, str(ROOT / "tests"))  # the hosts are those of the tests, which are no package

from hosts import Hosts, hosts_up  # noqa: E402, F401

CHECKPOINT_SECONDS = 3.0
SPEC = {
    "name": "cluster",
    "space": {"extends": "digits", "base": {f"structure.{n}_width": 32 for n in ("generator", "discriminator")}},
    "ladder": {"rungs_images": [16_384, 65_536, 196_608], "keep_fraction": 0.5},
    "sampler": "random",
    "scoring": {"samples": 500},
    "execution": "replayed",
    "checkpoint_minutes": CHECKPOINT_SECONDS / 60,
    "lanes_per_cohort": 2,
    "tracking": {"tensorboard": False},
}
TRIALS = 16
LONGEST_SECONDS = 600.0  # of one sweep: one that takes longer is counted as hanging, and killed
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "c" * 32}
WORKERS = (1, 2)
TRAINER = "Trainable|gan-sweep:.* (cohort|trainer)"  # in the title of a process that trains
GAN_SWEEP = (sys.executable, "-m", "sweep")


@dataclass
class Sweep:
    """A sweep of so many trials, whose command may be given again and again. start: starts the command with these
    streams. said, warned: what it printed on them.
    """

    folder: RunFolder
    trials: int
    start: Callable[..., subprocess.Popen[bytes]]
    said: Path = field(init=False)
    warned: Path = field(init=False)
    driver: subprocess.Popen[bytes] = field(init=False)
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.said, self.warned = (self.folder.path.with_suffix(suffix) for suffix in (".out", ".err"))
        self.began = time.monotonic()
        self.go_on()

    def go_on(self) -> None:
        """Gives the command, the first time or again."""
        with self.said.open("a") as said, self.warned.open("a") as warned:
            self.driver = self.start(stdout=said, stderr=warned)

    @property
    def rows(self) -> list[dict]:
        return JsonLines(self.folder.rows).read() if self.folder.rows.exists() else []

    @property
    def cohorts(self) -> bool:
        """Whether a cohort was handed out."""
        return self.folder.cohorts.exists() and self.folder.cohorts.stat().st_size > 0

    @property
    def seconds(self) -> float:
        """Since the command was given first."""
        return time.monotonic() - self.began

    @property
    def words(self) -> str:
        """All that it printed."""
        return self.said.read_text() + self.warned.read_text()

    def wait_for(self, there: Callable[[], object]) -> bool:
        """Waits until something is there. False if the command ended before."""
        while not there():
            if self.driver.poll() is not None or self.seconds > LONGEST_SECONDS:
                return False
            time.sleep(0.1)
        return True

    def wait(self) -> int | None:
        """Waits until the command has ended. Returns its exit code; None if it had to be killed."""
        try:
            return self.driver.wait(max(0.0, LONGEST_SECONDS - self.seconds))
        except subprocess.TimeoutExpired:
            os.killpg(self.driver.pid, signal.SIGKILL)
            self.driver.wait()
            return None


@dataclass
class Cluster:
    """Ray on hosts, and the sweeps on it. standing: the hosts that have Ray; 0 has its head."""

    hosts: Hosts
    chance: random.Random
    standing: set[int] = field(default_factory=set)
    run: int = 0

    def __post_init__(self) -> None:
        self.runs.mkdir()
        self.runs.chmod(0o1777)  # as /tmp, because several users have runs there

    @property
    def runs(self) -> Path:
        """Where the folders of runs are, which hosts with a driver see, and hosts that train do not."""
        return self.hosts.folder / "runs"

    def env(self, host: int) -> dict[str, str]:
        """The token, a cache that is the host's own, and no priority below that of other processes, which is Ray's
        default.
        """
        return {**TOKEN, "RAY_worker_niceness": "0", "GAN_SWEEP_CACHE": f"{self.hosts.folder}/node{host}/cache"}

    def stand(self, *wanted: int) -> None:
        """Lets exactly these hosts have Ray, one CPU each; and host 0 its head."""
        for host in self.standing - {0, *wanted}:
            self.fall(host)
        for host in sorted({0, *wanted} - self.standing):
            self.start(host, cpus=int(host > 0))

    def start(self, host: int, cpus: int, private: bool = True, user: int | None = None) -> None:
        """Starts Ray on a host. private: whether it is kept from seeing runs, unless it is host 0."""
        hidden = [self.runs] if private and host else []
        self.hosts.start_ray(host, cpus=cpus, private=hidden, env=self.env(host), user=user)
        self.standing.add(host)

    def fall(self, *hosts: int) -> None:
        """Kills hosts with all their processes."""
        for host in hosts:
            self.hosts.kill(host)
            self.standing.discard(host)

    def victim(self) -> int:
        """A host that trains, by chance."""
        return self.chance.choice(sorted(self.standing & set(WORKERS)))

    def pids(self, host: int, words: str) -> list[int]:
        """The processes of a host whose command line has this pattern."""
        found = []
        for pid in self.hosts.pids(host):
            try:
                if re.search(words, Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")):
                    found.append(pid)
            except OSError:  # it has ended
                continue
        return found

    def sweep(
        self, *options: str, trials: int = TRIALS, host: int = 0, user: int | None = None, alone: bool = False
    ) -> Sweep:
        """Starts a new sweep from a host, on the cluster, or alone on that host. user: whose it is, with a umask that
        lets nobody else read its files.
        """
        self.run += 1
        folder, spec = RunFolder(self.runs / f"run-{self.run}"), self.runs / f"spec-{self.run}.yaml"
        spec.write_text(json.dumps({**SPEC, "trials": trials}))
        where = () if alone else ("--address", self.hosts.ray)
        env = {"GAN_SWEEP_CACHE": self.env(host)["GAN_SWEEP_CACHE"]} if alone else self.env(host)
        command = (*GAN_SWEEP, "run", spec, *where, "--out", folder.path, *options)

        def start(**streams: Any) -> subprocess.Popen[bytes]:
            umask = -1 if user is None else 0o077
            return self.hosts.start(host, *command, env=env, user=user, umask=umask, **streams)

        return Sweep(folder, trials, start)
