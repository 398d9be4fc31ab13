"""Files that appear whole or not at all: the one writer of whatever replaces a file. No torch."""

import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

OPEN_FILES = ("/dev/fd/", "/dev/std", "/proc/")  # what stands below is a file that a process holds open
LONGEST_STEM = 50  # characters of a target's name that the name beside it has: both fit what a file system allows
PARTIAL = re.compile(r"\..+\.[0-9a-f]{16}\.gan-sweep\.partial")  # the name of what is being written beside a target
ABANDONED_SECONDS = 3600.0  # what has not grown for so long was left by a process that was killed


@contextmanager
def appearing_whole(path: Path, *, synced: bool = True) -> Iterator[Path]:
    """An empty file beside the target to write to, which takes its place at the end, so that nobody reads half a file;
    after an error it is removed. It has a name of its own, and the umask decides who may read it. synced: it is on the
    disk before it takes the place.

    A link stays, and what it leads to is written. A device or a pipe is no file that could be replaced: it is itself
    what is written to. Raises OSError, with the target's name, when it cannot be written. What killed processes left in
    the folder goes when it is old.
    """
    if is_written_through(path):
        with naming(path):
            yield path
        return
    if os.path.isdir(path):  # also the root, beside which nothing can be written
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    target = Path(os.path.realpath(path))
    _clear_once(target.parent)
    partial = target.parent / f".{target.name[:LONGEST_STEM]}.{os.urandom(8).hex()}.gan-sweep.partial"
    with naming(path, partial):
        mode = _create(partial)
        try:
            yield partial
            partial.chmod(mode)  # safetensors makes a file of its own, which its owner alone may read
            if synced:
                with partial.open("rb") as file:
                    os.fsync(file.fileno())
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)


def is_written_through(path: Path) -> bool:
    """Whether a path is a device, a pipe or what stands for an open file: something that must not be replaced."""
    if str(path).startswith(OPEN_FILES):
        return True
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)  # which raise nothing


@contextmanager
def naming(path: Path, partial: Path | None = None) -> Iterator[None]:
    """Gives an OSError the name of the file that it is about where it has none, as Python's errors of writing have, or
    that of what is written in its place.
    """
    try:
        yield
    except OSError as error:
        if error.filename in (None, partial, str(partial)) and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def clear_abandoned(folder: Path) -> None:
    """Removes what killed processes of this user were writing in a folder, as `appearing_whole` names it, once nobody
    can be at it any more. A folder that cannot be read is left as it is.
    """
    with suppress(OSError):
        for entry in os.scandir(folder):
            if PARTIAL.fullmatch(entry.name):
                found = entry.stat(follow_symlinks=False)
                own = stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid()
                if own and time.time() - found.st_mtime > ABANDONED_SECONDS:
                    os.unlink(entry.path)


@cache
def _clear_once(folder: Path) -> None:
    """Once a process: only killed ones leave anything."""
    clear_abandoned(folder)


def _create(path: Path) -> int:
    """Makes a file where there was nothing, not even a link, and answers the permissions that it got."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)
