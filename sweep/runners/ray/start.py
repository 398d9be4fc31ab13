"""Starts Ray and ends it: its environment, a cluster of this machine or one that runs already, and the head's pulse.

A local cluster is started as Ray's own commands do it, as a `Node` of Ray's, and not by `ray.init`: without the
autoscaler, for which a cluster that never grows has no use and whose end Ray waits a second for, without the process
that forwards what workers print, and without the server of a dashboard that is off.
"""

import importlib
import logging
import math
import os
import secrets
import shutil
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from gan_core.config.gan import InputError, shown
from sweep.ledger.endings import PlaceError
from sweep.runners.cores import usable_cores
from sweep.runners.loading import uncollected
from sweep.runners.ray.study_actor import NAMESPACE
from sweep.runners.signals import ending_as_ctrl_c, take_back

LOST_HEAD = 2  # the exit code, as after every line that says what a person can mend
OBJECT_STORE_BYTES = 100 * 1024 * 1024  # nothing large goes through Ray: samples are loaded where they are used
LONGEST_RAY_FOLDER = 43  # bytes: the sockets that Ray makes below it must fit 107 bytes
MOST_OPEN_FILES = 65_536
CONNECT_SECONDS = 5.0
HEADLESS_SECONDS = 15  # how long a local cluster's processes outlive its head, where nobody ends them
REGISTERED_SECONDS, REGISTERED_PAUSE_SECONDS = 10.0, 0.01  # until Ray is left to wait by itself, and between two looks
PULSE_SECONDS = 0.5
LOCAL_PATIENCE_SECONDS, PATIENCE_SECONDS = 1.0, 45.0  # with a head that does not answer; Ray itself ends us after 60

RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative data paths stay true
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the rows are ours
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C reaches us at once
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # resuming reads our own files, never Tune's pickles
    "TUNE_WARN_THRESHOLD_S": "60",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}
SYSTEM_CONFIG = {
    "enable_worker_prestart": False,
    "prestart_worker_first_driver": False,
    "gcs_rpc_server_reconnect_timeout_s": HEADLESS_SECONDS,
}
SIGNAL_HANDLERS = {  # module -> what sets them there, and what it does here
    "ray._private.utils": {"set_sigterm_handler": lambda handler: None},
    "ray.tune.tune": {"_setup_signal_catching": threading.Event},
}
LOOPBACK_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0 makes Ray take 127.0.0.1 for this node; read at its import


@contextmanager
def ray_cluster(address: str | None, on_lost_head: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Connected to the Ray cluster at `address`, or to a local one of every core and GPU that starts and ends here.

    Without its head a driver hangs wherever it next asks Ray for something, deaf to Ctrl-C, until Ray aborts it. So
    when the head is lost, on_lost_head is called, in another thread, and this process ends at once with LOST_HEAD.
    What is yielded waits for the head: it returns when the head answers, which a lost one never does.

    A signal that asks this process to end raises KeyboardInterrupt within, as Ctrl-C does.

    Raises InputError when no cluster answers at the address, and PlaceError when the local one does not start.
    """
    os.environ.update(RAY_ENVIRONMENT)
    temporary, ended = None, threading.Event()
    nodes: list[Any] = []  # the local cluster's one, once it has started
    with ending_as_ctrl_c():
        try:
            if address is None:
                temporary = _short_folder()
                _prepare_local_environment()
            else:
                _refuse_dead_address(address)
            with uncollected():
                importlib.import_module("ray")
            leave_signals_alone(importlib.import_module("ray._private.utils"))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                watching = (temporary, nodes, ended, on_lost_head)
                watcher = threading.Thread(target=_watch_head, args=watching, daemon=True)
                if temporary is not None:
                    watcher.start()  # before the head
                    nodes.append(_start_node(temporary))
                _connect(address or nodes[0].gcs_address, address is None)
                if temporary is None:
                    watcher.start()
                yield partial(_wait_for_head, temporary)
        finally:
            ended.set()
            _end(nodes, temporary)


def _end(nodes: Sequence[Any], temporary: str | None) -> None:
    if "ray" in sys.modules:
        importlib.import_module("ray").shutdown()
    for node in nodes:
        node.kill_all_processes(check_alive=False, allow_graceful=True, wait=True)
    if temporary is not None:
        _remove(temporary)


def leave_signals_alone(module: ModuleType) -> None:
    """Has a module of Ray's, one of SIGNAL_HANDLERS, set no handlers in this process: at SIGTERM Ray's end it in the
    middle of a call, and Ray aborts with a dump of its stack; at SIGUSR1 Tune ends a sweep as if it were finished.
    """
    vars(module).update(SIGNAL_HANDLERS[module.__name__])


def _start_node(temporary: str) -> Any:
    """The head of a local cluster, and its only node, with what `ray.init` does before it starts one. Its processes end
    with this one, however that ends.
    """
    _raise_limit_of_files()
    logging.getLogger("ray").setLevel(logging.ERROR)
    importlib.import_module("ray._private.authentication.authentication_token_setup").enable_token_auth_by_default()
    parameters = importlib.import_module("ray._private.parameter").RayParams(
        num_cpus=usable_cores(),
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        include_log_monitor=False,
        no_monitor=True,
        temp_dir=temporary,
        _system_config=SYSTEM_CONFIG,
    )
    try:
        return _lean_node()(parameters, head=True, shutdown_at_exit=False, spawn_reaper=True, ray_init_cluster=True)
    except Exception as error:  # as Ray's own, of no other class, is where a process of it does not start in time
        raise _not_started(error) from error


def _not_started(error: Exception) -> PlaceError:
    return PlaceError.because(f"Ray did not start ({_first_line(error)}); try again, or use --local")


def _lean_node() -> Any:
    """Ray's `Node`, less two waits of its start. A Ray that names these steps otherwise takes its own."""
    node = importlib.import_module("ray._private.node").Node

    class LeanNode(node):
        def start_api_server(self, **_given: Any) -> None:
            """None: without a dashboard it would report usage, which is off, and Ray waits until it could."""

        def start_ray_processes(self) -> None:
            """Until this node is known, which Ray asks every second."""
            super().start_ray_processes()
            given_up = time.monotonic() + REGISTERED_SECONDS
            while time.monotonic() < given_up and not self.get_gcs_client().get_all_node_info(timeout=CONNECT_SECONDS):
                time.sleep(REGISTERED_PAUSE_SECONDS)

    return LeanNode


def _raise_limit_of_files() -> None:
    """As `ray.init` does: a cluster of many processes opens more files than the usual 1,024."""
    with suppress(ImportError, OSError, ValueError):
        resource = importlib.import_module("resource")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, MOST_OPEN_FILES)), hard))


