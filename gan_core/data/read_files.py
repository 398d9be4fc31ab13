"""The files that a person's own code reads while it runs, and whether one of them has changed since."""

import hashlib
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache

from gan_core.data.picture_folder import SUFFIXES

NO_DATA = ("/proc/", "/sys/", "/dev/")
IMPORTING = "<frozen importlib._bootstrap_external>"  # reads code and lists all folders where it may be
_noting: list[set[str]] = []  # what is read now is noted in each; the hook of Python that hears of it stays for good


@contextmanager
def files_read() -> Iterator[set[str]]:
    """Within this context, the paths of the files that Python opens to read, and of the folders that it lists, are put
    into the set. What other processes read is not heard of, nor what is opened in C, as by HDF5 or OpenCV.
    """
    _listen()
    noted = set[str]()
    _noting.append(noted)
    try:
        yield noted
    finally:
        _noting.remove(noted)


@cache
def _listen() -> None:
    sys.addaudithook(_hear)


def _hear(event: str, given: Sequence[object]) -> None:
    """Notes a path. Python calls it for each of its audit events (docs.python.org/3/library/audit_events.html)."""
    if not _noting or event not in ("open", "os.listdir", "os.scandir"):
        return
    if event == "open" and (not isinstance(given[2], int) or given[2] & (os.O_WRONLY | os.O_CREAT)):
        return
    path = "." if given[0] is None else given[0]
    if isinstance(path, str | bytes | os.PathLike) and sys._getframe(1).f_code.co_filename != IMPORTING:
        for noted in _noting:
            noted.add(os.path.abspath(os.fsdecode(path)))


def states(paths: set[str]) -> dict[str, str]:
    """What tells each file or folder that is still there from how it may be later."""
    found = {path: _state(path) for path in sorted(paths) if not path.startswith(NO_DATA)}
    return {path: state for path, state in found.items() if state}


def first_changed(before: Mapping[str, str]) -> str:
    """The first path whose state is another one than before; "" where none is, or where nothing is left of them, as on
    another machine.
    """
    now = {path: _state(path) for path in before}
    return next((path for path in before if now[path] != before[path]), "") if any(now.values()) else ""


def _state(path: str) -> str:
    """The size and time of a file, or a digest of the names in a folder and of the sizes and times of its pictures,
    which may be opened in C; "" for anything else.
    """
    try:
        found = os.stat(path)
        if stat.S_ISREG(found.st_mode):
            return f"{found.st_size} {found.st_mtime_ns}"
        if not stat.S_ISDIR(found.st_mode):
            return ""
        with os.scandir(path) as entries:
            lines = sorted(
                f"{entry.name} {_state(entry.path) if entry.name.lower().endswith(SUFFIXES) else ''}"
                for entry in entries
            )
    except OSError:
        return ""
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:16]
