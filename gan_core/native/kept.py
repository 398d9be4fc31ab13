"""Compiled libraries on disk, kept between runs in folders that only this user can write, because their code is run.

Loads without torch.
"""

import ctypes
import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from gan_core.files.cache import own_temporary_folder, writable_cache_folder

SHARED_MEMORY = Path("/dev/shm")
TRUSTED_OWNERS = (0, 65_534)  # root, and the owner that a sandbox shows for files of users it does not know


def library_folders() -> Iterator[Path]:
    """Where libraries may be kept, the best first: the cache, then the user's own folders among the temporary files and
    in shared memory, for machines where the cache cannot be written or run from.
    """
    seen = cache = writable_cache_folder()
    yield cache / "programs"
    for parent in (None, SHARED_MEMORY):
        with suppress(OSError):  # for example, there is no temporary folder at all
            parent = parent or Path(tempfile.gettempdir())
            if parent.is_dir() and (folder := own_temporary_folder(parent)) not in (seen, cache):
                seen = folder
                yield folder / "programs"


def claim(folder: Path) -> None:
    """Makes a folder that only this user can write. Raises OSError where another user could write there or replace it
    or a folder above it, or where this user cannot write.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.getuid():
        raise PermissionError(errno.EPERM, "it is another user's")
    if found.st_mode & 0o022:
        raise PermissionError(errno.EPERM, "other users can write there")
    for around in dict.fromkeys((*folder.absolute().parents, *folder.resolve().parents)):
        if _others_may_replace(around.lstat()):
            raise PermissionError(errno.EPERM, f"other users can change {around}")


def _others_may_replace(found: os.stat_result) -> bool:
    """Whether anybody but this user and root can replace what lies in a folder. In a folder with the sticky bit, such
    as /tmp, only the owner of a file can.
    """
    if found.st_uid not in (os.getuid(), *TRUSTED_OWNERS):
        return True
    in_group = found.st_mode & 0o020 and found.st_gid not in (
        0,
        os.getuid(),
    )  # a user's own group has the user's number
    others = found.st_mode & 0o002 or in_group
    return bool(others) and not stat.S_ISLNK(found.st_mode) and not found.st_mode & stat.S_ISVTX


def kept_library(folder: Path, key: str, make: Callable[[Path], None]) -> Path:
    """The library of this key, which `make` writes where it is missing or damaged: once on a machine, in whichever
    process comes first. Raises OSError where the folder cannot be written, and whatever `make` raises.
    """
    library = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.so"
    if _is_whole(library):
        return library
    with FileLock(library.with_suffix(".lock")):
        if not _is_whole(library):
            with tempfile.TemporaryDirectory(dir=folder) as home:
                made, digest = Path(home, "made.so"), Path(home, "digest")
                make(made)
                digest.write_text(_digest(made))
                digest.replace(_digest_file(library))
                made.replace(library)
    return library


def load(library: Path) -> ctypes.CDLL:
    """The library, loaded until this process ends. Raises OSError, in the system's words, where it cannot be run."""
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise OSError(errno.ENOEXEC, str(error).rpartition(": ")[2]) from error


def _is_whole(library: Path) -> bool:
    """Whether a library's bytes are those that were written. Loading a truncated one would end the process."""
    try:
        return _digest_file(library).read_bytes() == _digest(library).encode()
    except OSError:
        return False


def _digest_file(library: Path) -> Path:
    return library.with_suffix(".sha256")


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
