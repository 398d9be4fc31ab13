"""Which structures, lane parameters, data sets and objectives go together. Loads without torch.

Every refusal says the rule, what was given, and what to do.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from gan_core.config.input_error import InputError, shown
from gan_core.config.lane import LaneConfig
from gan_core.config.own_names import is_reference
from gan_core.config.structure import CROSS_ENTROPY_LOSSES, StructureConfig


def check_classes(structure: StructureConfig, classes: int) -> None:
    """Raises InputError when a conditional architecture meets data of so many classes, 0 where there are no labels."""
    if structure.architecture == "cgan" and classes < 2:
        raise InputError(
            f"architecture 'cgan' needs labels of at least 2 classes, got {classes}; use class subfolders, or a set "
            "that comes with labels"
        )


def check_objective(objective: str, dataset: str, classes: int) -> None:
    """Raises InputError when an objective needs labels and a data set of so many classes has none."""
    if objective == "class_kl" and not classes:
        raise InputError(
            f"objective 'class_kl' needs labels, and {shown(dataset)} has none; put its pictures into class "
            "subfolders, or take objective 'fidelity'"
        )


# Lane parameter -> where a value other than its default has an effect, in words and as a test.
_EFFECTIVE: dict[str, tuple[str, Callable[[StructureConfig], bool]]] = {
    "label_smoothing": (
        f"a cross-entropy loss ({', '.join(CROSS_ENTROPY_LOSSES)})",
        lambda structure: structure.loss in CROSS_ENTROPY_LOSSES or is_reference(structure.loss),
    ),
    "generator_dropout": ("architecture 'mlp_dropout'", lambda structure: structure.architecture == "mlp_dropout"),
    "discriminator_dropout": ("an architecture that is not your own", lambda structure: not structure.is_own),
    "batch_norm_eps": ("batch norm in G or D", lambda structure: structure.has_batch_norm and not structure.is_own),
    "batch_norm_momentum": (
        "batch norm in G or D",
        lambda structure: structure.has_batch_norm and not structure.is_own,
    ),
    "information_weight": ("architecture 'infogan'", lambda structure: structure.architecture == "infogan"),
    "continuous_code_weight": ("structure.continuous_codes", lambda structure: structure.continuous_codes > 0),
}


def check_trainer(structure: StructureConfig, trainer: Mapping[str, Any], changed: Sequence[str]) -> None:
    """Raises InputError where hyperparameters of a person's own training have no training, and where those of a GAN
    stand beside one. changed: the names of those that are not at their defaults.
    """
    if not structure.trainer and trainer:
        raise InputError(
            f"trainer.{next(iter(trainer))} is a hyperparameter of your own training; name its class in a spec, "
            "train: FILE.py:Trainer, or in the base of a space, structure.trainer"
        )
    if "seed" in trainer:
        raise InputError("trainer.seed is no hyperparameter: every trial has a seed of its own, config['seed']")
    of_gans = [name for name in changed if name not in ("seed", "structure.trainer")]
    if structure.trainer and of_gans:
        raise InputError(
            f"{of_gans[0]} is of GANs, and has no effect on your own training ({shown(structure.trainer)}); take it "
            "out, or make it trainer.NAME"
        )


def check_lane(structure: StructureConfig, lane: LaneConfig) -> None:
    """Raises InputError when a lane parameter that is not at its default has no effect in this structure."""
    defaults: dict[str, Any] = {item.name: item.default for item in fields(lane)}
    for name, (needs, effective) in _EFFECTIVE.items():
        value = getattr(lane, name)
        if value != defaults[name] and not effective(structure):
            raise InputError(
                f"lane.{name} needs {needs}, got {value:g} with architecture {shown(structure.architecture)} and loss "
                f"{shown(structure.loss)}; set it to {defaults[name]:g} or change the structure"
            )
    if lane.lr_schedule_images and lane.lr_schedule == "constant":
        raise InputError(
            f"lane.lr_schedule_images is how long learning rates fall, got {lane.lr_schedule_images:g} with "
            "lane.lr_schedule 'constant'; set that to 'linear' or 'cosine', or this to 0"
        )
    if lane.instance_noise_images and not lane.instance_noise:
        raise InputError(
            f"lane.instance_noise_images is how long lane.instance_noise lasts, got {lane.instance_noise_images:g} "
            "with no noise; set lane.instance_noise too, or set it to 0"
        )
