"""Manifest: what a store holds of a run. It is one object, so it changes at once, and with it the run in the store.

    s3://bucket/run/manifest.json           which objects make which file
    s3://bucket/run/rows.jsonl/000017-X     a piece of a file that only grows, of the driver X
    s3://bucket/run/best.png                any other file, as it is

An object that the manifest names is never written again: a file that changed gets another key (`best~.png`), and what
no manifest names is removed. So the manifest that stands in the store names objects that are whole, at any time.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from gan_core.config.fields import is_whole
from gan_core.files.object_store import ObjectStore, StoreError

MANIFEST, LEASE = "manifest.json", "lease.json"
VERSION = 1  # of the manifest's form


@dataclass(frozen=True)
class Piece:
    """An object that holds a part of a file, or all of it. digest: its sha256, in hexadecimal digits."""

    key: str
    size_bytes: int
    digest: str


@dataclass(frozen=True)
class Manifest:
    """owner: who wrote it, a random text for each driver. next_piece: a number that no piece's key has yet. files: the
    path of each file in the run's folder -> its pieces, in order.
    """

    owner: str
    next_piece: int = 0
    files: Mapping[str, Sequence[Piece]] = field(default_factory=dict)

    @property
    def keys(self) -> frozenset[str]:
        """All objects that it names."""
        return frozenset(piece.key for pieces in self.files.values() for piece in pieces)

    def holding(self, files: Mapping[str, Sequence[Piece]], next_piece: int, owner: str) -> "Manifest":
        """The manifest that follows this one."""
        return replace(self, owner=owner, next_piece=next_piece, files=files)

    def to_bytes(self) -> bytes:
        """As it is stored."""
        files = {name: [[p.key, p.size_bytes, p.digest] for p in pieces] for name, pieces in self.files.items()}
        values = {"version": VERSION, "owner": self.owner, "next_piece": self.next_piece, "files": files}
        return json.dumps(values, separators=(",", ":")).encode()

    @classmethod
    def read(cls, store: ObjectStore) -> "Manifest | None":
        """That of the run in a store; None where there is none. Raises StoreError where it is not as it was written."""
        content = store.read(MANIFEST)
        if content is None:
            return None
        try:
            return _parsed(json.loads(content))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise StoreError(
                f"{store.name}/{MANIFEST} is not as this program writes it; restore it, or choose another address"
            ) from error


def whole_key(path: str, taken: frozenset[str]) -> str:
    """A key for a file that is one object: its path or, where an object of that key is still needed, another."""
    other = str(PurePosixPath(path).with_stem(f"{PurePosixPath(path).stem}~"))
    return other if path in taken else path


def _parsed(values: Any) -> Manifest:
    if values["version"] != VERSION or not isinstance(values["owner"], str) or not is_whole(values["next_piece"], 0):
        raise ValueError
    files = {name: [Piece(*piece) for piece in pieces] for name, pieces in values["files"].items()}
    for piece in (piece for pieces in files.values() for piece in pieces):
        if not (isinstance(piece.key, str) and isinstance(piece.digest, str) and is_whole(piece.size_bytes, 0)):
            raise ValueError
    return Manifest(values["owner"], values["next_piece"], files)
