"""The rows in TensorBoard: `tensorboard --logdir RUN/tensorboard`."""

import time
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

# Generated modules, whose names pyright does not see.
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import (
    STATUS_FAILURE,  # pyright: ignore[reportAttributeAccessIssue]
    STATUS_SUCCESS,  # pyright: ignore[reportAttributeAccessIssue]
)
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,  # pyright: ignore[reportAttributeAccessIssue]
    SessionEndInfo,  # pyright: ignore[reportAttributeAccessIssue]
    SessionStartInfo,  # pyright: ignore[reportAttributeAccessIssue]
)

from results.rows import DEAD, ResultRow
from results.store import RunFolder
from sweep.tracking.event_file import EventFile
from sweep.tracking.tracked_row import has_ended, hyperparameters, numbers, point_numbers, trial_name, words

FILE_NAME = "events.out.tfevents.0000000000.gan-sweep"  # TensorBoard looks for `tfevents` in a name
PICTURE_TAG = "samples"
CURVE_FOLDER = "curve"


class TensorBoardTracker:
    """Each trial has a folder with one event file, and each row is one event of it: the row's numbers and picture, at
    the number of images seen. With a trial's last row comes its line of the HParams tab, with the outcome among the
    hyperparameters. The points of a trial's curve are events in a subfolder, which TensorBoard takes for another run
    with the same names, so that one chart shows both.

    The number of events in a file says which rows it holds. A row that is told again, by a process that resumes the
    sweep, is therefore skipped, whenever the process before it was killed.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._home = folder.tensorboard
        self._files: dict[Path, EventFile] = {}
        self._points: dict[int, int] = {}  # trial -> how many points of its curve this process was told

    def row(self, row: ResultRow, picture: Path | None, curve: Sequence[Mapping[str, Any]] = ()) -> None:
        if curve:
            self._add_points(row.trial, curve)
        file = self._file(self._home / trial_name(row.trial))
        if row.rung < file.events:
            return
        values = _scalars(numbers(row))
        if picture is not None:
            values.append(_picture(picture.read_bytes()))
        if has_ended(row):
            values += _hparams(row)
        file.append([(row.images_seen, values)])

    def _add_points(self, trial: int, curve: Sequence[Mapping[str, Any]]) -> None:
        """Appends the points that the file lacks. Every process is told all points of a trial, in the same order."""
        file = self._file(self._home / trial_name(trial) / CURVE_FOLDER)
        told = self._points.get(trial, 0)
        missing = curve[max(0, file.events - told) :]
        file.append([(point["images_seen"], _scalars(point_numbers(point))) for point in missing])
        self._points[trial] = told + len(curve)

    def _file(self, folder: Path) -> EventFile:
        if folder not in self._files:
            self._files[folder] = EventFile(folder / FILE_NAME)
        return self._files[folder]

    def close(self) -> None:
        """Does nothing: every row is in its file already."""


def _scalars(values: Mapping[str, float]) -> list[Any]:
    return [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]


def _picture(png: bytes) -> Any:
    with Image.open(BytesIO(png)) as picture:
        (width, height), channels = picture.size, 1 if picture.mode == "L" else 3
    image = Summary.Image(width=width, height=height, colorspace=channels, encoded_image_string=png)
    return Summary.Value(tag=PICTURE_TAG, image=image)


def _hparams(row: ResultRow) -> list[Any]:
    """A trial's line of the HParams tab: its hyperparameters, how it ended, and whether that is a failure."""
    now = time.time()
    start = SessionStartInfo(start_time_secs=now)
    for name, value in {**hyperparameters(row), **words(row)}.items():
        kind = {bool: "bool_value", str: "string_value"}.get(type(value), "number_value")
        setattr(start.hparams[name], kind, value)
    end = SessionEndInfo(status=STATUS_FAILURE if row.outcome in DEAD else STATUS_SUCCESS, end_time_secs=now)
    tagged = {
        metadata.SESSION_START_INFO_TAG: HParamsPluginData(session_start_info=start),
        metadata.SESSION_END_INFO_TAG: HParamsPluginData(session_end_info=end),
    }
    return [Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data)) for tag, data in tagged.items()]
