"""Which checkpoints of a run are kept: those of what is in training, and of the best that have ended."""

import math
import shutil
from collections.abc import Mapping, Sequence

from results.rows import DEAD
from results.store import RunFolder
from sweep.ledger.standings import Standings
from sweep.spec.confirmation import trial_and_replicate


class KeptFiles:
    """Removes checkpoints as they are overtaken, so that a run's disk is bounded: one rung of each cohort in training,
    and the best generator and the last state of the best `most` trials that have ended, and of confirmations.
    """

    def __init__(self, standings: Standings, folder: RunFolder, most: int) -> None:
        self._standings, self._folder, self._most = standings, folder, most
        self._ended: set[int] = set()  # trials of which something may be there

    def settle(self, cohorts: Mapping[int, Sequence[int]]) -> None:
        """Removes what is no longer needed, after rows of these cohorts (number -> runs) were recorded."""
        for number, runs in cohorts.items():
            if all(map(self._standings.ended, runs)):
                shutil.rmtree(self._folder.checkpoint(number), ignore_errors=True)
            trials = (run for run in runs if trial_and_replicate(run)[1] == 0)
            self._ended |= {trial for trial in trials if self._standings.ended(trial)}
        self._ended = set(filter(self._standings.ended, self._ended))  # a longer ladder lets some go on
        for trial in sorted(self._ended, key=self._place)[self._most :]:
            shutil.rmtree(self._folder.trial_checkpoint(trial), ignore_errors=True)
            self._ended.discard(trial)

    def _place(self, trial: int) -> tuple[bool, float, int]:
        last = self._standings.rows[trial][-1]
        useless = last.outcome in DEAD or math.isnan(last.best_score)
        return useless, math.inf if useless else last.best_score, trial
