"""The head process of the Ray cluster in use, without which this process can do nothing."""

import importlib
import math
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOST_HEAD = 2  # the exit code, which also follows every other error that a person can mend
CONNECT_SECONDS = 5.0
PULSE_SECONDS = 0.5  # between two connections to the head
LOCAL_PATIENCE_SECONDS, PATIENCE_SECONDS = 1.0, 45.0  # with a head that does not answer; Ray itself aborts us after 60


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
    def watched(self, on_lost: Callable[[], None]) -> Iterator[None]:
        """Ends this process with LOST_HEAD, after calling on_lost in another thread, when the head is lost meanwhile.

        Without its head a driver blocks wherever it next calls Ray, and does not react to Ctrl-C, until Ray aborts it.
        """
        left = threading.Event()
        threading.Thread(target=self._watch, args=(left, on_lost), daemon=True).start()
        try:
            yield
        finally:
            left.set()

    def _watch(self, left: threading.Event, on_lost: Callable[[], None]) -> None:
        local = self.local_folder is not None
        patience = LOCAL_PATIENCE_SECONDS if local else PATIENCE_SECONDS
        # The head of a remote cluster may be out of reach from here from the beginning, while Ray reaches its nodes.
        address, answered = None, time.monotonic() if local else math.inf
        while not left.wait(PULSE_SECONDS):
            address = address or self.address()
            if address is None or _answers(address):
                answered = time.monotonic()
            if time.monotonic() - answered > patience and not left.is_set():
                on_lost()
                if self.local_folder is not None:
                    shutil.rmtree(self.local_folder, ignore_errors=True)
                os._exit(LOST_HEAD)  # the system then kills the processes of a local cluster, as Ray asked it to


def _answers(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
