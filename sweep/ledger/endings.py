"""What ends a sweep from outside, in the one line that a person is told: a disk that is full, gone or read-only, and
whatever else of the machine keeps every configuration from being trained.
"""

import errno
import os
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from results.store import ResultsError, RunFolder

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FAILING = {errno.EROFS, errno.EIO}
LONGEST_REASON = 200  # characters of an error's text that a row or a line keeps
OF_THE_PLACE = (OSError, ImportError)  # what no configuration makes training raise
MEMORY_LIMITS = {"ulimit -v": resource.RLIMIT_AS, "ulimit -d": resource.RLIMIT_DATA}
FILE_LIMITS = {"ulimit -f": resource.RLIMIT_FSIZE}
SHELL_LIMITS = {**MEMORY_LIMITS, **FILE_LIMITS}


class PlaceError(Exception):
    """A sweep was ended by the place where it runs: by what would have hit any configuration. The message is one line:
    what happened, and how to go on. No trial has a row for it.
    """

    @classmethod
    def because(cls, why: str) -> "PlaceError":
        """why: what happened, in words. Beside it the shell's limits are named, where there are any."""
        limits = f" ({found})" if (found := limits_in_force(SHELL_LIMITS)) else ""
        return cls(
            f"{why}{limits}; no configuration is at fault, so no trial is recorded for it: mend it, and the same "
            f"command goes on"
        )

    @classmethod
    def of(cls, error: BaseException) -> "PlaceError":
        """What an error of the system, of a library or of memory says."""
        return cls.because(described(error))


def described(error: BaseException) -> str:
    """Its kind and its words, in one line."""
    return f"{type(error).__name__}: {one_line(str(error))}".removesuffix(": ")


def one_line(text: str) -> str:
    """Its first characters, without breaks."""
    return " ".join(text.split())[:LONGEST_REASON]


def limits_in_force(kinds: Mapping[str, int]) -> str:
    """What the shell allows this process, as it was told that: `ulimit -v 2000000`, in units of 1,024 bytes; nothing
    where that is as much as there is.
    """
    soft = {name: resource.getrlimit(kind)[0] for name, kind in kinds.items()}
    return ", ".join(f"{name} {limit // 1024}" for name, limit in soft.items() if limit != resource.RLIM_INFINITY)


def disk_ending(error: BaseException, folder: RunFolder) -> ResultsError | None:
    """What a person is told of an error of the system: one about a file of this run, or of a disk that is full, failing
    or read-only, wherever the file. None for all others.
    """
    if not isinstance(error, OSError):
        return None
    number, name = error.errno, error.filename
    ours = isinstance(name, str | os.PathLike) and str(folder.path.absolute()) in str(os.path.abspath(name))
    if number is None or not (number in FULL | FAILING or ours):
        return None
    mend = "free space" if number in FULL else "make it writable"
    if number == errno.EFBIG and (limit := limits_in_force(FILE_LIMITS)):
        mend = f"raise {limit}"
    return ResultsError(
        f"cannot write {name or folder.path}: {os.strerror(number)}; {mend}, and the same command goes on from what "
        f"{folder.path} holds"
    )


@contextmanager
def plain_endings(folder: RunFolder) -> Iterator[None]:
    """Raises ResultsError, one line, for the errors that `disk_ending` knows, and PlaceError for others of the system,
    for packages that do not load, and for memory that ran out where no lane was trained. Where the reader of our output
    went away, that passes through.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except (*OF_THE_PLACE, MemoryError) as error:
        raise disk_ending(error, folder) or PlaceError.of(error) from error
