"""The points of curves as they come from cohorts: kept in a file, each once, and handed on to those who show them."""

from collections.abc import Mapping, Sequence
from typing import Any

from gan_core.config.reports import LaneReport
from results.curves import read_points
from results.rows import ResultRow
from results.store import JsonLines, ResultsError, RunFolder
from sweep.spec.confirmation import run_number, trial_and_replicate

Point = Mapping[str, Any]


class Curves:
    """The points of a run's lanes, which reports bring along: between rungs nothing is sent for them.

    They are written before the rows of their reports. A killed owner may have written points without rows: what it is
    told again is passed over, since a run's points rise in images. No row and no verdict depends on them.
    """

    def __init__(self, folder: RunFolder) -> None:
        """Raises ResultsError when the file was changed."""
        self._file = JsonLines(folder.curves)
        self._last_images: dict[int, int] = {}  # run -> of its last point
        self._waiting: dict[int, list[Point]] = {}  # run -> points whose row nobody has been shown
        for number, point in enumerate(read_points(folder.curves), 1):
            if "trial" not in point or "replicate" not in point:
                raise ResultsError(f"{folder.curves}, line {number} is of no trial; the file was changed by hand")
            self._take_in(run_number(point["trial"], point["replicate"]), point)

    def add(self, runs: Sequence[int], reports: Sequence[LaneReport]) -> None:
        """Writes the points of these runs' reports that are new."""
        new = []
        for run, report in zip(runs, reports, strict=True):
            trial, replicate = trial_and_replicate(run)
            for point in report.curve:
                if point["images_seen"] > self._last_images.get(run, 0):
                    new.append({"trial": trial, "replicate": replicate, **point})
                    self._take_in(run, new[-1])
        if new:
            self._file.append(new)

    def _take_in(self, run: int, point: Point) -> None:
        self._last_images[run] = point["images_seen"]
        self._waiting.setdefault(run, []).append(point)

    def before(self, row: ResultRow) -> list[Point]:
        """The points on the way to a row that nobody asked for yet, once."""
        run = run_number(row.trial, row.replicate)
        waiting = self._waiting.pop(run, [])
        if later := [point for point in waiting if point["images_seen"] > row.images_seen]:
            self._waiting[run] = later
        return waiting[: len(waiting) - len(later)]
