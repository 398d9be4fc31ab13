"""The games. Logits [L, R] of R decisions -> loss [L], the mean over decisions; lanes are never mixed.

D's loss is the sum of its two parts everywhere (2 ln 2 = 1.386 at the equilibrium of the cross-entropy games), so that
families compare. A new loss is a pair of functions and a line in LOSSES.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from gan_core.config import LossName
from gan_core.lanes import lanewise


@dataclass(frozen=True)
class Loss:
    """discriminator(real_logits, fake_logits) and generator(fake_logits), [L, R] -> [L]."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


def _softplus(logits: Tensor) -> Tensor:
    return lanewise(F.softplus, logits).mean(1)


def _cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """-[log D(x) + log(1 - D(G(z)))] with D = sigmoid(logit)."""
    return _softplus(-real) + _softplus(fake)


def _mean_square(x: Tensor) -> Tensor:
    return (x * x).mean(1)


LOSSES: dict[LossName, Loss] = {
    # Goodfellow et al. 2014, section 3: G maximises log D(G(z)).
    "non_saturating": Loss(_cross_entropy, lambda fake: _softplus(-fake)),
    # Goodfellow et al. 2014, equation 1: G minimises log(1 - D(G(z))).
    "minimax": Loss(_cross_entropy, lambda fake: -_softplus(fake)),
    # Mao et al. 2017, equation 9 (labels a = 0, b = c = 1), with its halves.
    "least_squares": Loss(
        lambda real, fake: (_mean_square(real - 1) + _mean_square(fake)) / 2, lambda fake: _mean_square(fake - 1) / 2
    ),
    # Lim & Ye 2017; Miyato et al. 2018, equations 16 and 17.
    "hinge": Loss(lambda real, fake: F.relu(1 - real).mean(1) + F.relu(1 + fake).mean(1), lambda fake: -fake.mean(1)),
}
