"""Loading large packages quickly, and leaving them."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the garbage collector, where it is on: it goes through all that was loaded again and again, for a quarter
    of torch's 1.4 seconds.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def leave(code: int) -> NoReturn:
    """Ends the process with this exit code. The collector does not look through all packages a last time, for which a
    process that loaded Ray and pandas takes a third of a second.
    """
    gc.freeze()
    sys.exit(code)
