"""Curves: what was watched of a trial between its rungs, point by point. pandas is loaded only to make a frame."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.schema import ANY_NUMBER, whole_number
from results.store import CURVES, JsonLines, ResultsError

if TYPE_CHECKING:
    import pandas as pd

WHOLE = ("trial", "replicate", "images_seen")
WHOLE_NUMBER, NUMBER_OR_NONE = whole_number(), ANY_NUMBER.or_none()


def load_curves(folder: str | Path) -> "pd.DataFrame":
    """The curves of a run, or of a model made by `gan-sweep train`: one row for each point, in the order of the file.

    Columns: trial and replicate (0 is the search; a model has neither); images_seen, the real images shown to the
    discriminator until then; d_loss, g_loss and `health.…`, means since the point before, named as in the rows, NaN if
    there is none. Raises ResultsError if there are no points, or the file was changed.
    """
    import pandas as pd

    path = Path(folder).expanduser() / CURVES
    if not (points := read_points(path)):
        raise ResultsError(f"{path} is missing or empty; give the folder of a run that reached a rung, or of a model")
    frame = pd.DataFrame.from_records(points)
    return frame.astype({name: "float64" for name in frame.columns if name not in WHOLE})


def read_points(path: Path) -> list[dict[str, Any]]:
    """The points in a file of curves; none if there is no file. Raises ResultsError, which names the line, for one that
    was changed.
    """
    points = JsonLines(path).read()
    for number, point in enumerate(points, 1):
        for name, value in point.items():
            if not _fits(name, value):
                raise ResultsError(f"{path}, line {number}: {name} is not such a number; the file was changed by hand")
        if "images_seen" not in point:
            raise ResultsError(f"{path}, line {number} lacks images_seen; the file was changed by hand")
    return points


def _fits(name: str, value: Any) -> bool:
    return (WHOLE_NUMBER if name in WHOLE else NUMBER_OR_NONE).fits(value)
