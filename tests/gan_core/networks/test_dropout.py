"""Dropout: a lane's own share, scaled up, under a mask that only its own key decides."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_twins import LANES, drawn

from gan_core.lanes.streams import Stream
from gan_core.networks.call import Call
from gan_core.networks.weightless_layers import Dropout

SHARES = (0.0, 0.25, 0.9)


def dropping(seeds: tuple[int, ...] = (4, 5, 6), shares: tuple[float, ...] = SHARES, **others) -> Call:
    return Call((), (), shares, **{"training": True, "seeds": seeds, "seen": (64, 1), **others})


def test_dropout_keeps_a_lanes_share_and_scales_it_up():
    x = drawn(LANES, 200, 100).requires_grad_()
    made = Dropout()({}, x, dropping())
    assert torch.equal(made[0], x[0])
    for share, lane_x, lane in zip(SHARES[1:], x.detach()[1:], made.detach()[1:], strict=True):
        kept = lane != 0
        assert abs((~kept).double().mean().item() - share) < 5 * math.sqrt(share * (1 - share) / lane.numel())
        np.testing.assert_allclose(lane[kept], lane_x[kept] / (1 - share), rtol=1e-15)
        deviation = lane_x.square().mean().sqrt().item() * math.sqrt(share / (1 - share) / lane.numel())
        assert abs((lane - lane_x).mean().item()) < 5 * deviation
    (gradient,) = torch.autograd.grad(made.sum(), x)
    np.testing.assert_allclose(gradient * x.detach(), made.detach(), rtol=1e-15)


def test_dropout_drops_rows_and_features_independently():
    kept = (Dropout()({}, torch.ones(1, 400, 300), dropping((1,), (0.5,))) != 0).double()[0]
    for axis in (0, 1):
        count = kept.shape[axis]
        variance = kept.mean(axis).var().item()
        assert 0.7 < variance / (0.25 / count) < 1.3


@pytest.mark.parametrize("shares", [(0.0, 0.0, 0.0), (0.0, 0.5, 0.5)], ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
def test_without_dropping_dropout_changes_no_bit(training, shares):
    x = drawn(LANES, 13, 7).float()
    x[0, 0, :3] = torch.tensor([-0.0, math.inf, 1e-45])
    made = Dropout()({}, x, dropping(shares=shares, training=training))
    lanes = range(LANES) if not training or not any(shares) else [0]
    assert all(made[lane].numpy().tobytes() == x[lane].numpy().tobytes() for lane in lanes)
    assert torch.equal(made[1], x[1]) == (1 in lanes)


def masks(context: Call, passes: int = 2) -> list[Tensor]:
    return [Dropout()({}, torch.ones(len(context.seeds), 13, 7), context) for _ in range(passes)]


def test_a_dropout_mask_is_keyed_by_seed_images_pass_and_place_and_by_nothing_else():
    halves = (0.5,) * 3
    contexts = [dropping(shares=halves), dropping((7, 8, 9), halves)]
    contexts += [dropping(shares=halves, seen=seen) for seen in ((128, 1), (64, 2))]
    seen = [mask[lane].numpy().tobytes() for context in contexts for mask in masks(context) for lane in range(LANES)]
    assert len(set(seen)) == len(seen) == 4 * 2 * LANES
    again = [mask[lane].numpy().tobytes() for mask in masks(dropping(shares=halves)) for lane in range(LANES)]
    assert again == seen[: 2 * LANES]
    alone = masks(dropping((5,), (0.5,)))
    among = masks(dropping((9, 5), (0.1, 0.5)))
    whole = masks(dropping(shares=halves))
    for one, two, three in zip(alone, among, whole, strict=True):
        assert one[0].equal(two[1])
        assert one[0].equal(three[1])


def test_a_dropout_mask_is_what_philox_says():
    context = dropping()
    made = Dropout()({}, torch.ones(LANES, 13, 7), context)
    philox = np.random.Philox(key=[5, int(Stream.DROPOUT)], counter=[0, 64, 1, 1])
    expected = np.random.Generator(philox).random((13, 7), dtype=np.float32) >= 0.25
    np.testing.assert_array_equal(made[1].numpy() != 0, expected)
    assert context.dropouts_passed == 1
