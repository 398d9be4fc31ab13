"""Runs that live in an object store: where their files are in the cache of this machine, and how they get there.

There are two folders for an address. The driver of a sweep has its own, which may be ahead of the store; it is the only
one that writes there (`sweep.storage`). Everybody else fetches what they need into the other.
"""

import hashlib
import json
import os
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from gan_core.files.addresses import is_address, path_of, shown_address
from gan_core.files.cache import alone
from gan_core.files.fetched import at_once, inside, private_folder
from gan_core.files.object_store import ObjectStore, StoreError, open_store
from gan_core.files.whole_files import appearing_whole
from results.manifest import LEASE, Manifest, Piece
from results.store import RunFolder, is_held, write_atomically

FETCHED = ".fetched.json"  # in a folder of the cache: path -> [time, size, digests of the pieces]
GENERATORS = "checkpoints/trial-*/generator.safetensors"
TRIES = 5  # readings of a manifest whose objects are replaced while they are fetched, because the sweep goes on


Which = Callable[[str], bool]  # whether a file, by its path in the run's folder, is wanted


def records(name: str) -> bool:
    """The files that a table and an export need: those beside spec.yaml, but for weights."""
    return "/" not in name and not name.endswith(".safetensors")


def generators(name: str) -> bool:
    """The files that sampling needs."""
    return records(name) or fnmatch(name, GENERATORS)


def everything(name: str) -> bool:
    """All files."""
    return True


class DriverPlace:
    """Where the driver of a sweep at an address has its files on this machine."""

    def __init__(self, address: str) -> None:
        self.folder = private_folder("runs", address)
        self.lock = self.folder.with_name(f"{self.folder.name}.lock")
        self._note = self.folder / ".driver.json"  # goes where the folder goes

    @property
    def note(self) -> "DriverNote":
        """What the last driver here wrote down."""
        try:
            values = json.loads(self._note.read_bytes())
        except FileNotFoundError:
            return DriverNote()
        return DriverNote(values["driver"], tuple(values["owners"]), values["clean"])

    def write(self, note: "DriverNote") -> None:
        """Writes this down."""
        write_atomically(self._note, json.dumps(asdict(note)))


@dataclass(frozen=True)
class DriverNote:
    """What is known of the folder of a driver.

    driver: the owner (`Manifest.owner`) that the last driver here is. owners: others whose manifests the folder is not
    behind; none if no manifest was ever written from here, or read. clean: whether the store has all that is here.
    """

    driver: str = ""
    owners: tuple[str, ...] = ()
    clean: bool = True

    def contains(self, manifest: Manifest | None) -> bool:
        """Whether the folder has all that this manifest has, and perhaps more."""
        return manifest is not None and manifest.owner in (self.driver, *self.owners)


def run_folder(place: str | Path, which: Which = records) -> RunFolder:
    """The folder of a run. Where an address is given, the wanted files are fetched, but for those that did not change
    since the last time. The folder of a run that is not there is empty.

    Raises StoreError where the store cannot be read.
    """
    if not is_address(place):
        return RunFolder(path_of(place))
    address = str(place)
    driver, name = DriverPlace(address), shown_address(address)
    if is_held(driver.lock):  # the sweep goes on here
        return RunFolder(driver.folder, name)
    store = open_store(address)
    folder = private_folder("fetched_runs", address)
    with alone(folder / FETCHED):
        for left in reversed(range(TRIES)):
            manifest = Manifest.read(store)
            if driver.note.contains(manifest) and RunFolder(driver.folder).holds_run():
                return RunFolder(driver.folder, name)
            try:
                pull(store, manifest or Manifest(""), folder, which)
                break
            except StaleManifest:
                if not left:
                    raise
    return RunFolder(folder, name)


def is_leased(place: str | Path) -> bool:
    """Whether a driver has the lease of the run at an address: it is at work there, or ended without a word."""
    return is_address(place) and open_store(str(place)).look(LEASE) is not None


class StaleManifest(StoreError):
    """An object that a manifest names is not there, or another one is: a later manifest may stand in the store."""


def pull(store: ObjectStore, manifest: Manifest, folder: Path, which: Which = everything) -> None:
    """Makes the wanted files of a folder those of the manifest. Pieces that the folder has are not fetched again. Files
    that were fetched before, and that the manifest lacks, are removed.

    Raises StaleManifest, and StoreError where the store cannot be read or names a file outside the folder.
    """
    stamps = _fetched(folder)
    wanted = {name: pieces for name, pieces in manifest.files.items() if which(name)}
    new = [name for name in wanted if stamps.get(name) != _stamp(inside(folder, name), wanted[name])]
    for name in stamps.keys() - manifest.files.keys():
        inside(folder, name).unlink(missing_ok=True)

    def fetch(name: str) -> None:
        path = inside(folder, name)
        _pull_file(store, path, wanted[name])
        stamps[name] = _stamp(path, wanted[name])

    try:
        at_once(partial(fetch, name) for name in new)
    finally:
        with appearing_whole(folder / FETCHED, synced=False) as path:
            path.write_text(json.dumps({name: stamps[name] for name in stamps.keys() & manifest.files.keys()}))


def _fetched(folder: Path) -> dict[str, list[object]]:
    try:
        return json.loads((folder / FETCHED).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}


def _stamp(path: Path, pieces: Collection[Piece]) -> list[object]:
    """What changes when a file does, or should: its time and size, and the digests of the pieces it is made of."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return []
    return [found.st_mtime_ns, found.st_size, [piece.digest for piece in pieces]]


def _pull_file(store: ObjectStore, path: Path, pieces: Collection[Piece]) -> None:
    """Makes a file of its pieces. Those that it begins with already are taken from it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    old = path.read_bytes() if len(pieces) > 1 and path.is_file() else b""
    with appearing_whole(path, synced=False) as partial_path, partial_path.open("wb") as file:
        for piece in pieces:
            content = old[file.tell() : file.tell() + piece.size_bytes]
            if hashlib.sha256(content).hexdigest() == piece.digest:
                file.write(content)
            else:
                _pull_piece(store, piece, file.write)


def _pull_piece(store: ObjectStore, piece: Piece, write: Callable[[bytes], object]) -> None:
    digest = hashlib.sha256()

    def take(part: bytes) -> None:
        digest.update(part)
        write(part)

    if not store.download(piece.key, take):
        raise StaleManifest(f"{store.name} lacks {piece.key}, which its manifest names; restore it")
    if digest.hexdigest() != piece.digest:
        raise StaleManifest(f"{piece.key} in {store.name} is not as it was written; restore it")
