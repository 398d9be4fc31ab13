"""What one GAN is and how it is trained: frozen dataclasses, checked when they are made. Loads without torch.

Every hyperparameter has one dotted name everywhere (`lane.generator_lr`, `structure.generator_width`): in a space's
file, in the table, in an exported configuration. Where a field stands says what it is: a *structure* field fixes
shapes, so only lanes of equal structure share an array; a *lane* field is one number a lane.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, Literal

from gan_core.config.combinations import BATCH_NORM_DISCRIMINATORS, BATCH_NORM_GENERATORS, check_lane, check_structure
from gan_core.config.fields import Hyperparameter, as_number, check_fields, describe, fitted, ranged
from gan_core.config.input_error import InputError, home_path, nearest, shortened, shown

__all__ = [
    "HYPERPARAMETERS",
    "GanConfig",
    "InputError",
    "LaneConfig",
    "StructureConfig",
    "as_number",
    "home_path",
    "nearest",
    "shortened",
    "shown",
]

Architecture = Literal["gaussian", "mlp", "mlp_bn", "mlp_minimax", "mlp_dropout", "cgan", "dcgan", "infogan"]
LatentDistribution = Literal["normal", "uniform", "symmetric_uniform"]
LossName = Literal["non_saturating", "minimax", "minimax_clamped", "least_squares", "hinge", "wasserstein_gp"]
LossReduction = Literal["mean", "sum"]
GradientPenalty = Literal["none", "r1", "wgan_gp"]
DiscriminatorNorm = Literal["published", "none", "batch", "spectral"]
DiscriminatorInput = Literal["sample", "minibatch", "moments"]
UpdateOrder = Literal["discriminator_first", "generator_first"]
LrSchedule = Literal["constant", "linear", "cosine"]

LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class StructureConfig:
    """The hyperparameters that fix shapes or the course of a step. Lanes of one array share all of them.

    Defaults: the `mlp` family's; a family's published settings are the base of the shipped space of its name.
    Raises InputError when a value has the wrong type, is out of range, or does not fit the others.
    """

    architecture: Architecture = ranged("mlp", "the networks of G and D")
    dataset: str = ranged("digits", "what real samples are drawn from: KIND or KIND:ARGUMENTS")
    image_size_pixels: int = ranged(0, "side of the images, resized to it; 0: the data set's own", low=0, high=512)
    generator_width: int = ranged(256, "units of G's first hidden layer; the others scale with it", low=1, high=65536)
    discriminator_width: int = ranged(256, "units of D's base layer; the others scale with it", low=1, high=65536)
    latent_size: int = ranged(100, "numbers of noise in a latent", low=1, high=65536)
    latent_distribution: LatentDistribution = ranged("normal", "N(0, 1), U(0, 1) or U(-1, 1)")
    categorical_codes: int = ranged(0, "values of InfoGAN's categorical code", low=0, high=1000)
    continuous_codes: int = ranged(0, "InfoGAN's continuous codes, each in (-1, 1)", low=0, high=1000)
    batch_size: int = ranged(64, "real images D sees at each of its steps", low=1, high=65536)
    loss: LossName = ranged("non_saturating", "the game that is played")
    loss_reduction: LossReduction = ranged("mean", "over a batch's decisions, in what is descended")
    gradient_penalty: GradientPenalty = ranged("none", "on D; loss 'wasserstein_gp' has wgan_gp by itself")
    discriminator_norm: DiscriminatorNorm = ranged("published", "normalisation in D; published: the family's own")
    discriminator_input: DiscriminatorInput = ranged("sample", "what D decides on: a sample, or a whole minibatch")
    update_order: UpdateOrder = ranged("discriminator_first", "generator_first: D then sees the fakes G learnt from")

    def __post_init__(self) -> None:
        check_fields("structure", self)
        check_structure(self)

    @property
    def penalty(self) -> GradientPenalty:
        """The gradient penalty that is in force."""
        return "wgan_gp" if self.loss == "wasserstein_gp" else self.gradient_penalty

    @property
    def norm(self) -> DiscriminatorNorm:
        """The normalisation of D that is in force: none, batch or spectral."""
        if self.discriminator_norm != "published":
            return self.discriminator_norm
        return "batch" if self.architecture in BATCH_NORM_DISCRIMINATORS else "none"

    @property
    def has_batch_norm(self) -> bool:
        """Whether G or D has batch normalisation."""
        return self.norm == "batch" or self.architecture in BATCH_NORM_GENERATORS


@dataclass(frozen=True, kw_only=True)
class LaneConfig:
    """The hyperparameters that enter as one number a lane. Defaults: the `mlp` family's published settings.

    Raises InputError when a value has the wrong type or is out of range.
    """

    generator_lr: float = ranged(2e-4, "Adam's learning rate of G", low=0.0, high=10.0)
    discriminator_lr: float = ranged(2e-4, "Adam's learning rate of D", low=0.0, high=10.0)
    lr_schedule: LrSchedule = ranged("constant", "how both learning rates fall, to 0 at the end")
    lr_schedule_images: float = ranged(
        0.0, "images over which learning rates fall; 0: all that the lane is trained for", low=0.0, high=1e12
    )
    beta1: float = ranged(0.9, "Adam's decay of the mean, in G and D", low=0.0, below=1.0)
    beta2: float = ranged(0.999, "Adam's decay of the mean square, in G and D", low=0.0, below=1.0)
    discriminator_beta1: float | None = ranged(None, "beta1 of D; null: as beta1", low=0.0, below=1.0, follows="beta1")
    discriminator_beta2: float | None = ranged(None, "beta2 of D; null: as beta2", low=0.0, below=1.0, follows="beta2")
    generator_weight_decay: float = ranged(0.0, "AdamW's, of all parameters of G, times the rate", low=0.0, high=100.0)
    discriminator_weight_decay: float = ranged(0.0, "AdamW's, of all parameters of D", low=0.0, high=100.0)
    discriminator_steps: int = ranged(1, "k: D updates before each turn of G", low=1, high=1000)
    generator_steps: int = ranged(1, "G updates at each of its turns", low=1, high=1000)
    ema_half_life_images: float = ranged(
        0.0,
        "half-life of the average of G that is scored, at most a tenth of what was seen; 0: none",
        low=0.0,
        high=1e12,
    )
    label_smoothing: float = ranged(0.0, "real samples are labelled 1 minus this; cross-entropy only", low=0, high=0.5)
    instance_noise: float = ranged(0.0, "deviation of the noise added to all that D sees", low=0.0, high=10.0)
    instance_noise_images: float = ranged(
        0.0, "images over which instance noise falls linearly to 0; 0: it stays", low=0.0, high=1e12
    )
    generator_dropout: float = ranged(0.0, "share of G's hidden units dropped", low=0.0, below=1.0)
    discriminator_dropout: float = ranged(0.0, "share of D's hidden units dropped", low=0.0, below=1.0)
    penalty_weight: float = ranged(10.0, "lambda of wgan_gp, gamma of r1, where there is one", low=0.0, high=1e6)
    batch_norm_eps: float = ranged(1e-5, "added to the variance in batch normalisation", low=1e-12, high=100.0)
    batch_norm_momentum: float = ranged(0.1, "weight of a batch in batch norm's running moments", low=0.0, high=1.0)
    information_weight: float = ranged(1.0, "of InfoGAN's information term, in D and in G", low=0.0, high=1e3)
    continuous_code_weight: float = ranged(0.1, "of the continuous codes in that term", low=0.0, high=1e3)

    def __post_init__(self) -> None:
        check_fields("lane", self)

    @property
    def generator_adam(self) -> tuple[float, float, float, float]:
        """The learning rate, beta1, beta2 and weight decay of G."""
        return self.generator_lr, self.beta1, self.beta2, self.generator_weight_decay

    @property
    def discriminator_adam(self) -> tuple[float, float, float, float]:
        """The learning rate, beta1, beta2 and weight decay of D."""
        beta1 = self.beta1 if self.discriminator_beta1 is None else self.discriminator_beta1
        beta2 = self.beta2 if self.discriminator_beta2 is None else self.discriminator_beta2
        return self.discriminator_lr, beta1, beta2, self.discriminator_weight_decay


@dataclass(frozen=True, kw_only=True)
class GanConfig:
    """One configuration: structure, lane parameters, and the two seeds of everything random in it.

    Raises InputError when a lane parameter that is set would have no effect in this structure.
    """

    structure: StructureConfig = field(default_factory=StructureConfig)
    lane: LaneConfig = field(default_factory=LaneConfig)
    seed: int = ranged(0, "of initial weights and latents", low=0, high=LARGEST_SEED)
    data_seed: int = ranged(0, "of the order in which real samples are shown", low=0, high=LARGEST_SEED)

    def __post_init__(self) -> None:
        check_fields("", self)
        check_lane(self.structure, self.lane)

    def flatten(self) -> dict[str, Any]:
        """Dotted name -> plain value, in the order of the fields; `GanConfig.unflatten` is its inverse."""
        return {name: attrgetter(name)(self) for name in HYPERPARAMETERS}

    def in_force(self) -> dict[str, Any]:
        """The same, with the value of what it follows for each hyperparameter that is None."""
        values = self.flatten()
        followed = {name: HYPERPARAMETERS[name].follows for name, value in values.items() if value is None}
        return {**values, **{name: values[other] for name, other in followed.items()}}

    @classmethod
    def unflatten(cls, values: Mapping[str, Any]) -> "GanConfig":
        """Dotted names -> configuration; what is not named keeps its default. Raises InputError on an unknown name."""
        parts: dict[str, dict[str, Any]] = {"structure": {}, "lane": {}, "": {}}
        for name, value in values.items():
            known = hyperparameter(name)
            parts[name.rpartition(".")[0]][known.name] = parse_value(name, value)
        return cls(structure=StructureConfig(**parts["structure"]), lane=LaneConfig(**parts["lane"]), **parts[""])


HALF_LIFE = "lane.ema_half_life_images"  # on which training does not depend: a lane may keep several averages

HYPERPARAMETERS: Mapping[str, Hyperparameter] = {
    **{f"structure.{name}": known for name, known in describe(StructureConfig).items()},
    **{
        f"lane.{name}": replace(known, follows=f"lane.{known.follows}") if known.follows else known
        for name, known in describe(LaneConfig).items()
    },
    **describe(GanConfig),
}


def hyperparameter(name: str) -> Hyperparameter:
    """What is known of a dotted name. Raises InputError, naming the nearest right one."""
    if name not in HYPERPARAMETERS:
        raise InputError(f"unknown hyperparameter {shown(name)}; {nearest(name, HYPERPARAMETERS)}")
    return HYPERPARAMETERS[name]


def parse_value(name: str, value: Any) -> Any:
    """A hyperparameter's value as YAML or a command line gives it -> its own type, checked. Raises InputError."""
    return fitted(name, hyperparameter(name), value)
