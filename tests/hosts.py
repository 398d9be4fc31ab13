"""Hosts that are network namespaces of this machine, for tests of Ray on several of them. Needs root and `ip netns`.

Nothing is added to the machine's own network: the first host holds the bridge that all others hang on, so addresses
exist within these namespaces alone, and two sets of hosts do not meet.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from events import LONGEST_SECONDS

ROOT = Path(__file__).absolute().parents[1]
RAY_PORT = 6379
STORE_BYTES = 80_000_000  # of Ray's object store on a host
SUBNET = "10.221.7"


class Hosts:
    """Hosts 0, 1, 2, ... of names `node0`, `node1`, .... Each has an address, a host name, processes, and a home, a
    temporary folder and a /tmp/ray that are its own. All other files are the machine's, so that a folder is shared
    between hosts unless `private` hides it from one.

    folder: where the hosts' own folders lie; its path must be short, because Ray's sockets lie below it.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        self._prefix = f"gs{secrets.token_hex(4)}n"
        self._left: list[subprocess.Popen[Any]] = []
        self._holders: list[int] = []  # of each host the process that keeps its namespaces, its number 1

    def address(self, host: int) -> str:
        """The IP address of a host."""
        return f"{SUBNET}.{host + 1}"

    @property
    def ray(self) -> str:
        """Where the head of Ray on host 0 listens."""
        return f"{self.address(0)}:{RAY_PORT}"

    def up(self) -> None:
        """Makes the namespaces, each connected to the bridge in that of host 0."""
        for host in range(self.count):
            _ip("netns", "add", self._name(host))
            self._ip(host, "link", "set", "lo", "up")
            for folder in ("home", "tmp", "ray"):
                (self.folder / f"node{host}" / folder).mkdir(parents=True)
        Path("/tmp/ray").mkdir(exist_ok=True)  # where each host sees its own
        self._ip(0, "link", "add", "bridge", "type", "bridge")
        self._ip(0, "addr", "add", f"{self.address(0)}/24", "dev", "bridge")
        self._ip(0, "link", "set", "bridge", "up")
        for host in range(1, self.count):
            port = f"port{host}"
            self._ip(0, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", self._name(host))
            self._ip(0, "link", "set", port, "master", "bridge", "up")
            self._ip(host, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
            self._ip(host, "link", "set", "eth0", "up")
        for host in range(self.count):  # a route to everywhere, which leads nowhere: by it a process finds its address
            self._ip(host, "route", "add", "default", "dev", "eth0" if host else "bridge")
            self._holders.append(self._held(host))

    def down(self) -> None:
        """Kills every process of every host, and deletes the namespaces."""
        for holder in self._holders:
            os.kill(holder, signal.SIGKILL)  # the system then kills the others of its host
        for process in self._left:
            process.wait(LONGEST_SECONDS)
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        for host in reversed(range(self.count)):
            subprocess.run(["ip", "netns", "del", self._name(host)], check=False, capture_output=True)

    def start(
        self,
        host: int,
        *command: str | Path,
        env: Mapping[str, str] | None = None,
        private: Sequence[Path] = (),
        user: int | None = None,
        **options: Any,
    ) -> subprocess.Popen[Any]:
        """Starts a command on a host. env: added to the environment. private: folders that are empty for this command
        and what it starts. user: the id of the user whose it is, to whom the host then belongs; None: root. options: of
        Popen.
        """
        own = self.folder / f"node{host}"
        if user is not None and own.stat().st_uid != user:
            subprocess.run(["chown", "-R", str(user), own], check=True)
        mounts = [f"mount -t tmpfs tmpfs {folder}" for folder in private]
        mounts += [] if user is None else _reachable_python(own)
        hidden = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            f'{" && ".join(mounts)} && exec "$@"',
            "sh",
        ]
        into = ["nsenter", f"--target={self._holders[host]}", "--mount", "--uts", "--net", "--pid", f"--wd={ROOT}"]
        as_user = [] if user is None else ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        process = subprocess.Popen(
            [*into, *(hidden if mounts else []), *as_user, *map(str, command)],
            env={**_environment(own), **(env or {})},
            start_new_session=True,
            **options,
        )
        self._left.append(process)
        return process

    def send(self, process: subprocess.Popen[Any], number: int) -> None:
        """Sends a signal to a process that `start` started, without those that it started itself."""
        for pid in _children(process.pid):
            os.kill(pid, number)

    def run(self, host: int, *command: str | Path, seconds: float = 120.0, **options: Any) -> Any:
        """Runs a command on a host to its end, and returns it as a CompletedProcess with what it printed."""
        process = self.start(host, *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
        out, err = process.communicate(timeout=seconds)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def start_ray(self, host: int, *options: str, cpus: int = 1, **how: Any) -> subprocess.Popen[Any]:
        """Starts Ray's head on host 0, or a worker of it on another, and returns when that is part of the cluster."""
        own = self.folder / f"node{host}"
        place = (
            ["--head", f"--port={RAY_PORT}", "--include-dashboard=false"] if host == 0 else [f"--address={self.ray}"]
        )
        log = (own / "ray.log").open("w+")
        process = self.start(
            host, _script("ray"), "start", "--block", *place, f"--node-ip-address={self.address(host)}",
            f"--num-cpus={cpus}", f"--object-store-memory={STORE_BYTES}", "--disable-usage-stats",
            f"--temp-dir={own}/ray", *options, stdout=log, stderr=subprocess.STDOUT, **how,
        )  # fmt: skip
        deadline = time.monotonic() + LONGEST_SECONDS
        while "--block" not in (said := (own / "ray.log").read_text()):  # its last words: "... since --block ..."
            assert process.poll() is None, f"Ray ended on node{host}: {said}"
            assert time.monotonic() < deadline, f"Ray did not start on node{host}: {said}"
            time.sleep(0.05)
        log.close()
        return process

    def cut(self, host: int) -> None:
        """Takes the link of a host down: what is sent is lost, silently."""
        self._ip(0, "link", "set", f"port{host}", "down")

    def mend(self, host: int) -> None:
        """Takes the link of a host up again."""
        self._ip(0, "link", "set", f"port{host}", "up")

    def pids(self, host: int) -> set[int]:
        """The processes of a host."""
        found = subprocess.run(["ip", "netns", "pids", self._name(host)], check=False, capture_output=True, text=True)
        return {int(pid) for pid in found.stdout.split()} - {self._holders[host]}

    def kill(self, host: int, number: int = signal.SIGKILL) -> None:
        """Sends a signal to all processes of a host; after SIGKILL, returns when none is left."""
        deadline = time.monotonic() + LONGEST_SECONDS
        while pids := self.pids(host):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            if number != signal.SIGKILL:
                return
            assert time.monotonic() < deadline, f"processes of node{host} survive: {pids}"
            for process in self._left:
                process.poll()  # so that those that this process started are no zombies
            time.sleep(0.05)

    def _held(self, host: int) -> int:
        """Begins a host's processes and mounts, and returns the process that keeps them."""
        own = self.folder / f"node{host}"
        inside = f"hostname node{host} && mount --bind {own}/ray /tmp/ray && exec sleep infinity"
        unshared = ["unshare", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "--propagation", "private"]
        made = subprocess.Popen(
            ["ip", "netns", "exec", self._name(host), *unshared, "sh", "-c", inside],
            start_new_session=True,
            stderr=subprocess.DEVNULL,  # unshare complains when its child is killed
        )
        self._left.append(made)
        deadline = time.monotonic() + LONGEST_SECONDS
        while not any(_words(pid) == ["sleep", "infinity"] for pid in _children(made.pid)):
            assert made.poll() is None, "a host cannot be made"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return _children(made.pid)[0]

    def _name(self, host: int) -> str:
        return f"{self._prefix}{host}"

    def _ip(self, host: int, *words: str) -> None:
        _ip("-n", self._name(host), *words)


@contextmanager
def hosts_up(count: int) -> Iterator[Hosts]:
    """Hosts for a test, taken down after it. Skips the test where no namespaces can be made."""
    _skip_without_namespaces()
    folder = Path(tempfile.mkdtemp(prefix="h", dir="/tmp"))  # short: the names of Ray's sockets must fit 107 bytes
    folder.chmod(0o755)
    hosts = Hosts(folder, count)
    try:
        hosts.up()
        yield hosts
    finally:
        hosts.down()
        shutil.rmtree(folder, ignore_errors=True)


def _skip_without_namespaces() -> None:
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "unshare", "nsenter", "mount"))):
        pytest.skip("hosts are network namespaces: they need root, ip, unshare and nsenter")
    name = f"gs{os.getpid()}probe"
    if (made := subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True, text=True)).returncode:
        pytest.skip(f"no network namespace can be made here: {made.stderr.strip()}")
    _ip("netns", "del", name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _reachable_python(own: Path) -> list[str]:
    """Shell commands by which other users than root reach this interpreter where it lies in a folder that is closed to
    them, such as root's home.
    """
    base, copy = Path(sys.base_prefix), own / "python"
    closed = [folder for folder in base.parents if not folder.stat().st_mode & 0o001]
    if not closed:
        return []
    return [
        f"mkdir -p {copy}",
        f"mount --bind {base} {copy}",
        f"mount -t tmpfs -o mode=755 tmpfs {closed[-1]}",
        f"(umask 022 && mkdir -p {base})",
        f"mount --bind {copy} {base}",
    ]


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _words(pid: int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    return []


def _script(name: str) -> str:
    """A command that was installed with this interpreter."""
    return str(Path(sys.executable).parent / name)


def _environment(own: Path) -> dict[str, str]:
    """The environment of a host: that of the test, without what concerns its own Ray, and with the host's folders."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {
        **kept,
        "HOME": f"{own}/home",
        "TMPDIR": f"{own}/tmp",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
