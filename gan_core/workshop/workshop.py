"""Builds scored arrays. A process loads the samples and their scorer once, and compiles each structure once."""

from collections.abc import Callable, Sequence

import torch

from gan_core.config.combinations import check_objective
from gan_core.config.conditions import Conditions
from gan_core.config.dataset_name import parse_dataset_name
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError, shown
from gan_core.config.own_names import is_reference
from gan_core.config.structure import StructureConfig
from gan_core.data.dataset import Dataset, load_dataset
from gan_core.data.roots import data_folder
from gan_core.execution.pace import WHOLE_ARRAY, Pace, largest_call, within_memory
from gan_core.execution.programs import ProgramMaker
from gan_core.fidelity.features.classifier import PART as CLASSIFIER
from gan_core.fidelity.features.classifier import awaits_training, training_seconds
from gan_core.fidelity.fitted import Fitted
from gan_core.fidelity.own_score import WithOwnScore
from gan_core.fidelity.scorers import build_scorer
from gan_core.files.own_code import bring
from gan_core.lanes.axis import lane_arithmetic
from gan_core.lanes.precision import check_processor
from gan_core.training.lane_array import LaneArray
from gan_core.workshop.scored_array import ScoredArray


def load_data(conditions: Conditions, *, download: bool = False) -> Dataset:
    """Loads the data set of the conditions; from an object store, once for this machine. download: whether torchvision
    may fetch missing files.

    Raises InputError as `load_dataset` does, and if the objective needs labels and the data set has none.
    """
    bring(conditions.code)
    dataset = load_dataset(
        conditions.dataset,
        data_folder(conditions.data_root or None, parse_dataset_name(conditions.dataset).kind),
        image_size_pixels=conditions.image_size_pixels,
        download=download,
        skip_corrupt=conditions.skip_corrupt_images,
    )
    check_objective(conditions.objective, conditions.dataset, dataset.classes)
    return dataset


class Workshop:
    """All that a process needs to train any configuration of a sweep: the samples and their scorer, loaded once.

    device: `cpu`, `cuda`, or `auto`, which means a GPU if torch sees one. on_phase: called with a description of each
    task, other than training, that may take seconds. dataset: that of the conditions, if it has been loaded before.
    fitted: what the scores of images were fitted with elsewhere, which is used as it is. The attribute is that, or what
    was fitted here; None for data sets of numbers.

    Raises InputError as `load_dataset`, `build_scorer` and `check_processor` do, and where `fitted` is of other data.
    """

    def __init__(
        self,
        conditions: Conditions,
        device: str = "auto",
        on_phase: Callable[[str], object] = lambda phase: None,
        dataset: Dataset | None = None,
        fitted: Fitted | None = None,
    ) -> None:
        bring(conditions.code)
        self.conditions, self._on_phase = conditions, on_phase
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        check_processor(conditions.precision, self.device)
        if dataset is None:
            on_phase(f"loading {conditions.dataset}")
            dataset = load_data(conditions)
        self.dataset = dataset
        self.fitted = None if dataset.truth is not None else fitted or Fitted(data_digest=dataset.digest)
        if self.fitted is not None and self.fitted.data_digest != dataset.digest:
            raise InputError(
                f"data set {shown(conditions.dataset)} here has digest {dataset.digest}, and the scores are of "
                f"{self.fitted.data_digest}; bring those data here"
            )
        waits = not (fitted and fitted.has(CLASSIFIER)) and awaits_training(self.dataset)
        begin = "training a classifier for" if waits else "examining"
        minutes = training_seconds(self.dataset) / 60 if waits else 0.0
        long = f" (about {minutes:.0f} minutes, of images as large as these)" if minutes >= 1 else ""
        on_phase(f"{begin} the scores of {conditions.dataset}{long}")
        with lane_arithmetic():  # the reference must not depend on the settings of this process
            self.scorer = build_scorer(self.dataset, conditions.scoring, self.fitted)
            if is_reference(conditions.objective):
                self.scorer = WithOwnScore(self.scorer, conditions.objective, self.dataset)
        self._makers: dict[StructureConfig, ProgramMaker] = {}

    def build(self, configs: Sequence[GanConfig], averages_images: Sequence[float] = ()) -> ScoredArray:
        """An untrained array of these configurations, which share a structure. averages_images: as in `LaneArray`.

        Raises OutOfMemory if it does not fit into memory.
        """
        with within_memory(len(configs)):
            return self._build(configs, averages_images)

    def _build(self, configs: Sequence[GanConfig], averages_images: Sequence[float]) -> ScoredArray:
        health, precision, structure = self.conditions.health, self.conditions.precision, configs[0].structure
        if structure not in self._makers:
            self._makers[structure] = self._maker(structure)
        programs = self._makers[structure]
        array = LaneArray(
            configs,
            self.dataset,
            device=self.device,
            health=health,
            precision=precision,
            programs=programs,
            averages_images=averages_images,
            budget_images=self.conditions.budget_images,
        )
        return ScoredArray(array, self.scorer, health, self.conditions.objective)

    def _maker(self, structure: StructureConfig) -> ProgramMaker:
        """Makes the programs that all arrays of a structure share: traced once, and on the CPU timed once."""
        compiles = self.conditions.execution in ("auto", "compiled") and self.device != "cuda"
        self._on_phase(f"{'compiling' if compiles else 'preparing'} the steps of {structure.architecture}")
        lanes = self.conditions.lanes_per_call
        automatic = WHOLE_ARRAY if self.device == "cuda" else None
        pace = Pace(automatic if lanes == "auto" else lanes, largest_call(structure))
        return ProgramMaker(self.conditions.execution, pace)
