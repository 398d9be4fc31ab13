"""The signs that a lane is in trouble or dead, and their thresholds. Plain numbers; loads without torch.

Each quantity below is a mean over the steps since the previous rung, unless stated otherwise:

- `discriminator_accuracy`: the share of real samples that D scores above the fake sample at the same place of the
  batch; 1/2 is chance.
- `d_gradient`, `g_gradient`: Euclidean norms of the gradients. `d_loss_deviation`: the standard deviation of D's loss
  over its steps.
- `sample_deviation`: the standard deviation over generated samples, averaged over pixels, as a share of the same number
  for real samples.
- `penalty`, `d_information`: the terms added to D's loss, before their weights.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gan_core.config.fields import check_fields, ranged
from gan_core.config.reports import Death


@dataclass(frozen=True, kw_only=True)
class HealthConfig:
    """Thresholds of the signs. Raises InputError when a value has the wrong type or is out of range.

    Sources: Goodfellow et al. 2014, section 3 (saturation); S. Chintala et al., "How to train a GAN", 2016 (gradients
    over 100, D's loss near 0); Naeem et al. 2020 (coverage); Meehan et al. 2020 (copying). Numbers that these do not
    give were chosen for this project.
    """

    grace_images: int = ranged(50_000, "images before which D may be ahead and modes missing", low=0, high=10**15)
    vanished_gradient: float = ranged(1e-6, "norm of G's gradient below which it has vanished", low=0.0, high=1e12)
    vanished_images: int = ranged(20_000, "images without a gradient for G that prove it dead", low=1, high=10**15)
    collapsed_deviation: float = ranged(1e-3, "sample_deviation below which G ignores its latent", low=0.0, high=1e12)
    collapsed_images: int = ranged(20_000, "images with such a G that prove it dead", low=1, high=10**15)
    exploded_gradient: float = ranged(100.0, "norm of a gradient above which it has exploded", low=0.0, high=1e12)
    won_accuracy: float = ranged(0.99, "discriminator_accuracy from which D may have won", low=0.0, high=1.0)
    won_loss: float = ranged(0.07, "and its loss: 5% of 2 ln 2", low=-1e12, high=1e12)
    class_kl: float = ranged(
        0.1, "KL of classes in nats above its floor from which some are missing", low=0.0, high=1e12
    )
    coverage: float = ranged(0.5, "share of real samples' coverage below which modes are missing", low=0.0, high=1e12)
    oscillation: float = ranged(1.0, "d_loss_deviation above which training oscillates", low=0.0, high=1e12)
    copying: float = ranged(0.6, "memorisation above which G copies training samples; 1/2 is none", low=0.0, high=1.0)

    def __post_init__(self) -> None:
        check_fields("health", self)


_SIGNS: dict[str, Callable[[Mapping[str, Any], HealthConfig], Any]] = {  # of numbers, or of arrays of numbers
    "exploded_gradient": lambda v, t: (
        (v.get("g_gradient", 0) > t.exploded_gradient) | (v.get("d_gradient", 0) > t.exploded_gradient)
    ),
    "vanished_gradient": lambda v, t: v.get("g_gradient", math.inf) < t.vanished_gradient,
    "discriminator_won": lambda v, t: (
        (v.get("discriminator_accuracy", 0) >= t.won_accuracy) & (v.get("d_loss", math.inf) < t.won_loss)
    ),
    "ignores_latent": lambda v, t: v.get("sample_deviation", math.inf) < t.collapsed_deviation,
    "missing_classes": lambda v, t: v.get("class_kl", 0) > t.class_kl + v.get("class_kl_floor", 0),
    "low_coverage": lambda v, t: v.get("coverage", math.inf) < t.coverage * v.get("coverage_floor", 1.0),
    "oscillation": lambda v, t: v.get("d_loss_deviation", 0) > t.oscillation,
    "memorisation": lambda v, t: v.get("memorisation", 0) > t.copying,
}
_OF_YOUTH = ("discriminator_won", "missing_classes", "low_coverage")


def signs(images_seen: int, values: Mapping[str, float], health: HealthConfig) -> tuple[str, ...]:
    """The names of the signs in values: watched quantities, losses and scores. A value that is missing or NaN is no
    sign, and what every generator shows early in training counts only after `health.grace_images`.
    """
    return tuple(name for name, shows in each_sign(images_seen, values, health).items() if shows)


def each_sign(images_seen: Any, values: Mapping[str, Any], health: HealthConfig) -> dict[str, Any]:
    """Whether each sign shows, by the rules of `signs`: name -> true or false. images_seen and values may be arrays of
    one length, for as many moments, and then so are the answers.
    """
    old = images_seen >= health.grace_images
    return {name: shows(values, health) & (old | (name not in _OF_YOUTH)) for name, shows in _SIGNS.items()}


_MUST_BE_FINITE = {
    "d_loss": "discriminator loss",
    "g_loss": "generator loss",
    "penalty": "gradient penalty",
    "d_gradient": "discriminator gradient",
    "g_gradient": "generator gradient",
    "sample_deviation": "deviation of samples",
}


def death(values: Mapping[str, float], health: HealthConfig) -> Death | None:
    """Why a lane with these sums cannot go on, or None. `quiet_images` and `still_images` are explained in
    `gan_core.training.watch`.
    """
    for name, said in _MUST_BE_FINITE.items():
        if not math.isfinite(values[name]):
            return Death("diverged", f"{said} is {values[name]:g}")
    if values["quiet_images"] >= health.vanished_images:
        images = f"{values['quiet_images']:,.0f} images"
        return Death("diverged", f"no gradient for G in {images}: its norm stays below {health.vanished_gradient:g}")
    if values["still_images"] >= health.collapsed_images:
        images = f"{values['still_images']:,.0f} images"
        least = f"less than {health.collapsed_deviation:g} of what real ones do"
        return Death("collapsed", f"G ignores its latent: in {images} its samples vary by {least}")
    return None


SIGN_WORDS: Mapping[str, str] = {  # what each sign means, for people
    "exploded_gradient": "the norm of a gradient is too large",
    "vanished_gradient": "the generator has hardly any gradient",
    "discriminator_won": "the discriminator is nearly always right, and its loss is near 0",
    "ignores_latent": "samples hardly vary",
    "missing_classes": "the classes of the samples are out of balance",
    "low_coverage": "samples cover too little of what real samples would",
    "oscillation": "the discriminator's loss varies much from step to step",
    "memorisation": "samples are nearer to training images than held-out images are",
}
