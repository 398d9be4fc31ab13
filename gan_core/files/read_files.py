"""The files that a person's own code reads while it runs, and whether one of them has changed since."""

import hashlib
import importlib
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from gan_core.config.dataset_name import PICTURE_SUFFIXES

NO_DATA = ("/proc/", "/sys/", "/dev/")
NOT_THEIRS = (  # the files of code that reads for other reasons: importing lists all folders where code may be
    "<frozen importlib",
    os.path.dirname(importlib.__file__),
    str(Path(__file__).parents[1]),
)
States = dict[str, str]  # a path -> what tells the file or folder from how it may be later
_noting: list[States] = []  # what is read now is noted in each; the hook of Python that hears of it stays for good


@contextmanager
def files_read() -> Iterator[States]:
    """Within this context, the files that Python opens to read, and the folders that it lists, are noted as they are at
    that time. What other processes read is not heard of, nor what is opened in C, as by HDF5 or OpenCV.
    """
    _listen()
    noted: States = {}
    _noting.append(noted)
    try:
        yield noted
    finally:
        del _noting[next(place for place, one in enumerate(_noting) if one is noted)]


@cache
def _listen() -> None:
    sys.addaudithook(_hear)


def _hear(event: str, given: Sequence[object]) -> None:
    """Notes a file or a folder. Python calls it for each audit event (docs.python.org/3/library/audit_events.html)."""
    if not _noting or event not in ("open", "os.listdir", "os.scandir"):
        return
    if event == "open" and (not isinstance(given[2], int) or given[2] & (os.O_WRONLY | os.O_CREAT)):
        return
    path, caller = "." if given[0] is None else given[0], sys._getframe(1).f_code.co_filename
    if not isinstance(path, str | bytes | os.PathLike) or caller.startswith(NOT_THEIRS):
        return
    path = os.path.abspath(os.fsdecode(path))
    if event == "open" and not os.path.isfile(path):  # temporary files are opened by their folder
        return
    if not path.startswith(NO_DATA) and any(path not in noted for noted in _noting) and (state := _state(path)):
        note({path: state})


def note(read: States) -> None:
    """Notes what was read before, where what came of it is used now."""
    for noted in _noting:
        noted |= {path: state for path, state in read.items() if path not in noted}


def first_changed(before: States) -> str:
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
                f"{entry.name} {_state(entry.path) if entry.name.lower().endswith(PICTURE_SUFFIXES) else ''}"
                for entry in entries
            )
    except OSError:
        return ""
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:16]
