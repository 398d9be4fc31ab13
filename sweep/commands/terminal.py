"""The width of the terminal, and the exit codes."""

import os
import sys

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130  # the exit codes of a command


def width() -> int | None:
    """The width of the terminal in characters; None where standard output is not a terminal."""
    return os.get_terminal_size().columns if sys.stdout.isatty() else None
