"""The folder for what is made once on a machine and can be made again."""

import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError


def cache_folder() -> Path:
    """Where such files are kept: $GAN_SWEEP_CACHE, or gan-sweep under the user's cache folder ($XDG_CACHE_HOME)."""
    chosen = os.environ.get("GAN_SWEEP_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(chosen) if chosen else Path(base) / "gan-sweep"


def writable_cache_folder() -> Path:
    """`cache_folder`, made if need be; where it cannot be written, the user's own folder among temporary files."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        folder = Path(tempfile.gettempdir()) / f"gan-sweep-cache-{os.getuid()}"
        folder.mkdir(exist_ok=True)
    return folder


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
