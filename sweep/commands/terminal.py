"""What every command knows of the terminal, and how a process ends."""

import os
import sys

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130  # exit codes


def width() -> int | None:
    """Of the terminal, in characters; None where the output is no terminal."""
    return os.get_terminal_size().columns if sys.stdout.isatty() else None
