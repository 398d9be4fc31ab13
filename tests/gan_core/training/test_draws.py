"""What lanes are fed: latents of a block, keyed by it alone; and the normal numbers that they are made of."""

import math
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch
from scipy import stats
from tiny_arrays import configs_of, structure_of
from torch import Tensor

from gan_core.config.gan import GanConfig
from gan_core.config.lane import LaneConfig
from gan_core.data.dataset import Dataset
from gan_core.lanes.normals import PAIRS, fill_latents, fill_normals, fill_numbers, normals_in_numpy
from gan_core.lanes.streams import Stream
from gan_core.networks.architectures import build_networks
from gan_core.networks.latents import fill_step_latents
from gan_core.training.draws import BLOCK_STEPS, Draws, ShownSamples, takes_turn
from gan_core.training.lane_array import LaneArray
from gan_core.training.steps import CompiledBlocks

BATCH = 13
LIKE = torch.empty(0)
Fed = dict[str, Tensor]


def made(case: str, dataset: Dataset, lanes: slice = slice(None)) -> Draws:
    configs = configs_of(case)[lanes]
    networks = build_networks(configs[0].structure, dataset.sample_shape, dataset.classes)
    return Draws(configs, networks, ShownSamples(dataset, LIKE, on_host=False), LIKE)


def fed(draws: Draws, step: int, j: int = 0) -> Fed:
    """Everything that D's step of this number is fed, and G's j-th update in it; the place of fakes aside."""
    draws.begin_step(step)
    draws.begin_turn(step, j)
    return {name: tensor.clone() for name, tensor in draws.tensors.items() if name not in ("both", "fake")}


def differing(mine: Fed, theirs: Fed) -> list[str]:
    assert mine.keys() == theirs.keys()
    return [name for name in mine if not torch.equal(mine[name], theirs[name])]


@pytest.mark.parametrize("case", ["gaussian minibatch r1", "cgan", "infogan", "mlp wasserstein_gp"])
def test_what_a_step_is_fed_depends_on_its_number_alone_and_not_on_what_was_drawn_before(few, case: str):
    dataset = few(structure_of(case).dataset)
    in_turn, jumping = made(case, dataset), made(case, dataset)
    course = [fed(in_turn, step, 1) for step in range(2 * BLOCK_STEPS + 2)]
    for step in (33, 15, 16, 0, 17, 31, 32):
        assert differing(fed(jumping, step, 1), course[step]) == []
        assert differing(fed(made(case, dataset), step, 1), course[step]) == []
    for name in ("latents", "generator_latents", "real"):
        assert not any(torch.equal(one[name], other[name]) for one, other in zip(course, course[1:], strict=False))


@pytest.mark.parametrize("case", ["gaussian minibatch r1", "cgan", "infogan", "mlp wasserstein_gp"])
def test_what_a_lane_is_fed_does_not_depend_on_how_many_stand_beside_it(few, case: str):
    dataset = few(structure_of(case).dataset)
    whole = fed(made(case, dataset), 18)
    for lane in range(4):
        alone = fed(made(case, dataset, slice(lane, lane + 1)), 18)
        for name, tensor in alone.items():
            assert torch.equal(tensor[0], whole[name][lane]), name
    for name in ("latents", "generator_latents"):
        assert len({lane.numpy().tobytes() for lane in whole[name]}) == 4


@pytest.mark.parametrize(
    ("order", "purpose"),
    [("discriminator_first", Stream.DISCRIMINATOR_LATENTS), ("generator_first", Stream.GENERATOR_LATENTS)],
)
def test_a_steps_latents_are_its_place_of_what_is_drawn_for_the_block(few, order, purpose: Stream):
    configs = [replace(c, structure=replace(c.structure, update_order=order)) for c in configs_of("infogan")]
    dataset = few("digits")
    networks, structure = build_networks(configs[0].structure, (1, 8, 8), 10), configs[0].structure
    draws = Draws(configs, networks, ShownSamples(dataset, LIKE, on_host=False), LIKE)
    batch, step = structure.batch_size, BLOCK_STEPS + 5
    tensors = fed(draws, step, 1)
    bank = torch.empty(4, BLOCK_STEPS * batch, tensors["latents"].shape[2])
    seeds, images = [config.seed for config in configs], BLOCK_STEPS * batch
    for name, of, j in (("latents", purpose, 0), ("generator_latents", Stream.GENERATOR_LATENTS, 1)):
        fill_step_latents(bank, structure, networks, seeds, of, (images, j))
        assert torch.equal(tensors[name], bank[:, 5 * batch : 6 * batch])


