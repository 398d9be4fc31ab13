"""What Ray Tune asks of a sweep, in the forms that it knows: how many processes are to train, and whether it has ended.
`Processes` answers.
"""

import importlib
from typing import Any

from sweep.runners.ray.processes import Processes


def study_searcher(processes: Processes) -> Any:
    """A Tune `Searcher` that starts as many Tune trials as are wanted, and tells of their ends. Each takes its cohort
    of the study itself. The searcher proposes nothing (None) while the last cohorts are in training, because their
    processes may die and their finalists may be confirmed.
    """
    base = importlib.import_module("ray.tune.search").Searcher

    class CohortSearcher(base):
        def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
            config = processes.begin(trial_id)
            return base.FINISHED if config is None and processes.finished else config

        def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
            processes.note_end(trial_id, result or {}, error)

        def save(self, checkpoint_path: str) -> None:
            """Does nothing: the study is on disk already."""

        def restore(self, checkpoint_path: str) -> None:
            """Does nothing: a resumed sweep asks the study."""

    return CohortSearcher()


def finished_stopper(processes: Processes) -> Any:
    """A Tune `Stopper` that ends the sweep when nothing is left to train, though a process that was to train, but was
    cut off or never started, may not have ended.
    """

    class FinishedStopper(importlib.import_module("ray.tune").Stopper):
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            return processes.finished

    return FinishedStopper()
