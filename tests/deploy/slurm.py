"""Slurm of a controller and two nodes on three hosts, from the packages of the system (`slurm-wlm`, `munge`)."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from events import LONGEST_SECONDS
from hosts import Hosts, hosts_up

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
CPUS = 2  # that each node says it has

CONF = """\
ClusterName=test
SlurmctldHost=node0({address0})
SlurmctldPort=46817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdSpoolDir={folder}/spool-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
PropagateResourceLimits=NONE
SlurmdTimeout=20
NodeName=node1 NodeAddr={address1} NodeHostname=node1 Port=46818 CPUs={cpus} RealMemory=8000
NodeName=node2 NodeAddr={address2} NodeHostname=node2 Port=46819 CPUs={cpus} RealMemory=8000
PartitionName=all Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP
"""  # cred_expire: a requeued job starts again after as long, which is two minutes otherwise


class Slurm:
    """Slurm whose controller is on host 0 and whose nodes `node1` and `node2` are the hosts 1 and 2."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts, self._folder = hosts, hosts.folder / "slurm"
        self._env = {"SLURM_CONF": str(self._folder / "slurm.conf")}

    def up(self) -> None:
        """Starts the daemons, and returns when both nodes wait for work."""
        (self._folder / "state").mkdir(parents=True)
        addresses = {f"address{host}": self.hosts.address(host) for host in range(3)}
        (self._folder / "slurm.conf").write_text(CONF.format(folder=self._folder, cpus=CPUS, **addresses))
        # `ip netns exec` mounts another /sys, without the control groups that slurmd would look for
        (self._folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
        key = self._folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        files = [f"--{name}-file={self._folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
        self._start(0, "munged", "--foreground", "--force", f"--socket={self._folder}/munge.socket", *files)
        self._wait_for(self._folder / "munge.socket")
        self._start(0, "slurmctld", "-D", "-c")
        for host in (1, 2):
            self.start_node(host)
        deadline = time.monotonic() + LONGEST_SECONDS
        while self.command("sinfo", "--noheader", "--format=%D %t") != "2 idle":
            assert time.monotonic() < deadline, self.command("sinfo", "-N")
            time.sleep(0.2)

    def start_node(self, host: int) -> None:
        """Starts the daemon of a node."""
        self._start(host, "slurmd", "-D", "-N", f"node{host}")

    def command(self, *words: str | Path) -> str:
        """Runs a command of Slurm on the controller's host, and returns what it printed."""
        done = self.hosts.run(0, *words, env=self._env)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout.strip()

    def state(self, job: str) -> dict[str, str]:
        """What `scontrol show job` says of a job, by its names: JobState, Restarts, ExitCode, ..."""
        said = self.command("scontrol", "show", "job", job)
        return {name: value for name, _, value in (word.partition("=") for word in said.split())}

    def _start(self, host: int, *command: str) -> None:
        with (self._folder / f"{command[0]}-{host}.log").open("w") as log:
            self.hosts.start(host, *command, env=self._env, stdout=log, stderr=subprocess.STDOUT)

    def _wait_for(self, path: Path) -> None:
        deadline = time.monotonic() + LONGEST_SECONDS
        while not path.exists():
            assert time.monotonic() < deadline, f"{path} does not appear"
            time.sleep(0.05)


@contextmanager
def slurm_up() -> Iterator[Slurm]:
    """Slurm for a test, taken down after it. Skips the test where its programs are not installed."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f"no {missing[0]} here: install slurm-wlm and munge")
    with hosts_up(3) as hosts:
        slurm = Slurm(hosts)
        slurm.up()
        yield slurm
