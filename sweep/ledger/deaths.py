"""Deaths of the processes that train cohorts: whether a configuration is at fault, or the machine it is trained on."""

from collections import Counter
from collections.abc import Callable, Sequence

from gan_core.config.reports import LaneReport
from results.rows import Outcome
from sweep.ledger.endings import MEMORY_LIMITS, PlaceError, limits_in_force, one_line

KILLED = "its process was killed"
LEAST_OF_ANOTHER = 2  # so many deaths of a second cohort before its first step show that the first was no accident


class Deaths:
    """How often the processes of cohorts have died since the study began, and of what.

    A cohort whose process dies is at fault itself if it has trained, or if it could not train while another cohort
    could. Until one of these is known it is a suspect, and after its last death it is set aside without being recorded
    as failed: its cause, for example a library that does not load, may fail every trial of the sweep.
    """

    def __init__(self, fail: Callable[[int, str], object]) -> None:
        """fail: is called with a cohort that is at fault and the reason, to record it as failed."""
        self._fail = fail
        self._reasons: dict[int, str] = {}  # cohort -> what its process raised last
        self._counts: Counter[int] = Counter()
        self._at_fault: set[int] = set()
        self._suspects: set[int] = set()
        self._aside: set[int] = set()

    def note_reason(self, cohort: int, reason: str) -> None:
        """Notes what the process of a cohort raised, before it ends."""
        self._reasons[cohort] = one_line(reason)

    def note_training(self, cohort: int) -> None:
        """Notes that a cohort trains. All suspects are then known to be at fault."""
        self._at_fault |= {cohort, *self._suspects}
        proved, self._suspects, self._aside = self._aside - {cohort}, set(), set()
        for other in sorted(proved):
            self._end(other)

    def note_death(self, cohort: int, most: int) -> bool:
        """Notes that the process of a cohort died. Returns whether it may be started again: after `most` deaths the
        cohort has failed, or is set aside.
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
        """Whether a cohort is given up without being known to be at fault."""
        return cohort in self._aside

    def refuse_place(self, *, ended: bool) -> None:
        """Raises PlaceError if a cohort is set aside and another died before its first step too, or if a cohort is set
        aside and nothing is left to train (`ended`).
        """
        others = max((self._counts[cohort] for cohort in self._suspects - self._aside), default=0)
        if self._aside and (ended or len(self._aside) > 1 or others >= LEAST_OF_ANOTHER):
            first = min(self._aside)
            why = self._reasons.get(first, KILLED)
            raise PlaceError.because(f"training died {self._counts[first]} times before its first step: {why}")


def refuse_cramped(reports: Sequence[LaneReport], *, first: bool) -> None:
    """Raises PlaceError if not one lane of the first cohort fits the memory, and the shell limits the memory: that
    limit counts all libraries, compared with which a lane is small. first: whether no cohort has reported in this run
    yet.
    """
    too_large = [r.death is not None and r.death.outcome == Outcome.OUT_OF_MEMORY for r in reports]
    if first and all(too_large) and limits_in_force(MEMORY_LIMITS):
        raise PlaceError.because("not one lane of the first cohort fits the memory")
