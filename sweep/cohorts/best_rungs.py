"""BestRungs: keeps a picture of the samples, and the generator, of each run as they were at its best rung."""

import math
from collections.abc import Mapping, Sequence

from gan_core.config.reports import LaneReport, minimised
from results.plots import draw_samples
from results.store import RunFolder
from results.trial_run import TrialRun
from sweep.cohorts.contracts import TrainableArray

PICTURED_SAMPLES = 64


class BestRungs:
    """Writes pictures and generators into the folder of a run. A cohort hands its arrays to it at each rung.

    scores: run -> its lowest score so far, in the terms of the objective as it is minimised.
    """

    def __init__(self, folder: RunFolder, objective: str) -> None:
        self.scores: dict[TrialRun, float] = {}
        self._folder, self._objective = folder, objective

    def begin(self, scores: Mapping[TrialRun, float]) -> None:
        """Goes on from the scores of a cohort that begins, or is resumed."""
        self.scores = dict(scores)

    def keep_best(self, runs: Sequence[TrialRun], array: TrainableArray, reports: Sequence[LaneReport]) -> None:
        """Keeps those lanes of an array that live and score better than at every rung before."""
        for lane, (run, report) in enumerate(zip(runs, reports, strict=True)):
            score = minimised(report.fidelity.values, self._objective)
            if report.death is None and score < self.scores.get(run, math.inf):
                self.scores[run] = score
                draw_samples(array.picture(lane, PICTURED_SAMPLES), self._folder.trial_samples(run), array.choices)
                self._folder.trial_checkpoint(run).mkdir(parents=True, exist_ok=True)
                array.save_generator(lane, self._folder.best_generator(run))
