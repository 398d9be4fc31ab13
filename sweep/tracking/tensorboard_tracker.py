"""The rows as TensorBoard reads them: `tensorboard --logdir RUN/tensorboard`. Needs no package to write."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results.rows import DEAD, ResultRow
from results.store import RunFolder
from sweep.tracking import event_file
from sweep.tracking.tracked_row import has_ended, hyperparameters, numbers, point_numbers, trial_name, words

FILE_NAME = "events.out.tfevents.0000000000.gan-sweep"  # of a trial; readers look for its middle part
PICTURE_TAG = "samples"
CURVE_FOLDER = "curve"


class TensorBoardTracker:
    """A folder and a file a trial, a record a row: numbers and the picture, at the images seen; with the last row the
    trial's line of the HParams tab, its outcome among the hyperparameters. The points of its curve are in a folder
    below it, a record each: to a viewer another run with the same names, so that one chart shows both.

    A row's record is written in one piece, and a torn one is cut off when the file is opened again. So the records of a
    file say which rows it has, and a row that is told again is passed over, whoever was killed when.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._home = folder.tensorboard
        self._rows: dict[int, int] = {}  # trial -> how many of its rows its file has
        self._points: dict[int, tuple[int, int]] = {}  # trial -> points that its file has, and that were told so far

    def row(self, row: ResultRow, picture: Path | None, curve: Sequence[Mapping[str, Any]] = ()) -> None:
        if curve:
            self._add_points(row.trial, curve)
        path = self._home / trial_name(row.trial) / FILE_NAME
        if row.trial not in self._rows:
            self._rows[row.trial] = _rows_in(path)
        if row.rung < self._rows[row.trial]:
            return
        now = time.time()
        values = [event_file.scalar(name, value) for name, value in numbers(row).items()]
        if picture is not None:
            values.append(event_file.picture(PICTURE_TAG, picture.read_bytes()))
        if has_ended(row):
            values.append(event_file.session_start({**hyperparameters(row), **words(row)}, now))
            status = event_file.FAILURE if row.outcome in DEAD else event_file.SUCCESS
            values.append(event_file.session_end(status, now))
        with path.open("ab") as file:
            file.write(event_file.record(event_file.event(now, row.images_seen, values)))
        self._rows[row.trial] += 1

    def _add_points(self, trial: int, curve: Sequence[Mapping[str, Any]]) -> None:
        """Writes those that the file lacks: an owner tells all of a trial's, in one order."""
        path = self._home / trial_name(trial) / CURVE_FOLDER / FILE_NAME
        there, told = self._points.get(trial) or (_rows_in(path), 0)
        now = time.time()
        with path.open("ab") as file:
            for point in curve[max(0, there - told) :]:
                values = [event_file.scalar(name, value) for name, value in point_numbers(point).items()]
                file.write(event_file.record(event_file.event(now, point["images_seen"], values)))
        self._points[trial] = max(there, told + len(curve)), told + len(curve)

    def close(self) -> None:
        """Nothing: every row is in its file already."""


def _rows_in(path: Path) -> int:
    """Makes a trial's file, or cuts off its torn end. The rows it has: its first record is the file's version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    records, end = event_file.whole_records(path) if path.exists() else (0, 0)
    with path.open("ab") as file:
        file.truncate(end)
        if records == 0:
            file.write(event_file.record(event_file.file_version(time.time())))
    return max(0, records - 1)
