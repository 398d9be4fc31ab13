"""Connects this process to Ray: to the session that its program has begun, to a cluster that runs already, or to a
local cluster that `ray.init` starts and that ends with the sweep.

Only public calls of Ray and environment variables are used.
"""

import importlib
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gan_core.config.input_error import InputError, shown
from sweep.ledger.endings import PlaceError
from sweep.runners.cores import usable_cores
from sweep.runners.loading import uncollected
from sweep.runners.ray.address import (
    ADDRESS_VARIABLE,
    MODE,
    TOKEN,
    Access,
    access_of,
    begun_here,
    checked_access,
    cluster_here,
    has_session,
    refuse_other_machine,
)
from sweep.runners.ray.head import Head, LastResort, watched_raylet
from sweep.runners.signals import ending_as_ctrl_c, interrupt, remembered_handlers

LOOPBACK = "127.0.0.1"
OBJECT_STORE_BYTES = 100 * 1024 * 1024  # nothing large goes through Ray: samples are loaded where they are used
LONGEST_RAY_FOLDER_BYTES = 43  # of `<folder>/ray`: the paths of the sockets that Ray makes below it must fit 107 bytes
LOOPBACK_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0 makes Ray take 127.0.0.1 for this node; read at its import
NICENESS_VARIABLE = "RAY_worker_niceness"
# The thread of Ray that prints what happens to nodes, each time with screens of Ray's state, on standard output. No
# option is against it. Should it have another name one day, it is seen again.
PRINTING_THREAD = "ray_listen_error_messages"

ENVIRONMENT = {  # of the driver, which Ray and Tune read there; `trainable_class` sets what workers must have
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # of answers that are not waited for, which Ray would print
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",  # so that what is printed of nodes comes from PRINTING_THREAD, and not from all in the end
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the study writes the results
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # so that Ctrl-C reaches us at once
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # a resumed sweep reads the run's own files, never those of Tune
    "TUNE_WARN_THRESHOLD_S": "60",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}
LOCAL_ENVIRONMENT: dict[str, str | None] = {
    LOOPBACK_VARIABLE: "0",
    ADDRESS_VARIABLE: None,
    MODE: None,  # which may switch the token off, for a cluster elsewhere
    "RAY_JOB_CONFIG_JSON_ENV_VAR": None,  # in a job of Ray: its packages, which lie in the job's own cluster
    "RAY_enable_autoscaler_v2": "1",  # `ray.init` starts one in any case, and the first version takes a second to end
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "15",  # how long processes outlive their head where nobody ends them
}


@contextmanager
def connected_to_ray(address: str | None, on_lost: Callable[[str], None]) -> Iterator[Head]:
    """Connects to Ray, and yields the head of the cluster that is used. Where this program has begun a session with
    `ray.init`, that is used and left running; otherwise the cluster at `address`; without an address, a local cluster
    of every core and GPU, which starts and ends here.

    When the head or this machine's raylet is lost, on_lost is called in another thread with what it was, and this
    process ends (see `LastResort`). A signal that asks this process to end raises KeyboardInterrupt, as Ctrl-C does.
    Where that does not end this context soon, because Ray does not answer, the process ends in the same way; the
    session of this program is left to the program.

    Raises InputError when no cluster answers at the address, when it refuses the token here, and when the program's
    session is of another cluster, and when another sweep of this program began a session; PlaceError when the local
    cluster does not start.
    """
    with ending_as_ctrl_c():
        if has_session():
            _refuse_other_cluster(address)
            last = LastResort(on_lost, None)
            with _environment(ENVIRONMENT), Head().watched(last), watched_raylet(last):
                yield Head()
            return
        with begun_here():
            yield from _begun(address, on_lost)


def _begun(address: str | None, on_lost: Callable[[str], None]) -> Iterator[Head]:
    """Connects to the cluster at an address, or to a local one that it starts, and yields the head, once."""
    if address is not None:
        address = cluster_here() if address == "auto" else address
        access = checked_access(address)
        refuse_other_machine(address)
        token = {MODE: "token"} if access is Access.TOKEN else {}  # Ray sends one only where this is set
        last = LastResort(on_lost, None)
        with _environment({**ENVIRONMENT, **token}), last.in_time(), _loaded_ray() as ray:
            _connect(ray, address)
            _warn_of_open_cluster()
            with Head().watched(last), watched_raylet(last):
                yield Head()
        return
    with _private_folder() as folder, _environment(_local_environment(folder)):
        _prepare_token()
        head = Head(Path(folder))
        last = LastResort(on_lost, head.local_folder)
        with last.in_time(), _loaded_ray() as ray, head.watched(last):
            _start(ray)
            with watched_raylet(last):
                yield head