def test_the_classes_of_a_batch_are_those_of_its_samples_and_stand_in_its_latents(few):
    dataset = few("digits")
    labels = {
        image.numpy().tobytes(): int(label) for image, label in zip(dataset.train, dataset.train_labels, strict=True)
    }
    tensors = fed(made("cgan", dataset), 3)
    shown = [labels[image.numpy().tobytes()] for image in tensors["real"].flatten(0, 1)]
    assert tensors["condition"].argmax(2).flatten().tolist() == shown
    for name in ("latents", "generator_latents"):
        assert torch.equal(tensors[name][:, :, 5:], tensors["condition"])


def test_real_samples_of_a_block_are_the_data_sets_order_across_the_end_of_an_epoch(few):
    dataset = few("gaussian")
    draws, shown = made("gaussian minibatch r1", dataset), []
    for step in range(2 * BLOCK_STEPS):
        shown.append(fed(draws, step)["real"])
    real = torch.cat(shown, 1)[:, : 41 * 10, 0]
    values = dataset.train.flatten().sort().values
    for lane in real:
        for epoch in lane.split(41):
            assert torch.equal(epoch.sort().values, values)
    assert torch.equal(real[0], real[3])  # of one data seed
    assert not torch.equal(real[0], real[1])


def test_a_generator_of_k_takes_its_turn_after_k_steps_or_before_them():
    config = configs_of("mlp")[2]  # k = 3
    first = GanConfig(structure=replace(config.structure, update_order="generator_first"), lane=config.lane)
    assert [takes_turn(config, step) for step in range(7)] == [False, False, True, False, False, True, False]
    assert [takes_turn(first, step) for step in range(7)] == [True, False, False, True, False, False, True]


def normals(seeds: list[int], count: int) -> Tensor:
    out = torch.empty(len(seeds), count)
    return fill_latents(out, "normal", seeds, Stream.SAMPLE_LATENTS, 64, 1)


