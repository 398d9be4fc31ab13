"""ProgressFile: says in a file of a run's folder how far the sweep is, for those who watch it from elsewhere."""

import json
import time
from contextlib import suppress
from typing import Any, NamedTuple

from results.store import ResultsError, RunFolder, read_whole, write_atomically
from sweep.ledger.snapshot import Snapshot

KEPT_SECONDS = 2.0  # between two versions of the file
SILENT_SECONDS = 60.0  # a file that has not changed for so long was left by a sweep that was killed


class Progress(NamedTuple):
    """What the file says. written_seconds: when it was written, by the clock of the machine that runs the sweep, since
    1970. elapsed_seconds: how long the command had run by then.
    """

    snapshot: Snapshot
    elapsed_seconds: float
    written_seconds: float


class ProgressFile:
    """The file in the folder of a run. It is there while the sweep runs, and stays when that is killed."""

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.progress
        self._written = -KEPT_SECONDS

    def keep(self, snapshot: Snapshot, elapsed_seconds: float) -> None:
        """Writes the file, unless it was written just now. A file that cannot be written is left out: what matters is
        recorded elsewhere, where an error ends the sweep.
        """
        if time.monotonic() - self._written < KEPT_SECONDS:
            return
        self._written = time.monotonic()
        values = {"snapshot": snapshot.plain(), "elapsed_seconds": elapsed_seconds, "written_seconds": time.time()}
        with suppress(OSError):
            write_atomically(self._path, json.dumps(values))

    def read(self) -> Progress | None:
        """What the file says; None where there is none, and for one that another version wrote and cannot be read."""
        try:
            values: dict[str, Any] = json.loads(read_whole(self._path) or b"null")
            snapshot = Snapshot.from_plain(values["snapshot"])
            return Progress(snapshot, float(values["elapsed_seconds"]), float(values["written_seconds"]))
        except (ResultsError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def remove(self) -> None:
        """Removes the file, if there is one."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