def _refuse_other_cluster(address: str | None) -> None:
    here = importlib.import_module("ray").get_runtime_context().gcs_address
    if address in (None, "auto") or _places(address) & _places(here):
        return
    raise InputError(
        f"this program is connected to Ray at {here}, and the sweep was given {shown(address)}; leave the address out "
        "to use that session, or call ray.shutdown() before"
    )


def _places(address: str) -> set[tuple[str, str]]:
    """The IP addresses and the port that `host:port` stands for; empty for what is none. All addresses of this machine
    count as 127.0.0.1, because a port of a machine belongs to one cluster.
    """
    host, _, port = address.rpartition(":")
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)}
    except (OSError, ValueError):
        return set()
    return {(LOOPBACK if _is_this_machine(place) else place, port) for place in found}


def _is_this_machine(place: str) -> bool:
    """Whether an IP address is one of this machine's: only these can be bound."""
    with socket.socket(socket.AF_INET6 if ":" in place else socket.AF_INET) as probe:
        try:
            probe.bind((place, 0))
        except OSError:
            return False
    return True


@contextmanager
def _loaded_ray() -> Iterator[Any]:
    """The package, without a session, and shut down in the end."""
    with uncollected():
        ray = importlib.import_module("ray")
    with _without_states_of_ray():
        try:
            yield ray
        finally:
            ray.shutdown(wait_for_processes=True)


@contextmanager
def _without_states_of_ray() -> Iterator[None]:
    """Within this context nothing is printed by PRINTING_THREAD. Standard output stays the same object, because Tune
    pickles what refers to it.
    """
    stream: Any = sys.stdout
    write = stream.write

    def written(text: str) -> int:
        return len(text) if threading.current_thread().name == PRINTING_THREAD else write(text)

    stream.write = written
    try:
        yield
    finally:
        stream.write = write


def _connect(ray: Any, address: str) -> None:
    try:
        _init(ray, address=address)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise InputError(f"Ray cannot use the cluster at {shown(address)}: {_first_line(error)}") from error


def _warn_of_open_cluster() -> None:
    host, port = Head().address() or ("", 0)
    if access_of(f"{host}:{port}") is Access.OPEN:
        warnings.warn(
            f"the Ray cluster at {host}:{port} asks for no token: whoever reaches it can run programs on it. Start it "
            f"with {MODE}=token and a token ({TOKEN}) to let nobody else in",
            stacklevel=2,
        )


def _start(ray: Any) -> None:
    if not ray.util.get_node_ip_address().startswith("127."):
        warnings.warn(
            "ray was imported before the sweep started, so its local cluster listens beyond loopback (behind a "
            f"token); set {LOOPBACK_VARIABLE}=0, or import ray afterwards",
            stacklevel=6,
        )
    cores = usable_cores()
    try:
        _init(ray, address="local", num_cpus=cores, include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES)
    except Exception as error:  # Ray raises no narrower class when one of its processes does not start in time
        why = f"Ray did not start ({_first_line(error)}); try again, or use --local"
        raise PlaceError.because(why) from error


def _init(ray: Any, **options: Any) -> None:
    """Calls `ray.init`, with the signal handlers kept that it replaces; its handler of SIGTERM raises SystemExit."""
    restore_handlers = remembered_handlers()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except SystemExit:
        interrupt()
    finally:
        restore_handlers()


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


@contextmanager
def _environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Sets environment variables, or removes those that are None here, and in the end makes them what they were."""
    before = {name: os.environ.get(name) for name in values}
    try:
        _set(values)
        yield
    finally:
        _set(before)


def _local_environment(folder: str) -> dict[str, str | None]:
    """The environment in which a local cluster starts, with its files below `folder`. Its workers have the priority of
    the driver unless the user has chosen another: Ray's default, 15 below, starves them beside any other busy process.
    """
    niceness = os.environ.get(NICENESS_VARIABLE, "0")
    return {**ENVIRONMENT, **LOCAL_ENVIRONMENT, NICENESS_VARIABLE: niceness, "RAY_TMPDIR": folder}


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _prepare_token() -> None:
    """Gives a local cluster a token of its own instead of the one in the home folder. It stays for the whole process,
    because Ray reads its token once; one that Ray may have read before is left.
    """
    if "ray" not in sys.modules or not Path("~/.ray/auth_token").expanduser().exists():
        os.environ.setdefault(TOKEN, secrets.token_hex(32))


@contextmanager
def _private_folder() -> Iterator[str]:
    """A folder for the sockets and logs of a local cluster, removed in the end. Nobody else may enter it, because Ray
    lets everybody write into the one that it makes below. Its path is short enough for the names of sockets.
    """
    wanted = tempfile.gettempdir()
    short = len(f"{wanted}/gs-12345678/ray".encode()) <= LONGEST_RAY_FOLDER_BYTES
    folder = tempfile.mkdtemp(prefix="gs-", dir=wanted if short else "/tmp")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
