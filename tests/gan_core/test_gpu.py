"""The same laws on a GPU, to a tolerance: products and elementwise loops there choose their path by the whole array."""

import pytest
import torch

from gan_core.config import GanConfig
from gan_core.data import load_dataset
from gan_core.training import LaneArray

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

CONFIGS = [
    GanConfig.unflatten(
        {
            "structure.generator_width": 24,
            "structure.discriminator_width": 17,
            "structure.latent_size": 5,
            "lane.generator_lr": 1e-3 / (1 + lane),
            "lane.beta1": 0.1 * lane,
            "lane.discriminator_steps": 1 + lane % 3,
            "lane.ema_half_life_images": 100.0 * lane,
            "seed": lane,
        }
    )
    for lane in range(5)
]


def trained(configs: list[GanConfig], device: str) -> torch.Tensor:
    array = LaneArray(configs, load_dataset("digits"), device=device, dtype=torch.float64)
    array.train_to(20 * 64)
    return array.sample(16, seed=1).cpu()


def test_lanes_on_a_gpu_follow_the_cpu_in_float64():
    here, there = trained(CONFIGS, "cpu"), trained(CONFIGS, "cuda")
    assert (here[0] - here[1]).abs().max() > 1e-3
    torch.testing.assert_close(there, here, rtol=0, atol=1e-8)


def test_a_lane_on_a_gpu_follows_itself_alone_and_permuted():
    together = trained(CONFIGS, "cuda")
    torch.testing.assert_close(trained(CONFIGS[2:3], "cuda"), together[2:3], rtol=0, atol=1e-8)
    torch.testing.assert_close(trained(CONFIGS[::-1], "cuda"), together.flip(0), rtol=0, atol=1e-8)
