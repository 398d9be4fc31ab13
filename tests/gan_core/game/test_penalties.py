"""Gradient penalties: the papers' formulas in plain torch for each lane, closed forms, and a slope for D's weights."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_twins import LANES, all_pairs, call, drawn, give, lane_weights

from gan_core.game.penalties import PENALTIES
from gan_core.networks.build import Network, minibatch_view, moments_view
from gan_core.networks.layers import Convolution, Linear
from gan_core.networks.weightless_layers import Reshape, elu, leaky_relu

BATCH = 5
SHAPE = (1, 4, 4)


def dense() -> tuple[Network, nn.Sequential]:
    network = Network((Reshape((16,)), Linear(16, 6), leaky_relu(0.2), Linear(6, 4), leaky_relu(0.5), Linear(4, 1)))
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(16, 6), nn.LeakyReLU(0.2), nn.Linear(6, 4), nn.LeakyReLU(0.5), nn.Linear(4, 1)
    )
    return network, module.double()


def convolutional() -> tuple[Network, nn.Sequential]:
    layers = (Convolution(1, 3, 4, 2, 1, bias=True), leaky_relu(0.2), Reshape((12,)), Linear(12, 4), elu, Linear(4, 1))
    convolution = nn.Conv2d(1, 3, 4, 2, 1)
    module = nn.Sequential(convolution, nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(12, 4), nn.ELU(), nn.Linear(4, 1))
    return Network(layers), module.double()


def batches() -> tuple[Tensor, Tensor, Tensor]:
    """Real and fake samples [L, N, C, H, W], and shares [L, N] in (0, 1)."""
    mix = torch.from_numpy(np.random.default_rng(5).uniform(0, 1, (LANES, BATCH)))
    return drawn(LANES, BATCH, *SHAPE, seed=3), drawn(LANES, BATCH, *SHAPE, seed=4) * 2 + 1, mix


def plain_r1(module: nn.Module, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    real = real.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(module(real).sum(), real, create_graph=True)
    return 0.5 * gradient.pow(2).flatten(1).sum(1).mean()


def plain_wgan_gp(module: nn.Module, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    share = mix.view(-1, 1, 1, 1)
    between = (share * real + (1 - share) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(module(between).sum(), between, create_graph=True)
    return ((gradient.flatten(1).norm(2, dim=1) - 1) ** 2).mean()


PLAIN = {"r1": plain_r1, "wgan_gp": plain_wgan_gp}


def test_every_penalty_has_a_reference_here():
    assert set(PLAIN) == set(PENALTIES)


@pytest.mark.parametrize("pair", [dense, convolutional])
@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_and_its_gradients_are_those_of_plain_torch_in_every_lane(name, pair):
    network, module = pair()
    weights, (real, fake, mix) = lane_weights(network), batches()
    leaves = [weights[name].requires_grad_() for name in network.shapes()]
    made = PENALTIES[name](lambda x: network(weights, x, call())[:, :, 0], real, fake, mix)
    gradients = torch.autograd.grad(made.sum(), leaves, allow_unused=True, materialize_grads=True)
    assert made.shape == (LANES,)
    assert len(set(made.tolist())) == LANES
    for lane in range(LANES):
        give(network, weights, lane, module)
        expected = PLAIN[name](module, real[lane], fake[lane], mix[lane])
        np.testing.assert_allclose(made[lane].item(), expected.item(), rtol=1e-10)
        module.zero_grad()
        expected.backward()
        for theirs, ours in all_pairs(network, dict(zip(network.shapes(), gradients, strict=True)), lane, module):
            wanted = torch.zeros_like(theirs) if theirs.grad is None else theirs.grad
            np.testing.assert_allclose(ours, wanted, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_are_differentiated_right(name):
    network = Network((Linear(3, 4), leaky_relu(0.2), Linear(4, 1)))
    weights, names = lane_weights(network, 2), list(network.shapes())
    real, fake, mix = drawn(2, 3, 3), drawn(2, 3, 3, seed=1), drawn(2, 3).sigmoid()

    def function(*values: Tensor) -> Tensor:
        given = dict(zip(names, values, strict=True))
        return PENALTIES[name](lambda x: network(given, x, call())[:, :, 0], real, fake, mix)

    assert torch.autograd.gradcheck(function, tuple(weights[name].requires_grad_() for name in names))


def linear_logits(weight: Tensor, x: Tensor) -> Tensor:
    """D(x) = w . x + 3: weight [L, F], x [L, N, ...]."""
    return (x.flatten(2) * weight.unsqueeze(1)).sum(2) + 3


def test_penalties_of_a_linear_discriminator_are_functions_of_its_slope_alone():
    weight, (real, fake, mix) = drawn(LANES, 16, seed=7), batches()
    lengths = weight.norm(dim=1).numpy()
    made = {name: penalty(lambda x: linear_logits(weight, x), real, fake, mix) for name, penalty in PENALTIES.items()}
    np.testing.assert_allclose(made["r1"].numpy(), lengths**2 / 2, rtol=1e-12)
    np.testing.assert_allclose(made["wgan_gp"].numpy(), (lengths - 1) ** 2, rtol=1e-10)


def test_a_discriminator_of_slope_1_pays_nothing_and_a_flat_one_pays_1_with_a_finite_slope():
    real, fake, mix = batches()
    for length, expected in ((1.0, 0.0), (0.0, 1.0)):
        weight = torch.zeros(LANES, 16, dtype=torch.float64)
        weight[:, 3] = length
        weight.requires_grad_()
        made = PENALTIES["wgan_gp"](partial(linear_logits, weight), real, fake, mix)
        np.testing.assert_allclose(made.detach(), expected, atol=3e-6)
        (slope,) = torch.autograd.grad(made.sum(), weight)
        assert bool(slope.isfinite().all())


def test_wgan_gp_looks_between_the_samples_and_r1_at_the_real_ones():
    """D(x) = |x|^2 / 2 has the slope x, so a penalty tells where it looked."""
    real, fake, mix = batches()

    def half_square(x: Tensor) -> Tensor:
        return x.flatten(2).square().sum(2) / 2

    np.testing.assert_allclose(
        PENALTIES["r1"](half_square, real, fake, mix).detach(), real.flatten(2).square().sum(2).mean(1) / 2, rtol=1e-12
    )
    for share, looked_at in ((0.0, fake), (1.0, real), (0.25, 0.25 * real + 0.75 * fake)):
        made = PENALTIES["wgan_gp"](half_square, real, fake, torch.full_like(mix, share))
        lengths = looked_at.flatten(2).norm(dim=2)
        np.testing.assert_allclose(made.detach(), (lengths - 1).square().mean(1), rtol=1e-9)


@pytest.mark.parametrize("view", [minibatch_view, moments_view])
def test_of_one_decision_on_a_minibatch_the_slope_is_that_of_the_whole_minibatch(view):
    real, fake, mix = drawn(LANES, BATCH, 1), drawn(LANES, BATCH, 1, seed=1) * 2, drawn(LANES, BATCH).sigmoid()
    network = Network((Linear(view(real, None).shape[2], 4), elu, Linear(4, 1)))
    weights = lane_weights(network)

    def logits_of(samples: Tensor) -> Tensor:
        return network(weights, view(samples, None), call())[:, :, 0]

    def slopes(samples: Tensor) -> Tensor:
        jacobian = torch.autograd.functional.jacobian(lambda x: logits_of(x).sum(0), samples)  # [1, L, N, 1]
        assert isinstance(jacobian, Tensor)
        return jacobian[0, :, :, 0]

    assert logits_of(real).shape == (LANES, 1)
    share = mix.unsqueeze(2)
    between = slopes(share * real + (1 - share) * fake)
    np.testing.assert_allclose(
        PENALTIES["r1"](logits_of, real, fake, mix).detach(), slopes(real).square().sum(1) / 2, rtol=1e-10
    )
    np.testing.assert_allclose(
        PENALTIES["wgan_gp"](logits_of, real, fake, mix).detach(), (between.norm(dim=1) - 1).square(), rtol=1e-8
    )


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_leaves_its_samples_alone_and_a_lane_of_nan_harms_no_other(name):
    network = convolutional()[0]
    weights, (real, fake, mix) = lane_weights(network), batches()
    results = []
    for poison in (0.0, math.nan):
        given = real.clone()
        given[1] += poison
        made = PENALTIES[name](lambda x: network(weights, x, call())[:, :, 0], given, fake, mix)
        results.append(made.detach())
        assert not given.requires_grad
    assert bool(results[1][1].isnan())
    assert results[0][[0, 2]].numpy().tobytes() == results[1][[0, 2]].numpy().tobytes()
