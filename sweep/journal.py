"""Optuna's journal in a file that one process owns."""

import json
import os
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend


class Journal(JournalFileBackend):
    """Optuna's own file format, which its tools read. Lines reach the disk when `sync` is called, and not one by one: a
    proposal is a dozen lines, each of which would wait for the disk.
    """

    def __init__(self, path: Path) -> None:
        lock: Any = _NoLock()  # Optuna does not export the base class it asks for
        super().__init__(str(path), lock_obj=lock)
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """A killed process has written what it wrote; a machine that loses power keeps what was synced."""
        lines = (json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with self._path.open("ab") as file:
            file.write("".join(lines).encode())

    def sync(self) -> None:
        """Returns when all lines are on the disk."""
        with self._path.open("ab") as file:
            os.fsync(file.fileno())


class _NoLock:
    """The folder is ours alone already (`study_lock`). Optuna's own lock would outlive a killed owner by half a minute,
    and answers Ctrl-C inside it with another error.
    """

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass
