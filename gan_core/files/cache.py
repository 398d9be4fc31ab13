"""The folder for what is made once on a machine and can be made again."""

import atexit
import hashlib
import os
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

DIGEST = "sha256"  # of what a file of tensors says beside them


def cache_folder() -> Path:
    """Where such files are kept: $GAN_SWEEP_CACHE, or gan-sweep under the user's cache folder ($XDG_CACHE_HOME)."""
    chosen = os.environ.get("GAN_SWEEP_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(chosen) if chosen else Path(base) / "gan-sweep"


def writable_cache_folder() -> Path:
    """`cache_folder`, made if need be; where it cannot be written, the user's own folder among temporary files, and a
    warning says so once in a process.
    """
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
        trouble = f"the cache folder {folder} cannot be written"
    except (OSError, RuntimeError) as error:  # the latter: this user has no home
        trouble = f"there is no cache folder ({error})"
    other = own_temporary_folder(Path(tempfile.gettempdir()))
    _tell(f"{trouble}; {other} is used. Choose one with $GAN_SWEEP_CACHE")
    return other


@cache
def _tell(line: str) -> None:
    """Warns, once in a process."""
    warnings.warn(line, stacklevel=3)


def own_temporary_folder(parent: Path) -> Path:
    """A folder of this user's in one that all users share: the same for all processes, unless another user was there
    first.
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
    """Of this process alone, which takes it along when it ends."""
    folder = tempfile.mkdtemp(prefix="gan-sweep-cache-", dir=parent)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Within, no other process makes the same file. Where it cannot be locked, for the lock is another user's or the
    file system has none, each makes its own.
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
    """Has `write` write a file, which appears at the path whole, with the permissions that new files have. Where the
    disk is full or failing, a warning says so and nothing is kept, and nothing is left: who needs it again makes it
    again.
    """
    try:
        with appearing_whole(path, synced=False) as partial:
            write(partial)
    except (OSError, SafetensorError) as error:
        warnings.warn(f"cannot keep {path} ({error}); it is made again when it is next needed", stacklevel=2)


def keep_tensors(path: Path, tensors: Mapping[str, Any], save: Callable[..., object]) -> None:
    """Keeps tensors, with a digest of them; save: safetensors' `save_file` for their kind."""
    keep(path, lambda partial: save(dict(tensors), partial, metadata={DIGEST: _digest(tensors)}))


def kept_tensors(path: Path, load: Callable[[Path], dict[str, Any]]) -> dict[str, Any] | None:
    """What `keep_tensors` kept; load: safetensors' `load_file` for its kind. None where there is nothing, or nothing
    that may be read, is whole and is what was written. What earlier versions kept has no digest, and is believed.
    """
    try:
        tensors = load(path)
        with safe_open(path, "np") as file:
            written = (file.metadata() or {}).get(DIGEST)
    except (OSError, SafetensorError):
        return None
    return tensors if written in (None, _digest(tensors)) else None


def _digest(tensors: Mapping[str, Any]) -> str:
    """Of names, types, shapes and numbers, NumPy's or torch's on the CPU."""
    import numpy as np  # here: what says where the cache is need not load it

    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        numbers = np.ascontiguousarray(tensor)
        digest.update(f"{name} {numbers.dtype} {numbers.shape} ".encode())
        digest.update(numbers.data)
    return digest.hexdigest()
