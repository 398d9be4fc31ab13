"""Optuna's journal in a file that one process owns."""

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from gan_core.files.whole_files import naming
from results.store import RESTORE, JsonLines, ResultsError, append_whole
from sweep.proposals.journal_record import CREATES_TRIAL, JournalCheck

EXTENDS = "extends"  # the attribute of a trial that repeats a completed one, which went on


class Journal(BaseJournalBackend):
    """The file that Optuna's JournalFileBackend reads and writes, without its lock and its waits.

    The folder belongs to one process already (`study_lock`). Optuna's lock would outlive a killed owner by half a
    minute, and it answers Ctrl-C with another error. Lines reach the disk when `sync` is called: a proposal is several
    lines, each of which would wait for the disk. The file is not read again for each line either: the process that
    writes is the one that reads, and is handed what it wrote.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: int | None = None  # how many lines the storage has read; None before the first
        self._unread: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        """The lines of the file from this one on, as they stand there."""
        found = self._unread if log_number_from == self._read else JsonLines(self.path).read()[log_number_from:]
        self._read, self._unread = log_number_from + len(found), []
        return found

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """A process that is killed has written all it appended; a machine that loses power keeps what was synced."""
        lines = [json.dumps(log, separators=(",", ":")) + "\n" for log in logs]
        append_whole(self.path, "".join(lines), sync=False)
        self._unread += map(json.loads, lines)

    def sync(self) -> None:
        """Returns when all lines are on the disk."""
        with naming(self.path), self.path.open("ab") as file:
            os.fsync(file.fileno())


def cut_unrecorded(path: Path, recorded: Collection[int]) -> None:
    """Cuts off what stands after the last line about a recorded trial: the proposals that a killed owner asked for, and
    had not recorded in a cohort. Asked for again, with the journal as it was then, every sampler proposes the same.
    Were they told FAIL instead, numbers would shift, and with them the points and generations that depend on them.

    Raises ResultsError, with the line, where one is not as Optuna writes it, and where a recorded trial is missing.
    """
    logs = JsonLines(path).read(JournalCheck())
    creating = [log["op_code"] == CREATES_TRIAL for log in logs]
    head = creating.index(True) if True in creating else len(logs)  # lines about the study itself
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
