"""Every lane of every family follows the same training in plain torch, float64."""

from typing import Any

import numpy as np
import pytest
import torch
from plain_torch import PlainGan
from tiny_arrays import MOST_CASES, configs_of, train
from torch_twins import give, named_pairs

from gan_core.lanes.streams import Stream
from gan_core.training.lane_array import LaneArray

STEPS = 10
UNBIASED = ("dcgan", "infogan")  # D has no bias before a batch norm


def assert_near(mine: torch.Tensor, theirs: torch.Tensor, what: str, slack: float = 1.0) -> None:
    """To 1e-9 of each number, or slack * 1e-9 of the largest."""
    scale = slack * 1e-9 * theirs.detach().abs().max().item()
    np.testing.assert_allclose(mine.numpy(), theirs.detach().numpy(), rtol=1e-9, atol=scale, err_msg=what)


def followed(array: LaneArray) -> list[PlainGan]:
    """Each lane in plain torch, with the array's weights of now."""
    state, networks, lanes = array.state, array.networks, []
    eps = [config.lane.batch_norm_eps for config in array.configs]
    momentum = [config.lane.batch_norm_momentum for config in array.configs]
    for i, config in enumerate(array.configs):
        plain = PlainGan(config, array.dataset)
        give(networks.generator, state.generator.views, i, plain.generator, eps, momentum)
        give(networks.discriminator, state.discriminator.views, i, plain.discriminator, eps, momentum)
        plain.begin_average()
        lanes.append(plain)
    return lanes


@pytest.mark.parametrize("case", MOST_CASES)
def test_every_lane_follows_plain_torch(case: str, few: Any):
    configs = configs_of(case)
    array = LaneArray(configs, few(configs[0].structure.dataset), dtype=torch.float64)
    lanes = followed(array)
    train(array, STEPS)
    watched = array.state.watch.read()
    latents = array.shared_latents(Stream.SCORE_LATENTS, 7, 5)
    samples = array.generate(latents)
    assert len({means["d_loss"] for means in watched}) == len({means["g_loss"] for means in watched}) == len(lanes)
    # The bias before a batch norm, and a critic's last, have no gradient but rounding, and Adam divides that by its own
    # size.
    biased = array.structure.norm == "batch" and array.structure.architecture not in UNBIASED
    slack = 100 if biased or array.structure.loss == "wasserstein_gp" else 1
    for i, plain in enumerate(lanes):
        plain.train(STEPS)
        for name, values in plain.watched.items():
            assert watched[i][name] == pytest.approx(np.mean(values), rel=slack * 1e-9, abs=1e-10), (i, name)
        averages = array.state.generator.with_flat(array.state.average[:, 0])
        compared = [
            (array.networks.generator, array.state.generator.views, plain.generator),
            (array.networks.discriminator, array.state.discriminator.views, plain.discriminator),
            *([(array.networks.generator, averages, plain.averaged.module)] if plain.averaged else []),
        ]
        for network, views, module in compared:
            for name, (theirs, ours) in named_pairs(network, views, i, module).items():
                assert_near(ours, theirs, f"lane {i}, {name}", slack)
        scored = (plain.averaged or plain.generator).eval()
        with torch.no_grad():
            assert_near(samples[i], scored(latents[i]), f"samples of lane {i}", slack)
