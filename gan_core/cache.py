"""The folder for what is made once on a machine and can be made again."""

import os
import tempfile
from pathlib import Path


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
