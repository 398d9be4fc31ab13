"""Deaths of the processes that train cohorts: whether a configuration is at fault, or the machine it is trained on."""

from collections import Counter
from collections.abc import Callable, Sequence

from gan_core.config.reports import LaneReport
from results.rows import Outcome
from sweep.ledger.endings import MEMORY_LIMITS, PlaceError, limits_in_force, one_line
from sweep.ledger.losses import MOST_NODES, Losses, Progress

KILLED = "its process was killed"
LOST = "its node was lost each time"
LEAST_OF_ANOTHER = 2  # so many deaths of a second cohort before its first step show that the first was no accident


class Deaths:
    """How often the processes of cohorts have died since the study began, and of what, and the nodes that were lost.

    A cohort that is given up is at fault itself if it has trained, or if it could not train while another cohort could.
    Until one of these is known it is a suspect, and set aside without being recorded as failed: its cause, for example
    a library that does not load, may fail every trial of the sweep.
    """

    def __init__(self, fail: Callable[[int, str], object]) -> None:
        """fail: is called with a cohort that is at fault and the reason, to record it as failed."""
        self._fail = fail
        self._reasons: dict[int, str] = {}  # cohort -> what its process raised last
        self._counts: Counter[int] = Counter()
        self._losses = Losses()
        self._at_fault: set[int] = set()
        self._suspects: set[int] = set()
        self._aside: dict[int, str] = {}  # cohort -> how often it died, and why

    def note_reason(self, cohort: int, reason: str) -> None:
        """Notes what the process of a cohort raised, before it ends."""
        self._reasons[cohort] = one_line(reason)

    def note_training(self, cohort: int, progress: Progress) -> None:
        """Notes that a cohort trains, and how far it has come. All suspects are then known to be at fault."""
        self._losses.note_progress(cohort, progress)
        self._at_fault |= {cohort, *self._suspects}
        proved = {other: why for other, why in self._aside.items() if other != cohort}
        self._suspects, self._aside = set(), {}
        for other, why in sorted(proved.items()):
            self._fail(other, why)

    def note_death(self, cohort: int, most: int) -> bool:
        """Notes that the process of a cohort died. Returns whether it may be started again: after `most` deaths it is
        given up.
        """
        self._counts[cohort] += 1
        reason = f"died {self._counts[cohort]} times: {self.reason(cohort)}"
        return self._may_start_again(cohort, reason, given_up=self._counts[cohort] >= most)

    def note_loss(self, cohort: int, node: str, progress: Progress) -> bool:
        """Notes that the node of a cohort was lost without notice, which had come so far. Returns whether it may be
        started again: if it is at fault (`Losses`) it is given up.
        """
        at_fault = self._losses.note_loss(cohort, node, progress)
        return not at_fault or self._may_start_again(cohort, f"died {MOST_NODES} times: {LOST}", given_up=True)

    def _may_start_again(self, cohort: int, reason: str, *, given_up: bool) -> bool:
        if cohort not in self._at_fault:
            self._suspects.add(cohort)
        if not given_up:
            return True
        if cohort in self._suspects:
            self._aside[cohort] = reason
        else:
            self._fail(cohort, reason)
        return False

    def must_wait(self, cohort: int, is_training: Callable[[int], bool]) -> bool:
        """Whether a cohort is not to be started yet, because another suspect (`Losses`) is in training."""
        suspects = self._losses.suspects()
        return cohort in suspects and any(map(is_training, suspects - self._aside.keys() - {cohort}))

    def reason(self, cohort: int) -> str:
        """What the process of a cohort raised last, in words."""
        return self._reasons.get(cohort, KILLED)

    def is_aside(self, cohort: int) -> bool:
        """Whether a cohort is given up without being known to be at fault."""
        return cohort in self._aside

    def refuse_place(self, *, ended: bool) -> None:
        """Raises PlaceError if a cohort is set aside and another died before its first step too, or if a cohort is set
        aside and nothing is left to train (`ended`).
        """
        others = max((self._counts[cohort] for cohort in self._suspects - self._aside.keys()), default=0)
        if self._aside and (ended or len(self._aside) > 1 or others >= LEAST_OF_ANOTHER):
            count, _, why = self._aside[min(self._aside)].partition(": ")
            raise PlaceError.because(f"training {count} before its first step: {why}")


def refuse_cramped(reports: Sequence[LaneReport], *, first: bool) -> None:
    """Raises PlaceError if not one lane of the first cohort fits the memory, and the shell limits the memory: that
    limit counts all libraries, compared with which a lane is small. first: whether no cohort has reported in this run
    yet.
    """
    too_large = [r.death is not None and r.death.outcome == Outcome.OUT_OF_MEMORY for r in reports]
    if first and all(too_large) and limits_in_force(MEMORY_LIMITS):
        raise PlaceError.because("not one lane of the first cohort fits the memory")
