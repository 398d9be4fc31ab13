"""What cohorts tell of themselves between two rungs: for the budget and for those who watch, never recorded."""

from collections.abc import Iterable, Mapping, Sequence

from results.rows import ResultRow


class BetweenRungs:
    """How far runs have come, and what cohorts do that is no training. rows: run -> its rows so far, which grow."""

    def __init__(self, rows: Mapping[int, Sequence[ResultRow]]) -> None:
        self._rows = rows
        self._images: dict[int, int] = {}  # run -> images seen
        self._phases: dict[int, str] = {}  # cohort -> what its process does
        self.warnings: dict[str, None] = {}  # of the processes that train, each once, in the order they came

    def note_images(self, cohort: int, runs: Iterable[int], images: int) -> None:
        """Runs of a cohort have seen so many images: it trains."""
        self._images.update(dict.fromkeys(runs, images))
        self.end_phase(cohort)

    def note_phase(self, cohort: int, phase: str) -> None:
        """A cohort's process does this, in words, until it trains or is judged."""
        self._phases[cohort] = phase

    def end_phase(self, cohort: int) -> None:
        self._phases.pop(cohort, None)

    def note_warning(self, line: str) -> None:
        """A process that trains warns of something."""
        self.warnings[line] = None

    def images(self, run: int) -> int:
        """That a run was last known to have seen; 0 where it told of none."""
        return self._images.get(run, 0)

    def new_images(self) -> int:
        """Images shown since the last row of each run, all together."""
        last = {run: rows[-1].images_seen if (rows := self._rows[run]) else 0 for run in self._images}
        return sum(max(0, seen - last[run]) for run, seen in self._images.items())

    def phases(self, cohorts: Iterable[int]) -> str:
        """What these cohorts do, each thing once, or nothing."""
        return ", ".join(dict.fromkeys(self._phases[number] for number in cohorts if number in self._phases))