def test_normal_numbers_are_box_and_mullers_of_philox_bits():
    count = 1000
    blocks = -(-count // (2 * PAIRS))
    philox = np.random.Philox(key=[5, int(Stream.SAMPLE_LATENTS)], counter=[0, 64, 1, 0])
    uniform = philox.random_raw(blocks * PAIRS).view(np.int32).reshape(blocks, 2, -1).astype(np.float64)
    radius = np.sqrt(-2 * np.log(np.maximum(uniform[:, 0] / 2**32 + 0.5, 2.0**-25)))
    angle = 2 * np.pi * uniform[:, 1] / 2**32
    expected = np.stack((radius * np.cos(angle), radius * np.sin(angle)), 1).reshape(-1)[:count]
    assert abs(expected).max() > 2.5
    np.testing.assert_allclose(normals([5], count)[0].numpy(), expected, rtol=0, atol=1e-5)


def test_normal_numbers_have_the_moments_and_the_law_of_n01():
    count = 400_000
    values = normals([7], count)[0].double().numpy()
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((values**power).mean() - expected) < 5 * math.sqrt(variance / count)
    assert stats.kstest(values, stats.norm.cdf).pvalue > 1e-3
    whole = values[: count // (2 * PAIRS) * 2 * PAIRS].reshape(-1, 2, PAIRS)
    halves = whole[:, 0].ravel(), whole[:, 1].ravel()  # the cosines and the sines of the same angles
    for one, other in (halves, (halves[0] ** 2, halves[1] ** 2), (values[1:], values[:-1])):
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / math.sqrt(len(one))
    assert len(np.unique(values)) > 0.95 * count
    assert 4.4 < abs(values).max() <= 5.9  # P(all of 400,000 below 4.4) = 0.013


def test_the_largest_normal_number_is_that_of_the_smallest_uniform_one():
    class Least:
        """Bits of the smallest radius argument, and of the angles 0, pi / 2, ..."""

        def random_raw(self, pairs: int) -> np.ndarray:
            bits = np.full((pairs // PAIRS, 2, PAIRS), -(2**31), np.int64)
            bits[:, 1] = np.arange(PAIRS) % 4 * 2**30 - 2**31
            return bits.astype(np.int32).reshape(-1).view(np.uint64)

    class Source:
        bit_generator = Least()

    drawn = torch.empty(128)
    fill_normals(drawn, cast("np.random.Generator", Source()))
    largest = drawn.abs().max().item()
    assert largest == pytest.approx(math.sqrt(2 * 25 * math.log(2)), rel=1e-6)
    assert largest <= 5.9


def test_normal_numbers_are_the_same_bits_with_and_without_a_compiler(monkeypatch):
    """Also where an eighth of a turn ends, and of the smallest and largest uniform numbers."""
    eighths = [turns * 2**29 + beside for turns in (-3, -1, 1, 3) for beside in (-1, 0)]
    corners = [-(2**31), 1 - 2**31, 2**31 - 1, -1, 0, 1, *eighths]
    bits = np.random.default_rng(0).integers(-(2**31), 2**31, 2 * PAIRS * 100).astype(np.int32)
    bits.reshape(-1, PAIRS)[:2, : len(corners)] = corners

    class Source:
        class bit_generator:
            random_raw = staticmethod(lambda count: bits.view(np.uint64))

    drawn = torch.empty(len(bits))
    fill_normals(drawn, cast("np.random.Generator", Source()))
    assert torch.equal(drawn, torch.from_numpy(normals_in_numpy(bits)))
    with monkeypatch.context() as patch:
        patch.setattr("gan_core.lanes.normals._in_c", lambda: None)
        without = normals([3, 4], 3 * PAIRS)
    assert torch.equal(without, normals([3, 4], 3 * PAIRS))


@pytest.mark.parametrize("distribution", ["normal", "uniform", "symmetric_uniform"])
@pytest.mark.parametrize("count", [1, 7, 9, 2 * PAIRS, 2 * PAIRS + 5, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_streams_are_numpys(distribution: str, count: int, dtype: torch.dtype, monkeypatch):
    """Of the smallest and largest words, too, bit for bit: what numpy's Philox makes of the same key and counter."""
    most = 2**63 - 1
    for seed, seen in ((0, ()), (most, (most, 1)), (17, (5, most, most))):
        for purpose in (Stream.GENERATOR_LATENTS, Stream.PENALTY_MIX):
            mine, theirs = torch.empty(count, dtype=dtype), torch.empty(count, dtype=dtype)
            fill_numbers(mine, distribution, seed, purpose, *seen)
            with monkeypatch.context() as patch:
                patch.setattr("gan_core.lanes.normals._in_c", lambda: None)
                fill_numbers(theirs, distribution, seed, purpose, *seen)
            assert torch.equal(mine, theirs)


@pytest.mark.parametrize("distribution", ["normal", "uniform", "symmetric_uniform"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_c_draws_a_steps_latents_as_they_are_in_the_whole_blocks(few, distribution: str, dtype: torch.dtype):
    """In batches that end anywhere in what is drawn together; two turns of G, in lanes of different k."""
    structure = replace(configs_of("gaussian")[0].structure, latent_distribution=distribution)
    lanes = [(1, 2), (2, 1), (3, 2), (5, 1)]
    configs = [
        GanConfig(structure=structure, lane=LaneConfig(discriminator_steps=k, generator_steps=g), seed=seed)
        for seed, (k, g) in enumerate(lanes)
    ]
    results = []
    for in_c in (True, False):
        array = LaneArray(configs, few("gaussian"), dtype=dtype, execution="compiled")
        array.train_to(structure.batch_size)
        (steps,) = array._steps
        assert isinstance(steps, CompiledBlocks)
        block = steps.block
        assert block._draws_latents
        if not in_c:
            block._draws_latents = False
            block._fixed = block._fixed_values()
            assert "draw" not in block._fixed
        array.train_to(structure.batch_size * (BLOCK_STEPS + 7))
        results.append(array.state.tensors())
    for name, tensor in results[0].items():
        assert torch.equal(tensor, results[1][name]), name


def test_fewer_normal_numbers_are_the_first_of_more():
    more = normals([3, 4], 3 * PAIRS)
    for count in (1, 7, PAIRS, PAIRS + 1, 2 * PAIRS, 2 * PAIRS + 3):
        assert torch.equal(normals([3, 4], count), more[:, :count])


@pytest.mark.parametrize("count", [1, 2, 31, 33, 1000, 20_000])
def test_a_lanes_normal_numbers_are_the_same_bits_among_any_number_of_lanes(count: int):
    seeds = [3, 8, 4, 1, 9, 7, 2]
    whole = normals(seeds, count)
    assert bool(whole.isfinite().all())
    for lanes in (1, 2, 3, 5):
        assert torch.equal(normals(seeds[:lanes], count), whole[:lanes])
    for i in (0, 3, 6):
        assert torch.equal(normals([seeds[i]], count)[0], whole[i])
    assert len({lane.numpy().tobytes() for lane in whole}) == 7
