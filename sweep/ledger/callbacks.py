"""Callbacks: code of the user that is called in the process of the driver with what a sweep has recorded."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from gan_core.config.input_error import InputError, shown
from results.rows import ResultRow
from results.store import RunFolder

if TYPE_CHECKING:
    from results.table import ResultsTable


class Callback(Protocol):
    """What `run_sweep(callbacks=[...])` calls, in the process and thread that called it, with Ray and without.

    An error that a callback raises ends the sweep as Ctrl-C does, with its own traceback (an OSError or ImportError as
    the cause of a PlaceError). What was recorded stays, and the same call goes on with the sweep.
    """

    def row(self, row: ResultRow) -> None:
        """Called once for each row (a trial at a rung) that this sweep adds to the run, in the order of the file, after
        the row is on the disk. With Ray, training goes on meanwhile; without Ray, it waits.
        """
        ...

    def end(self, table: "ResultsTable") -> None:
        """Called with the table when the sweep has ended by itself, or was already finished."""
        ...


def check_callbacks(callbacks: Sequence[Callback]) -> None:
    """Raises InputError if it is no sequence of callbacks. Called before anything is trained."""
    if not isinstance(callbacks, Sequence):
        raise InputError(f"callbacks must be a list of objects with `row` and `end`, got {shown(callbacks)}")
    for callback in callbacks:
        if isinstance(callback, type) or not (
            callable(getattr(callback, "row", None)) and callable(getattr(callback, "end", None))
        ):
            raise InputError(f"a callback must have the methods `row` and `end`, got {shown(callback)}")


class RowFeed:
    """Hands the rows that are written after it was made to callbacks. `bool(feed)` is whether there are callbacks."""

    def __init__(self, callbacks: Sequence[Callback], folder: RunFolder) -> None:
        self._callbacks, self._path = callbacks, folder.rows
        self._read_bytes = 0
        self._read_bytes = sum(map(len, self._new_lines()))

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def look(self) -> None:
        """Calls the callbacks with all new rows. Raises what they raise, and passes no row twice."""
        for line in self._new_lines():
            self._read_bytes += len(line)
            row = ResultRow.from_record(json.loads(line))
            for callback in self._callbacks:
                callback.row(row)

    def _new_lines(self) -> list[bytes]:
        """The complete new lines; the last line of the file may be half written."""
        if not self._callbacks or not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read_bytes)
            return [line for line in file.read().splitlines(keepends=True) if line.endswith(b"\n")]
