"""Silence: what ends a process whose last answer was lost on a link that was cut."""

import threading
from collections.abc import Callable

LOST_SECONDS = 120.0  # after an answer, for the next call of Tune, which otherwise comes within a second


class Silence:
    """Calls a function when nobody calls this process for so long after its last answer.

    Where a link is cut for less than Ray needs to take a node for dead, Ray loses the answers that are under way, and
    the caller waits for them until Ray notices after minutes. A process that ends meanwhile is noticed at once.
    """

    def __init__(self, on_lost: Callable[[], object], seconds: float = LOST_SECONDS) -> None:
        self._on_lost, self._seconds = on_lost, seconds
        self._timer: threading.Timer | None = None

    def begin(self) -> None:
        """Notes that this process answers now, and is to be called again."""
        self._timer = threading.Timer(self._seconds, self._on_lost)
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        """Notes that this process was called."""
        if self._timer is not None:
            self._timer.cancel()
