"""Signals that ask a process to end: all of them end a command, and a sweep through Ray, as Ctrl-C does."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

# SIGTERM is sent by `kill` and by a machine that shuts down, SIGHUP by a terminal that is closed, and SIGUSR1 by a
# batch queue that warns.
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


@contextmanager
def ending_as_ctrl_c() -> Iterator[None]:
    """Within this context the first of these signals raises KeyboardInterrupt, and those that follow are ignored,
    because ending takes a while and a closed terminal sends its signal twice. A signal that has a handler already, or
    is ignored as under `nohup`, is left as it is. In the end the handlers are what they were before. In another thread
    than the main one, nothing is changed.
    """
    before = {number: signal.getsignal(number) for number in ENDING if _in_main_thread()}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler not in (None, _interrupt):  # None: it was set in C; _interrupt: a context around this one ends
                signal.signal(number, handler)


def remembered_handlers() -> Callable[[], None]:
    """Returns a function that makes the handlers of these signals what they are now, after a library has set its own,
    in Python or in C. A signal that is ignored by then stays so until `ending_as_ctrl_c` is left, because the command
    or the sweep is ending.
    """
    handlers = {number: signal.getsignal(number) for number in ENDING}

    def restore() -> None:
        for number, handler in handlers.items():
            if _in_main_thread() and handler is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, handler)

    return restore


@contextmanager
def noticed_at_once(on_interrupt: Callable[[], object]) -> Iterator[None]:
    """Within this context, the first of these signals, or Ctrl-C, also calls on_interrupt, in another thread and at
    once, while the main thread may be in a call that returns to Python after minutes. As in `ending_as_ctrl_c`, which
    is around this context, signals that somebody else handles change nothing, and so it is where another part of the
    program, as a notebook does, waits for signals in the same way.
    """
    ours = {number for number in (signal.SIGINT, *ENDING) if signal.getsignal(number) in OUR_HANDLERS}
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False) if _in_main_thread() else None
    if before not in (None, -1):
        signal.set_wakeup_fd(before)

    def wait() -> None:
        with open(reading, "rb", buffering=0) as numbers:
            while number := numbers.read(1):
                if number[0] in ours:
                    on_interrupt()
                    return

    threading.Thread(target=wait, daemon=True).start()
    try:
        yield
    finally:
        if before == -1:
            signal.set_wakeup_fd(-1)
        os.close(writing)  # which ends the thread


def interrupt() -> NoReturn:
    """Raises KeyboardInterrupt, and has these signals ignored until `ending_as_ctrl_c` is left."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _interrupt(number: int, frame: Any) -> NoReturn:
    interrupt()


OUR_HANDLERS = (_interrupt, signal.default_int_handler)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
