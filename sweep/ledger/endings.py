"""Errors that end a sweep without being the fault of a configuration, as one line for a person: a disk that is full,
missing or read-only, and whatever else about the machine would keep every configuration from being trained.
"""

import errno
import os
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from results.store import ResultsError, RunFolder

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FAILING = {errno.EROFS, errno.EIO}
LONGEST_REASON = 200  # characters of the text of an error that a row or a line keeps
OF_THE_PLACE = (OSError, ImportError)  # errors in training that no configuration can cause
MEMORY_LIMITS = {"ulimit -v": resource.RLIMIT_AS, "ulimit -d": resource.RLIMIT_DATA}
FILE_LIMITS = {"ulimit -f": resource.RLIMIT_FSIZE}
SHELL_LIMITS = {**MEMORY_LIMITS, **FILE_LIMITS}


class PlaceError(Exception):
    """A sweep was ended by the machine it runs on, by something that would have hit any configuration. The message is
    one line: what happened, and how to go on. No trial has a row about it.
    """

    @classmethod
    def because(cls, why: str) -> "PlaceError":
        """why: what happened, in words. The limits that the shell sets are named beside it."""
        limits = f" ({found})" if (found := limits_in_force(SHELL_LIMITS)) else ""
        return cls(
            f"{why}{limits}; no configuration is at fault, so no trial is recorded for it: fix the cause, then run the "
            f"same command again to continue"
        )

    @classmethod
    def of(cls, error: BaseException) -> "PlaceError":
        """From an error of the operating system, of a library, or of memory."""
        return cls.because(described(error))


def described(error: BaseException) -> str:
    """The class and the text of an error, in one line."""
    return f"{type(error).__name__}: {one_line(str(error))}".removesuffix(": ")


def one_line(text: str) -> str:
    """The first LONGEST_REASON characters of a text, without line breaks."""
    return " ".join(text.split())[:LONGEST_REASON]


def limits_in_force(kinds: Mapping[str, int]) -> str:
    """The limits that the shell sets for this process, as they are set there: `ulimit -v 2000000`, in units of 1,024
    bytes; "" if there are none. kinds: the command of a limit -> its number in `resource`.
    """
    soft = {name: resource.getrlimit(kind)[0] for name, kind in kinds.items()}
    return ", ".join(f"{name} {limit // 1024}" for name, limit in soft.items() if limit != resource.RLIM_INFINITY)


def disk_ending(error: BaseException, folder: RunFolder) -> ResultsError | None:
    """The line for a person about an error of the operating system that concerns a file of this run, or a disk that is
    full, failing or read-only, wherever the file is. None for all other errors.
    """
    if not isinstance(error, OSError):
        return None
    number, name = error.errno, error.filename
    ours = isinstance(name, str | os.PathLike) and str(folder.path.absolute()) in str(os.path.abspath(name))
    if number is None or not (number in FULL | FAILING or ours):
        return None
    fix = "free space" if number in FULL else "make it writable"
    if number == errno.EFBIG and (limit := limits_in_force(FILE_LIMITS)):
        fix = f"raise {limit}"
    return ResultsError(
        f"cannot write {name or folder.path}: {os.strerror(number)}; {fix}, then run the same command again to "
        f"continue from what {folder.path} holds"
    )


@contextmanager
def plain_endings(folder: RunFolder) -> Iterator[None]:
    """Raises ResultsError for the errors that `disk_ending` knows. Raises PlaceError for other errors of the operating
    system, for packages that do not load, and for memory that ran out outside the training of lanes. BrokenPipeError,
    from a reader of our output that is gone, passes through.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except (*OF_THE_PLACE, MemoryError) as error:
        raise disk_ending(error, folder) or PlaceError.of(error) from error
