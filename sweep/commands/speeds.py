"""How fast a run is written, and data are read, in a folder or in an object store: one line each."""

import os
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gan_core.config.input_error import InputError
from gan_core.files.object_store import StoreError, open_store

WRITTEN_BYTES, APPENDS = 32 * 2**20, 20  # to a folder: at once, and as a run appends its rows
STORED_BYTES, OBJECTS = 16 * 2**20, 5  # to a store: in one object, and how many small ones
LARGEST_BYTES = 64 * 2**20  # of an object of a data set that is read


def writing(folder: Path) -> str:
    """How fast a folder is written by this machine, in words. Raises InputError where it cannot be."""
    trial = folder / f".gan-sweep-doctor-{os.getpid()}"
    try:
        with open(trial, "xb", buffering=0) as file:
            began = time.monotonic()
            file.write(os.urandom(2**20) * (WRITTEN_BYTES // 2**20))
            os.fsync(file.fileno())
            speed = WRITTEN_BYTES / (time.monotonic() - began)
            began = time.monotonic()
            for _ in range(APPENDS):
                file.write(b"x" * 1000)
                os.fsync(file.fileno())
            append = (time.monotonic() - began) / APPENDS
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from error
    finally:
        trial.unlink(missing_ok=True)
    free = shutil.disk_usage(folder).free
    return f"{folder}: {speed / 1e6:,.0f} MB/s, {append * 1000:.1f} ms for a row, {free / 1e9:,.0f} GB free"


def storing(address: str) -> str:
    """How fast objects are written and read below an address by this machine, in words. Raises StoreError where they
    cannot be.
    """
    store, key = open_store(address), f".gan-sweep-doctor-{secrets.token_hex(4)}"
    content = os.urandom(2**20) * (STORED_BYTES // 2**20)
    try:
        wrote = _seconds(lambda: store.write(key, content))
        read = _seconds(lambda: store.read(key))
        small = min(_seconds(lambda: store.write(key, b"x" * 1000)) for _ in range(OBJECTS))
        store.delete(key)
    except StoreError:
        with suppress(StoreError):
            store.delete(key)
        raise
    speeds = f"{STORED_BYTES / wrote / 1e6:,.0f} MB/s written, {STORED_BYTES / read / 1e6:,.0f} MB/s read"
    return f"{store.name}: {speeds}, {small * 1000:.0f} ms for a small object"


def reading(address: str) -> str:
    """What there is below an address, and how fast it is read by this machine, in words. Raises StoreError where it
    cannot be, or where there is nothing.
    """
    store = open_store(address)
    sizes = {key: found.size_bytes for key, found in store.list().items()}
    if not sizes:
        raise StoreError(f"there are no files in {store.name}; give another address")
    key = max(sizes, key=lambda key: sizes[key] if sizes[key] <= LARGEST_BYTES else -sizes[key])
    seconds = _seconds(lambda: store.download(key, lambda part: None))
    held = f"{len(sizes):,} file{'' if len(sizes) == 1 else 's'}, {sum(sizes.values()) / 1e6:,.1f} MB"
    return f"{store.name}: {held}, {sizes[key] / seconds / 1e6:,.0f} MB/s read"


def _seconds(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return max(time.monotonic() - began, 1e-6)
