"""The games: torch's losses lane by lane, and their values where neither player gains."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.config.structure import LossName
from gan_core.game.losses import LOSSES, information_loss

LANES = 3
SMOOTHING = (0.0, 0.1, 0.5)
LEAST, MOST = 1e-5, 1 - 1e-5


def _labelled(logits: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def _clamped(logits: Tensor, label: float) -> Tensor:
    """The published form: probabilities, clamped, then the cross-entropy of probabilities."""
    return F.binary_cross_entropy(logits.sigmoid().clamp(LEAST, MOST), torch.full_like(logits, label))


def _hinge(logits: Tensor) -> Tensor:
    return F.hinge_embedding_loss(logits, torch.full_like(logits, -1.0))  # mean of max(0, 1 - x)


def _square(logits: Tensor, label: float) -> Tensor:
    return F.mse_loss(logits, torch.full_like(logits, label)) / 2


def _cross_entropy(real: Tensor, fake: Tensor, smoothing: float) -> Tensor:
    return _labelled(real, 1 - smoothing) + _labelled(fake, 0)


@dataclass(frozen=True)
class Game:
    """One lane's reference losses, and its balance: the logit at which D knows nothing, D's and G's loss there."""

    discriminator: Callable[[Tensor, Tensor, float], Tensor]
    generator: Callable[[Tensor], Tensor]
    balance: tuple[float, float, float]


GAMES: dict[LossName, Game] = {
    "non_saturating": Game(_cross_entropy, lambda fake: _labelled(fake, 1), (0, 2 * math.log(2), math.log(2))),
    "minimax": Game(_cross_entropy, lambda fake: -_labelled(fake, 0), (0, 2 * math.log(2), -math.log(2))),
    "minimax_clamped": Game(
        lambda real, fake, smoothing: _clamped(real, 1 - smoothing) + _clamped(fake, 0),
        lambda fake: -_clamped(fake, 0),
        (0, 2 * math.log(2), -math.log(2)),
    ),
    "least_squares": Game(
        lambda real, fake, _: _square(real, 1) + _square(fake, 0), lambda fake: _square(fake, 1), (0.5, 0.25, 0.125)
    ),
    "hinge": Game(lambda real, fake, _: _hinge(real) + _hinge(-fake), lambda fake: -fake.mean(), (0, 2, 0)),
    "wasserstein_gp": Game(lambda real, fake, _: fake.mean() - real.mean(), lambda fake: -fake.mean(), (0, 0, 0)),
}


def logits(decisions: int, scale: float, seed: int) -> Tensor:
    drawn = np.random.default_rng(seed).standard_normal((LANES, decisions)) * scale
    return torch.from_numpy(drawn).requires_grad_()


def smoothing_of(name: LossName) -> Tensor:
    labelled = name in ("non_saturating", "minimax", "minimax_clamped")
    return torch.tensor(SMOOTHING if labelled else (0.0,) * LANES, dtype=torch.float64)


