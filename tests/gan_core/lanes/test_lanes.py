"""The lane axis: a lane's arithmetic knows no neighbours, and its randomness is a function of what it has seen."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_core.config.gan import LARGEST_SEED
from gan_core.lanes.axis import LANE_BYTES, column, lane_arithmetic, lane_empty, lane_pitch, lanewise
from gan_core.lanes.normals import fill_latents
from gan_core.lanes.products import LOOP_PRODUCTS, lane_matmul
from gan_core.lanes.streams import Stream, stream
from gan_core.networks.call import Call
from gan_core.networks.weightless_layers import elu, sigmoid, tanh

DISTRIBUTIONS = ["normal", "uniform", "symmetric_uniform"]
DTYPES = [torch.float32, torch.float64]
LANES = [1, 2, 3, 5, 8]
# Rows, inner, features of a product. Measured with MKL and AVX-512: those of the second line have other bits in a batch
# of one, or where lanes start between boundaries. The last one is large enough to be computed lane by lane.
PRODUCTS = [(1, 1, 1), (13, 7, 50), (100, 50, 7), (200, 1, 3), (26, 129, 1)]
PRODUCTS += [(128, 64, 1), (16, 65, 1), (16, 257, 1), (1, 13, 64), (13, 1, 64), (16, 1, 257), (65, 8, 64)]
PRODUCTS += [(65, 257, 255)]


def drawn(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).to(dtype)


def same_bits(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.contiguous().numpy().tobytes() == other.contiguous().numpy().tobytes()


def product_and_gradients(a: Tensor, b: Tensor) -> list[Tensor]:
    """The product, and the gradients of two losses: one number expanded, and a number for each of the product's."""
    a, b = a.detach().requires_grad_(), b.detach().requires_grad_()
    product = lane_matmul(a, b)
    losses = product.mean((1, 2)).sum(), (product * product).mean((1, 2)).sum()
    return [product.detach(), *(g for loss in losses for g in torch.autograd.grad(loss, (a, b), retain_graph=True))]


def test_the_product_sizes_reach_both_ways_to_compute_one():
    assert {rows * inner * features >= LOOP_PRODUCTS for rows, inner, features in PRODUCTS} == {True, False}


@pytest.mark.parametrize("size", PRODUCTS)
@pytest.mark.parametrize("lanes", LANES)
def test_lane_matmul_is_the_matrix_product_of_each_lane(lanes, size):
    rows, inner, features = size
    a, b = drawn(lanes, rows, inner), drawn(lanes, inner, features, seed=1)
    expected = np.stack([x @ y for x, y in zip(a.numpy(), b.numpy(), strict=True)])
    np.testing.assert_allclose(lane_matmul(a, b).numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("lanes", LANES)
def test_lane_matmul_has_right_first_and_second_derivatives(lanes):
    a, b = drawn(lanes, 3, 5).requires_grad_(), drawn(lanes, 5, 7, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lane_matmul, (a, b))
    assert torch.autograd.gradgradcheck(lane_matmul, (a, b))


def test_lane_matmul_gives_no_gradient_to_what_asks_for_none():
    a, b = drawn(2, 3, 5), drawn(2, 5, 7, seed=1).requires_grad_()
    lane_matmul(a, b).sum().backward()
    assert a.grad is None
    assert b.grad is not None
    np.testing.assert_allclose(b.grad.numpy(), a.sum(1).unsqueeze(2).expand(2, 5, 7).numpy(), rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", PRODUCTS)
@pytest.mark.parametrize("lanes", LANES)
def test_a_product_and_its_gradients_have_the_same_bits_wherever_the_lane_stands(lanes, size, dtype):
    rows, inner, features = size
    a, b = drawn(lanes, rows, inner, dtype=dtype), drawn(lanes, inner, features, dtype=dtype, seed=1)
    together = product_and_gradients(a, b)
    turned = product_and_gradients(a.flip(0), b.flip(0))
    assert not any(torch.equal(together[0][0], other) for other in together[0][1:])
    for i in range(lanes):
        alone = product_and_gradients(a[i : i + 1], b[i : i + 1])
        for mine, theirs, reversed_ in zip(together, alone, turned, strict=True):
            assert same_bits(mine[i], theirs[0])
            assert same_bits(mine[i], reversed_[lanes - 1 - i])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_product_has_the_same_bits_from_any_memory_layout(dtype):
    a, b = drawn(3, 13, 7, dtype=dtype), drawn(3, 7, 50, dtype=dtype, seed=1)
    expected = lane_matmul(a, b)
    shifted = torch.cat((drawn(3, 1, 7, dtype=dtype), a), 1)[:, 1:]
    transposed = a.mT.contiguous().mT
    strided = torch.stack((a, a), 3).flatten(2)[:, :, ::2]
    assert len({shifted.stride(), transposed.stride(), strided.stride(), a.stride()}) == 4
    for other in (shifted, transposed, strided):
        assert same_bits(lane_matmul(other, b), expected)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "rows": lambda x: x.clone(),
    "columns": lambda x: x.mT.clone(memory_format=torch.contiguous_format).mT,
    "part of a row": lambda x: torch.cat((x, x), 2)[:, :, : x.shape[2]],
    "part of a column": lambda x: (
        torch.cat((x, x), 1).mT.clone(memory_format=torch.contiguous_format).mT[:, x.shape[1] :]
    ),
    "every second": lambda x: torch.stack((x, x), 3).flatten(2)[:, :, ::2],
}


# Sizes and layouts at which bits differed while a lane's strides were left as they came. MKL and AVX-512.
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [(1, 128, 1024), (2, 20, 36), (76, 128, 1), (5, 836, 2), (1, 28, 108), (13, 7, 5)])
def test_from_any_layout_a_product_has_the_same_bits_alone_and_among_others(size, dtype):
    rows, inner, features = size
    a, b = drawn(3, rows, inner, dtype=dtype), drawn(3, inner, features, dtype=dtype, seed=1)
    for first, second in itertools.product(LAYOUTS.values(), repeat=2):
        together = lane_matmul(first(a), second(b))
        for i in range(3):
            assert same_bits(together[i], lane_matmul(first(a[i : i + 1]), second(b[i : i + 1]))[0])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_lane_of_nan_leaves_the_other_products_bit_for_bit_the_same(dtype):
    a, b = drawn(3, 13, 7, dtype=dtype), drawn(3, 7, 50, dtype=dtype, seed=1)
    poisoned = a.clone()
    poisoned[1] = math.nan
    before, after = product_and_gradients(a, b), product_and_gradients(poisoned, b)
    assert bool(after[0][1].isnan().all())
    for mine, theirs in zip(before, after, strict=True):
        assert same_bits(mine[[0, 2]], theirs[[0, 2]])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1,), (7,), (13, 7), (100, 50), (26, 1), (128,)], ids=str)
