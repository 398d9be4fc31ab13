"""What a person asked for by `-o`: bytes for a file, for a device or a pipe, or for standard output."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gan_core.files.whole_files import appearing_whole
from results.store import ResultsError

STANDARD_OUTPUT = Path("-")


class StreamError(Exception):
    """Standard output takes no more. The message is one line."""


@contextmanager
def output(path: Path) -> Iterator[BinaryIO]:
    """What is written to it comes to stand at the path, whose folder is made: whole or not at all where that is a file,
    at once where it is a device, a pipe or STANDARD_OUTPUT.

    Raises ResultsError when the path cannot be written, StreamError when standard output cannot; who reads it no more
    (`| head`) is told of by BrokenPipeError.
    """
    if path == STANDARD_OUTPUT:
        with _standard_output() as file:
            yield file
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with appearing_whole(path) as place, place.open("wb") as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ResultsError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    """Its file descriptor, behind what was printed: Python's own stream tells of an error when the process ends."""
    sys.stdout.flush()
    try:
        with os.fdopen(os.dup(1), "wb") as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StreamError(f"cannot write to standard output: {error.strerror or error}") from error
