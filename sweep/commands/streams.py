"""Standard streams for a process whose reader may be gone, whose disk may be full, or that was started without them."""

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import Any

from sweep.commands.terminal import FAILED

UNREAD = (errno.EPIPE, errno.EIO)  # nobody reads any more: `| head` has ended, or the terminal was closed


class Stream(io.FileIO):
    """Writes bytes to an open file descriptor, which stays open. From the first error on, which `failure` keeps, what
    is written is dropped, so that a command does to its end what it does besides printing.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Writes what can be written, and returns the size of all of it."""
        size = memoryview(data).nbytes
        if self.failure is not None:
            return size
        try:
            return super().write(data) or 0
        except OSError as error:
            self.failure = error
            return size


def with_streams(main: Callable[[], int]) -> int:
    """Runs a command with streams that never fail, and returns its exit code; or FAILED, after one line, where standard
    output could not be written although somebody was there to read it.
    """
    _open_closed()
    out = _replaced("stdout")
    _replaced("stderr")
    try:
        code = main()
    except SystemExit as end:  # raised by --help and by usage errors
        code = end.code if isinstance(end.code, int) else FAILED * (end.code is not None)
    sys.stdout.flush()
    if out.failure is None or out.failure.errno in UNREAD:
        return code
    print(f"gan-sweep: cannot write to standard output: {out.failure.strerror}", file=sys.stderr)
    return code or FAILED


def _open_closed() -> None:
    """Opens the descriptors of closed standard streams on the null device. Otherwise the next file that is opened would
    get such a descriptor, and what a library or another process prints would be written into it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(
                os.open(os.devnull, os.O_RDWR), True
            )  # takes the lowest free descriptor, which is this one


def _replaced(name: str) -> Stream:
    """Puts a Stream below sys.stdout or sys.stderr. Characters that the encoding lacks are written as escapes."""
    stream, before = Stream({"stdout": 1, "stderr": 2}[name]), getattr(sys, name)
    text = io.TextIOWrapper(
        io.BufferedWriter(stream),
        encoding=before.encoding if before else "utf-8",
        errors="backslashreplace",
        line_buffering=name == "stderr" or stream.isatty(),
    )
    setattr(sys, name, text)
    return stream
