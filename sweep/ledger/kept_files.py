"""Which checkpoints of a run are kept: those of what is in training, and those of the best trials that have ended."""

import shutil
from collections.abc import Mapping, Sequence

from gan_core.config.limits import LAST, Place
from results.rows import DEAD
from results.store import RunFolder
from results.trial_run import TrialRun
from sweep.ledger.standings import Standings, best_row


class KeptFiles:
    """Removes checkpoints that are no longer needed, so that a run takes a bounded space on the disk: one rung of each
    cohort in training; the best generator and the last state of the best `most` trials that have ended, and of all
    replicates.
    """

    def __init__(self, standings: Standings, folder: RunFolder, most: int) -> None:
        self._standings, self._folder, self._most = standings, folder, most
        self._ended: set[TrialRun] = set()  # runs of the search that have ended, and whose files may be there

    def settle(self, cohorts: Mapping[int, Sequence[TrialRun]]) -> None:
        """Removes what is no longer needed after rows of these cohorts (number -> runs) were recorded."""
        for number, runs in cohorts.items():
            if all(map(self._standings.ended, runs)):
                shutil.rmtree(self._folder.checkpoint(number), ignore_errors=True)
            self._ended |= {run for run in runs if not run.replicate and self._standings.ended(run)}
        self._ended = set(filter(self._standings.ended, self._ended))  # a longer ladder lets some go on
        for run in sorted(self._ended, key=self._place)[self._most :]:
            shutil.rmtree(self._folder.trial_checkpoint(run), ignore_errors=True)
            self._ended.discard(run)

    def _place(self, run: TrialRun) -> tuple[Place, TrialRun]:
        rows = self._standings.rows[run]
        best = None if rows[-1].outcome in DEAD else best_row(rows)
        return LAST if best is None else best.place, run
