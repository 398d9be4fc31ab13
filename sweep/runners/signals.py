"""Signals that ask a process to end: all of them end a command, and a sweep through Ray, as Ctrl-C does."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

# From `kill` and a machine that shuts down; from a terminal that is closed; a batch queue's warning.
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


@contextmanager
def ending_as_ctrl_c() -> Iterator[None]:
    """Within, the first of these signals raises KeyboardInterrupt, and those that follow are ignored: ending takes a
    while, and a closed terminal sends its own twice. Where one has a handler already, or is ignored, as `nohup` has it,
    that stays. Does nothing in another than the main thread.
    """
    ours = threading.current_thread() is threading.main_thread()
    unhandled = [number for number in ENDING if ours and signal.getsignal(number) is signal.SIG_DFL]
    for number in unhandled:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in unhandled:
            signal.signal(number, signal.SIG_DFL)


def take_back() -> None:
    """Sets again the handlers of this module that a library in C has set its own before."""
    for number in ENDING:
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: Any) -> NoReturn:
    for other in ENDING:
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt
