"""Starts Ray and ends it: its environment, a cluster of this machine or one that runs already, and the head's pulse."""

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from gan_core.config import InputError

NAMESPACE = "gan-sweep"
LOST_HEAD = 2  # the exit code, as after every line that says what a person can mend
OBJECT_STORE_BYTES = 100 * 1024 * 1024  # nothing large goes through Ray: samples are loaded where they are used
LONGEST_RAY_FOLDER = 43  # bytes: the sockets that Ray makes below it must fit 107 bytes
CONNECT_SECONDS = 5.0
HEADLESS_SECONDS = 15  # how long a local cluster's processes outlive its head, where nobody ends them
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
LOOPBACK_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0 makes Ray take 127.0.0.1 for this node; read at its import


@contextmanager
def ray_cluster(address: str | None, on_lost_head: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Connected to the Ray cluster at `address`, or to a local one of every core and GPU that starts and ends here.

    Without its head a driver hangs wherever it next asks Ray for something, deaf to Ctrl-C, until Ray aborts it. So
    when the head is lost, on_lost_head is called, in another thread, and this process ends at once with LOST_HEAD.
    What is yielded waits for the head: it returns when the head answers, which a lost one never does.

    Raises InputError when no cluster answers at the address.
    """
    os.environ.update(RAY_ENVIRONMENT)
    temporary = None
    if address is None:
        temporary = _short_folder()
        _prepare_local_environment()
    else:
        _refuse_dead_address(address)
    ray, ended = importlib.import_module("ray"), threading.Event()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            watcher = threading.Thread(target=_watch_head, args=(temporary, ended, on_lost_head), daemon=True)
            if temporary is not None:
                watcher.start()  # before the head
            _connect(address, temporary)
            if temporary is None:
                watcher.start()
            yield partial(_wait_for_head, temporary)
    finally:
        ended.set()
        ray.shutdown()
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _connect(address: str | None, temporary: str | None) -> None:
    ray = importlib.import_module("ray")
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": NAMESPACE}
    try:
        if address is None:
            cores = os.cpu_count() or 1
            ray.init(
                address="local",
                num_cpus=max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores),
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=temporary,
                _system_config=SYSTEM_CONFIG,
                **quiet,
            )
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RaySystemError) as error:
        said = str(error).splitlines()[0]
        if address is None:
            raise InputError(f"Ray did not start ({said}); try again, or use --local") from error
        raise InputError(f"no Ray cluster answers at {address!r}: {said}") from error


def _watch_head(temporary: str | None, ended: threading.Event, on_lost_head: Callable[[], None]) -> None:
    """Ends this process when the head has not answered for too long. temporary: a local cluster's folder."""
    patience = PATIENCE_SECONDS if temporary is None else LOCAL_PATIENCE_SECONDS
    head, answered = None, time.monotonic() if temporary is not None else math.inf  # a remote one may never answer us
    while not ended.wait(PULSE_SECONDS):
        head = head or _head_of(temporary)
        if head is None or _answers(head):
            answered = time.monotonic()
        if time.monotonic() - answered > patience and not ended.is_set():
            on_lost_head()
            if temporary is not None:
                node = importlib.import_module("ray._private.worker")._global_node
                if node is not None:
                    node.kill_all_processes(check_alive=False, allow_graceful=False)
                shutil.rmtree(temporary, ignore_errors=True)
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
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ.pop("RAY_ADDRESS", None)
    logging.getLogger("ray").setLevel(logging.ERROR)


def _refuse_dead_address(address: str) -> None:
    """Ray itself would try for over a minute. `auto`, and what is no host:port, is left to Ray."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"no Ray cluster answers at {address!r} ({error}); start one, or leave --address out"
        ) from error


def _short_folder() -> str:
    """A temporary folder for Ray's sockets and logs, short enough for the names of sockets."""
    wanted = tempfile.gettempdir()
    place = wanted if len(wanted.encode()) + 16 <= LONGEST_RAY_FOLDER else "/tmp"
    return tempfile.mkdtemp(prefix="gs-", dir=place)