@pytest.mark.parametrize(
    "function",
    [
        lambda x: tanh({}, x, Call(())),
        lambda x: elu({}, x, Call(())),
        lambda x: sigmoid({}, x, Call(())),
        lambda x: lanewise(torch.nn.functional.softplus, x),
    ],
    ids=["tanh", "elu", "sigmoid", "softplus"],
)
def test_a_function_and_its_gradient_have_the_same_bits_wherever_the_lane_stands(function, shape, dtype):
    lanes = 5
    x = drawn(lanes, *shape, dtype=dtype) * 3

    def value_and_gradient(part: Tensor) -> tuple[Tensor, Tensor]:
        leaf = part.clone().requires_grad_()
        value = function(leaf)
        return value.detach(), torch.autograd.grad((value * value).sum(), leaf)[0]

    together, turned = value_and_gradient(x), value_and_gradient(x.flip(0))
    assert len({lane.numpy().tobytes() for lane in together[0]}) == lanes
    for i in range(lanes):
        for mine, alone, reversed_ in zip(together, value_and_gradient(x[i : i + 1]), turned, strict=True):
            assert same_bits(mine[i], alone[0])
            assert same_bits(mine[i], reversed_[lanes - 1 - i])


@pytest.mark.parametrize("shape", [(2, 7), (3, 13, 5), (1, 1), (2, 16)], ids=str)
def test_lanewise_is_the_function_itself(shape):
    x = drawn(*shape)
    np.testing.assert_allclose(lanewise(torch.tanh, x).numpy(), np.tanh(x.numpy()), rtol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (13, 7), (32,), (5, 3, 2)], ids=str)
def test_each_lane_of_lane_empty_starts_on_its_own_boundary(shape, dtype):
    made = lane_empty(3, shape, torch.empty(0, dtype=dtype))
    starts = [lane.data_ptr() for lane in made]
    numel = math.prod(shape)
    assert made.shape == (3, *shape)
    assert made.dtype == dtype
    assert [start - starts[0] for start in starts] == [0, starts[1] - starts[0], 2 * (starts[1] - starts[0])]
    assert (starts[1] - starts[0]) % LANE_BYTES == 0
    assert 0 <= starts[1] - starts[0] - numel * dtype.itemsize < LANE_BYTES
    assert all(lane.is_contiguous() for lane in made)


@pytest.mark.parametrize(
    ("numel", "dtype", "pitch"),
    [
        (1, torch.float32, 32),
        (32, torch.float32, 32),
        (33, torch.float32, 64),
        (17, torch.float64, 32),
        (0, DTYPES[0], 0),
    ],
)
def test_the_pitch_is_the_size_rounded_up_to_128_bytes(numel, dtype, pitch):
    assert lane_pitch(numel, dtype) == pitch


def test_a_column_has_the_type_of_what_it_is_for():
    made = column([1, 0.1], torch.empty(0, dtype=torch.float64))
    assert made.dtype == torch.float64
    assert made.tolist() == [1.0, 0.1]


