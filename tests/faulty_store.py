"""A store on this machine's disk that writes down what was done to it, and fails when a test says so."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow.fs

from gan_core.files.object_store import ObjectStore

NAME = "s3://bucket/run"


@dataclass
class FaultyFiles:
    """A file system of pyarrow, as far as `ObjectStore` uses it. done: (path, content) of each write, whose content is
    None for a removal, in order. fault: called before each request with its kind and path; it raises what a library
    would. cut: of a write that fails, half of the content is there.
    """

    done: list[tuple[str, bytes | None]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    fault: Callable[[str, str], None] = lambda kind, path: None
    inner: Any = field(default_factory=pyarrow.fs.LocalFileSystem)

    def _ask(self, kind: str, path: str) -> None:
        self.requests.append((kind, path))
        self.fault(kind, path)

    @contextmanager
    def open_output_stream(self, path: str, compression: None) -> Iterator[BytesIO]:
        self._ask("write", path)
        content = BytesIO()
        yield content
        self.done.append((path, content.getvalue()))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(f"{path}.new").write_bytes(content.getvalue())
        Path(f"{path}.new").rename(path)

    def open_input_file(self, path: str) -> Any:
        self._ask("read", path)
        return self.inner.open_input_file(path)

    def delete_file(self, path: str) -> None:
        self._ask("delete", path)
        self.done.append((path, None))
        self.inner.delete_file(path)

    def get_file_info(self, what: Any) -> Any:
        self._ask("look", getattr(what, "base_dir", what))
        return self.inner.get_file_info(what)


def store_in(folder: Path, files: Any = None) -> ObjectStore:
    """A store whose objects are the files of a folder."""
    return ObjectStore(files or pyarrow.fs.LocalFileSystem(), str(folder), NAME)


def away(kind: str, path: str) -> None:
    """A fault: the store does not answer, in the words of pyarrow."""
    raise OSError(f"When putting '{path}': AWS Error NETWORK_CONNECTION: curlCode: 7, Couldn't connect to server")


def full(kind: str, path: str) -> None:
    """A fault: nothing more fits."""
    if kind == "write":
        raise OSError("AWS Error UNKNOWN (HTTP status 507) during PutObject operation: XMinioStorageFull")


def refused(kind: str, path: str) -> None:
    """A fault: the key may not do this."""
    raise OSError("AWS Error ACCESS_DENIED during PutObject operation: Access Denied.")


def tree(folder: Path) -> dict[str, bytes]:
    """The files below a folder: path -> content."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
