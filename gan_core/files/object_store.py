"""ObjectStore: the objects below one address. The only module that imports pyarrow and fsspec, and only when used.

S3, Google Cloud Storage and Azure are spoken to by pyarrow, which Ray Tune brings along, and which needs no package for
each of them; addresses that pyarrow does not know are handed to fsspec.
"""

import hashlib
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from gan_core.config.input_error import InputError, shortened
from gan_core.files.addresses import shown_address, with_endpoint, without_secrets

PART_BYTES = 2**23  # what is held in memory of an object that is read or written
LONGEST_CAUSE = 300  # characters of a library's message in ours
REFUSED = "the key is refused; check the credentials (for S3: AWS_ACCESS_KEY_ID or a profile) and what they may do"
MISSING = "there is no such bucket; make it, or mend the address"
FULL = "it is full, or over its quota; free space there"
AWAY = "it does not answer"
BROKEN = "it has an error of its own; it may be full, see what it says itself"
MARKS = {  # of the messages of the libraries, which have no codes in common: what they mean -> what they contain
    MISSING: ("NO_SUCH_BUCKET", "NoSuchBucket", "ContainerNotFound", "bucket does not exist"),
    REFUSED: (
        *("ACCESS_DENIED", "AccessDenied", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "INVALID_CLIENT"),
        *("INVALID_SIGNATURE", "MISSING_AUTHENTICATION", "EXPIRED_TOKEN", "ExpiredToken", "HTTP status 403"),
        *("PERMISSION_DENIED", "PermissionDenied", "Unauthorized", "AuthenticationFailed", "Forbidden"),
    ),
    FULL: ("QuotaExceeded", "StorageFull", "HTTP status 507", "No space left", "storage limit", "EntityTooLarge"),
    BROKEN: ("INTERNAL_FAILURE", "InternalError", "HTTP status 500"),
    AWAY: ("NETWORK_CONNECTION", "curlCode", "timed out", "Couldn't connect", "onnection refused"),
}
LASTING = (MISSING, REFUSED)  # what asking again does not help


class StoreError(InputError):
    """A store cannot be used. The message is one line. lasting: whether asking again cannot help."""

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting


@dataclass(frozen=True)
class StoredObject:
    """The size of an object, and the time of its last change by the clock of the store; None where it has none."""

    size_bytes: int
    changed_seconds: float | None


