"""Laws of the scores from pairs: they are unbiased, simulations confirm errors and nulls, and lanes do not mix."""

import math
from collections.abc import Callable
from dataclasses import astuple

import numpy as np
import pytest
import torch
from given_samples import kernel_distance
from scipy.spatial.distance import cdist
from torch import Tensor
from torch_twins import drawn

from gan_core.data.enough_images import NEIGHBOURS
from gan_core.fidelity.copying import data_copying, data_copying_error, nearest_distance
from gan_core.fidelity.discrepancy import Discrepancy, energy_distance
from gan_core.fidelity.neighbours import coverage_null, pair_scores, prdc, real_neighbours

Distance = Callable[[Tensor, Tensor], Discrepancy]
REAL = torch.from_numpy(np.random.default_rng(99).standard_normal((50, 3)))


def kernel_scores(lanes: Tensor) -> Tensor:
    return torch.stack(kernel_distance(lanes, REAL))


def energy_scores(lanes: Tensor) -> Tensor:
    return torch.stack(energy_distance(lanes, REAL))


def line_scores(lanes: Tensor) -> Tensor:
    return torch.stack(energy_distance(lanes[:, :, :1], REAL[:, :1]))


def ball_scores(lanes: Tensor) -> Tensor:
    return torch.stack(astuple(prdc(lanes, real_neighbours(REAL, 3))))


def copying_scores(lanes: Tensor) -> Tensor:
    return data_copying(nearest_distance(lanes, REAL), drawn(20, seed=5).abs()).unsqueeze(0)


