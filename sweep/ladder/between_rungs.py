"""What cohorts report between two rungs: for the budget and for those who watch. It is never recorded."""

from collections.abc import Iterable, Mapping, Sequence

from results.rows import ResultRow
from results.trial_run import TrialRun


class BetweenRungs:
    """How many images runs have seen since their last row, what cohorts do besides training, and what they warned of.

    rows: run -> its rows so far; the owner of the rows adds to it.
    """

    def __init__(self, rows: Mapping[TrialRun, Sequence[ResultRow]]) -> None:
        self._rows = rows
        self._images: dict[TrialRun, int] = {}  # images seen
        self._kept: dict[TrialRun, int] = {}  # images seen at the last checkpoint
        self._fallen_back: set[TrialRun] = set()  # runs that have not trained since they fell back to it
        self._phases: dict[int, str] = {}  # cohort -> what its process does
        self._warnings: dict[str, None] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Each warning once, in the order in which they came."""
        return tuple(self._warnings)

    def note_images(self, cohort: int, runs: Sequence[TrialRun], images: int) -> None:
        """Notes that runs of a cohort have seen so many images. It trains, so its phase has ended."""
        self._images.update(dict.fromkeys(runs, images))
        self._fallen_back.difference_update(runs)
        self.end_phase(cohort)

    def note_checkpoint(self, images: Mapping[TrialRun, int]) -> None:
        """Notes how many images runs had seen at the checkpoint from which they would go on now."""
        self._kept.update(images)

    def fall_back(self, runs: Iterable[TrialRun]) -> int:
        """Notes that runs go on from their last checkpoint. Returns the images that are shown to them again."""
        since = set(runs) - self._fallen_back
        self._fallen_back |= since
        kept = {run: max(self._at_last_row(run), self._kept.get(run, 0)) for run in since}
        return sum(max(0, self.images(run) - kept[run]) for run in since)

    def note_phase(self, cohort: int, phase: str) -> None:
        """Notes in words what a cohort does, until it trains again or is judged."""
        self._phases[cohort] = phase

    def end_phase(self, cohort: int) -> None:
        self._phases.pop(cohort, None)

    def note_warning(self, line: str) -> None:
        """Notes what a process that trains has warned of."""
        self._warnings[line] = None

    def images(self, run: TrialRun) -> int:
        """The images that a run had seen when it was last noted; 0 if it never was."""
        return self._images.get(run, 0)

    def new_images(self) -> int:
        """The images that all runs together have been shown since their last rows."""
        return sum(map(self.new_images_of, self._images))

    def new_images_of(self, run: TrialRun) -> int:
        """The images that a run has been shown since its last row, as far as it was noted."""
        return max(0, self.images(run) - self._at_last_row(run))

    def _at_last_row(self, run: TrialRun) -> int:
        rows = self._rows[run]
        return rows[-1].images_seen if rows else 0

    def phase(self, cohort: int) -> str:
        """What a cohort does besides training, or ""."""
        return self._phases.get(cohort, "")