def losses_of(name: LossName, real: Tensor, fake: Tensor, smoothing: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
    """D's and G's loss [L], each with the gradients of its sum: those to the logits it depends on."""
    d_loss, g_loss = LOSSES[name].discriminator(real, fake, smoothing), LOSSES[name].generator(fake)
    return [
        (d_loss, list(torch.autograd.grad(d_loss.sum(), (real, fake)))),
        (g_loss, list(torch.autograd.grad(g_loss.sum(), (fake,)))),
    ]


def test_every_game_has_a_reference_here():
    assert {*GAMES, "relativistic"} == set(LOSSES)  # which is compared in test_own_losses.py


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("decisions", [1, 13, 100])
@pytest.mark.parametrize("name", GAMES)
def test_a_loss_and_its_gradient_are_those_of_torch_in_every_lane(name, decisions, scale):
    real, fake, smoothing = logits(decisions, scale, 0), logits(decisions, scale, 1), smoothing_of(name)
    game, together = GAMES[name], losses_of(name, real, fake, smoothing)
    assert together[0][0].shape == (LANES,)
    assert len({tensor.item() for tensor in together[0][0]}) == LANES
    # torch's softplus is its argument above 20, where the rest is below 2.1e-9; a probability near 1 loses 5 digits
    rtol, atol = 1e-9 if name == "minimax_clamped" else 1e-12, 3e-9 if scale > 1 else 1e-15
    for i in range(LANES):
        one_real, one_fake = real[i].detach().requires_grad_(), fake[i].detach().requires_grad_()
        references = [
            (game.discriminator(one_real, one_fake, SMOOTHING[i]), (one_real, one_fake)),
            (game.generator(one_fake), (one_fake,)),
        ]
        for (loss, gradients), (expected, inputs) in zip(together, references, strict=True):
            np.testing.assert_allclose(loss[i].item(), expected.item(), rtol=rtol, atol=atol)
            for mine, theirs in zip(gradients, torch.autograd.grad(expected, inputs), strict=True):
                np.testing.assert_allclose(mine[i].numpy(), theirs.numpy(), rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", GAMES)
def test_a_loss_has_its_published_value_where_the_discriminator_knows_nothing(name):
    logit, d_loss, g_loss = GAMES[name].balance
    same, labels = torch.full((2, 13), logit, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    np.testing.assert_allclose(LOSSES[name].discriminator(same, same, labels).numpy(), [d_loss] * 2, rtol=1e-15)
    np.testing.assert_allclose(LOSSES[name].generator(same).numpy(), [g_loss] * 2, rtol=1e-15)


@pytest.mark.parametrize("name", ["non_saturating", "minimax", "minimax_clamped"])
@pytest.mark.parametrize("smoothing", SMOOTHING)
def test_the_best_answer_to_real_samples_is_1_minus_the_smoothing(name, smoothing):
    """With nothing but real samples: the loss's slope is 0 where D(x) = 1 - smoothing, and its value the entropy."""
    best = math.log((1 - smoothing) / smoothing) if smoothing else 30.0
    real, fake = torch.full((1, 7), best, dtype=torch.float64).requires_grad_(), torch.full((1, 7), -1e4).double()
    loss = LOSSES[name].discriminator(real, fake, torch.tensor([smoothing], dtype=torch.float64))
    (slope,) = torch.autograd.grad(loss.sum(), real)
    np.testing.assert_allclose(slope.numpy(), 0, atol=1e-13)
    entropy = -sum(p * math.log(p) for p in (smoothing, 1 - smoothing) if p)
    np.testing.assert_allclose(loss.item(), entropy, atol=2.1e-5 if name == "minimax_clamped" else 1e-12)


@pytest.mark.parametrize("name", ["least_squares", "hinge", "wasserstein_gp"])
def test_games_without_labels_take_no_notice_of_smoothing(name):
    real, fake = logits(13, 1.0, 0), logits(13, 1.0, 1)
    plain, smoothed = (LOSSES[name].discriminator(real, fake, torch.full((LANES,), s).double()) for s in (0.0, 0.3))
    assert torch.equal(plain, smoothed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("logit", "gradient"), [(-11.4, True), (-11.6, False), (-20.0, False), (-1e4, False)])
def test_the_clamped_minimax_generator_has_exactly_no_gradient_below_a_logit_of_minus_11_5(logit, gradient, dtype):
    fake = torch.full((1, 5), logit, dtype=dtype).requires_grad_()
    slopes = {}
    for name in ("minimax_clamped", "minimax", "non_saturating"):
        (slopes[name],) = torch.autograd.grad(LOSSES[name].generator(fake).sum() * 5, fake)
    assert bool((slopes["minimax_clamped"] != 0).all()) == gradient
    assert not slopes["minimax_clamped"].any() or gradient
    np.testing.assert_allclose(slopes["non_saturating"].numpy(), -1, rtol=2e-5)
    np.testing.assert_allclose(slopes["minimax"].numpy(), -math.exp(logit), rtol=2e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("real_logit", [-1e4, 1e4])
@pytest.mark.parametrize("fake_logit", [-1e4, 1e4])
@pytest.mark.parametrize("name", GAMES)
def test_extreme_logits_have_finite_losses_and_gradients(name, fake_logit, real_logit, dtype):
    real, fake = (torch.full((LANES, 5), logit, dtype=dtype).requires_grad_() for logit in (real_logit, fake_logit))
    for loss, gradients in losses_of(name, real, fake, smoothing_of(name).to(dtype)):
        assert all(bool(tensor.isfinite().all()) for tensor in (loss, *gradients))
    if name in ("non_saturating", "minimax"):
        expected = max(-real_logit, 0) + max(fake_logit, 0) + np.array(SMOOTHING) * real_logit
        made = LOSSES[name].discriminator(real, fake, smoothing_of(name).to(dtype)).detach()
        np.testing.assert_allclose(made.numpy(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("decisions", [1, 13, 200])
@pytest.mark.parametrize("name", GAMES)
def test_a_lanes_loss_has_the_same_bits_alone_and_beside_nan(name, decisions, dtype):
    real, fake = (logits(decisions, 1.0, seed).detach().to(dtype).requires_grad_() for seed in (0, 1))
    labels, poison = smoothing_of(name).to(dtype), torch.zeros(LANES, 1, dtype=dtype)
    poison[1] = math.nan
    clean = losses_of(name, real, fake, labels)
    poisoned = [(x + poison).detach().requires_grad_() for x in (real, fake)]
    spoilt = losses_of(name, poisoned[0], poisoned[1], labels)
    for (loss, gradients), (other, others) in zip(clean, spoilt, strict=True):
        assert bool(other[1].isnan())
        for mine, theirs in zip((loss, *gradients), (other, *others), strict=True):
            assert mine[[0, 2]].detach().numpy().tobytes() == theirs[[0, 2]].detach().numpy().tobytes()
    for i in range(LANES):
        alone = [x[i : i + 1].detach().requires_grad_() for x in (real, fake)]
        single = losses_of(name, alone[0], alone[1], labels[i : i + 1])
        for (loss, gradients), (other, others) in zip(clean, single, strict=True):
            for mine, theirs in zip((loss, *gradients), (other, *others), strict=True):
                assert mine[i].detach().numpy().tobytes() == theirs[0].detach().numpy().tobytes()


def drawn_heads(choices: int, continuous: int, samples: int = 13) -> tuple[Tensor, Tensor, Tensor]:
    """Heads and codes [L, N, K + C], and the drawn classes [L, N]."""
    source = np.random.default_rng(3)
    heads = torch.from_numpy(source.standard_normal((LANES, samples, choices + continuous)) * 2)
    drawn = torch.from_numpy(source.integers(0, max(choices, 1), (LANES, samples)))
    one_hot = F.one_hot(drawn, max(choices, 1)).double()[:, :, :choices]
    codes = torch.cat((one_hot, torch.from_numpy(source.uniform(-1, 1, (LANES, samples, continuous)))), 2)
    return heads.requires_grad_(), codes, drawn


WEIGHTS = torch.tensor([0.1, 1.0, 0.0], dtype=torch.float64)


@pytest.mark.parametrize(("choices", "continuous"), [(10, 2), (10, 0), (0, 2), (2, 1)])
def test_the_information_loss_is_torchs_cross_entropy_and_mean_squared_error(choices, continuous):
    heads, codes, drawn = drawn_heads(choices, continuous)
    made = information_loss(heads, codes, choices, WEIGHTS)
    (gradient,) = torch.autograd.grad(made.sum(), heads)
    for lane in range(LANES):
        one = heads[lane].detach().requires_grad_()
        expected = torch.zeros((), dtype=torch.float64)
        if choices:
            expected = expected + F.cross_entropy(one[:, :choices], drawn[lane])
        if continuous:
            expected = expected + WEIGHTS[lane] * F.mse_loss(one[:, choices:], codes[lane, :, choices:])
        np.testing.assert_allclose(made[lane].item(), expected.item(), rtol=1e-13)
        np.testing.assert_allclose(gradient[lane], torch.autograd.grad(expected, one)[0], rtol=1e-12, atol=1e-15)


def test_the_information_loss_falls_to_0_where_the_heads_are_sure_and_right():
    """Logits, not probabilities: the published softmax before cross-entropy had a floor of ln(e + 9) - 1 = 1.461."""
    _, codes, drawn = drawn_heads(10, 2)
    right, wrong = codes.clone(), codes.clone()
    right[:, :, :10] *= 1e4
    wrong[:, :, :10] *= -1e4
    assert information_loss(right, codes, 10, WEIGHTS).tolist() == [0.0] * LANES
    np.testing.assert_allclose(information_loss(wrong, codes, 10, WEIGHTS), 1e4 + math.log(9), rtol=1e-12)
    floor = F.cross_entropy(right[0, :, :10].softmax(1), drawn[0]).item()
    np.testing.assert_allclose(floor, 1.461, atol=5e-4)


def test_the_information_loss_of_heads_that_know_nothing_is_the_entropy_and_the_variance_of_the_codes():
    _, codes, _ = drawn_heads(10, 2, samples=40_000)
    made = information_loss(torch.zeros_like(codes), codes, 10, WEIGHTS)
    np.testing.assert_allclose(made, math.log(10) + WEIGHTS.numpy() / 3, atol=5 * math.sqrt(4 / 45 / 80_000))
