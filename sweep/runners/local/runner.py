"""Runs the cohorts one after another in this process: the reference behaviour, and the one to debug."""

import platform
from collections.abc import Callable, Sequence

import torch

from gan_core.config.input_error import InputError
from gan_core.config.structure import StructureConfig
from gan_core.lanes.axis import lane_arithmetic
from gan_core.workshop.trainer_array import TrainerWorkshop
from gan_core.workshop.workshop import Workshop
from results.store import RunFolder
from results.trial_run import TrialRun
from sweep.cohorts.best_rungs import BestRungs
from sweep.cohorts.cohort import CohortRun
from sweep.cohorts.contracts import Build
from sweep.cohorts.examined import keep_examination, unseen
from sweep.cohorts.real_samples import keep_real_samples, real_samples
from sweep.cohorts.shared_features import FeaturesInFolder
from sweep.ledger.endings import PlaceError
from sweep.ledger.owners import Taker
from sweep.ledger.study import LaneStudy
from sweep.runners.progress import ProgressDisplay
from sweep.runners.scored_alike import workshop_of_run
from sweep.spec.sweep_spec import SweepSpec

SLOTS = 1  # cohorts that train at the same time


class _DisplayedStudy:
    """The study as a cohort sees it, which also updates the progress display."""

    def __init__(self, study: LaneStudy, display: ProgressDisplay) -> None:
        self._study, self._display = study, display
        self.judge, self.cut, self.note_warning = study.judge, study.cut, study.note_warning
        self.check_owner, self.note_checkpoint = study.check_owner, study.note_checkpoint

    def note_phase(self, owner: int, phase: str) -> None:
        self._display.now(phase)

    def note_images(self, owner: int, runs: Sequence[TrialRun], images: int) -> bool:
        goes_on = self._study.note_images(owner, runs, images)
        if self._display.due():
            self._display.show(self._study.snapshot())
        return goes_on


def run_local(
    spec: SweepSpec,
    folder: RunFolder,
    display: ProgressDisplay,
    build: Build | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> None:
    """Runs or resumes a sweep to its end, with one torch thread, as each Ray worker has.

    build makes the arrays; without it they are real ones, on the device that the spec's resources allow. on_step is
    called after each rung of a cohort.

    Raises InputError when the spec asks for more GPUs than there are, and PlaceError when something cannot be loaded
    that every configuration needs. What training raises passes through, and nothing is recorded of it.
    """
    wanted = spec.resources.gpus_per_cohort
    if wanted != "auto" and float(wanted) > torch.cuda.device_count():
        have = torch.cuda.device_count()
        raise InputError(f"resources.gpus_per_cohort asks for {wanted:g}, and torch sees {have} here; lower it")
    size = spec.cohort_size(SLOTS, on_gpu=wanted != 0 and torch.cuda.is_available())
    study = LaneStudy(spec, folder)
    try:
        with lane_arithmetic():
            if build is None and spec.trainer:
                build = TrainerWorkshop(spec.conditions(), "cpu" if wanted == 0 else "auto").build
            if build is None:
                workshop = _workshop(spec, folder, "cpu" if wanted == 0 else "auto", display)
                if (examination := workshop.scorer.examination) is not None:
                    keep_examination(folder, examination)
                    if line := unseen(spec.conditions().dataset, examination):
                        study.note_warning(line)
                keep_real_samples(folder, real_samples(workshop.dataset))
                build = workshop.build
            here = Taker(host=platform.node())
            limits: dict[StructureConfig, int] = {}
            displayed, best = _DisplayedStudy(study, display), BestRungs(study.objective)
            while (cohort := study.open_cohort(size, here)) is not None:
                seconds = 60 * spec.checkpoint_minutes
                run = CohortRun(cohort, spec.ladder, best, build, displayed, folder, limits, checkpoint_seconds=seconds)
                while not run.done:
                    run.advance()
                    display.show(study.snapshot())
                    on_step()
    finally:
        study.close()
    display.show(study.snapshot())


def _workshop(spec: SweepSpec, folder: RunFolder, device: str, display: ProgressDisplay) -> Workshop:
    try:
        return workshop_of_run(spec.conditions(), FeaturesInFolder(folder), device, display.now)
    except RuntimeError as error:  # torch raises it, and no configuration is involved yet
        raise PlaceError.of(error) from error
