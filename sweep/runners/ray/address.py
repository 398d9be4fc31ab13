"""Which cluster a sweep uses, and whether that lets this process in. A cluster is asked before Ray is, which tries for
up to a minute, and does not say why it fails.
"""

import importlib
import os
import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from gan_core.config.input_error import InputError, shown
from sweep.runners.ray.head import CONNECT_SECONDS

ADDRESS_VARIABLE = "RAY_ADDRESS"
MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
TOKEN_FILE = Path("~/.ray/auth_token")
PROCESSES = Path("/proc")
BEGUN_HERE = threading.Lock()  # held while a sweep of this program has a session of Ray that it began itself
# The one call of Ray's protocol that is used by name: it answers without a session, and by it alone a wrong token can
# be told from a head that is away. Where a version of Ray lacks it, nothing is known, and Ray itself finds out.
ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s/:@\[\]]+):(?P<port>\d{1,5})")


class Access(Enum):
    """What a cluster asks of who connects to it."""

    OPEN = "no token is asked for: whoever reaches the cluster can run programs on it"
    TOKEN = "a token is asked for, and the one here is accepted"
    UNKNOWN = "whether a token is asked for is not known"


def has_session() -> bool:
    """Whether this program has begun a session of Ray itself. Asking does not load Ray."""
    loaded = "ray" in sys.modules and importlib.import_module("ray").is_initialized()
    return loaded and not BEGUN_HERE.locked()


@contextmanager
def begun_here() -> Iterator[None]:
    """Within this context, a session of Ray is this sweep's, which begins and ends it. Raises InputError where another
    sweep of this program has one: Ray knows one session in a process.
    """
    if not BEGUN_HERE.acquire(blocking=False):
        raise InputError(
            "another sweep of this program has started Ray, and will end it: wait for that, run one of them with "
            "local=True, or call ray.init before both, whose session they then share"
        )
    try:
        yield
    finally:
        BEGUN_HERE.release()


def running_cluster(address: str | None) -> str | None:
    """The address of a cluster that runs already: `host:port`, or `auto` for one on this machine. None for a local one,
    or for the session of this program. address: what a person gave; without it $RAY_ADDRESS decides, which Ray sets in
    the jobs that it runs, where this program has no session. Ray calls a local cluster `local`, but what it starts by
    that name listens on every interface.

    Raises InputError for what is no address of a cluster.
    """
    name = "--address"
    if address in (None, "auto") and not has_session() and os.environ.get(ADDRESS_VARIABLE):
        name, address = ADDRESS_VARIABLE, os.environ[ADDRESS_VARIABLE]
    if address is None or address == "local":
        return None
    if address != "auto":
        _host_and_port(address, name)
    return address


def cluster_here() -> str:
    """The address of the Ray cluster that runs on this machine, as Ray finds it for `auto`: that of the processes here,
    or where these are of several clusters, or cannot be seen, of the cluster that was started last. Ray itself says
    nothing of a token that is missing, and tries for long.

    Raises InputError where there is none.
    """
    running = _running_here()
    noted = _noted_address()
    address = running.pop() if len(running) == 1 else noted or min(running, default="")
    if not address:
        raise InputError(
            "no Ray cluster runs on this machine, which --address auto asks for; start one, give host:port of another, "
            "or use --address local to start Ray here"
        )
    return address


def refuse_other_machine(address: str) -> None:
    """Raises InputError where no process of Ray runs on this machine, in which case Ray looks for one for a minute."""
    if PROCESSES.is_dir() and not _running_here():
        raise InputError(
            f"this machine is no node of the Ray cluster at {shown(address)}: run the command on one of its nodes, or "
            "start one here (ray start --address=...)"
        )


def _running_here() -> set[str]:
    """The addresses of the clusters of which processes run on this machine, as far as this user sees them."""
    return {
        word.partition("=")[2]
        for line in PROCESSES.glob("[0-9]*/cmdline")
        for word in _words(line)
        if word.startswith("--gcs-address=")
    }


def _words(command_line: Path) -> list[str]:
    try:
        return command_line.read_text(errors="replace").split("\0")
    except OSError:  # the process has ended
        return []


