"""Gradient penalties on D, which are differentiated twice: [L], before they are weighted.

L lanes, N samples, R decisions, F numbers that a decision is on. `logits_of` is D: samples [L, N, ...] -> logits
[L, R]. Where D decides on a whole minibatch (R = 1), the norm of the gradient is that of the minibatch.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from gan_core.config.structure import GradientPenalty

Logits = Callable[[Tensor], Tensor]


def _gradients(logits_of: Logits, samples: Tensor) -> Tensor:
    """The gradient of each decision with respect to the samples that it is on: [L, R, F]."""
    samples = samples.detach().requires_grad_()
    logits = logits_of(samples)
    (gradients,) = torch.autograd.grad(logits.sum(), samples, create_graph=True)
    return gradients.reshape(*logits.shape, -1)


def zero_centred(logits_of: Logits, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """R1, E |grad D(x)|^2 / 2 on real samples (Mescheder et al. 2018, equation 9; the weight is its gamma)."""
    return _gradients(logits_of, real).square().sum(2).mean(1) / 2


def one_centred(logits_of: Logits, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """E (|grad D(x)| - 1)^2 at random points between real and fake samples (Gulrajani et al. 2017, equation 3; the
    weight is its lambda). mix [L, N] in [0, 1): a sample is mix * real + (1 - mix) * fake.
    """
    share = mix.view(*mix.shape, *[1] * (real.ndim - 2))
    between = share * real + (1 - share) * fake
    # The root is not differentiable at 0: a D that is constant between the two would give NaN.
    norms = (_gradients(logits_of, between).square().sum(2) + 1e-12).sqrt()
    return (norms - 1).square().mean(1)


PENALTIES: dict[GradientPenalty, Callable[[Logits, Tensor, Tensor, Tensor], Tensor]] = {
    "r1": zero_centred,
    "wgan_gp": one_centred,
}
