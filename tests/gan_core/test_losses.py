"""The games: torch.nn.functional's losses lane by lane, and their values where neither player gains."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.config import LossName
from gan_core.losses import LOSSES


def _labelled(logits: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def _hinge(logits: Tensor) -> Tensor:
    return F.hinge_embedding_loss(logits, torch.full_like(logits, -1.0))  # mean of max(0, 1 - x)


def _cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    return _labelled(real, 1) + _labelled(fake, 0)


def _square(logits: Tensor, label: float) -> Tensor:
    return F.mse_loss(logits, torch.full_like(logits, label)) / 2


@dataclass(frozen=True)
class Game:
    """One lane's reference losses, and its balance: the logit at which D knows nothing, D's and G's loss there."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    balance: tuple[float, float, float]


GAMES: dict[LossName, Game] = {
    "non_saturating": Game(_cross_entropy, lambda fake: _labelled(fake, 1), (0, 2 * math.log(2), math.log(2))),
    "minimax": Game(_cross_entropy, lambda fake: -_labelled(fake, 0), (0, 2 * math.log(2), -math.log(2))),
    "least_squares": Game(
        lambda real, fake: _square(real, 1) + _square(fake, 0), lambda fake: _square(fake, 1), (0.5, 0.25, 0.125)
    ),
    "hinge": Game(lambda real, fake: _hinge(real) + _hinge(-fake), lambda fake: -fake.mean(), (0, 2, 0)),
}
LANES = 3


def logits(decisions: int, scale: float, seed: int) -> Tensor:
    drawn = np.random.default_rng(seed).standard_normal((LANES, decisions)) * scale
    return torch.from_numpy(drawn).requires_grad_()


def losses_of(name: LossName, real: Tensor, fake: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
    """D's and G's loss [L], each with the gradients of its sum: those to the logits it depends on."""
    d_loss, g_loss = LOSSES[name].discriminator(real, fake), LOSSES[name].generator(fake)
    return [
        (d_loss, list(torch.autograd.grad(d_loss.sum(), (real, fake)))),
        (g_loss, list(torch.autograd.grad(g_loss.sum(), (fake,)))),
    ]


def test_every_game_has_a_reference_here():
    assert set(GAMES) == set(LOSSES)


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("decisions", [1, 13, 100])
@pytest.mark.parametrize("name", GAMES)
def test_a_loss_and_its_gradient_are_those_of_torch_in_every_lane(name, decisions, scale):
    real, fake = logits(decisions, scale, 0), logits(decisions, scale, 1)
    game, together = GAMES[name], losses_of(name, real, fake)
    assert together[0][0].shape == (LANES,)
    assert len({tensor.item() for tensor in together[0][0]}) == LANES
    for i in range(LANES):
        one_real, one_fake = real[i].detach().requires_grad_(), fake[i].detach().requires_grad_()
        references = [
            (game.discriminator(one_real, one_fake), (one_real, one_fake)),
            (game.generator(one_fake), (one_fake,)),
        ]
        for (loss, gradients), (expected, inputs) in zip(together, references, strict=True):
            # torch's softplus is its argument above 20, where the rest is below 2.1e-9
            np.testing.assert_allclose(loss[i].item(), expected.item(), rtol=1e-12, atol=3e-9 if scale > 1 else 0)
            for mine, theirs in zip(gradients, torch.autograd.grad(expected, inputs), strict=True):
                np.testing.assert_allclose(mine[i].numpy(), theirs.numpy(), rtol=1e-12, atol=3e-9 if scale > 1 else 0)


@pytest.mark.parametrize("name", GAMES)
def test_a_loss_has_its_published_value_where_the_discriminator_knows_nothing(name):
    logit, d_loss, g_loss = GAMES[name].balance
    same = torch.full((2, 13), logit, dtype=torch.float64)
    np.testing.assert_allclose(LOSSES[name].discriminator(same, same).numpy(), [d_loss] * 2, rtol=1e-15)
    np.testing.assert_allclose(LOSSES[name].generator(same).numpy(), [g_loss] * 2, rtol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("decisions", [1, 13, 200])
@pytest.mark.parametrize("name", GAMES)
def test_a_lane_of_nan_leaves_the_other_losses_bit_for_bit_the_same(name, decisions, dtype):
    real, fake = (logits(decisions, 1.0, seed).detach().to(dtype).requires_grad_() for seed in (0, 1))
    poison = torch.zeros(LANES, 1, dtype=dtype)
    poison[1] = math.nan
    clean = losses_of(name, real, fake)
    poisoned = losses_of(name, (real + poison).detach().requires_grad_(), (fake + poison).detach().requires_grad_())
    for (loss, gradients), (other_loss, other_gradients) in zip(clean, poisoned, strict=True):
        assert bool(other_loss[1].isnan())
        for mine, theirs in zip((loss, *gradients), (other_loss, *other_gradients), strict=True):
            assert mine[[0, 2]].detach().numpy().tobytes() == theirs[[0, 2]].detach().numpy().tobytes()
