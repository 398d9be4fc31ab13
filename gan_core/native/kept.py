"""Libraries on disk, kept between runs in folders that are this user's alone: what lies there is run. No torch."""

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
TRUSTED_OWNERS = (0, 65_534)  # root, and how a sandbox shows what is not of its own users, root's among it


def library_folders() -> Iterator[Path]:
    """Where libraries may be kept, the best first: the cache, and where nothing there can be written or run the user's
    own folders among temporary files and in shared memory.
    """
    seen = cache = writable_cache_folder()
    yield cache / "programs"
    for parent in (None, SHARED_MEMORY):
        with suppress(OSError):  # also where there is no temporary folder at all
            parent = parent or Path(tempfile.gettempdir())
            if parent.is_dir() and (folder := own_temporary_folder(parent)) not in (seen, cache):
                seen = folder
                yield folder / "programs"


def claim(folder: Path) -> None:
    """Makes a folder of this user's alone. Raises OSError where another user can write there, or put another folder in
    its place or in that of one around it, or where this one cannot write.
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
    """Whether somebody else than this user and root can put something else where this is, or into it: of what lies in
    a folder with the sticky bit, as /tmp has it, only the owner can.
    """
    if found.st_uid not in (os.getuid(), *TRUSTED_OWNERS):
        return True
    in_group = found.st_mode & 0o020 and found.st_gid not in (0, os.getuid())  # the user's own has the same number
    others = found.st_mode & 0o002 or in_group
    return bool(others) and not stat.S_ISLNK(found.st_mode) and not found.st_mode & stat.S_ISVTX


def kept_library(folder: Path, key: str, make: Callable[[Path], None]) -> Path:
    """The library of this key, which `make` writes where it is not there or not whole: once on a machine, whichever
    process comes first. Raises OSError where the folder cannot be written, and what `make` raises.
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
    """The library in this process, for good. Raises OSError where the system does not run it, in its words."""
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise OSError(errno.ENOEXEC, str(error).rpartition(": ")[2]) from error


def _is_whole(library: Path) -> bool:
    """Whether a library's bytes are those that were written. A truncated one would end the process that maps it."""
    try:
        return _digest_file(library).read_bytes() == _digest(library).encode()
    except OSError:
        return False


def _digest_file(library: Path) -> Path:
    return library.with_suffix(".sha256")


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
