"""Curves: what was watched of a trial between its rungs, point by point. pandas is loaded only to make a frame."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.schema import ANY_NUMBER, Kind, whole_number
from results.store import CURVES, JsonLines, ResultsError

if TYPE_CHECKING:
    import pandas as pd

REQUIRED = ("images_seen",)
WHOLE = ("trial", "replicate", "images_seen")
WHOLE_NUMBER, NUMBER_OR_NONE = whole_number(), ANY_NUMBER.or_none()


def load_curves(folder: str | Path) -> "pd.DataFrame":
    """The curves of a run, or of a model made by `gan-sweep train`: one row for each point, in the order of the file.

    Columns: trial and replicate (0 is the search; a model has neither); images_seen, the real images shown to the
    discriminator until then; d_loss, g_loss and `health.…`, means since the point before, named as in the rows, NaN if
    there is none. Raises ResultsError if there are no points, or the file was changed.
    """
    import pandas as pd

    from results.loading import read_by_arrow

    path = Path(folder).expanduser() / CURVES
    frame = read_by_arrow(path, REQUIRED, _kind)
    if frame is None:
        frame = pd.DataFrame.from_records(read_points(path))
    if frame.empty:
        raise ResultsError(f"{path} is missing or empty; give the folder of a run that reached a rung, or of a model")
    return frame.astype({name: "float64" for name in frame.columns if name not in WHOLE})


def read_points(path: Path) -> list[dict[str, Any]]:
    """The points in a file of curves; none if there is no file. Raises ResultsError, which names the line, for one that
    was changed.
    """
    points = JsonLines(path).read()
    for number, point in enumerate(points, 1):
        for name, value in point.items():
            if not _kind(name).fits(value):
                raise ResultsError(f"{path}, line {number}: {name} is not such a number; the file was changed by hand")
        for name in (name for name in REQUIRED if name not in point):
            raise ResultsError(f"{path}, line {number} lacks {name}; the file was changed by hand")
    return points


def _kind(name: str) -> Kind:
    return WHOLE_NUMBER if name in WHOLE else NUMBER_OR_NONE
