"""The searcher through which Ray Tune asks the study for cohorts."""

import importlib
from collections.abc import Callable
from typing import Any

from results.store import ResultsError
from sweep.ledger.endings import PlaceError
from sweep.runners.ray.trainable import COHORT, ENDING, PLACE

# How often the study starts a cohort again whose process died. Tune itself would give a cohort up at its first death
# where that comes before its first step.
RESTARTS = 2


def study_searcher(
    study: Any, size: int, early: int, wait_for_head: Callable[[], None], restore_handlers: Callable[[], None]
) -> Any:
    """A Tune `Searcher` that proposes the study's cohorts, of up to `size` trials each.

    The first `early` Tune trials begin without a cohort, while the study's process starts: each takes the next one
    itself. The searcher proposes nothing (None) while the last cohorts are in training, because their processes may die
    and their finalists may be confirmed. wait_for_head: returns when Ray's head answers.
    restore_handlers: sets this program's handlers of signals again. It is called whenever Tune asks for a cohort,
    because Tune sets a handler of its own when it starts, with which SIGUSR1 would end a sweep as if it were finished.
    """
    ray = importlib.import_module("ray")
    base = importlib.import_module("ray.tune.search").Searcher

    class CohortSearcher(base):
        def __init__(self) -> None:
            super().__init__()
            self._early = early
            self._cohorts: dict[str, int | None] = {}  # Tune trial -> its cohort, None where it takes one itself
            self.ending: ResultsError | PlaceError | None = None  # with which the process of a cohort ended the sweep

        def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
            restore_handlers()
            self.check()
            number = None
            if self._early > 0:
                self._early -= 1
            elif (cohort := ray.get(study.open_cohort.remote(size))) is not None:
                number = cohort.number
            else:
                return None if ray.get(study.is_waiting.remote()) else base.FINISHED
            self._cohorts[trial_id] = number
            return {COHORT: number}  # Tune keeps what it is given for as long as the sweep goes on

        def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
            number = self._cohorts.pop(trial_id)
            said = {} if result is None or ENDING not in result else result
            if error or said:
                wait_for_head()  # a process that ended because the head is lost is no death of a cohort
            if said and self.ending is None:
                self.ending = (PlaceError if said[PLACE] else ResultsError)(said[ENDING])
            if error:
                number = ray.get(study.taken_by.remote(trial_id)) if number is None else number
                if number is not None:
                    ray.get(study.note_death.remote(number, RESTARTS + 1))

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
