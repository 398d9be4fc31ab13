"""The folder for what is made once on a machine and can be made again."""

import atexit
import os
import shutil
import stat
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

from safetensors import SafetensorError


def cache_folder() -> Path:
    """Where such files are kept: $GAN_SWEEP_CACHE, or gan-sweep under the user's cache folder ($XDG_CACHE_HOME)."""
    chosen = os.environ.get("GAN_SWEEP_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(chosen) if chosen else Path(base) / "gan-sweep"


def writable_cache_folder() -> Path:
    """`cache_folder`, made if need be; where it cannot be written, the user's own folder among temporary files."""
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    except (OSError, RuntimeError):  # the latter: this user has no home
        pass
    return own_temporary_folder(Path(tempfile.gettempdir()))


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


def keep(path: Path, write: Callable[[Path], object]) -> None:
    """Has `write` write a file, which appears at the path whole. For one process at a time. Where the disk is full or
    failing, a warning says so and nothing is kept, and nothing is left: who needs it again makes it again.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        write(partial)
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        warnings.warn(f"cannot keep {path} ({error}); it is made again when it is next needed", stacklevel=2)
    finally:
        partial.unlink(missing_ok=True)
