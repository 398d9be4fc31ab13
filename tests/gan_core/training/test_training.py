"""The laws of an array of lanes, bit for bit on the CPU in the arithmetic that trials are computed in."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_arrays import CASES, assert_same, bits, configs_of, lane_results, structure_of, train, trained

from gan_core.config.gan import GanConfig
from gan_core.config.lane import LaneConfig
from gan_core.data.dataset import Dataset
from gan_core.training.checkpoint import load_tensors, save_tensors
from gan_core.training.lane_array import LaneArray

pytestmark = pytest.mark.usefixtures("arithmetic")
STEPS = 4  # lanes of k = 1, 2, 3 have had a turn, and batches of 13 have passed the end of an epoch
IN_FLOAT64 = (
    "gaussian minibatch r1",
    "ring spectral hinge",
    "mlp spectral r1 sum",
    "mlp_dropout sum",
    "mlp_bn generator_first",
    "cgan",
    "dcgan",
    "infogan",
)
OTHER = LaneConfig(
    generator_lr=0.5, discriminator_lr=0.1, beta1=0.3, discriminator_steps=1, generator_steps=1, ema_half_life_images=10
)
WILD = LaneConfig(generator_lr=10, discriminator_lr=10, beta1=0, beta2=0)


@dataclass(frozen=True)
class Baseline:
    """What STEPS steps of the lanes of a case, all together and undisturbed, come to."""

    configs: list[GanConfig]
    dataset: Dataset
    dtype: torch.dtype
    results: list[dict[str, bytes]]

    def trained(self, configs: list[GanConfig], steps: int = STEPS) -> LaneArray:
        return trained(configs, self.dataset, self.dtype, steps)


@pytest.fixture(
    scope="module",
    params=[(case, torch.float32) for case in CASES] + [(case, torch.float64) for case in IN_FLOAT64],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def baseline(request: pytest.FixtureRequest, few: Callable[[str], Dataset]) -> Baseline:
    case, dtype = request.param
    configs, dataset = configs_of(case), few(structure_of(case).dataset)
    array = trained(configs, dataset, dtype, STEPS)
    results = lane_results(array)
    for name in ("generator", "discriminator", "samples", "watch"):
        assert len({result[name] for result in results}) == len(results)  # lanes that differ prove something
    assert min(array.state.generator_adam.steps.tolist()) > 0
    return Baseline(configs, dataset, dtype, results)


def test_a_lane_of_an_array_is_the_same_configuration_trained_alone(baseline: Baseline):
    for config, together in zip(baseline.configs, baseline.results, strict=True):
        assert_same(lane_results(baseline.trained([config]))[0], together)


def test_other_configurations_in_two_lanes_leave_the_others_bit_for_bit_the_same(baseline: Baseline):
    first, second, third, fourth = baseline.configs
    changed = [first, replace(second, lane=OTHER, seed=999, data_seed=77), third, replace(fourth, lane=WILD)]
    array = baseline.trained(changed)
    after = lane_results(array)
    assert float((array.state.discriminator.flat[3] - array.state.discriminator.flat[2]).abs().max()) > 5
    for i, same in enumerate((True, False, True, False)):
        assert (after[i] == baseline.results[i]) == same
        if same:
            assert_same(after[i], baseline.results[i])


def test_permuting_lanes_permutes_results_bit_for_bit(baseline: Baseline):
    order = (2, 0, 3, 1)
    permuted = lane_results(baseline.trained([baseline.configs[i] for i in order]))
    for place, i in enumerate(order):
        assert_same(permuted[place], baseline.results[i])


def test_lanes_of_nan_and_infinity_leave_the_others_bit_for_bit_the_same_and_so_do_those_dropped(baseline: Baseline):
    array = baseline.trained(baseline.configs, 1)
    array.state.generator_adam.mean_square[1] = torch.nan
    array.state.discriminator.flat[2] = torch.inf
    train(array, 2)
    assert not bool(array.state.generator.trained[1].isfinite().any())
    assert not bool(array.state.discriminator.flat[2].isfinite().all())
    array.keep([3, 1, 0])
    train(array, STEPS - 3)
    for mine, i in zip(lane_results(array)[::2], (3, 0), strict=True):
        assert_same(mine, baseline.results[i])


def test_going_on_from_a_file_equals_not_stopping(baseline: Baseline, tmp_path: Path):
    stopped, resumed = baseline.trained(baseline.configs, 1), baseline.trained(baseline.configs, 3)
    save_tensors(tmp_path / "state.safetensors", stopped.state.tensors())
    resumed.state.load(load_tensors(tmp_path / "state.safetensors"))  # what it had learnt is overwritten
    assert lane_results(resumed) == lane_results(stopped)
    train(resumed, STEPS - 1)
    for mine, theirs in zip(lane_results(resumed), baseline.results, strict=True):
        assert_same(mine, theirs)


def test_the_lanes_kept_go_on_bit_for_bit_also_from_a_file(baseline: Baseline, tmp_path: Path):
    fewer = baseline.trained(baseline.configs, 2)
    fewer.keep([3, 2])
    save_tensors(tmp_path / "state.safetensors", fewer.state.tensors())
    resumed = LaneArray(fewer.configs, baseline.dataset, dtype=baseline.dtype, execution="eager")
    resumed.state.load(load_tensors(tmp_path / "state.safetensors"))
    for array in (fewer, resumed):
        train(array, STEPS - 2)
        for i, mine in zip((3, 2), lane_results(array), strict=True):
            assert_same(mine, baseline.results[i])


@pytest.mark.parametrize("stop", [15, 16, 17])
def test_going_on_equals_not_stopping_around_a_look_at_the_samples(few: Any, stop: int):
    configs, dataset = configs_of("gaussian minibatch r1"), few("gaussian")
    whole, resumed = (trained(configs, dataset, torch.float64, steps) for steps in (34, 1))
    resumed.state.load(trained(configs, dataset, torch.float64, stop).state.tensors())
    train(resumed, 34 - stop)
    assert lane_results(resumed) == lane_results(whole)
    assert [means["sample_deviation"] > 0 for means in whole.state.watch.read()] == [True] * 4


def test_a_state_takes_over_every_tensor_that_it_gives(few: Any):
    configs, dataset = configs_of("mlp batch"), few("digits")
    mine, theirs = (trained(configs, dataset, torch.float32, steps).state for steps in (1, 3))
    for name, tensor in theirs.tensors().items():
        assert name == "layout" or not torch.equal(tensor, mine.tensors()[name]), name
    mine.load(theirs.tensors())
    for name, tensor in theirs.tensors().items():
        assert torch.equal(tensor, mine.tensors()[name]), name


@pytest.mark.parametrize("other", ["ring spectral hinge", "gaussian moments least_squares"])
def test_a_state_of_another_structure_is_refused(few: Any, other: str):
    mine, theirs = (
        LaneArray(configs_of(case), few(structure_of(case).dataset)) for case in ("gaussian minibatch r1", other)
    )
    with pytest.raises(ValueError, match="does not fit this configuration; it is another run's"):
        mine.state.load(theirs.state.tensors())


def test_a_state_of_another_number_of_lanes_or_without_a_tensor_is_refused(few: Any):
    configs, dataset = configs_of("gaussian moments least_squares"), few("gaussian")
    array, shorter = LaneArray(configs, dataset), LaneArray(configs[:2], dataset)
    with pytest.raises(ValueError, match="'generator' does not fit"):
        array.state.load(shorter.state.tensors())
    lacking = {name: tensor for name, tensor in array.state.tensors().items() if name != "watch"}
    with pytest.raises(ValueError, match="'watch' does not fit"):
        array.state.load(lacking)


def test_a_kept_lane_of_another_place_is_what_is_exported(few: Any):
    array = trained(configs_of("mlp"), few("digits"), torch.float32, 3)
    before = [array.generator_tensors(i) for i in range(4)]
    array.keep([3, 1])
    for place, i in enumerate((3, 1)):
        after = array.generator_tensors(place)
        assert {name: bits(tensor) for name, tensor in after.items()} == {n: bits(t) for n, t in before[i].items()}
