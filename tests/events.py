"""Events that tests wait for, where others would wait for some time."""

import threading
from types import SimpleNamespace

import pytest
from filelock import FileLock

LONGEST_SECONDS = 60.0  # for an event; a test that waits so long has failed


class Clock(SimpleNamespace):
    """Stands for the module `time` where seconds pass only when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def tick(self, *_: object) -> None:
        """Lets a second pass."""
        self.seconds += 1.0


def lock_wanted(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event that is set when another thread than this one asks for the lock of a file."""
    wanted, acquire, here = threading.Event(), FileLock.acquire, threading.current_thread()

    def asks(self: FileLock, *arguments: object, **options: object) -> object:
        if threading.current_thread() is not here:
            wanted.set()
        return acquire(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(FileLock, "acquire", asks)
    return wanted
