"""Optuna's journal in a file that one process owns."""

import json
import os
from collections.abc import Collection, Generator
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend

from gan_core.files.whole_files import naming
from results.store import RESTORE, JsonLines, ResultsError, append_whole
from sweep.proposals.journal_record import JournalCheck

CREATES = 4  # the code of Optuna's record of a new trial
EXTENDS = "extends"  # the attribute of a trial that repeats a completed one, which went on


class Journal(JournalFileBackend):
    """Optuna's own file format, which its tools read. Lines reach the disk when `sync` is called, and not one by one: a
    proposal is a dozen lines, each of which would wait for the disk. Nor is the file read again for each of them: its
    one reader, which is its one writer, is handed what was appended.
    """

    def __init__(self, path: Path) -> None:
        lock: Any = _NoLock()  # Optuna does not export the base class it asks for
        super().__init__(str(path), lock_obj=lock)
        self._path = path
        self._read: int | None = None  # how many lines the reader has had; None before its first
        self._unread: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """What stands in the file from a line on, as it stands there."""
        if log_number_from == self._read:
            found = self._unread
        else:
            found = list(super().read_logs(log_number_from))
        self._read, self._unread = log_number_from + len(found), []
        yield from found

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """A killed process has written what it wrote; a machine that loses power keeps what was synced."""
        lines = [json.dumps(log, separators=(",", ":")) + "\n" for log in logs]
        append_whole(self._path, "".join(lines), sync=False)
        self._unread += map(json.loads, lines)

    def sync(self) -> None:
        """Returns when all lines are on the disk."""
        with naming(self._path), self._path.open("ab") as file:
            os.fsync(file.fileno())


def cut_unrecorded(path: Path, recorded: Collection[int]) -> None:
    """Cuts off what stands after the last line about a recorded trial: what a killed owner asked for, and had not
    recorded in a cohort. Asked again in the journal as it was then, every sampler proposes the same again; told FAIL
    instead, they would shift the numbers and the state that some (cmaes, nsga2) draw by.

    Raises ResultsError, with the line, where one is not as Optuna writes it, and where a recorded trial is missing.
    """
    logs = JsonLines(path).read(JournalCheck())
    creating = [log["op_code"] == CREATES for log in logs]
    head = creating.index(True) if True in creating else len(logs)  # about the study itself
    kept, trials = len(logs), sum(creating)
    if missing := [identity for identity in recorded if identity >= trials]:
        raise ResultsError(f"{path} lacks proposal {min(missing)}, which a cohort has; {RESTORE}")
    while kept > head:
        log = logs[kept - 1]
        trials -= creating[kept - 1]
        identity = trials if creating[kept - 1] else log.get("trial_id")
        if identity in recorded or EXTENDS in log.get("user_attrs", {}):
            break
        kept -= 1
    if kept < len(logs):
        lines = path.read_bytes().split(b"\n")
        os.truncate(path, sum(len(line) + 1 for line in lines[:kept]))


class _NoLock:
    """The folder is ours alone already (`study_lock`). Optuna's own lock would outlive a killed owner by half a minute,
    and answers Ctrl-C inside it with another error.
    """

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass
