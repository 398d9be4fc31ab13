"""BestRungs: keeps a picture of the samples, and the generator, of each run as they were at its best rung."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from gan_core.config.limits import LAST, Place
from gan_core.config.reports import LaneReport, place_of
from results.pictures import draw_samples
from results.trial_run import TrialRun
from sweep.cohorts.checkpoints import GENERATOR, PICTURE
from sweep.cohorts.contracts import TrainableArray

PICTURED_SAMPLES = 64


class BestRungs:
    """Writes pictures and generators beside the checkpoint of a rung. A cohort hands its arrays to it at each rung.

    places: run -> the place of its best rung so far in the order of `gan_core.config.limits`.
    """

    def __init__(self, objective: str) -> None:
        self.places: dict[TrialRun, Place] = {}
        self._objective = objective

    def begin(self, places: Mapping[TrialRun, Place]) -> None:
        """Goes on from the places of a cohort that begins, or is resumed."""
        self.places = dict(places)

    def keep_best(
        self, runs: Sequence[TrialRun], array: TrainableArray, reports: Sequence[LaneReport], folder: Path
    ) -> None:
        """Writes those lanes of an array that live and are better than at every rung before into the folder of the
        rung, from where `Checkpoints` moves them to where each run keeps its own.
        """
        for lane, (run, report) in enumerate(zip(runs, reports, strict=True)):
            place = place_of(report.fidelity.values, self._objective)
            if report.death is None and place < self.places.get(run, LAST):
                self.places[run] = place
                picture = array.picture(lane, PICTURED_SAMPLES)
                if picture is not None:
                    draw_samples(picture, folder / f"{run.name}{PICTURE}", array.choices)
                array.save_generator(lane, folder / f"{run.name}{GENERATOR}")
