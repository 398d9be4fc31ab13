"""The structure of a GAN: the hyperparameters that fix shapes or the course of a step, and which of them fit together.

Every refusal says the rule, what was given, and what to do. Loads without torch.
"""

from dataclasses import dataclass, field
from typing import Literal

from gan_core.config.arguments import Arguments, plain_value
from gan_core.config.dataset_name import LABELLED_KINDS, parse_dataset_name
from gan_core.config.fields import check_fields, ranged
from gan_core.config.input_error import InputError, shown
from gan_core.config.own_names import TRAINER, parse_reference

Architecture = Literal["gaussian", "mlp", "mlp_bn", "mlp_minimax", "mlp_dropout", "cgan", "dcgan", "infogan", "own"]
LatentDistribution = Literal["normal", "uniform", "symmetric_uniform"]
LossName = Literal[
    "non_saturating", "minimax", "minimax_clamped", "least_squares", "hinge", "wasserstein_gp", "relativistic"
]
LossReduction = Literal["mean", "sum"]
GradientPenalty = Literal["none", "r1", "wgan_gp"]
DiscriminatorNorm = Literal["published", "none", "batch", "spectral"]
DiscriminatorInput = Literal["sample", "minibatch", "moments"]
UpdateOrder = Literal["discriminator_first", "generator_first"]

CROSS_ENTROPY_LOSSES = ("non_saturating", "minimax", "minimax_clamped")
BATCH_NORM_GENERATORS = ("mlp_bn", "cgan", "dcgan", "infogan")
BATCH_NORM_DISCRIMINATORS = ("dcgan", "infogan")
NATIVE_SIZES_PIXELS = {"digits": 8, "polygons": 28, "mnist": 28, "fashion_mnist": 28, "cifar10": 32}
SMALLEST_START_PIXELS = 4

# Hyperparameters of layers of ours. They are no part of a configuration of a person's own networks.
OF_OUR_LAYERS = (
    *("structure.generator_width", "structure.discriminator_width"),
    *("structure.discriminator_norm", "structure.discriminator_input"),
    *("structure.categorical_codes", "structure.continuous_codes"),
    *("lane.generator_dropout", "lane.discriminator_dropout", "lane.batch_norm_eps", "lane.batch_norm_momentum"),
    *("lane.information_weight", "lane.continuous_code_weight"),
)


@dataclass(frozen=True, kw_only=True)
class StructureConfig:
    """The hyperparameters that fix shapes or the course of a step. Lanes of one array share all of them.

    The defaults are those of the `mlp` family; the published settings of a family are the base of its shipped space.
    Raises InputError when a value has the wrong type, is out of range, or does not fit the others.
    """

    architecture: Architecture = ranged("mlp", "the networks of G and D")
    networks: str = ranged("", "your own Generator and Discriminator, FILE.py or package.module; architecture 'own'")
    trainer: str = ranged("", "your own training, FILE.py:CLASS or package.module:CLASS, instead of a GAN")
    dataset: str = ranged("digits", "what real samples are drawn from: KIND or KIND:ARGUMENTS")
    image_size_pixels: int = ranged(0, "side of the images, resized to it; 0: the data set's own", low=0, high=512)
    generator_width: int = ranged(256, "units of G's first hidden layer; the others scale with it", low=1, high=65536)
    discriminator_width: int = ranged(256, "units of D's base layer; the others scale with it", low=1, high=65536)
    latent_size: int = ranged(100, "numbers of noise in a latent", low=1, high=65536)
    latent_distribution: LatentDistribution = ranged("normal", "N(0, 1), U(0, 1) or U(-1, 1)")
    categorical_codes: int = ranged(0, "values of InfoGAN's categorical code", low=0, high=1000)
    continuous_codes: int = ranged(0, "InfoGAN's continuous codes, each in (-1, 1)", low=0, high=1000)
    batch_size: int = ranged(64, "real images D sees at each of its steps", low=1, high=65536)
    loss: LossName = ranged("non_saturating", "the game that is played, or your own: FILE.py:NAME", own=True)
    loss_reduction: LossReduction = ranged("mean", "over a batch's decisions, in what is descended")
    gradient_penalty: GradientPenalty = ranged("none", "on D; loss 'wasserstein_gp' has wgan_gp by itself")
    discriminator_norm: DiscriminatorNorm = ranged("published", "normalisation in D; published: the family's own")
    discriminator_input: DiscriminatorInput = ranged("sample", "what D decides on: a sample, or a whole minibatch")
    update_order: UpdateOrder = ranged("discriminator_first", "generator_first: D then sees the fakes G learnt from")
    generator: Arguments = field(default=Arguments())  # of the constructors of a person's own networks
    discriminator: Arguments = field(default=Arguments())

    def __post_init__(self) -> None:
        check_fields("structure", self)
        for check in (_check_own, _check_data, _check_sizes, _check_codes, _check_discriminator):
            check(self)

    @property
    def is_own(self) -> bool:
        """Whether the networks are a person's own modules."""
        return self.architecture == "own"

    @property
    def penalty(self) -> GradientPenalty:
        """The gradient penalty that applies."""
        return "wgan_gp" if self.loss == "wasserstein_gp" else self.gradient_penalty

    @property
    def norm(self) -> DiscriminatorNorm:
        """The normalisation of D that applies: none, batch or spectral."""
        if self.discriminator_norm != "published":
            return self.discriminator_norm
        return "batch" if self.architecture in BATCH_NORM_DISCRIMINATORS else "none"

    @property
    def has_batch_norm(self) -> bool:
        """Whether G or D has batch normalisation."""
        return self.norm == "batch" or self.architecture in BATCH_NORM_GENERATORS


