"""The processes of Ray without which this process can do nothing: the head of its cluster, and the raylet that serves
this machine; and how this process ends where it cannot go on.
"""

import importlib
import math
import os
import select
import shutil
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sweep.runners.signals import noticed_at_once

LOST = 2  # the exit code, which also follows every other error that a person can mend
INTERRUPTED = 130  # the exit code after Ctrl-C, and after a signal that is treated in the same way
ENDING_SECONDS = 6.0  # for Ray to be left after such a signal: batch queues kill 30 seconds after theirs
LOCAL_ENDING_SECONDS = 15.0  # where Ray's processes end with it
CONNECT_SECONDS = 5.0
PULSE_SECONDS = 0.5  # between two connections to the head
LOCAL_PATIENCE_SECONDS, PATIENCE_SECONDS = 1.0, 45.0  # with a head that does not answer; Ray itself aborts us after 60


class LastResort:
    """Ends this process from another thread, because the main one blocks in a call of Ray, and reacts to nothing.

    on_lost: is told in words what was lost, says so, and takes to safety what is not on the disk. local_folder: as
    `Head` has it; it is removed.
    """

    def __init__(self, on_lost: Callable[[str], None], local_folder: Path | None) -> None:
        self._on_lost, self._local_folder = on_lost, local_folder
        self._begun, self._interrupted = threading.Lock(), threading.Event()

    def end(self, lost: str) -> None:
        """Ends this process with LOST, unless it ends already. After a signal, `in_time` decides when it ends, because
        a batch queue sends its signal to all processes of Ray as well.
        """
        if not self._interrupted.is_set():
            self._end(lost, LOST)

    @contextmanager
    def in_time(self) -> Iterator[None]:
        """Within this context, a signal that asks this process to end also ends it with INTERRUPTED where the context
        is not left soon after it.
        """
        left = threading.Event()
        seconds = ENDING_SECONDS if self._local_folder is None else LOCAL_ENDING_SECONDS

        def interrupted() -> None:
            self._interrupted.set()
            if not left.wait(seconds):
                self._end("interrupted", INTERRUPTED)

        try:
            with noticed_at_once(interrupted):
                yield
        finally:
            left.set()

    def _end(self, lost: str, code: int) -> None:
        if self._begun.acquire(blocking=False):
            self._on_lost(lost)
            if self._local_folder is not None:
                shutil.rmtree(self._local_folder, ignore_errors=True)
            os._exit(code)  # the system then kills the processes of a local cluster, as Ray asked it to


@dataclass(frozen=True)
class Head:
    """The head process. local_folder: where the sessions of a local cluster lie; None for any other cluster."""

    local_folder: Path | None = None

    def address(self) -> tuple[str, int] | None:
        """Host and port where the head listens. Of a local cluster this is what Ray noted in its folder, and None until
        it has.
        """
        if self.local_folder is None:
            host, _, port = importlib.import_module("ray").get_runtime_context().gcs_address.rpartition(":")
            return host.strip("[]"), int(port)
        noted = [path.read_text().strip() for path in self.local_folder.glob("*/session_*/gcs_server_port_*")]
        return next((("127.0.0.1", int(port)) for port in noted if port.isdigit()), None)

    def wait(self) -> None:
        """Returns when the head answers, which a lost one never does."""
        address = self.address()
        while address is not None and not _answers(address):
            time.sleep(PULSE_SECONDS)

    @contextmanager
    def watched(self, last: LastResort) -> Iterator[None]:
        """Ends this process, by `last`, when the head is lost meanwhile. Without its head a driver blocks wherever it
        next calls Ray, and does not react to Ctrl-C, until Ray aborts it.
        """
        left = threading.Event()
        threading.Thread(target=self._watch, args=(left, last), daemon=True).start()
        try:
            yield
        finally:
            left.set()

    def _watch(self, left: threading.Event, last: LastResort) -> None:
        local = self.local_folder is not None
        patience = LOCAL_PATIENCE_SECONDS if local else PATIENCE_SECONDS
        # The head of a remote cluster may be out of reach from here from the beginning, while Ray reaches its nodes.
        address, answered = None, time.monotonic() if local else math.inf
        while not left.wait(PULSE_SECONDS):
            address = address or self.address()
            if address is None or _answers(address):
                answered = time.monotonic()
            if time.monotonic() - answered > patience and not left.is_set():
                last.end("Ray's head process died")


@contextmanager
def watched_raylet(last: LastResort) -> Iterator[None]:
    """Ends this process, by `last`, when the raylet that it is connected to dies meanwhile. Otherwise Ray ends this
    process at its next call, with exit code 1 and without a word. Where the raylet's process cannot be found, nothing
    is watched.
    """
    left, raylet = threading.Event(), _raylet()
    if raylet is None:
        yield
        return

    def watch() -> None:
        while not left.is_set():
            if select.select([raylet], [], [], PULSE_SECONDS)[0] and not left.is_set():
                last.end("Ray's process on this machine (its raylet) died")
                return
        os.close(raylet)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        left.set()


def _raylet() -> int | None:
    """A descriptor that can be read once the raylet has ended. Its process is that which listens at its socket."""
    ray = importlib.import_module("ray")
    here = ray.get_runtime_context().get_node_id()
    path = next((node["RayletSocketName"] for node in ray.nodes() if node["NodeID"] == here), "")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(path)
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return os.pidfd_open(struct.unpack("3i", peer)[0])
    except (OSError, AttributeError):  # the raylet has gone, or the system is not Linux
        return None


def _answers(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
