"""Which hyperparameters go together. Every refusal says the rule, what was given, and what to do. No torch."""

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from gan_core.config.dataset_name import LABELLED_KINDS, parse_dataset_name
from gan_core.config.input_error import InputError, shown

if TYPE_CHECKING:
    from gan_core.config.gan import LaneConfig, StructureConfig

CROSS_ENTROPY_LOSSES = ("non_saturating", "minimax", "minimax_clamped")
BATCH_NORM_GENERATORS = ("mlp_bn", "cgan", "dcgan", "infogan")
BATCH_NORM_DISCRIMINATORS = ("dcgan", "infogan")
NATIVE_SIZES_PIXELS = {"digits": 8, "polygons": 28, "mnist": 28, "fashion_mnist": 28, "cifar10": 32}
SMALLEST_START_PIXELS = 4


def dcgan_start_pixels(size_pixels: int) -> int:
    """The side of DCGAN's first feature map: the size is halved while it stays whole and at least 4.

    >>> [dcgan_start_pixels(size) for size in (8, 28, 32, 64)]
    [4, 7, 4, 4]
    """
    while size_pixels % 2 == 0 and size_pixels // 2 >= SMALLEST_START_PIXELS:
        size_pixels //= 2
    return size_pixels


def check_structure(structure: "StructureConfig") -> None:
    """Raises InputError when the parts of a structure make no sense together."""
    for check in (_check_data, _check_sizes, _check_codes, _check_discriminator):
        check(structure)


def check_classes(structure: "StructureConfig", classes: int) -> None:
    """Raises InputError when a conditional architecture meets data of so many classes, 0 where there are no labels."""
    if structure.architecture == "cgan" and classes < 2:
        raise InputError(f"architecture 'cgan' needs labels of at least 2 classes, got {classes}; use class subfolders")


def check_objective(objective: str, dataset: str, classes: int) -> None:
    """Raises InputError when an objective needs labels and a data set of so many classes has none."""
    if objective == "class_kl" and not classes:
        raise InputError(
            f"objective 'class_kl' needs labels, and {shown(dataset)} has none; put its pictures into class "
            "subfolders, or take objective 'fidelity'"
        )


def _check_data(structure: "StructureConfig") -> None:
    name = parse_dataset_name(structure.dataset)
    if (structure.architecture == "gaussian") != name.is_values:
        raise InputError(
            f"structure.architecture 'gaussian' goes with data sets of numbers (gaussian, mixture, ring, grid) and no "
            f"other, got architecture {structure.architecture!r} with dataset {shown(structure.dataset)}; change one "
            "of them"
        )
    if structure.architecture == "cgan" and name.kind not in (*LABELLED_KINDS, "images"):
        raise InputError(
            f"structure.architecture 'cgan' needs a data set with labels, got {shown(structure.dataset)}; "
            f"use one of {', '.join(LABELLED_KINDS)}, or images in class subfolders"
        )
    if name.is_values and structure.image_size_pixels:
        raise InputError(
            f"structure.image_size_pixels must be 0 for numbers, got {structure.image_size_pixels} "
            f"with dataset {shown(structure.dataset)}"
        )
    if name.kind == "images" and not structure.image_size_pixels:
        raise InputError(
            f"structure.image_size_pixels must be set for {shown(structure.dataset)}: pictures are resized to it"
        )


def _check_sizes(structure: "StructureConfig") -> None:
    if structure.architecture not in ("dcgan", "infogan"):
        return
    size = structure.image_size_pixels or NATIVE_SIZES_PIXELS[parse_dataset_name(structure.dataset).kind]
    start = dcgan_start_pixels(size)
    if structure.architecture == "dcgan" and not (start < size and start < 2 * SMALLEST_START_PIXELS):
        raise InputError(
            f"structure.image_size_pixels for architecture 'dcgan' must be 4, 5, 6 or 7 times a power of two, "
            f"got {size}; use 8, 28, 32 or 64"
        )
    if structure.architecture == "infogan" and (size % 4 or size < 8):
        raise InputError(
            f"structure.image_size_pixels for architecture 'infogan' must be a multiple of 4 from 8 on, got {size}; "
            "use 28 or 32"
        )


def _check_codes(structure: "StructureConfig") -> None:
    codes = structure.categorical_codes + structure.continuous_codes
    if (structure.architecture == "infogan") != (codes > 0):
        raise InputError(
            "structure.categorical_codes and structure.continuous_codes are InfoGAN's, which needs at least one, "
            f"got {structure.categorical_codes} and {structure.continuous_codes} with architecture "
            f"{shown(structure.architecture)}; its published codes are 10 and 2"
        )
    if structure.categorical_codes == 1:
        raise InputError("structure.categorical_codes must be 0 or at least 2, got 1; a code of one value says nothing")


def _check_discriminator(structure: "StructureConfig") -> None:
    if structure.discriminator_input != "sample" and structure.architecture != "gaussian":
        raise InputError(
            f"structure.discriminator_input {shown(structure.discriminator_input)} needs architecture 'gaussian', "
            f"got {shown(structure.architecture)}; use 'sample'"
        )
    if structure.loss == "wasserstein_gp" and structure.gradient_penalty == "r1":
        raise InputError("loss 'wasserstein_gp' has the penalty wgan_gp, got gradient_penalty 'r1'; set it to 'none'")
    if structure.penalty != "none" and structure.norm == "batch":
        raise InputError(
            f"a gradient penalty ({structure.penalty}) acts on each sample alone, and batch norm in D ties samples "
            "together (Gulrajani et al. 2017, section 4); set structure.discriminator_norm to 'none' or 'spectral'"
        )
    if structure.norm == "batch" and structure.architecture == "mlp_minimax":
        raise InputError(
            "batch norm stands in D's hidden layers after the first, and architecture 'mlp_minimax' has one, got "
            "structure.discriminator_norm 'batch'; set it to 'none' or 'spectral'"
        )
    if structure.norm == "batch" and structure.discriminator_input != "sample":
        raise InputError(
            f"batch norm in D needs several decisions in a batch, got discriminator_input "
            f"{shown(structure.discriminator_input)} with one; set structure.discriminator_norm to 'none'"
        )
    if structure.has_batch_norm and structure.batch_size < 2:
        raise InputError(f"structure.batch_size must be at least 2 with batch norm, got {structure.batch_size}")


# A lane parameter that is not at its default -> where it has an effect, in words and as a test.
_EFFECTIVE: dict[str, tuple[str, Callable[["StructureConfig"], bool]]] = {
    "label_smoothing": (
        f"a cross-entropy loss ({', '.join(CROSS_ENTROPY_LOSSES)})",
        lambda structure: structure.loss in CROSS_ENTROPY_LOSSES,
    ),
    "generator_dropout": ("architecture 'mlp_dropout'", lambda structure: structure.architecture == "mlp_dropout"),
    "batch_norm_eps": ("batch norm in G or D", lambda structure: structure.has_batch_norm),
    "batch_norm_momentum": ("batch norm in G or D", lambda structure: structure.has_batch_norm),
    "information_weight": ("architecture 'infogan'", lambda structure: structure.architecture == "infogan"),
    "continuous_code_weight": ("structure.continuous_codes", lambda structure: structure.continuous_codes > 0),
}


def check_lane(structure: "StructureConfig", lane: "LaneConfig") -> None:
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
