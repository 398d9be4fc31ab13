"""CohortRuns: begins cohorts in a process of Ray, with what all of them need and with the files of each."""

import importlib
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from gan_core.config.conditions import Conditions
from gan_core.config.structure import StructureConfig
from results.store import RunFolder
from sweep.cohorts.best_rungs import BestRungs
from sweep.cohorts.brought_data import fetched_images, is_here
from sweep.cohorts.cohort import CohortRun
from sweep.cohorts.contracts import Build
from sweep.cohorts.packing import Packing, packed, room_of
from sweep.cohorts.real_samples import real_samples
from sweep.cohorts.shared_features import FeaturesInFolder, SharedFeatures
from sweep.cohorts.transfer import CohortTransfer, FetchedFeatures, own_folder
from sweep.ledger.cohort_record import Cohort
from sweep.runners.ray.files import Home, line_to
from sweep.runners.ray.study_actor import RemoteStudy
from sweep.spec.sweep_spec import SweepSpec

if TYPE_CHECKING:
    from gan_core.data.dataset import Dataset
    from gan_core.workshop.workshop import Workshop


class CohortRuns:
    """Makes a `CohortRun` of one cohort after another. build: makes the arrays; None for real ones, of which the data
    and what scores them are loaded with the first cohort.
    """

    def __init__(self, spec: SweepSpec, folder: RunFolder, home: Home, build: Build | None) -> None:
        self._spec, self._folder, self._home, self._build = spec, folder, home, build
        self._limits: dict[StructureConfig, int] = {}
        self._of_cohort = ExitStack()  # what is closed when the process is done with a cohort
        self._study: RemoteStudy | None = None  # as the latest cohort sees it, and the number of that one's owner
        self._owner = -1
        self._most: int | None = None  # trials of a cohort
        self.equipped = False  # whether everything is loaded that any configuration needs

    def fitting(self, trials: int, study: RemoteStudy, host: str) -> int:
        """How many trials a cohort of this process has at most: of so many, those that fit its part of the memory of a
        GPU or of its host, of which torch is not given more. That they are fewer is said, with the name of the host.
        """
        if self._most is None:
            on_gpu = bool(importlib.import_module("ray").get_gpu_ids())
            unknown = self._build is not None or self._spec.trainer
            room = None if unknown else room_of(self._spec.resources, on_gpu=on_gpu)
            packing = Packing(trials) if room is None else packed(self._spec, trials, room)
            if packing.why:
                study.note_warning(f"on node {host}, {packing.why}")
            if room is not None and room.on_gpu:
                from gan_core.workshop.card_share import keep_to_share

                keep_to_share(room.bytes)
            self._most = packing.trials
        return self._most

    def begin(self, cohort: Cohort, study: RemoteStudy, must_leave: Callable[[], bool]) -> CohortRun:
        """A cohort, ready to train. study: told of what takes long. must_leave: as `CohortRun` has it."""
        self._study, self._owner = study, cohort.owner
        folder, transfer, features = self._places(cohort, study)
        build = self._build
        if build is None and self._spec.trainer:
            build = self._build = self._trainers()
        if build is None:
            workshop = self._workshop(features, study)
            if workshop.scorer.examination is not None:
                study.note_examination(cohort.owner, workshop.scorer.examination)
            if not self._folder.real_samples.is_file():
                study.note_real_samples(cohort.owner, real_samples(workshop.dataset))
            build = self._build = workshop.build
        self.equipped = True
        spec = self._spec
        return CohortRun(
            cohort,
            spec.ladder,
            BestRungs(spec.objective),
            build,
            study,
            folder,
            self._limits,
            transfer,
            checkpoint_seconds=60 * spec.checkpoint_minutes,
            must_leave=must_leave,
        )

    def close(self) -> None:
        """Removes the files of the cohort that are this process's alone."""
        self._of_cohort.close()

    def _places(self, cohort: Cohort, study: RemoteStudy) -> tuple[RunFolder, CohortTransfer | None, SharedFeatures]:
        """The folder in which this process trains a cohort; what takes its files to that of the run, None where it is
        that; and where the features of the scores are.
        """
        if self._home.is_in_sight():
            return self._folder, None, FeaturesInFolder(self._folder)
        line = line_to(study.file_server())
        folder = self._of_cohort.enter_context(own_folder())
        transfer = CohortTransfer(line, cohort.number, cohort.owner)
        transfer.fetch(cohort.runs if cohort.from_rung else (), folder)
        return folder, transfer, FetchedFeatures(line, folder.path)

    def _trainers(self) -> Build:
        """Makes arrays of the person's own Trainers."""
        from gan_core.workshop.trainer_array import TrainerWorkshop

        return TrainerWorkshop(self._spec.conditions(), self._device()).build

    def _device(self) -> str:
        return "cuda" if importlib.import_module("ray").get_gpu_ids() else "cpu"

    def _workshop(self, features: SharedFeatures, study: RemoteStudy) -> "Workshop":
        from sweep.runners.scored_alike import workshop_of_run

        conditions = self._spec.conditions()
        return workshop_of_run(conditions, features, self._device(), self._note_phase, self._brought(conditions, study))

    def _brought(self, conditions: Conditions, study: RemoteStudy) -> "Dataset | None":
        """The data set, where this node has not got it and it is brought here; otherwise None."""
        if is_here(conditions):
            return None
        from gan_core.data.dataset import image_dataset

        self._note_phase(f"fetching {conditions.dataset}")
        images = fetched_images(line_to(study.file_server()))
        return image_dataset(conditions.dataset, images, conditions.image_size_pixels)

    def _note_phase(self, phase: str) -> None:
        """Tells of the latest cohort, because the workshop of the first one is that of all."""
        if self._study is not None:
            self._study.note_phase(self._owner, phase)