class ObjectStore:
    """The objects below an address, by their keys: paths relative to it, with `/`. All methods raise StoreError.

    An object appears whole when a write ends. Where the process dies in a write, there may be none, or (with a library
    that completes what it has) a part of it: nothing may refer to a key before its write has returned.
    """

    def __init__(self, filesystem: Any, root: str, name: str) -> None:
        """filesystem: one of pyarrow; root: the path of the address there; name: the address as messages show it."""
        self._filesystem, self._root, self.name = filesystem, root.rstrip("/"), name

    def read(self, key: str) -> bytes | None:
        """The content of a small object; None where there is none."""
        return self._read(key, None)

    def _read(self, key: str, size_bytes: int | None) -> bytes | None:
        with self._told("read"):
            try:
                with self._filesystem.open_input_file(self._path(key)) as file:
                    return file.read(size_bytes)
            except FileNotFoundError:
                return None

    def write(self, key: str, content: bytes) -> None:
        """Replaces a small object."""
        with self._told("write to"), self._opened(key) as stream:
            stream.write(content)

    def upload(self, key: str, file: BinaryIO, size_bytes: int, between: Callable[[], None]) -> str:
        """Makes an object of the next bytes of an open file, and returns its sha256. between: called after each part.

        Raises StoreError also where the file has fewer bytes.
        """
        digest, left = hashlib.sha256(), size_bytes
        with self._told("write to"), self._opened(key) as stream:
            while left:
                part = file.read(min(left, PART_BYTES))
                if not part:
                    raise StoreError(f"{file.name} became shorter while it was copied to {self.name}")
                stream.write(part)
                digest.update(part)
                left -= len(part)
                between()
        return digest.hexdigest()

    def download(self, key: str, take: Callable[[bytes], object]) -> bool:
        """Hands the content of an object over in parts. Returns whether there is such an object."""
        with self._told("read"):
            try:
                with self._filesystem.open_input_file(self._path(key)) as file:
                    while part := file.read(PART_BYTES):
                        take(part)
            except FileNotFoundError:
                return False
        return True

    def delete(self, key: str) -> None:
        """Removes an object, if there is one."""
        with self._told("remove from"):
            try:
                self._filesystem.delete_file(self._path(key))
            except FileNotFoundError:
                return

    def look(self, key: str) -> StoredObject | None:
        """The size and time of an object; None where there is none."""
        with self._told("read"):
            found = self._filesystem.get_file_info(self._path(key))
        return _stored(found) if found.is_file else None

    def list(self, below: str = "") -> dict[str, StoredObject]:
        """All objects, or those whose keys begin with `below/`, at any depth: key -> object."""
        selector = importlib.import_module("pyarrow.fs").FileSelector
        with self._told("list"):
            place = self._path(below).rstrip("/")
            found = self._filesystem.get_file_info(selector(place, recursive=True, allow_not_found=True))
        start = len(self._root) + 1
        return {info.path[start:]: _stored(info) for info in found if info.is_file}

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    @contextmanager
    def _opened(self, key: str) -> Iterator[Any]:
        """A stream to an object. File systems have folders, which are made where one is missing. Without
        `compression=None`, pyarrow compresses what is called `.gz`.
        """
        path = self._path(key)
        try:
            stream = self._filesystem.open_output_stream(path, compression=None)
        except FileNotFoundError:
            self._filesystem.create_dir(path.rpartition("/")[0], recursive=True)
            stream = self._filesystem.open_output_stream(path, compression=None)
        with stream as opened:
            yield opened

    @contextmanager
    def _told(self, action: str) -> Iterator[None]:
        """Raises StoreError for every error within. The file systems of fsspec raise what their own libraries raise,
        which has no common class.
        """
        try:
            yield
        except StoreError:
            raise
        except Exception as error:  # of any library: see above
            meaning, lasting = _meaning(error)
            raise StoreError(f"cannot {action} {self.name}: {meaning}", lasting=lasting) from error


def open_store(address: str) -> ObjectStore:
    """The objects below an address. Nothing is asked of the store yet, with one exception: pyarrow asks AWS for the
    region of a bucket.

    Raises StoreError for an address of no known form, and where a package is missing.
    """
    name, fs = shown_address(address), importlib.import_module("pyarrow.fs")
    if not address.partition("://")[2].partition("?")[0].rstrip("/").partition("/")[2]:
        raise StoreError(
            f"an address names a bucket and a place in it, as in s3://bucket/run, got {name}", lasting=True
        )
    try:
        filesystem, root = _from_uri(fs, with_endpoint(address))
    except ImportError as error:
        raise StoreError(
            f"{name} needs a package: {without_secrets(str(error))}; pip install it", lasting=True
        ) from error
    except Exception as error:  # as in `ObjectStore._told`
        meaning, lasting = _meaning(error)
        raise StoreError(f"cannot open {name}: {meaning}", lasting=lasting) from error
    return ObjectStore(filesystem, root, name)


def _from_uri(fs: Any, address: str) -> tuple[Any, str]:
    if address.startswith("s3://"):
        # A small object is then written by one request instead of three; earlier versions know no such option.
        delayed = f"{address}{'&' if '?' in address else '?'}allow_delayed_open=true"
        try:
            return fs.FileSystem.from_uri(delayed)
        except ValueError:
            return fs.FileSystem.from_uri(address)
    try:
        return fs.FileSystem.from_uri(address)
    except ValueError as error:
        if "Unrecognized filesystem type" not in str(error):
            raise
    filesystem, root = importlib.import_module("fsspec").url_to_fs(address)
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), root


def _stored(info: Any) -> StoredObject:
    changed = info.mtime_ns
    return StoredObject(info.size or 0, None if changed is None else changed / 1e9)


def _meaning(error: Exception) -> tuple[str, bool]:
    """What an error of a library means, in words, and whether it lasts."""
    text = " ".join(str(error).split())
    for meaning, marks in MARKS.items():
        if any(mark in text for mark in marks):
            return meaning, meaning in LASTING
    return f"{type(error).__name__}: {shortened(without_secrets(text), LONGEST_CAUSE)}", False
