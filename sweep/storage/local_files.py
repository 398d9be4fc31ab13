"""What of a run's folder is copied to a store, and how it is looked at while others write to it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gan_core.files.whole_files import PARTIAL
from results.store import RunFolder

# Files that only grow, whose writers keep an order among them (see `sweep.ledger.recorder`).
GROWING = ("optuna.jsonl", "cohorts.jsonl", "curves.jsonl", "rows.jsonl")
# Ray Tune's own files, and those of trackers, which are written anew from the rows on the machine that goes on.
LEFT_OUT = ("ray", "tensorboard", "mlflow", "wandb")


@dataclass(frozen=True)
class FileState:
    """What changes when a file is replaced or written to."""

    inode: int
    time_ns: int
    size_bytes: int

    @classmethod
    def of(cls, found: os.stat_result) -> "FileState":
        return cls(found.st_ino, found.st_mtime_ns, found.st_size)


def growing_sizes(folder: RunFolder) -> dict[str, int]:
    """The sizes in bytes of the GROWING files as they were at one moment; those that do not exist are left out.

    They are looked at until two looks agree. Since no file shrinks while a study is open, all of them had these sizes
    between the two looks. So whatever order their writers keep holds for this cut, as if they had been killed then.
    """
    sizes = _sizes(folder.path)
    while (again := _sizes(folder.path)) != sizes:
        sizes = again
    return sizes


def _sizes(folder: Path) -> dict[str, int]:
    found = {}
    for name in GROWING:
        try:
            found[name] = os.stat(folder / name).st_size
        except FileNotFoundError:
            continue
    return found


def whole_files(folder: RunFolder) -> dict[str, FileState]:
    """The other files of a run: path in the folder -> state. Files and folders that are being written are left out."""
    return {name: state for name, state in _walk(folder.path, "") if name not in GROWING}


def _walk(folder: Path, above: str) -> Iterator[tuple[str, FileState]]:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:  # removed meanwhile
        return
    for entry in entries:
        name = above + entry.name
        if entry.name.startswith(".") or entry.name.endswith(".partial") or PARTIAL.fullmatch(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            if name not in LEFT_OUT:
                yield from _walk(folder / entry.name, f"{name}/")
        elif entry.is_file(follow_symlinks=False):
            try:
                yield name, FileState.of(entry.stat())
            except FileNotFoundError:
                continue