SCORES = [kernel_scores, energy_scores, line_scores, ball_scores, copying_scores]


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_a_lane_that_is_not_finite_scores_nan_and_leaves_the_others_bit_for_bit_the_same(score, poison):
    lanes = drawn(3, 37, 3) * torch.tensor([1.0, 1.3, 1.7])[:, None, None]
    clean = score(lanes)
    assert clean.isfinite().all()
    assert len({tuple(column) for column in clean.T.tolist()}) == 3
    lanes[1, 5, 0] = poison
    poisoned = score(lanes)
    assert poisoned[:, 1].isnan().all()
    assert torch.equal(poisoned[:, [0, 2]], clean[:, [0, 2]])


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_lane_scores_the_same_bits_alone_and_in_any_place(score, dtype):
    lanes = (drawn(3, 37, 3) * torch.tensor([1.0, 1.3, 1.7])[:, None, None]).to(dtype)
    together = score(lanes)
    assert together.dtype == torch.float64
    assert torch.equal(score(lanes[[2, 0, 1]]), together[:, [2, 0, 1]])
    for i in range(3):
        assert torch.equal(score(lanes[i : i + 1]), together[:, i : i + 1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_where_k_others_are_copies_a_ball_reaches_to_the_nearest_that_is_none_and_all_others_are_as_they_were(dtype):
    real = drawn(60, 20).to(dtype) + 5
    real[31:35], real[40:] = real[30], real[0]  # four copies, fewer than k, and twenty
    radii = real_neighbours(real, 5).squared_radii.double().numpy()
    squared = cdist(real.double(), real.double(), "sqeuclidean")
    usual = np.sort(squared, axis=1)[:, 5]
    copies = [0, *range(40, 60)]
    expected = usual.copy()
    expected[copies] = np.where(squared[0] > 1e-9, squared[0], np.inf).min()
    assert usual[copies].max() < 1e-9
    np.testing.assert_allclose(radii, expected, rtol=1e-5)


def test_a_set_of_which_half_are_copies_is_covered_by_fresh_draws_of_its_own_distribution():
    """If the balls of copies had radius 0, half of the set could never be covered."""
    source = np.random.default_rng(5)
    copy = source.standard_normal(4)

    def half_copies(count: int, jitter: float) -> Tensor:
        fresh = source.standard_normal((count, 4))
        fresh[: count // 2] = copy + jitter * source.standard_normal((count // 2, 4))
        return torch.from_numpy(fresh)

    real = real_neighbours(half_copies(200, 0.0))
    drawn_well, all_copies_missed = (
        half_copies(400, 0.01),
        torch.from_numpy(source.standard_normal((400, 4)) + copy * 3),
    )
    assert float(prdc(drawn_well[None], real).coverage) > coverage_null(400, 200)
    assert float(prdc(all_copies_missed[None], real).coverage) < 0.5


def test_a_set_that_is_one_sample_over_and_over_has_balls_without_room():
    assert real_neighbours(torch.ones(8, 3)).squared_radii.tolist() == [0.0] * 8


def repeated(
    distance: Distance, sizes: tuple[int, int, int], shift: float, spread: float, repetitions: int
) -> tuple[np.ndarray, np.ndarray]:
    """Values and standard errors of new draws of N(shift, spread^2) against N(0, 1), of sizes M, R, D."""
    source = np.random.default_rng(1)
    values, errors = np.empty(repetitions), np.empty(repetitions)
    m, r, d = sizes
    for i in range(repetitions):
        samples = torch.from_numpy(source.standard_normal((1, m, d)) * spread + shift)
        value, error, _ = distance(samples, torch.from_numpy(source.standard_normal((r, d))))
        values[i], errors[i] = value.item(), error.item()
    return values, errors


@pytest.mark.parametrize("distance", [kernel_distance, energy_distance])
@pytest.mark.parametrize("size", [1, 4])
def test_a_distance_between_draws_of_one_distribution_is_zero_on_average_however_few(distance, size):
    """With 6 and 9 samples, biased statistics would be about five standard deviations of the mean away."""
    values, _ = repeated(distance, (6, 9, size), shift=0, spread=1, repetitions=1000)
    assert abs(values.mean()) < 3.5 * values.std() / math.sqrt(len(values))
    assert 0.2 < (values < 0).mean() < 0.8


@pytest.mark.parametrize(
    ("distance", "sizes", "shift", "spread"),
    [
        (kernel_distance, (60, 90, 64), 0.0, 1.0),
        (kernel_distance, (90, 60, 16), 0.2, 1.0),
        (kernel_distance, (60, 60, 8), 1.0, 0.5),
        (energy_distance, (100, 60, 2), 0.3, 1.0),
        (energy_distance, (60, 100, 1), 1.0, 0.5),
        (energy_distance, (100, 100, 1), 0.0, 0.7),
    ],
)
def test_the_standard_error_is_the_spread_over_fresh_draws_within_a_fifth(distance, sizes, shift, spread):
    values, errors = repeated(distance, sizes, shift, spread, repetitions=400)
    assert np.sqrt(np.square(errors).mean()) == pytest.approx(values.std(), rel=0.2)


@pytest.mark.parametrize("distance", [kernel_distance, energy_distance])
@pytest.mark.parametrize(
    ("shift", "spread", "real", "most"), [(0.3, 1.0, 40, 1.1), (0.0, 0.5, 40, 1.1), (0, 1, 40, 1.5), (0, 1, 3000, 1.6)]
)
@pytest.mark.parametrize("size", [1, 4])
def test_the_latent_error_is_the_spread_over_draws_of_the_samples_against_one_and_the_same_reference(
    distance, shift, spread, real, most, size
):
    source, samples = np.random.default_rng(2), 80 if real < 80 else 20
    reference = torch.from_numpy(source.standard_normal((real, size)))
    found = distance(torch.from_numpy(source.standard_normal((400, samples, size)) * spread + shift), reference)
    assert 0.9 < found.latent_error.square().mean().sqrt() / found.value.std() < most
    assert (found.latent_error > 0).all()
    assert float(found.latent_error.square().mean()) < float(found.error.square().mean())


@pytest.mark.parametrize(("distance", "size"), [(kernel_distance, 1), (energy_distance, 1), (energy_distance, 2)])
def test_between_draws_of_one_distribution_in_few_dimensions_the_error_is_up_to_half_too_large(distance, size):
    values, errors = repeated(distance, (50, 80, size), shift=0, spread=1, repetitions=400)
    assert 1 < np.sqrt(np.square(errors).mean()) / values.std() < 1.6


@pytest.mark.parametrize(("samples", "real"), [(60, 60), (200, 40)])
def test_between_normal_draws_the_usual_error_is_that_of_the_second_order_in_closed_form(samples, real):
    """Most draws have no first order. E h^2 is 4/3 - 4(sqrt(3) - 1)/pi (Szekely et al. 2007, theorem 7)."""
    _, errors = repeated(energy_distance, (samples, real, 1), shift=0, spread=1, repetitions=400)
    pairs = 2 / (samples * (samples - 1)) + 2 / (real * (real - 1)) + 4 / (samples * real)
    expected = math.sqrt((4 / 3 - 4 * (math.sqrt(3) - 1) / math.pi) * pairs)
    assert np.median(errors) == pytest.approx(expected, rel=0.06)


def test_the_energy_distance_of_values_is_that_of_points_on_a_line_and_so_is_its_error():
    """Compares the sorted sums in 1-D with all pairs in 2-D, far from zero, where sums of squares would lose digits."""
    samples, real = drawn(2, 41, 1) * torch.tensor([1.0, 2.0])[:, None, None] + 1e4, drawn(60, 1, seed=1) + 1e4
    sorted_sums = energy_distance(samples, real)
    all_pairs = energy_distance(torch.nn.functional.pad(samples, (0, 1)), torch.nn.functional.pad(real, (0, 1)))
    for one, other in zip(sorted_sums, all_pairs, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-8)
    assert sorted_sums[0][0] != sorted_sums[0][1]


def test_the_energy_distance_of_two_far_points_is_twice_their_distance():
    samples, real = torch.tensor([3.0, 4.0]).expand(1, 6, 2), torch.zeros(5, 2)
    value, error, _ = energy_distance(samples, real)
    assert value.item() == pytest.approx(10, rel=1e-12)
    assert error.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("distance", [kernel_distance, energy_distance])
@pytest.mark.parametrize(("samples", "real"), [(3, 9), (9, 3)])
def test_a_discrepancy_of_fewer_than_four_samples_is_refused(distance, samples, real):
    with pytest.raises(ValueError, match="at least 4 samples"):
        distance(drawn(1, samples, 2), drawn(real, 2))


@pytest.mark.parametrize(("samples", "real", "k"), [(40, 40, 5), (60, 30, 3), (25, 70, 1)])
def test_samples_of_the_real_distribution_have_density_one_and_the_coverage_of_the_closed_form(samples, real, k):
    source = np.random.default_rng(2)
    found = []
    for _ in range(400):
        scores = prdc(
            torch.from_numpy(source.standard_normal((1, samples, 2))),
            real_neighbours(torch.from_numpy(source.standard_normal((real, 2))), k),
        )
        found.append((scores.density.item(), scores.coverage.item()))
    expected = 1, coverage_null(samples, real, k)
    mean, error = np.mean(found, 0), np.std(found, 0) / math.sqrt(len(found))
    assert (np.abs(mean - expected) < 3.5 * error).all()
    assert (error < 0.02).all()


def test_the_coverage_null_of_many_samples_is_that_of_a_fair_coin():
    assert coverage_null(10**9, 10**9) == pytest.approx(1 - 2**-NEIGHBOURS, abs=1e-8)
    assert coverage_null(1, 2, k=1) == 0.5
    assert coverage_null(0, 50, k=3) == 0


def test_precision_to_coverage_of_a_collapse_a_copy_and_an_escape():
    """The real samples are two clusters. The lanes are one of them, the real samples again, and distant samples."""
    source = np.random.default_rng(3)
    clusters = source.standard_normal((80, 2)) + np.repeat([[0.0], [100.0]], 40, axis=0)
    real = real_neighbours(torch.from_numpy(clusters))
    collapsed = source.standard_normal((80, 2))
    scores = prdc(torch.from_numpy(np.stack((collapsed, clusters, clusters + 1e3))), real)
    assert scores.precision[0] > 0.8
    assert scores.density[0] > 0.7
    assert scores.recall[0] <= 0.5
    assert scores.coverage[0] <= 0.5
    assert [value[1].item() for value in (scores.precision, scores.recall, scores.coverage)] == [1, 1, 1]
    assert [value[2].item() for value in (scores.precision, scores.recall, scores.density, scores.coverage)] == [0] * 4


def test_the_radius_of_a_real_ball_reaches_to_the_kth_other_sample():
    real = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    np.testing.assert_allclose(real_neighbours(real, 1).squared_radii.sqrt().numpy(), [1, 1, 2, 4])
    np.testing.assert_allclose(real_neighbours(real, 3).squared_radii.sqrt().numpy(), [7, 6, 4, 7])


@pytest.mark.parametrize("k", [0, 10, 11])
def test_neighbours_that_do_not_exist_are_refused(k):
    with pytest.raises(ValueError, match=f"got k {k} with 10 samples"):
        real_neighbours(drawn(10, 2), k)
    with pytest.raises(ValueError, match="got k 10 with 10 samples"):
        prdc(drawn(1, 10, 2), real_neighbours(drawn(12, 2), 10))


@pytest.mark.parametrize(("references", "offset"), [(1, 0.0), (1999, 0.0), (2001, 0.0), (4500, 1000.0)])
def test_the_nearest_distance_is_the_smallest_of_all_within_1e_6(references, offset):
    lanes, reference = drawn(2, 30, 8) + offset, drawn(references, 8, seed=1) + offset
    found = nearest_distance(lanes, reference)
    for lane, distances in zip(lanes, found, strict=True):
        np.testing.assert_allclose(distances.numpy(), cdist(lane, reference).min(1), rtol=1e-6)
    assert not torch.equal(found[0], found[1])


def test_a_copy_of_a_reference_is_at_distance_zero_exactly_and_wherever_it_stands():
    reference = drawn(5000, 16) * 10 + 3
    copies = reference[[0, 1999, 2000, 4999]].unsqueeze(0)
    assert nearest_distance(copies, reference).tolist() == [[0, 0, 0, 0]]


def test_without_memory_half_the_samples_lie_closer_to_the_training_set_than_held_out_ones_do():
    """With real distances to one training set, the mean is 1/2 and the standard error that of the closed form."""
    source, samples, held_out = np.random.default_rng(4), 50, 30
    train = torch.from_numpy(source.standard_normal((100, 3)))
    lanes = torch.from_numpy(source.standard_normal((800, samples, 3)))
    held_outs = torch.from_numpy(source.standard_normal((800, held_out, 3)))
    to_train, held_out_to_train = nearest_distance(lanes, train), nearest_distance(held_outs, train)
    shares = np.array([data_copying(to_train[i : i + 1], held_out_to_train[i]).item() for i in range(800)])
    error = data_copying_error(samples, held_out)
    assert abs(shares.mean() - 0.5) < 3.5 * error / math.sqrt(800)
    assert shares.std() == pytest.approx(error, rel=0.1)


def test_copies_score_one_poor_samples_zero_and_a_half_of_copies_between():
    train, held_out = drawn(100, 3), drawn(60, 3, seed=1)
    fresh = drawn(100, 3, seed=2)
    half = torch.cat((train[:50], fresh[:50]))
    lanes = torch.stack((train, half, fresh, fresh + 100))
    shares = data_copying(nearest_distance(lanes, train), nearest_distance(held_out.unsqueeze(0), train)[0]).tolist()
    assert (shares[0], shares[3]) == (1, 0)
    assert shares[1] == pytest.approx(0.75, abs=0.1)
    assert shares[2] == pytest.approx(0.5, abs=0.15)
    assert data_copying(torch.zeros(1, 4), torch.zeros(5)).item() == 0.5


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(("samples", "real", "k"), [(7, 6, 5), (40, 77, 1), (533, 130, 5), (100, 301, 40)])
def test_pairs_read_in_c_score_as_those_read_by_torch(samples, real, k, dtype, monkeypatch):
    """Also if samples repeat, so that neighbours are at the same distance, and if one equals a real sample."""
    features = drawn(3, samples, 5).to(dtype)
    features[1, samples // 2 :] = features[1, : samples - samples // 2].clone()
    reference = (1 + drawn(real, 5, seed=1)).to(dtype)
    features[2, 0] = reference[0]
    neighbours = real_neighbours(reference, k)

    def scores() -> Tensor:
        kernel, shares = pair_scores(features, neighbours)
        return torch.stack((*kernel, *astuple(shares)))

    in_c = scores()
    monkeypatch.setattr("gan_core.fidelity.neighbours.read_in_c", lambda *_: False)
    torch.testing.assert_close(in_c, scores(), rtol=1e-9 if dtype == torch.float64 else 1e-4, atol=1e-6)
