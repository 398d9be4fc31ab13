"""Callbacks: a person's own code, called in the driver's process with what a sweep has recorded."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from gan_core.config.gan import InputError, shown
from results.rows import ResultRow
from results.store import RunFolder

if TYPE_CHECKING:
    from results.table import ResultsTable


class Callback(Protocol):
    """What `run_sweep(callbacks=[...])` calls, in its own process and thread, locally and with Ray.

    An error that is raised here is not caught: it ends the sweep like Ctrl-C, with its own traceback (one of the system
    or of an import as the cause of a PlaceError). What was recorded stays, and the same call goes on.
    """

    def row(self, row: ResultRow) -> None:
        """Told each row (a trial at a rung) that this call adds to the run, once and in the order of the file, after it
        is on disk. Training goes on beside it with Ray, and waits for it locally.
        """
        ...

    def end(self, table: "ResultsTable") -> None:
        """Told the table when the sweep has ended by itself, or was found finished."""
        ...


def check_callbacks(callbacks: Sequence[Callback]) -> None:
    """Raises InputError for what is no sequence of callbacks, before anything is trained."""
    if not isinstance(callbacks, Sequence):
        raise InputError(f"callbacks must be a list of objects with `row` and `end`, got {shown(callbacks)}")
    for callback in callbacks:
        if isinstance(callback, type) or not (
            callable(getattr(callback, "row", None)) and callable(getattr(callback, "end", None))
        ):
            raise InputError(f"a callback must have the methods `row` and `end`, got {shown(callback)}")


class RowFeed:
    """Hands new rows of a run to callbacks: those that are written after it is made."""

    def __init__(self, callbacks: Sequence[Callback], folder: RunFolder) -> None:
        self._callbacks, self._path = callbacks, folder.rows
        self._read_bytes = 0
        self._read_bytes = sum(map(len, self._new_lines()))

    def look(self) -> None:
        """Calls them with what is new, if anything is. Raises what they raise, and passes no row twice."""
        for line in self._new_lines():
            self._read_bytes += len(line)
            row = ResultRow.from_record(json.loads(line))
            for callback in self._callbacks:
                callback.row(row)

    def _new_lines(self) -> list[bytes]:
        """Whole lines; the last may be half written."""
        if not self._callbacks or not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read_bytes)
            return [line for line in file.read().splitlines(keepends=True) if line.endswith(b"\n")]
