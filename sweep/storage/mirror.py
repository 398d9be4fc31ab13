"""Mirror: makes what a store holds of a run equal to the run's folder, one consistent state after the other."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath

from gan_core.files.fetched import at_once
from gan_core.files.object_store import ObjectStore
from results.manifest import LEASE, MANIFEST, Manifest, Piece, whole_key
from results.store import RunFolder
from sweep.storage.growing import ends_with, kept_pieces, still_good
from sweep.storage.lease import Lease
from sweep.storage.local_files import GROWING, FileState, growing_sizes, whole_files

# What a run has in its folder. Objects of other names may be a person's own, and are left alone.
OURS = (
    *(*GROWING, "checkpoints", "samples", "spec.yaml", "examination.json", "features.safetensors", "best.png"),
    *("progress.json", "tracking.json"),
)


class Mirror:
    """Copies the folder of a run, in this order:

    1. It looks which files there are, then how long the files that only grow are at one moment (the cut), then again
       which other files there are.
    2. It writes an object for each file that changed, and for what each growing file has grown by.
    3. It writes the manifest. Before that, the store holds the state of the last time.
    4. It removes the objects that no manifest needs any more.

    So the other files are those of the moment of the cut or later, which resuming allows: a checkpoint is written
    before the rows that follow from it. A file that was removed after the cut stays in the manifest once more, because
    rows that explain why it is not needed may not be in the cut.
    """

    def __init__(self, store: ObjectStore, folder: RunFolder, lease: Lease, manifest: Manifest | None) -> None:
        """manifest: what the store holds; None for nothing."""
        self.manifest = manifest or Manifest("")
        self._store, self._folder, self._lease = store, folder, lease
        self._states: dict[str, FileState] = {}  # path -> its state when what the manifest names was read
        self._written: dict[str, tuple[FileState, Piece]] = {}  # whole files whose objects no manifest names yet
        self._superseded = {key for key in store.list() if is_ours(key) and key != LEASE} - self.manifest.keys

    def copy(self) -> None:
        """Copies what has changed. Raises StoreError, and OSError where a local file cannot be read; called again, it
        goes on with what is missing. Raises LeaseLost.
        """
        before = whole_files(self._folder)
        sizes = growing_sizes(self._folder)
        now = whole_files(self._folder)
        files = {name: pieces for name, pieces in self.manifest.files.items() if name in {**before, **now}}
        files |= {name: self.manifest.files.get(name, ()) for name in sizes}
        states, calls, number = dict(self._states), list[Callable[[], None]](), self.manifest.next_piece
        for name, state in now.items():
            if name not in files or self._states.get(name) != state:
                calls.append(partial(self._copy_whole, name, files, states))
        for name, size in sizes.items():
            if self._has_grown(name, size, files, states):
                calls.append(partial(self._copy_growth, name, size, number, files))
                number += 1
        at_once(calls)
        self._commit(files, states, number)
        self._remove_superseded()

    def missing(self) -> tuple[int, int]:
        """How many files, and bytes of them, the manifest in the store lacks."""
        held = {name: sum(piece.size_bytes for piece in pieces) for name, pieces in self.manifest.files.items()}
        grown = [size - held.get(name, 0) for name, size in growing_sizes(self._folder).items()]
        whole = [
            state.size_bytes for name, state in whole_files(self._folder).items() if self._states.get(name) != state
        ]
        sizes = [size for size in (*grown, *whole) if size]
        return len(sizes), sum(sizes)

    def _copy_whole(self, name: str, files: dict[str, Sequence[Piece]], states: dict[str, FileState]) -> None:
        """Copies a file, where its content changed. One that was removed meanwhile stays as the store has it."""
        self._lease.hold()
        try:
            file = (self._folder.path / name).open("rb")
        except FileNotFoundError:
            return
        with file:
            state = FileState.of(os.fstat(file.fileno()))
            held = self.manifest.files.get(name, ())
            written = self._written.get(name)
            if written is not None and written[0] == state:
                files[name] = [written[1]]
            elif len(held) != 1 or held[0].size_bytes != state.size_bytes or held[0].digest != _digest(file):
                file.seek(0)
                key = whole_key(name, self.manifest.keys)
                digest = self._store.upload(key, file, state.size_bytes, self._lease.hold)
                files[name] = [Piece(key, state.size_bytes, digest)]
                self._written[name] = state, files[name][0]
            states[name] = state

    def _has_grown(self, name: str, size: int, files: dict[str, Sequence[Piece]], states: dict[str, FileState]) -> bool:
        """Whether a growing file has more than its pieces, of which those are dropped that it does not begin with."""
        path = self._folder.path / name
        state, pieces = FileState.of(os.stat(path)), list(files[name])
        if self._states.get(name) != state and not (_size(pieces) <= size and ends_with(path, pieces)):
            pieces = kept_pieces(path, pieces)
            while _size(pieces) > size:
                pieces.pop()
        states[name], files[name] = state, pieces
        return size > _size(pieces)

    def _copy_growth(self, name: str, size: int, number: int, files: dict[str, Sequence[Piece]]) -> None:
        """Makes a piece of what a file has grown by."""
        self._lease.hold()
        good, key = still_good(files[name], size), f"{name}/{number:06d}-{self._lease.owner}"
        with (self._folder.path / name).open("rb") as file:
            file.seek(_size(good))
            length = size - _size(good)
            files[name] = [*good, Piece(key, length, self._store.upload(key, file, length, self._lease.hold))]

    def _commit(self, files: Mapping[str, Sequence[Piece]], states: dict[str, FileState], number: int) -> None:
        """Writes the manifest where it says something new, or where another one stands in the store: a driver that had
        stood still may have written that.
        """
        self._lease.hold()
        next_manifest = self.manifest.holding(files, number, self._lease.owner)
        if next_manifest != self.manifest or self._store.read(MANIFEST) != self.manifest.to_bytes():
            self._lease.look()
            self._store.write(MANIFEST, next_manifest.to_bytes())
            self._superseded |= self.manifest.keys
        self.manifest, self._states = next_manifest, {name: states[name] for name in states.keys() & files.keys()}
        self._written.clear()

    def _remove_superseded(self) -> None:
        def remove(key: str) -> None:
            self._lease.hold()
            self._store.delete(key)
            self._superseded.discard(key)

        self._superseded -= self.manifest.keys
        at_once(partial(remove, key) for key in sorted(self._superseded))


def is_ours(key: str) -> bool:
    """Whether an object is one that a run has, or the lease of a driver."""
    first = PurePosixPath(key).parts[0]
    return first.replace("~", "") in OURS or first.startswith(LEASE)


def _size(pieces: Sequence[Piece]) -> int:
    return sum(piece.size_bytes for piece in pieces)


def _digest(file: object) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()  # pyright: ignore[reportArgumentType]
