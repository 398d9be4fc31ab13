"""Files that appear complete or not at all: everything that replaces a file is written here. Loads without torch."""

import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

OPEN_FILES = ("/dev/fd/", "/dev/std", "/proc/")  # paths that stand for files which a process has open
LONGEST_STEM = 50  # characters of the target's name in the partial file's, so that both fit a file system's limit
PARTIAL = re.compile(r"\..+\.[0-9a-f]{16}\.gan-sweep\.partial")  # the name of a file being written beside its target
ABANDONED_SECONDS = 3600.0  # a file that has not grown for so long was left by a killed process


@contextmanager
def appearing_whole(path: Path, *, synced: bool = True) -> Iterator[Path]:
    """A new file beside the target, which replaces the target at the end, so that nobody reads half a file; after an
    error it is removed. Its name is unique, and its permissions follow the umask. synced: whether it must be on disk
    before it replaces the target.

    A link is kept, and its target is replaced. A device or a pipe cannot be replaced and is written directly. Raises
    OSError, with the target's name, when it cannot be written. Old files that killed processes left in the folder are
    removed.
    """
    if is_written_through(path):
        with naming(path):
            yield path
        return
    if os.path.isdir(path):  # this includes the root folder
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    target = Path(os.path.realpath(path))
    _clear_once(target.parent)
    partial = target.parent / f".{target.name[:LONGEST_STEM]}.{os.urandom(8).hex()}.gan-sweep.partial"
    with naming(path, partial):
        mode = _create(partial)
        try:
            yield partial
            partial.chmod(mode)  # safetensors replaces the file by one that only its owner may read
            if synced:
                with partial.open("rb") as file:
                    os.fsync(file.fileno())
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)


def is_written_through(path: Path) -> bool:
    """Whether a path is a device, a pipe or an open file of a process, which must not be replaced."""
    if str(path).startswith(OPEN_FILES):
        return True
    return (
        os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
    )  # these functions raise nothing


@contextmanager
def naming(path: Path, partial: Path | None = None) -> Iterator[None]:
    """Gives an OSError the name of the target where it has none, as Python's errors of writing, or the name of the
    partial file.
    """
    try:
        yield
    except OSError as error:
        if error.filename in (None, partial, str(partial)) and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def clear_abandoned(folder: Path) -> None:
    """Removes old partial files that killed processes of this user left in a folder. A folder that cannot be read is
    left as it is.
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
    """Clears a folder once in a process, since only killed processes leave files."""
    clear_abandoned(folder)


def _create(path: Path) -> int:
    """Makes a file where there was nothing, not even a link, and returns its permissions."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)
