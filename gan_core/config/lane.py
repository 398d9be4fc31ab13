"""The lane parameters of a GAN: the hyperparameters that enter as one number a lane. Loads without torch."""

from dataclasses import dataclass
from typing import Literal

from gan_core.config.fields import check_fields, ranged

LrSchedule = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True, kw_only=True)
class LaneConfig:
    """The hyperparameters that enter as one number a lane. The defaults are the published settings of the `mlp` family.

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
