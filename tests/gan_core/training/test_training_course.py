"""The course of a training: whose turn it is, what is shown, where it stops, what is scored, what is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_arrays import bits, configs_of, structure_of, trained
from torch import Tensor

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.lane import LaneConfig
from gan_core.config.structure import StructureConfig
from gan_core.data.dataset import Dataset
from gan_core.lanes.streams import Stream
from gan_core.networks.call import Call
from gan_core.training.draws import BLOCK_STEPS, Draws, ShownSamples, instance_noise
from gan_core.training.lane_array import LaneArray

SINGLE = structure_of("gaussian")


def draws_of(case: str, dataset: Dataset, step: int) -> dict[str, Tensor]:
    """What the lanes of a case are fed at D's step of this number."""
    array = LaneArray(configs_of(case), dataset)
    like = torch.empty(0)
    draws = Draws(array.configs, array.networks, ShownSamples(dataset, like, on_host=False), like)
    draws.begin_step(step)
    return draws.tensors


@pytest.mark.parametrize("order", ["discriminator_first", "generator_first"])
def test_a_lane_of_k_and_g_takes_g_generator_steps_for_k_of_its_discriminator(gaussian: Dataset, order: Any):
    structure = replace(SINGLE, update_order=order, batch_size=3, generator_width=4)
    of = [(1, 1), (2, 1), (3, 2), (1000, 1), (1, 3)]
    lanes = [LaneConfig(discriminator_steps=k, generator_steps=g) for k, g in of]
    configs = [GanConfig(structure=structure, lane=lane) for lane in lanes]
    array = LaneArray(configs, gaussian, execution="eager")
    start, turns = array.state.generator.flat.clone(), []
    for step in range(1, 13):
        array.train_to(step * 3)
        turns.append(array.state.generator_adam.steps.tolist())
    first = 0 if order == "discriminator_first" else 1  # a turn is at the end of k steps, or at their beginning
    taken = [[(step // k if not first else -(-step // k)) * g for k, g in of] for step in range(1, 13)]
    assert turns == taken
    assert array.state.discriminator_adam.steps.tolist() == [12] * 5
    moved = (array.state.generator.flat != start).any(1).tolist()
    assert moved == [True, True, True, order == "generator_first", True]
    assert [np.isnan(means["g_loss"]) for means in array.state.watch.read()] == [not lane for lane in moved]


def test_the_average_is_a_loop_over_the_generators_weights_and_running_moments(few: Any):
    array = trained(configs_of("mlp_bn"), few("digits"), torch.float64, 0)
    half_lives, batch = [config.lane.ema_half_life_images for config in array.configs], array.structure.batch_size
    expected, differs = array.state.generator.flat.numpy().copy(), [False] * array.lanes

    for step in range(1, 13):
        array.train_to(step * batch)
        now = array.state.generator.flat.numpy()
        for i, half_life in enumerate(half_lives):
            decay = 0.5 ** (batch / min(half_life, array.state.images_seen / 10)) if half_life else 0.0
            expected[i] = decay * expected[i] + (1 - decay) * now[i]
            differs[i] = not np.allclose(expected[i], now[i], rtol=1e-6, atol=0)

    np.testing.assert_allclose(array.state.average[:, 0].numpy(), expected, rtol=1e-12, atol=1e-15)
    assert differs == [half_life > 0 for half_life in half_lives] == [False, True, False, True]
    assert any(name.endswith("running_mean") for name in array.generator_tensors(0))


@pytest.mark.parametrize("case", ["mlp", "mlp_bn", "mlp_dropout sum"])
def test_a_lane_is_scored_by_its_average_or_by_its_plain_weights_without_dropping(few: Any, case: str):
    array = trained(configs_of(case), few("digits"), torch.float64, 4)
    latents = array.shared_latents(Stream.SCORE_LATENTS, 1013, 5)
    call = Call([config.lane.batch_norm_eps for config in array.configs])
    plain, averaged = (
        array.networks.generator(array.state.generator.with_flat(flat), latents, call)
        for flat in (array.state.generator.flat, array.state.average[:, 0])
    )
    scored = array.generate(latents)
    for i, config in enumerate(array.configs):
        has = config.lane.ema_half_life_images > 0
        torch.testing.assert_close(scored[i], (averaged if has else plain)[i].detach(), rtol=1e-12, atol=1e-12)
        views = array.state.generator.with_flat(array.state.average[:, 0] if has else array.state.generator.flat)
        weights = array.generator_tensors(i)
        assert {name: bits(tensor) for name, tensor in weights.items()} == {n: bits(v[i]) for n, v in views.items()}
        assert torch.equal(plain[i], averaged[i]) == (not has)


def test_an_array_without_averages_is_scored_by_its_weights_of_now(gaussian: Dataset):
    config = GanConfig(structure=structure_of("gaussian"), lane=LaneConfig(generator_lr=0.1))
    array = trained([config], gaussian, torch.float32, 3)
    views = array.state.generator.views
    assert {n: bits(t) for n, t in array.generator_tensors(0).items()} == {n: bits(v[0]) for n, v in views.items()}
    assert not torch.equal(array.state.average[:, 0], array.state.generator.flat)


def test_samples_are_a_function_of_count_and_seed_with_the_same_latents_in_every_lane(few: Any):
    array = trained(configs_of("gaussian"), few("gaussian"), torch.float32, 2)
    latents = array.shared_latents(Stream.SAMPLE_LATENTS, 2500, 3)
    assert all(torch.equal(latents[i], latents[0]) for i in range(array.lanes))
    assert torch.equal(latents[:, :29], array.shared_latents(Stream.SAMPLE_LATENTS, 29, 3))
    assert torch.equal(array.sample(2500, seed=3), array.generate(latents))
    assert array.sample(2500, seed=3).shape == (4, 2500, 1)
    assert not torch.equal(array.sample(29, seed=3), array.sample(29, seed=4))


def test_samples_of_many_parts_are_the_parts_in_turn(few: Any):
    array = LaneArray(configs_of("dcgan"), few("digits"), dtype=torch.float64)
    latents = array.shared_latents(Stream.SAMPLE_LATENTS, 230, 3)
    parts = [array.generate(part) for part in latents.split([100, 100, 30], 1)]
    assert torch.equal(array.sample(230, seed=3), torch.cat(parts, 1))


def test_lanes_of_one_data_seed_see_the_same_batches_in_the_order_of_the_data_set(digits: Dataset):
    tensors = draws_of("cgan", digits, 990 // 13 + 1)
    real, classes = tensors["real"], tensors["condition"]
    assert (real.shape, classes.shape) == ((4, 13, 1, 8, 8), (4, 13, 10))
    assert torch.equal(real[0], real[3])
    assert not torch.equal(real[0], real[1])
    labels = digits.train_labels
    assert labels is not None
    members = {bits(image): int(label) for image, label in zip(digits.train, labels, strict=True)}
    shown = classes.argmax(2).flatten().tolist()
    assert [members[bits(image)] for image in real.flatten(0, 1)] == shown
    assert torch.equal(classes.sum(2), torch.ones(4, 13))
    assert "condition" not in draws_of("mlp", digits, 0)


@pytest.mark.parametrize(("images", "stops_at"), [(0, 0), (1, 13), (13, 13), (14, 26), (100, 104)])
def test_training_stops_at_the_first_whole_batch_at_or_after_the_images_asked_for(few: Any, images: int, stops_at: int):
    array = trained(configs_of("gaussian minibatch r1"), few("gaussian"), torch.float32, 0)
    assert array.train_to(images)
    assert array.images_at(images) == array.state.images_seen == stops_at


def test_what_is_given_a_turn_is_given_one_after_every_block_also_of_a_training_that_began_inside_one(few: Any):
    array = trained(configs_of("gaussian minibatch r1"), few("gaussian"), torch.float32, 5)
    seen = []
    assert array.train_to(13 * (2 * BLOCK_STEPS + 3), seen.append)
    assert seen == [13 * steps for steps in (BLOCK_STEPS, 2 * BLOCK_STEPS, 2 * BLOCK_STEPS + 3)]
    assert array.train_to(13, seen.append)  # there is nothing to do
    assert len(seen) == 3


def test_instance_noise_falls_linearly_to_nothing_in_each_lane():
    def levels(images_seen: int) -> list[float]:
        return [instance_noise(config, images_seen) for config in configs_of("gaussian")]

    assert levels(0) == [0.0, 0.1, 0.5, 0.2]
    assert levels(20) == pytest.approx([0.0, 0.1, 0.25, 0.196])
    assert levels(40) == pytest.approx([0.0, 0.1, 0.0, 0.192])
    assert levels(10**9) == [0.0, 0.1, 0.0, 0.0]


def test_lanes_of_two_structures_are_refused(few: Any):
    lanes = [configs_of(case)[0] for case in ("gaussian", "gaussian moments least_squares")]
    with pytest.raises(InputError, match="one structure, got 2 in 2 lanes"):
        LaneArray(lanes, few("gaussian"))


def test_a_configuration_for_another_data_set_or_size_is_refused(digits: Dataset, gaussian: Dataset):
    with pytest.raises(InputError, match="'digits', got 'gaussian'"):
        LaneArray([GanConfig()], gaussian)
    with pytest.raises(InputError, match="image_size_pixels is 16, got images of 8; load them at 16$"):
        LaneArray([GanConfig(structure=StructureConfig(image_size_pixels=16))], digits)
    assert LaneArray([GanConfig(structure=StructureConfig(image_size_pixels=8))], digits).lanes == 1


def test_a_batch_of_one_sample_trains(few: Any):
    structure = replace(structure_of("mlp"), batch_size=1)
    array = trained([GanConfig(structure=structure)], few("digits"), torch.float32, 33)
    assert array.dead() == [None]
    assert array.state.watch.read()[0]["sample_deviation"] == 1
