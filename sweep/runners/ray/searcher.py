"""The searcher through which Ray Tune asks how many processes are to train cohorts."""

import importlib
import time
from collections.abc import Callable
from typing import Any

from results.store import ResultsError
from sweep.ledger.endings import PlaceError
from sweep.runners.ray.slots import AVOIDED, Slots
from sweep.runners.ray.trainable import ENDING, GIVEN_BACK, NODE, PLACE, WHY

# How often the study starts a cohort again whose process died. Tune itself would give a cohort up at its first death
# where that comes before its first step.
RESTARTS = 2
LOOK_SECONDS = 1.0  # between two looks whether the sweep has ended while all slots are taken


def study_searcher(
    study: Any,
    early: int,
    slots: Slots,
    is_lost: Callable[[str], bool],
    wait_for_head: Callable[[], None],
    restore_handlers: Callable[[], None],
) -> Any:
    """A Tune `Searcher` that starts as many Tune trials as there are slots, each of which takes a cohort of the study.

    A Tune trial takes its cohort when its process runs, so that no cohort waits for a process that never starts, and
    takes the same one again where Tune restarts it, as it does after a preemption without a word to the searcher. The
    first `early` Tune trials begin while the study's process starts. The searcher proposes nothing (None) while the
    last cohorts are in training, because their processes may die and their finalists may be confirmed.

    A node on which a process cannot load what all trials need, and has never trained, is not used any more. Where no
    other has room, that ends the sweep, and so do processes that die, one after another, before they have asked for a
    cohort.

    slots: how many cohorts fit the cluster now. is_lost: whether the node of this id is gone. wait_for_head: returns
    when Ray's head answers. restore_handlers: sets this program's handlers of signals again. It is called whenever Tune
    asks for a cohort, because Tune sets a handler of its own when it starts, with which SIGUSR1 would end a sweep as if
    it were finished.
    """
    ray = importlib.import_module("ray")
    base = importlib.import_module("ray.tune.search").Searcher

    class CohortSearcher(base):
        def __init__(self) -> None:
            super().__init__()
            self._early = early
            self._live: set[str] = set()  # Tune trials that have not ended
            self._looked_seconds = 0.0
            self.finished = False  # whether nothing is left to train, whatever Tune still waits for
            self.ending: ResultsError | PlaceError | None = None  # with which the process of a cohort ended the sweep
            self._most = 1  # slots that there were at once
            self._stillborn = 0  # processes in a row that died before they had asked for a cohort
            self.is_barren = False  # whether so many did that the sweep is to end

        def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
            restore_handlers()
            self.check()
            room = slots()
            self._most = max(self._most, room)
            if len(self._live) >= room:
                if time.monotonic() - self._looked_seconds >= LOOK_SECONDS:
                    self._may_start()
                return base.FINISHED if self.finished else None
            if self._early > 0:
                self._early -= 1
            elif not self._may_start():
                return base.FINISHED if self.finished else None
            self._live.add(trial_id)
            return (
                {AVOIDED: sorted(slots.avoided)} if slots.avoided else {}
            )  # Tune keeps it as long as the sweep goes on

        def _may_start(self) -> bool:
            """Whether there is a cohort to take now. Notes whether there will be none any more."""
            if self.is_barren:
                return False
            self._looked_seconds = time.monotonic()
            there = ray.get(study.has_cohort.remote())
            self.finished = not there and not ray.get(study.is_waiting.remote())
            return there

        def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
            self._live.discard(trial_id)
            said = {} if result is None else result
            if error or ENDING in said:
                wait_for_head()  # a process that ended because the head is lost is no death of a cohort
            avoids = NODE in said and slots.avoid(said[NODE])
            if ENDING in said and not avoids and self.ending is None:
                self.ending = (PlaceError if said[PLACE] else ResultsError)(said[ENDING])
            held = ray.get(study.held_by.remote(trial_id)) if error or avoids or GIVEN_BACK in said else None
            self._stillborn = self._stillborn + 1 if error and held is None else 0
            if self._stillborn > (RESTARTS + 1) * self._most:
                self.is_barren = self.finished = True
            if held is None:
                return
            node, host = held.taker.node, held.taker.host
            if avoids:
                why = f"node {host} is not used any more, because what all trials need does not load ({said[WHY]})"
                ray.get(study.give_back.remote(held.owner, why))
            elif not error:
                ray.get(study.give_back.remote(held.owner, f"node {host} was cut off from the driver"))
            elif is_lost(node):
                ray.get(study.give_back.remote(held.owner, f"node {host} was lost"))
            else:
                ray.get(study.note_death.remote(held.owner, RESTARTS + 1))

        def check(self) -> None:
            """Raises ResultsError or PlaceError when a cohort has ended the sweep. Raised in `on_trial_complete`, Tune
            would take it for a failure of that cohort, and start it again.
            """
            if self.ending is not None:
                raise self.ending

        def save(self, checkpoint_path: str) -> None:
            """Does nothing: the study is on disk already."""

        def restore(self, checkpoint_path: str) -> None:
            """Does nothing: a resumed sweep asks the study."""

    return CohortSearcher()


def searched_stopper(searcher: Any) -> Any:
    """A Tune `Stopper` that ends the sweep when nothing is left to train, though a process that was to train, but was
    cut off or never started, may not have ended.
    """

    class FinishedStopper(importlib.import_module("ray.tune").Stopper):
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            return searcher.finished

    return FinishedStopper()
