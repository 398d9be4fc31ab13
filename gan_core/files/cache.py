"""The cache folder, for files that are made once on a machine and can be made again."""

import atexit
import hashlib
import os
import re
import shutil
import stat
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock
from safetensors import SafetensorError, safe_open

from gan_core.files.whole_files import appearing_whole

DIGEST = "sha256"  # the key of the digest in the metadata of a file of tensors


def cache_folder() -> Path:
    """The cache folder: $GAN_SWEEP_CACHE, or gan-sweep under the user's cache folder ($XDG_CACHE_HOME)."""
    chosen = os.environ.get("GAN_SWEEP_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(chosen) if chosen else Path(base) / "gan-sweep"


def writable_cache_folder() -> Path:
    """`cache_folder`, made if necessary. Where it cannot be written, the user's own folder among the temporary files,
    with a warning once in a process.
    """
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
        trouble = f"the cache folder {folder} cannot be written"
    except (OSError, RuntimeError) as error:  # RuntimeError: this user has no home folder
        trouble = f"there is no cache folder ({error})"
    other = own_temporary_folder(Path(tempfile.gettempdir()))
    _tell(f"{trouble}; {other} is used. Choose one with $GAN_SWEEP_CACHE")
    return other


@cache
def _tell(line: str) -> None:
    """Warns once in a process."""
    warnings.warn(line, stacklevel=3)


def own_temporary_folder(parent: Path) -> Path:
    """The user's own folder in a folder that all users share: the same one for all processes of the user, unless
    another user has taken its name.
    """
    folder = parent / f"gan-sweep-cache-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        own = False
    return folder if own else _new_folder(parent)


@cache
def _new_folder(parent: Path) -> Path:
    """A folder of this process, which is removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="gan-sweep-cache-", dir=parent)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Within this context no other process makes the same file. Where it cannot be locked, because the lock belongs to
    another user or the file system has no locks, processes may make it at the same time.
    """
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire()
    except (OSError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        lock.release()


def keep(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` write a file, which appears at the path only when complete, with the usual permissions. Where the
    disk is full or fails, it warns and leaves nothing behind; the file is then made again when it is next needed.
    """
    try:
        with appearing_whole(path, synced=False) as partial:
            write(partial)
    except (OSError, SafetensorError) as error:
        warnings.warn(f"cannot keep {path} ({error}); it is made again when it is next needed", stacklevel=2)


def keep_tensors(path: Path, tensors: Mapping[str, Any], save: Callable[..., object]) -> None:
    """Keeps tensors together with their digest. save: safetensors' `save_file` for torch or numpy."""
    keep(path, lambda partial: write_tensors(partial, tensors, save))


def write_tensors(path: Path, tensors: Mapping[str, Any], save: Callable[..., object]) -> None:
    """Writes tensors together with their digest, as `kept_tensors` reads them. save: as for `keep_tensors`. Raises what
    that raises.
    """
    with plain_errors(path):
        save(dict(tensors), path, metadata={DIGEST: _digest(tensors)})


@contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """Raises an OSError, with the name of the file, for an error of the system that safetensors met."""
    try:
        yield
    except SafetensorError as error:  # it gives the number of the system's error only in its message
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def kept_tensors(path: Path, load: Callable[[Path], dict[str, Any]]) -> dict[str, Any] | None:
    """The tensors that `keep_tensors` kept; None where the file is missing, unreadable, damaged or changed. Files of
    earlier versions have no digest and are accepted. load: safetensors' `load_file` for torch or numpy.
    """
    try:
        tensors = load(path)
        with safe_open(path, "np") as file:
            written = (file.metadata() or {}).get(DIGEST)
    except (OSError, SafetensorError):
        return None
    return tensors if written in (None, _digest(tensors)) else None


def _digest(tensors: Mapping[str, Any]) -> str:
    """A digest of names, types, shapes and numbers, of numpy arrays or torch tensors on the CPU."""
    import numpy as np  # here, so that asking for the cache folder does not load it

    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        numbers = np.ascontiguousarray(tensor)
        digest.update(f"{name} {numbers.dtype} {numbers.shape} ".encode())
        digest.update(numbers.data)
    return digest.hexdigest()
