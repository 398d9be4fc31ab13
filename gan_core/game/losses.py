"""The losses. Logits [L, R] of R decisions -> loss [L], the mean over decisions; lanes are never mixed.

D's loss is always the sum of its part on real samples and its part on fakes (2 ln 2 = 1.386 at the equilibrium of the
cross-entropy losses), so that structures can be compared. A new loss is a pair of functions, a line in LOSSES, and its
name in `config.structure.LossName`. Its steps are compiled if it is a sum of means over decisions of elementwise
operations that are known in C (`execution.means`, `execution.formulas`); otherwise they are replayed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.config.structure import LossName
from gan_core.lanes.axis import lanewise

CLAMPED_LOGIT = math.log((1 - 1e-5) / 1e-5)  # where a probability reaches 1 - 1e-5


@dataclass(frozen=True)
class Loss:
    """discriminator(real_logits, fake_logits, smoothing) and generator(fake_logits), [L, R] -> [L].

    smoothing [L]: real samples are labelled 1 - smoothing; losses without labels ignore it. sees_real: whether G's
    function is generator(fake_logits, real_logits), for which D judges real samples in G's updates too. traced: whether
    the calls that it makes do not depend on the values of logits, so that they can be repeated.
    """

    discriminator: Callable[[Tensor, Tensor, Tensor], Tensor]
    generator: Callable[..., Tensor]
    sees_real: bool = False
    traced: bool = True


def _softplus(logits: Tensor) -> Tensor:
    return lanewise(F.softplus, logits).mean(1)


def _cross_entropy(real: Tensor, fake: Tensor, smoothing: Tensor) -> Tensor:
    """-[t log D(x) + (1 - t) log(1 - D(x)) + log(1 - D(G(z)))], D = sigmoid(logit), t = 1 - smoothing
    (one-sided: Salimans et al. 2016, section 3.4).
    """
    return _softplus(-real) + smoothing * real.mean(1) + _softplus(fake)


def _clamped(logits: Tensor) -> Tensor:
    """Logits clamped to probabilities in [1e-5, 1 - 1e-5]; outside of that range the gradient is 0."""
    return logits.clamp(-CLAMPED_LOGIT, CLAMPED_LOGIT)


def _mean_square(x: Tensor) -> Tensor:
    return (x * x).mean(1)


def _least_squares(real: Tensor, fake: Tensor, smoothing: Tensor) -> Tensor:
    return (_mean_square(real - 1) + _mean_square(fake)) / 2


def _hinge(real: Tensor, fake: Tensor, smoothing: Tensor) -> Tensor:
    return F.relu(1 - real).mean(1) + F.relu(1 + fake).mean(1)


LOSSES: dict[LossName, Loss] = {
    # Goodfellow et al. 2014, section 3: G maximises log D(G(z)).
    "non_saturating": Loss(_cross_entropy, lambda fake: _softplus(-fake)),
    # Goodfellow et al. 2014, equation 1: G minimises log(1 - D(G(z))).
    "minimax": Loss(_cross_entropy, lambda fake: -_softplus(fake)),
    # The same with probabilities clamped, as in Tomczak 2022, chapter 7: G's gradient is 0 below a logit of -11.5.
    "minimax_clamped": Loss(
        lambda real, fake, smoothing: _cross_entropy(_clamped(real), _clamped(fake), smoothing),
        lambda fake: -_softplus(_clamped(fake)),
    ),
    # Mao et al. 2017, equation 9 (labels a = 0, b = c = 1), with its halves.
    "least_squares": Loss(_least_squares, lambda fake: _mean_square(fake - 1) / 2),
    # Lim & Ye 2017; Miyato et al. 2018, equations 16 and 17.
    "hinge": Loss(_hinge, lambda fake: -fake.mean(1)),
    # Arjovsky et al. 2017, equations 2 and 3; the penalty of Gulrajani et al. 2017 is added in
    # gan_core/game/penalties.py.
    "wasserstein_gp": Loss(lambda real, fake, smoothing: fake.mean(1) - real.mean(1), lambda fake: -fake.mean(1)),
    # Jolicoeur-Martineau 2019, section 3.2, as in Huang et al. 2024 (R3GAN), equation 2: D judges by how much a real
    # sample exceeds a fake one, pair by pair; both losses are ln 2 at the equilibrium.
    "relativistic": Loss(
        lambda real, fake, smoothing: _softplus(fake - real), lambda fake, real: _softplus(real - fake), sees_real=True
    ),
}


def information_loss(heads: Tensor, codes: Tensor, choices: int, continuous_weight: Tensor) -> Tensor:
    """InfoGAN's variational bound on the information between codes and samples, to be minimised (Chen et al. 2016,
    equation 5): cross-entropy of the categorical code, and `continuous_weight` [L] times the mean squared error of the
    continuous ones. heads and codes: [L, N, choices + continuous]; returns [L].
    """
    logits, values = heads.split((choices, heads.shape[2] - choices), dim=2)
    one_hot, true_values = codes.split((choices, codes.shape[2] - choices), dim=2)
    loss = torch.zeros_like(continuous_weight)
    if choices:
        loss = loss - (one_hot * logits.log_softmax(2)).sum(2).mean(1)
    if values.shape[2]:
        loss = loss + continuous_weight * (values - true_values).square().mean((1, 2))
    return loss