def _noted_address() -> str:
    """What `ray start` noted last; "" where it did not."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    try:
        return (Path(folder) / "ray" / "ray_current_cluster").read_text().strip()
    except (OSError, ValueError):
        return ""


def _host_and_port(address: str, name: str) -> tuple[str, int]:
    """Both parts of `host:port`. name: of the option or variable that gave it, for the message of InputError."""
    use = "give host:port of the cluster's head (its port is 6379 unless it was started with another)"
    if address.startswith("ray://"):
        raise InputError(f"{name} {shown(address)} names a server of Ray Client, which no sweep can use; {use}")
    if "://" in address:
        raise InputError(f"{name} {shown(address)} is a URL, as of Ray's dashboard, and no cluster's address; {use}")
    found = ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 65_536:
        here = "--address local starts Ray here" if name == ADDRESS_VARIABLE else "leave it out to start Ray here"
        raise InputError(f"{name} must be host:port, auto or local, got {shown(address)}; {here}")
    return found["host"].strip("[]"), int(found["port"])


def checked_access(address: str) -> Access:
    """Finds out what the head at host:port asks of this process.

    Raises InputError where nothing answers, where what answers is no head of Ray, and where the token that Ray would
    send from here is missing, cannot be read, or is refused.
    """
    host, port = _host_and_port(address, "--address")
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise InputError(
            f"no Ray cluster answers at {shown(address)} ({error.strerror or error}); start one, or use --address "
            "local to start Ray here"
        ) from error
    answer = _asked(address, None)
    if answer == "UNAUTHENTICATED":
        _check_token(address)
        return Access.TOKEN
    if answer == "OK":
        if os.environ.get(MODE, "").lower() == "token":
            _token("sends one because RAY_AUTH_MODE is token, and the cluster needs none: unset RAY_AUTH_MODE")
        return Access.OPEN
    if answer in ("UNAVAILABLE", "UNKNOWN", "DEADLINE_EXCEEDED") and os.environ.get("RAY_USE_TLS", "0") in ("", "0"):
        raise InputError(
            f"what answers at {shown(address)} is no head of a Ray cluster; its port is 6379 unless it was started "
            "with another, and that of its dashboard (8265) is none"
        )
    return Access.UNKNOWN


def access_of(address: str) -> Access:
    """What the head at host:port asks of anybody. Raises nothing."""
    return {"OK": Access.OPEN, "UNAUTHENTICATED": Access.TOKEN}.get(_asked(address, None), Access.UNKNOWN)


def _check_token(address: str) -> None:
    if (mode := os.environ.get(MODE, "")).lower() != "token" and (mode or "ray" in sys.modules):
        here = f"{MODE} is {shown(mode)}; set it to token" if mode else f"ray is imported; set {MODE}=token before"
        raise InputError(f"the Ray cluster at {address} asks for a token, and {here}")
    token = _token(f"the Ray cluster at {address} asks for one")
    if _asked(address, token.value) == "UNAUTHENTICATED":
        raise InputError(f"the Ray cluster at {address} refuses the token in {token.source}; give it that of the head")


@dataclass(frozen=True)
class _Token:
    """A token, and where it was found. Nothing prints the token itself."""

    value: str
    source: str


def _token(why: str) -> _Token:
    """The token that Ray would use, from where it looks, in its order. Raises InputError, which tells why one is
    wanted, where there is none.
    """
    if value := os.environ.get(TOKEN, "").strip():
        return _Token(value, TOKEN)
    named = os.environ.get(TOKEN_PATH)
    path = Path(named) if named else TOKEN_FILE.expanduser()
    source = f"{path}, which {TOKEN_PATH} names," if named else str(path)
    try:
        value = path.read_text().strip()
    except (OSError, ValueError) as error:
        value, source = "", f"{source} ({getattr(error, 'strerror', None) or 'it is no text'})"
    if not value:
        raise InputError(f"there is no token for Ray in {TOKEN} or in {source}; {why}")
    return _Token(value, source)


def _asked(address: str, token: str | None) -> str:
    """The name of the status with which the head answers a call that changes nothing."""
    try:
        grpc: Any = importlib.import_module("grpc")
    except ImportError:  # it comes with tensorboard; without it Ray finds out
        return "UNIMPLEMENTED"
    metadata = [] if token is None else [("authorization", f"Bearer {token}")]
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(ALIVE)(b"", timeout=CONNECT_SECONDS / 2, metadata=metadata)
        except grpc.RpcError as error:
            return error.code().name
    return "OK"
