"""Deaths of cohorts' processes: whether a configuration is at fault for them, or the place where it is trained."""

from collections import Counter
from collections.abc import Callable, Sequence

from gan_core.config.reports import LaneReport
from results.rows import Outcome
from sweep.ledger.endings import MEMORY_LIMITS, PlaceError, limits_in_force, one_line

KILLED = "its process was killed"
LEAST_OF_ANOTHER = 2  # deaths of a second cohort, before its first step, that make the first one's no accident


class Deaths:
    """How often cohorts' processes died since the study began, and of what.

    A cohort that trained, or that could not while another did, is at fault itself. Until either is known it is a
    suspect, and after its last death it is set aside: what keeps it from training, a library that does not load, say,
    may take every trial of the sweep along.
    """

    def __init__(self, fail: Callable[[int, str], object]) -> None:
        """fail: records a cohort that is at fault as failed, with the reason."""
        self._fail = fail
        self._reasons: dict[int, str] = {}  # cohort -> what its process last raised
        self._counts: Counter[int] = Counter()
        self._at_fault: set[int] = set()
        self._suspects: set[int] = set()
        self._aside: set[int] = set()

    def note_reason(self, cohort: int, reason: str) -> None:
        """Told what a cohort's process raised, before it ends."""
        self._reasons[cohort] = one_line(reason)

    def note_training(self, cohort: int) -> None:
        """Told that a cohort trains: of others, what cannot is at fault."""
        self._at_fault |= {cohort, *self._suspects}
        proved, self._suspects, self._aside = self._aside - {cohort}, set(), set()
        for other in sorted(proved):
            self._end(other)

    def note_death(self, cohort: int, most: int) -> bool:
        """Told that a cohort's process died; after `most` deaths it fails, or is set aside. Whether it may be started
        again.
        """
        self._counts[cohort] += 1
        if cohort not in self._at_fault:
            self._suspects.add(cohort)
        if self._counts[cohort] < most:
            return True
        if cohort in self._suspects:
            self._aside.add(cohort)
        else:
            self._end(cohort)
        return False

    def _end(self, cohort: int) -> None:
        self._fail(cohort, f"died {self._counts[cohort]} times: {self._reasons.get(cohort, KILLED)}")

    def is_aside(self, cohort: int) -> bool:
        """Whether it is given up, and not known to be at fault."""
        return cohort in self._aside

    def refuse_place(self, *, ended: bool) -> None:
        """Raises PlaceError where a cohort is set aside and another died before its first step too; where nothing is
        left to train (ended), also where there was no other.
        """
        others = max((self._counts[cohort] for cohort in self._suspects - self._aside), default=0)
        if self._aside and (ended or len(self._aside) > 1 or others >= LEAST_OF_ANOTHER):
            first = min(self._aside)
            why = self._reasons.get(first, KILLED)
            raise PlaceError.because(f"training died {self._counts[first]} times before its first step: {why}")


def refuse_cramped(reports: Sequence[LaneReport], *, first: bool) -> None:
    """Raises PlaceError where not one lane fits the memory of the first cohort that reports, and the shell limits that:
    its limit counts all libraries, beside which a lane is small. first: whether no other has reported in this run.
    """
    too_large = [r.death is not None and r.death.outcome == Outcome.OUT_OF_MEMORY for r in reports]
    if first and limits_in_force(MEMORY_LIMITS) and all(too_large):
        raise PlaceError.because("not one lane of the first cohort fits the memory")
