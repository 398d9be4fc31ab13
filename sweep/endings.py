"""What ends a sweep from outside, in the one line that a person is told: a disk that is full, gone or read-only."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from results.store import ResultsError, RunFolder

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FAILING = {errno.EROFS, errno.EIO}


def disk_ending(error: BaseException, folder: RunFolder) -> ResultsError | None:
    """What a person is told of an error of the system: one about a file of this run, or of a disk that is full, failing
    or read-only, wherever the file. None for all others, which are our mistakes.
    """
    if not isinstance(error, OSError):
        return None
    number, name = error.errno, error.filename
    ours = isinstance(name, str | os.PathLike) and str(folder.path.absolute()) in str(os.path.abspath(name))
    if number is None or not (number in FULL | FAILING or ours):
        return None
    mend = "free space" if number in FULL else "make it writable"
    return ResultsError(
        f"cannot write {name or folder.path}: {os.strerror(number)}; {mend}, and the same command goes on from what "
        f"{folder.path} holds"
    )


@contextmanager
def plain_endings(folder: RunFolder) -> Iterator[None]:
    """Raises ResultsError, one line, for the errors that `disk_ending` knows."""
    try:
        yield
    except OSError as error:
        told = disk_ending(error, folder)
        if told is None:
            raise
        raise told from error