def dcgan_start_pixels(size_pixels: int) -> int:
    """The side of DCGAN's first feature map: the image size is halved while it stays whole and at least 4.

    >>> [dcgan_start_pixels(size) for size in (8, 28, 32, 64)]
    [4, 7, 4, 4]
    """
    while size_pixels % 2 == 0 and size_pixels // 2 >= SMALLEST_START_PIXELS:
        size_pixels //= 2
    return size_pixels


def _check_own(structure: StructureConfig) -> None:
    if structure.trainer:
        parse_reference(TRAINER, structure.trainer)
    if structure.is_own != bool(structure.networks):
        raise InputError(
            "structure.architecture 'own' goes with structure.networks, the file of your networks, got architecture "
            f"{shown(structure.architecture)} with networks {shown(structure.networks)}; change one of them"
        )
    for role in ("generator", "discriminator"):
        arguments = getattr(structure, role)
        for name, value in arguments.items():
            plain_value(f"{role}.{name}", value)
        if arguments and not structure.is_own:
            raise InputError(
                f"{role}.{next(iter(arguments))} is an argument of your own networks, got architecture "
                f"{shown(structure.architecture)}; name their file in structure.networks, or set "
                f"structure.{role}_width"
            )
    if structure.is_own:
        _check_fixed(structure)


def _check_fixed(structure: StructureConfig) -> None:
    for dotted in OF_OUR_LAYERS:
        group, _, name = dotted.partition(".")
        default = StructureConfig.__dataclass_fields__[name].default if group == "structure" else None
        if default is not None and (value := getattr(structure, name)) != default:
            role = name.removesuffix("_width")
            instead = f"{role}.NAME, an argument of its constructor" if role != name else "layers of your own"
            raise InputError(
                f"{dotted} has no effect on your own networks, got {shown(value)}; use {instead}, and leave it at "
                f"{shown(default)}"
            )


def _check_data(structure: StructureConfig) -> None:
    name = parse_dataset_name(structure.dataset)
    if not structure.is_own and (structure.architecture == "gaussian") != name.is_values:
        raise InputError(
            f"structure.architecture 'gaussian' goes with data sets of numbers (gaussian, mixture, ring, grid) and no "
            f"other, got architecture {structure.architecture!r} with dataset {shown(structure.dataset)}; change one "
            "of them"
        )
    if structure.architecture == "cgan" and not (name.is_users or name.kind in LABELLED_KINDS):
        raise InputError(
            f"structure.architecture 'cgan' needs a data set with labels, got {shown(structure.dataset)}; "
            f"use one of {', '.join(LABELLED_KINDS)}, or images of your own with classes"
        )
    if name.is_values and structure.image_size_pixels:
        raise InputError(
            f"structure.image_size_pixels must be 0 for numbers, got {structure.image_size_pixels} "
            f"with dataset {shown(structure.dataset)}"
        )
    if not name.has_own_size and not structure.image_size_pixels:
        raise InputError(
            f"structure.image_size_pixels must be set for {shown(structure.dataset)}: pictures are resized to it"
        )


def _check_sizes(structure: StructureConfig) -> None:
    size = structure.image_size_pixels or NATIVE_SIZES_PIXELS.get(parse_dataset_name(structure.dataset).kind, 0)
    if size:  # that of a file is known when it has been read
        check_size(structure, size)


def check_size(structure: StructureConfig, size: int) -> None:
    """Raises InputError if an architecture does not make images of this side in pixels."""
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


def _check_codes(structure: StructureConfig) -> None:
    codes = structure.categorical_codes + structure.continuous_codes
    if (structure.architecture == "infogan") != (codes > 0):
        raise InputError(
            "structure.categorical_codes and structure.continuous_codes are InfoGAN's, which needs at least one, "
            f"got {structure.categorical_codes} and {structure.continuous_codes} with architecture "
            f"{shown(structure.architecture)}; its published codes are 10 and 2"
        )
    if structure.categorical_codes == 1:
        raise InputError("structure.categorical_codes must be 0 or at least 2, got 1; a code of one value says nothing")


def _check_discriminator(structure: StructureConfig) -> None:
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