def test_a_stream_is_equal_on_repeat_and_differs_in_each_part_of_its_key():
    keys = [
        (seed, purpose, *seen)
        for seed in (0, 1, 2**32, LARGEST_SEED)
        for purpose in Stream
        for seen in ((0,), (1,), (0, 1), (0, 0, 1), (2**40,))
    ]
    drawn_words = [stream(*key).integers(0, 2**63, 4).tolist() for key in keys]
    assert drawn_words == [stream(*key).integers(0, 2**63, 4).tolist() for key in keys]
    assert len({word for words in drawn_words for word in words}) == 4 * len(keys)


def test_a_stream_is_philox_with_the_key_seed_and_purpose_and_what_was_seen_as_its_counter():
    philox = np.random.Philox(key=[11, int(Stream.DATA_ORDER)], counter=[0, 5, 6, 7])
    expected = np.random.Generator(philox).standard_normal(8)
    assert stream(11, Stream.DATA_ORDER, 5, 6, 7).standard_normal(8).tolist() == expected.tolist()


def test_a_long_stream_never_reaches_the_next_one():
    """The counters of two neighbouring streams are 2^64 blocks apart, so a long draw holds nothing of the next."""
    long = stream(3, Stream.DISCRIMINATOR_LATENTS, 0).integers(0, 2**63, 100_000)
    after = stream(3, Stream.DISCRIMINATOR_LATENTS, 1).integers(0, 2**63, 100)
    assert not np.isin(after, long).any()


def test_streams_of_neighbouring_seeds_and_counters_are_uncorrelated():
    rows = np.stack(
        [stream(seed, Stream.SCORE_LATENTS, seen).standard_normal(4000) for seed in (0, 1) for seen in (0, 64)]
    )
    correlations = np.triu(np.corrcoef(rows), 1)
    assert 0 < np.abs(correlations).max() < 5 / math.sqrt(4000)


def latents(distribution: str, seeds: list[int], shape: tuple[int, ...], dtype: torch.dtype, *seen: int) -> Tensor:
    out = lane_empty(len(seeds), shape, torch.empty(0, dtype=dtype))
    return fill_latents(out, distribution, seeds, Stream.SAMPLE_LATENTS, *seen)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_latents_of_a_lane_do_not_depend_on_its_neighbours(distribution):
    three = latents(distribution, [4, 5, 6], (13, 7), torch.float32, 100)
    assert not torch.equal(three[0], three[1])
    assert torch.equal(latents(distribution, [5], (13, 7), torch.float32, 100)[0], three[1])
    assert torch.equal(latents(distribution, [6, 9, 4], (13, 7), torch.float32, 100)[[2, 0]], three[[0, 2]])
    assert not torch.equal(latents(distribution, [5], (13, 7), torch.float32, 113)[0], three[1])


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_float64_latents_are_the_float32_ones(distribution):
    single, double = (latents(distribution, [1, 2], (5, 3), dtype) for dtype in DTYPES)
    assert torch.equal(single.double(), double)


@pytest.mark.parametrize(
    ("distribution", "mean", "variance", "fourth_moment"),
    [("normal", 0, 1, 3), ("uniform", 0.5, 1 / 12, 1 / 80), ("symmetric_uniform", 0, 1 / 3, 1 / 5)],
)
def test_latents_have_the_mean_and_variance_of_their_distribution(distribution, mean, variance, fourth_moment):
    count = 200_000
    values = latents(distribution, [7], (count, 1), torch.float64).flatten().numpy()
    assert abs(values.mean() - mean) < 5 * math.sqrt(variance / count)
    assert abs(((values - mean) ** 2).mean() - variance) < 5 * math.sqrt((fourth_moment - variance**2) / count)


@pytest.mark.parametrize(("distribution", "low"), [("uniform", 0), ("symmetric_uniform", -1)])
def test_uniform_latents_fill_their_range_up_to_1_and_never_reach_it(distribution, low):
    values = latents(distribution, [8], (500_000, 1), torch.float32)
    assert low <= float(values.min()) < low + 1e-4
    assert 1 - 1e-4 < float(values.max()) < 1


def test_symmetric_latents_are_the_uniform_ones_stretched():
    plain, symmetric = (latents(name, [3], (13, 7), torch.float32, 64) for name in ("uniform", "symmetric_uniform"))
    assert torch.equal(symmetric, 2 * plain - 1)


def test_lane_arithmetic_is_one_thread_without_denormals_and_sets_back_what_was():
    smallest = torch.full((64,), 1e-39)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyError), lane_arithmetic():
            assert torch.get_num_threads() == 1
            assert not (smallest * 0.5).any()
            with lane_arithmetic():
                assert torch.get_num_threads() == 1
            assert not (smallest * 0.5).any()
            raise KeyError
        assert torch.get_num_threads() == 2
        assert bool((smallest * 0.5).all())
    finally:
        torch.set_num_threads(before)
