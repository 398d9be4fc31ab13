"""Stores in the memory of this process, which fsspec has, with addresses as a person would give them."""

from collections.abc import Iterator

import fsspec
import pytest

from gan_core.files.object_store import ObjectStore, open_store


@pytest.fixture
def address() -> Iterator[str]:
    """The address of an empty store."""
    yield "memory://bucket/run"
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def put(address: str, objects: dict[str, bytes]) -> ObjectStore:
    """The store at an address, into which these objects were written: key -> content."""
    store = open_store(address)
    for key, content in objects.items():
        store.write(key, content)
    return store


def replace(place: str, content: bytes) -> None:
    """Replaces an object in one step, as stores do; a write to one in memory shows an empty object for a moment."""
    files = fsspec.filesystem("memory")
    files.pipe("/written", content)
    files.store["/" + place.partition("://")[2]] = files.store.pop("/written")
