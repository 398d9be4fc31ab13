"""The same laws on a GPU, to a tolerance: products and elementwise loops there choose their path by the whole array."""

from collections.abc import Callable

import pytest
import torch
from tiny_arrays import CASES, configs_of, structure_of, train

from gan_core.config.gan import GanConfig
from gan_core.data.dataset import Dataset
from gan_core.training.lane_array import LaneArray

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

STEPS = 5


def trained(configs: list[GanConfig], dataset: Dataset, device: str) -> LaneArray:
    array = LaneArray(configs, dataset, device=device, dtype=torch.float64)
    train(array, STEPS)
    return array


def assert_near(mine: LaneArray, theirs: LaneArray, lanes: list[int] | None = None) -> None:
    """Samples, weights, moments and what was watched, of these lanes of the other array."""
    chosen = list(range(theirs.lanes)) if lanes is None else lanes
    torch.testing.assert_close(
        mine.sample(16, seed=1).cpu(), theirs.sample(16, seed=1)[chosen].cpu(), rtol=1e-6, atol=1e-6
    )
    ours, others = mine.state.tensors(), theirs.state.tensors()
    for name in ("generator", "discriminator", "average", "watch"):
        torch.testing.assert_close(ours[name].cpu(), others[name][chosen].cpu(), rtol=1e-6, atol=1e-6, msg=name)


@pytest.mark.parametrize("case", CASES)
def test_lanes_of_every_family_on_a_gpu_follow_the_cpu_in_float64(case: str, few: Callable[[str], Dataset]):
    configs, dataset = configs_of(case), few(structure_of(case).dataset)
    here = trained(configs, dataset, "cpu")
    samples = here.sample(16, seed=1)
    assert (samples[0] - samples[1]).abs().max() > 1e-3
    assert_near(trained(configs, dataset, "cuda"), here)


@pytest.mark.parametrize("case", ["mlp_bn", "cgan spectral wgan_gp", "dcgan", "infogan none r1 generator_first"])
def test_a_lane_on_a_gpu_follows_itself_alone_permuted_and_kept(case: str, few: Callable[[str], Dataset]):
    configs, dataset = configs_of(case), few(structure_of(case).dataset)
    together = trained(configs, dataset, "cuda")
    permuted = trained([configs[i] for i in (2, 0, 3, 1)], dataset, "cuda")
    assert_near(permuted, together, [2, 0, 3, 1])
    alone = trained(configs[1:2], dataset, "cuda")  # a lane that has an average
    assert_near(alone, together, [1])
    together.keep([1])
    train(together, 3)
    train(alone, 3)
    assert_near(alone, together)


def test_a_state_of_the_cpu_goes_on_on_a_gpu_and_a_lane_of_nan_is_found(few: Callable[[str], Dataset]):
    configs, dataset = configs_of("mlp"), few("digits")
    here, there = trained(configs, dataset, "cpu"), LaneArray(configs, dataset, device="cuda", dtype=torch.float64)
    there.state.load(here.state.tensors())
    for array in (here, there):
        train(array, STEPS)
    assert_near(there, here)
    there.state.generator.flat[2] = torch.nan
    assert not there.train_to(10**6)
    assert [found is None for found in there.dead()] == [True, True, False, True]
