"""Writes to the target of the option `-o`: a file, a device, a pipe or standard output."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gan_core.files.whole_files import appearing_whole
from results.store import ResultsError, is_file_of_run

STANDARD_OUTPUT = Path("-")


class StreamError(Exception):
    """Standard output cannot be written. The message is one line."""


@contextmanager
def output(path: Path) -> Iterator[BinaryIO]:
    """Opens a path for binary writing and creates its folder.

    A file appears only when it is complete; a device, a pipe and STANDARD_OUTPUT are written directly. Raises
    ResultsError if the path cannot be written, StreamError if standard output cannot, and BrokenPipeError if its reader
    has stopped reading (`| head`). A file that a run itself keeps is refused, by a ResultsError, not overwritten.
    """
    if is_file_of_run(path):
        raise ResultsError(f"{path} is a file of a run, which would be lost; give another name to write to")
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
    """The file descriptor of standard output, after what has been printed.

    Python's own stream would report an error only when the process ends.
    """
    sys.stdout.flush()
    try:
        with os.fdopen(os.dup(1), "wb") as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StreamError(f"cannot write to standard output: {error.strerror or error}") from error