def _connect(address: str, local: bool) -> None:
    ray = importlib.import_module("ray")
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, namespace=NAMESPACE)
        take_back()
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RaySystemError) as error:
        if local:
            raise _not_started(error) from error
        raise InputError(f"no Ray cluster answers at {shown(address)}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _watch_head(
    temporary: str | None, nodes: list[Any], ended: threading.Event, on_lost_head: Callable[[], None]
) -> None:
    """Ends this process when the head has not answered for too long. temporary, nodes: a local cluster's folder, and
    its node once it has started.
    """
    patience = PATIENCE_SECONDS if temporary is None else LOCAL_PATIENCE_SECONDS
    head, answered = None, time.monotonic() if temporary is not None else math.inf  # a remote one may never answer us
    while not ended.wait(PULSE_SECONDS):
        head = head or _head_of(temporary)
        if head is None or _answers(head):
            answered = time.monotonic()
        if time.monotonic() - answered > patience and not ended.is_set():
            on_lost_head()
            if temporary is not None:
                for node in nodes:
                    node.kill_all_processes(check_alive=False, allow_graceful=False)
                _remove(temporary)
            os._exit(LOST_HEAD)


def _wait_for_head(temporary: str | None) -> None:
    head = _head_of(temporary)
    while head is not None and not _answers(head):
        time.sleep(PULSE_SECONDS)


def _answers(head: tuple[str, int]) -> bool:
    try:
        socket.create_connection(head, timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def _head_of(temporary: str | None) -> tuple[str, int] | None:
    """Where the head listens: of a local cluster what it noted in its folder, None before it has."""
    if temporary is None:
        host, _, port = importlib.import_module("ray").get_runtime_context().gcs_address.rpartition(":")
        return host.strip("[]"), int(port)
    noted = [path.read_text().strip() for path in Path(temporary).glob("session_*/gcs_server_port_*")]
    return next((("127.0.0.1", int(port)) for port in noted if port.isdigit()), None)


def _prepare_local_environment() -> None:
    """Keeps a local cluster to this machine and this user: loopback, a token of its own, nothing in ~/.ray. And gives
    its processes the driver's priority, from which Ray's default, 15 below, starves them beside any other busy one.
    """
    if "ray" in sys.modules and os.environ.get(LOOPBACK_VARIABLE) != "0":
        warnings.warn(
            "ray was imported before the sweep started, so its local cluster listens beyond loopback (behind a "
            f"token); set {LOOPBACK_VARIABLE}=0, or import ray afterwards",
            stacklevel=5,
        )
    os.environ[LOOPBACK_VARIABLE] = "0"
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    os.environ.pop("RAY_AUTH_MODE", None)  # which may leave the token out, of a cluster elsewhere
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ.pop("RAY_ADDRESS", None)


def running_cluster(address: str | None) -> str | None:
    """The address of a cluster that runs already, or None for a local one, which Ray calls `local`: what Ray itself
    starts by that name listens on every interface, and its token can be read by others. `auto` is $RAY_ADDRESS, where
    there is one. Raises InputError for an empty address.
    """
    if address is not None and not address.strip():
        raise InputError(f"--address must be host:port, got {shown(address)}; leave it out to start Ray here")
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or "auto"
    return None if address == "local" else address


def _refuse_dead_address(address: str) -> None:
    """Ray itself would try for over a minute. `auto`, and what is no host:port, is left to Ray."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"no Ray cluster answers at {shown(address)} ({error}); start one, or leave --address out"
        ) from error


def _short_folder() -> str:
    """A folder for Ray's sockets and logs, short enough for the names of sockets, below one that nobody else may enter:
    Ray lets everybody write into its own.
    """
    wanted = tempfile.gettempdir()
    place = wanted if len(wanted.encode()) + 16 <= LONGEST_RAY_FOLDER else "/tmp"
    return os.path.join(tempfile.mkdtemp(prefix="gs-", dir=place), "r")


def _remove(temporary: str) -> None:
    """With the one around it."""
    shutil.rmtree(os.path.dirname(temporary), ignore_errors=True)
