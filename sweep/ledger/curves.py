"""The points of training curves, which reports bring along: written to a file, and handed on once to the trackers."""

from collections.abc import Mapping, Sequence
from typing import Any

from gan_core.config.reports import LaneReport
from results.curves import read_points
from results.rows import ResultRow
from results.store import JsonLines, ResultsError, RunFolder
from results.trial_run import TrialRun

Point = Mapping[str, Any]


class Curves:
    """The curves of all lanes of a run. Their points arrive with the report of a rung, none between rungs.

    They are written before the rows of the same reports, so an owner that was killed may have written points without
    rows. When these are reported again they are skipped, because the images of the points of a run only rise. No row
    and no verdict depends on a point.
    """

    def __init__(self, folder: RunFolder) -> None:
        """Raises ResultsError when the file was changed."""
        self._file = JsonLines(folder.curves)
        self._last_images: dict[TrialRun, int] = {}  # images_seen of the last point of a run
        self._waiting: dict[TrialRun, list[Point]] = {}  # points that `before` has not returned yet
        for number, point in enumerate(read_points(folder.curves), 1):
            if "trial" not in point or "replicate" not in point:
                raise ResultsError(f"{folder.curves}, line {number} is of no trial; the file was changed by hand")
            self._take_in(TrialRun(point["trial"], point["replicate"]), point)

    def add(self, runs: Sequence[TrialRun], reports: Sequence[LaneReport]) -> None:
        """Writes those points of the reports that are new. runs: one for each report."""
        new = []
        for run, report in zip(runs, reports, strict=True):
            for point in report.curve:
                if point["images_seen"] > self._last_images.get(run, 0):
                    new.append({**run._asdict(), **point})
                    self._take_in(run, new[-1])
        if new:
            self._file.append(new)

    def _take_in(self, run: TrialRun, point: Point) -> None:
        self._last_images[run] = point["images_seen"]
        self._waiting.setdefault(run, []).append(point)

    def before(self, row: ResultRow) -> list[Point]:
        """The points up to a row that an earlier call has not returned."""
        waiting = self._waiting.pop(row.run, [])
        if later := [point for point in waiting if point["images_seen"] > row.images_seen]:
            self._waiting[row.run] = later
        return waiting[: len(waiting) - len(later)]
