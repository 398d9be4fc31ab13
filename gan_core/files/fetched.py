"""Folders and files of object stores, brought once into the cache of this machine."""

import json
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from gan_core.config.input_error import InputError
from gan_core.files.addresses import folder_name, holds_secrets, is_address, path_of, shown_address
from gan_core.files.cache import alone, writable_cache_folder
from gan_core.files.object_store import ObjectStore, StoredObject, StoreError, open_store
from gan_core.files.whole_files import appearing_whole

AT_ONCE = 8  # objects that are read or written at the same time
NOTE = ".fetched.json"  # in a folder of the cache: key -> size and time of the object that was fetched


def local_folder(place: str | Path, below: Collection[str] = ("",)) -> Path:
    """The folder itself where it is a path. Of an address, the folder of the cache into which the objects below the
    named folders (all by default) were fetched; what did not change since the last time is not fetched again.

    Raises StoreError where the store cannot be read or has none of these objects, and InputError for an address with a
    password: it would stand in the files of the run.
    """
    if not is_address(place):
        return path_of(place)
    address = str(place)
    if holds_secrets(address):
        raise InputError(
            f"{shown_address(address)} is given with a user or a key, which would be written into the files of the "
            "run; leave them out of it, and set them in the environment"
        )
    folder = private_folder("data", address)
    with alone(folder / NOTE):
        store = open_store(address)
        found = {key: kept for part in below for key, kept in store.list(part).items()}
        if not found:
            where = " or ".join(f"{store.name}/{part}" if part else store.name for part in below)
            raise StoreError(f"there are no files in {where}; give another address")
        _fetch_changed(store, found, folder)
    return folder


def local_file(place: str | Path) -> Path:
    """The file itself where it is a path, or `-`; of an address, the file of the cache into which it was fetched.
    Raises StoreError where the store cannot be read, or has no such object.
    """
    if not is_address(place):
        return path_of(place)
    above, _, name = str(place).partition("?")[0].rpartition("/")
    address = above + str(place)[len(above) + 1 + len(name) :]
    store, folder = open_store(address), private_folder("files", address)
    with alone(folder / NOTE):
        if (kept := store.look(name)) is None:
            raise StoreError(f"there is no {shown_address(str(place))}; give another address")
        _fetch_changed(store, {name: kept}, folder)
    return folder / name


def private_folder(kind: str, address: str) -> Path:
    """The folder of an address in the cache, which only this user may enter. kind: what it is for."""
    folder = writable_cache_folder() / kind / folder_name(address)
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def inside(folder: Path, relative: str) -> Path:
    """The path in a folder that a store names. Raises StoreError where it would lie outside the folder."""
    parts = relative.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise StoreError(f"{relative!r} in the store is no path within a folder; it was not made by this program")
    return folder.joinpath(*parts)


def at_once(calls: Iterable[Callable[[], Any]]) -> None:
    """Makes these calls, up to AT_ONCE at the same time. Raises the error of the first that failed."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = [pool.submit(call) for call in calls]
        try:
            for done in waiting:
                done.result()
        except BaseException:  # also Ctrl-C, which the pool would let wait until all calls are made
            for other in waiting:
                other.cancel()
            raise


def _fetch_changed(store: ObjectStore, found: Mapping[str, StoredObject], folder: Path) -> None:
    """Fetches those objects into a folder that it does not have in this size and of this time."""
    note, now = folder / NOTE, {key: [kept.size_bytes, kept.changed_seconds] for key, kept in found.items()}
    try:
        before = json.loads(note.read_bytes())
    except (OSError, ValueError):
        before = {}
    new = [key for key in now if before.get(key) != now[key] or not inside(folder, key).is_file()]
    if new:
        size = sum(found[key].size_bytes for key in new) / 1e6
        warnings.warn(f"fetching {len(new)} files ({size:.1f} MB) of {store.name} into {folder}", stacklevel=3)
        at_once(partial(_fetch, store, key, folder) for key in new)
    kept = {key: value for key, value in before.items() if key not in now}
    with appearing_whole(note, synced=False) as path:
        path.write_text(json.dumps({**kept, **now}))


def _fetch(store: ObjectStore, key: str, folder: Path) -> None:
    path = inside(folder, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with appearing_whole(path, synced=False) as partial_path, partial_path.open("wb") as file:
        if not store.download(key, file.write):
            raise StoreError(f"{key} vanished from {store.name} while it was fetched; try again")
