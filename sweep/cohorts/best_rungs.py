"""BestRungs: keeps a picture of the samples, and the generator, of each run as they were at its best rung."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from gan_core.config.reports import LaneReport, minimised
from results.pictures import draw_samples
from results.trial_run import TrialRun
from sweep.cohorts.checkpoints import GENERATOR, PICTURE
from sweep.cohorts.contracts import TrainableArray

PICTURED_SAMPLES = 64


class BestRungs:
    """Writes pictures and generators beside the checkpoint of a rung. A cohort hands its arrays to it at each rung.

    scores: run -> its lowest score so far, in the terms of the objective as it is minimised.
    """

    def __init__(self, objective: str) -> None:
        self.scores: dict[TrialRun, float] = {}
        self._objective = objective

    def begin(self, scores: Mapping[TrialRun, float]) -> None:
        """Goes on from the scores of a cohort that begins, or is resumed."""
        self.scores = dict(scores)

    def keep_best(
        self, runs: Sequence[TrialRun], array: TrainableArray, reports: Sequence[LaneReport], folder: Path
    ) -> None:
        """Writes those lanes of an array that live and score better than at every rung before into the folder of the
        rung, from where `Checkpoints` moves them to where each run keeps its own.
        """
        for lane, (run, report) in enumerate(zip(runs, reports, strict=True)):
            score = minimised(report.fidelity.values, self._objective)
            if report.death is None and score < self.scores.get(run, math.inf):
                self.scores[run] = score
                picture = array.picture(lane, PICTURED_SAMPLES)
                draw_samples(picture, folder / f"{run.name}{PICTURE}", array.choices)
                array.save_generator(lane, folder / f"{run.name}{GENERATOR}")
