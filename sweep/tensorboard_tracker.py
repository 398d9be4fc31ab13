"""The rows as TensorBoard reads them: `tensorboard --logdir RUN/tensorboard`. Needs no package to write."""

import time
from pathlib import Path

from results.rows import DEAD, ResultRow
from results.store import RunFolder
from sweep import event_file
from sweep.tracked_row import has_ended, hyperparameters, numbers, trial_name, words

FILE_NAME = "events.out.tfevents.0000000000.gan-sweep"  # of a trial; readers look for its middle part
PICTURE_TAG = "samples"


class TensorBoardTracker:
    """A folder and a file a trial, a record a row: numbers and the picture, at the images seen; with the last row the
    trial's line of the HParams tab, its outcome among the hyperparameters.

    A row's record is written in one piece, and a torn one is cut off when the file is opened again. So the records of a
    file say which rows it has, and a row that is told again is passed over, whoever was killed when.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._home = folder.tensorboard
        self._rows: dict[int, int] = {}  # trial -> how many of its rows its file has

    def row(self, row: ResultRow, picture: Path | None) -> None:
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
