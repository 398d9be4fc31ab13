"""Tests distances against scipy, closed forms and simulations."""

import itertools
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.stats
import torch
from given_samples import lanes_of
from torch import Tensor
from torch_twins import drawn

from gan_core.fidelity.distances import (
    CLASS_KL_LIMIT,
    MOST_EXCESS,
    class_accuracy,
    class_divergence,
    code_agreement,
    frechet_distance,
    frechet_floor,
    limit_violations,
    moments,
    point_mass_distance,
    wasserstein_1d,
    wasserstein_floor_of_cdf,
)


def covariances(lanes: int, size: int, seed: int) -> Tensor:
    factors = drawn(lanes, size, size + 3, seed=seed)
    return factors @ factors.mT / size


def test_moments_are_the_mean_and_the_unbiased_covariance_of_each_lane():
    features = drawn(3, 50, 7).float()
    mean, covariance = moments(features)
    assert mean.dtype == covariance.dtype == torch.float64
    for i, lane in enumerate(features.double().numpy()):
        np.testing.assert_allclose(mean[i].numpy(), lane.mean(0), rtol=1e-12)
        np.testing.assert_allclose(covariance[i].numpy(), np.cov(lane, rowvar=False), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("size", [1, 2, 8, 64])
def test_the_frechet_distance_is_heusels_formula_with_scipys_matrix_root(size):
    mean, covariance = drawn(3, size), covariances(3, size, 1)
    real_mean, real_covariance = drawn(size, seed=2), covariances(1, size, 3)[0]
    found = frechet_distance(mean, covariance, real_mean, real_covariance).numpy()
    assert len(set(found)) == 3
    for i in range(3):
        ours, real = covariance[i].numpy(), real_covariance.numpy()
        root = np.real(np.asarray(scipy.linalg.sqrtm(ours @ real)))
        expected = float((mean[i] - real_mean).square().sum()) + np.trace(ours + real - 2 * root)
        np.testing.assert_allclose(found[i], expected, rtol=1e-8)


def test_the_frechet_distance_of_two_gaussians_with_common_axes_is_a_sum_over_the_axes():
    """|m1 - m2|^2 + sum (s1 - s2)^2, also if one of them has no variance along an axis."""
    deviations = torch.tensor([[1.0, 2.0, 3.0], [0.0, 2.5, 1e-3]], dtype=torch.float64)
    real_deviation = torch.tensor([2.0, 0.0, 1.0], dtype=torch.float64)
    mean, real_mean = torch.tensor([[0.0, 1, 2], [3, 4, 5]], dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    axes = torch.linalg.qr(drawn(3, 3))[0]
    covariance = axes @ torch.diag_embed(deviations.square()) @ axes.T
    found = frechet_distance(mean, covariance, real_mean, axes @ real_deviation.square().diag() @ axes.T)
    expected = (mean - real_mean).square().sum(1) + (deviations - real_deviation).square().sum(1)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("size", [1, 8, 64])
def test_the_frechet_distance_of_equal_moments_is_zero_and_never_below(size):
    mean, covariance = drawn(1, size), covariances(1, size, 1)
    found = frechet_distance(mean, covariance, mean[0], covariance[0]).item()
    assert 0 <= found < 1e-10 * covariance[0].trace().item()


@pytest.mark.parametrize("poison", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["mean", "covariance"])
def test_a_lane_of_nan_scores_nan_and_leaves_the_other_distances_bit_for_bit_the_same(where, poison):
    values = {"mean": drawn(3, 8), "covariance": covariances(3, 8, 1)}
    real = drawn(8, seed=2), covariances(1, 8, 3)[0]
    clean = frechet_distance(values["mean"], values["covariance"], *real)
    values[where][1].view(-1)[3] = poison
    poisoned = frechet_distance(values["mean"], values["covariance"], *real)
    assert poisoned.isnan().tolist() == [False, True, False]
    assert torch.equal(poisoned[[0, 2]], clean[[0, 2]])


def test_the_frechet_floor_is_the_mean_distance_of_two_samples_of_one_gaussian():
    size, samples, real_samples, repetitions = 8, 400, 300, 200
    covariance = covariances(1, size, 4)[0]
    factor = torch.linalg.cholesky(covariance)
    distances = []
    for repetition in range(repetitions):
        one, other = (
            moments(drawn(1, count, size, seed=seed) @ factor.T)
            for count, seed in ((samples, 2 * repetition), (real_samples, 2 * repetition + 1))
        )
        distances.append(frechet_distance(*one, other[0][0], other[1][0]).item())
    assert frechet_floor(covariance, samples, real_samples) == pytest.approx(np.mean(distances), rel=0.1)
    assert np.std(distances) / math.sqrt(repetitions) < 0.03 * np.mean(distances)


def test_the_frechet_floor_in_one_dimension_is_that_of_a_mean_and_a_deviation():
    """s^2/M from the mean and s^2/2M from the deviation, for each of the two samples."""
    floor = frechet_floor(torch.tensor([[4.0]]), 100, 50)
    assert floor == pytest.approx((4 + 2) / 100 + (4 + 2) / 50, rel=1e-12)


@pytest.mark.parametrize("count", [1, 13, 1000])
def test_the_wasserstein_distance_is_scipys_in_every_lane(count):
    samples, quantiles = drawn(3, count).float() * 2 + 1, drawn(count, seed=1).sort().values
    found = wasserstein_1d(samples, quantiles).numpy()
    expected = [scipy.stats.wasserstein_distance(lane.numpy(), quantiles.numpy()) for lane in samples.double()]
    assert len(set(expected)) == 3
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_the_wasserstein_distance_of_a_lane_of_nan_is_nan_and_the_others_stay_the_same():
    samples, quantiles = drawn(3, 13), drawn(13, seed=1).sort().values
    clean = wasserstein_1d(samples, quantiles)
    samples[1, 5] = math.nan
    poisoned = wasserstein_1d(samples, quantiles)
    assert poisoned.isnan().tolist() == [False, True, False]
    assert torch.equal(poisoned[[0, 2]], clean[[0, 2]])


def normal_floor(deviation: float, samples: int) -> float:
    """The floor of a normal distribution."""
    grid = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    below = 0.5 * (1 + torch.erf(grid / math.sqrt(2)))
    return wasserstein_floor_of_cdf(deviation * grid, below, samples)


@pytest.mark.parametrize("deviation", [1.0, 1.25])
def test_the_wasserstein_floor_is_the_mean_distance_of_a_normal_sample_to_its_distribution(deviation):
    count, repetitions = 2000, 400
    quantiles = torch.from_numpy(scipy.stats.norm.ppf((np.arange(count) + 0.5) / count, scale=deviation))
    distances = wasserstein_1d(drawn(repetitions, count) * deviation, quantiles)
    assert normal_floor(deviation, count) == pytest.approx(distances.mean().item(), rel=0.1)
    assert distances.std().item() / math.sqrt(repetitions) < 0.03 * distances.mean().item()


def test_the_wasserstein_floor_of_a_normal_is_the_closed_integral_to_1e_4():
    """The integral of sqrt(Phi (1 - Phi)) by adaptive quadrature."""
    integral, _ = scipy.integrate.quad(lambda x: math.sqrt(scipy.stats.norm.cdf(x) * scipy.stats.norm.sf(x)), -20, 20)
    assert normal_floor(1.25, 400) == pytest.approx(1.25 * math.sqrt(2 / math.pi / 400) * integral, rel=1e-4)


@pytest.mark.parametrize("apart", [0.5, 3.0])
def test_the_wasserstein_floor_of_any_cdf_is_the_mean_distance_of_a_sample_to_its_distribution(apart):
    """Two normal distributions at -apart and apart; if they are far apart, their shares make most of the floor."""
    grid = np.linspace(-12, 12, 20_001)
    cdf = scipy.stats.norm.cdf(np.stack((grid - apart, grid + apart))).mean(0)
    count, repetitions = 1000, 400
    quantiles = torch.from_numpy(np.interp((np.arange(count) + 0.5) / count, cdf, grid))
    source = np.random.default_rng(0)
    mode = source.choice([-apart, apart], (repetitions, count))
    distances = wasserstein_1d(torch.from_numpy(source.standard_normal((repetitions, count)) + mode), quantiles)
    floor = wasserstein_floor_of_cdf(torch.from_numpy(grid), torch.from_numpy(cdf), count)
    assert floor == pytest.approx(distances.mean().item(), rel=0.1)
    assert floor > (1.05 if apart == 0.5 else 1.9) * normal_floor(1, count)


@pytest.mark.parametrize("classes", [2, 10])
def test_the_class_divergence_is_scipys_relative_entropy(classes):
    counts = np.random.default_rng(0).integers(1, 100, (4, classes))
    counts[1, 1:] = 0
    shares = counts / counts.sum(1, keepdims=True)
    found = class_divergence(torch.from_numpy(shares), torch.from_numpy(shares[0])).numpy()
    np.testing.assert_allclose(found, [scipy.stats.entropy(lane, shares[0]) for lane in shares], rtol=1e-12)
    assert len(set(found)) == 4


def test_the_class_divergence_is_zero_when_balanced_and_ln_k_with_one_class_only():
    balanced = torch.full((10,), 0.1, dtype=torch.float64)
    found = class_divergence(torch.stack((balanced, torch.eye(10, dtype=torch.float64)[3])), balanced)
    np.testing.assert_allclose(found.numpy(), [0, math.log(10)], rtol=1e-12)


def test_the_accuracy_of_a_class_is_its_share_that_was_taken_for_it_and_nan_where_never_asked():
    asked = torch.tensor([0, 0, 1, 1, 1, 3])
    predicted = torch.tensor([[0, 0, 1, 1, 1, 3], [0, 2, 1, 0, 3, 0]])
    found = class_accuracy(predicted, asked, 4)
    np.testing.assert_allclose(found.numpy(), [[1, 1, math.nan, 1], [0.5, 1 / 3, math.nan, 0]])
    np.testing.assert_array_equal(class_accuracy(predicted, asked.expand(2, 6), 4).numpy(), found.numpy())


def test_each_lane_can_be_asked_for_classes_of_its_own():
    found = class_accuracy(torch.tensor([[0, 1], [0, 1]]), torch.tensor([[0, 1], [1, 1]]), 2)
    np.testing.assert_allclose(found.numpy(), [[1, 1], [math.nan, 0.5]])


@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_class_that_does_not_exist_is_refused(wrong):
    with pytest.raises(ValueError, match=r"classes must be in \[0, 3\)"):
        class_accuracy(torch.tensor([[0, 1]]), torch.tensor([wrong, 1]), 3)
    with pytest.raises(ValueError, match=r"classes must be in \[0, 3\)"):
        code_agreement(torch.tensor([[0, wrong]]), torch.tensor([[0, 1]]), 3)


def test_codes_agree_with_classes_under_the_best_of_all_renamings():
    source = np.random.default_rng(0)
    codes, predicted = source.integers(0, 4, (3, 50)), source.integers(0, 4, (3, 50))
    predicted[1] = np.array([2, 0, 3, 1])[codes[1]]
    predicted[2, :30] = codes[2, :30]
    found = code_agreement(torch.from_numpy(codes), torch.from_numpy(predicted), 4).numpy()
    renamings = [np.array(order) for order in itertools.permutations(range(4))]
    expected = [max((order[codes[i]] == predicted[i]).mean() for order in renamings) for i in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert found[1] == 1
    assert len(set(found)) == 3


def test_codes_of_a_generator_of_one_class_agree_no_more_than_the_commonest_code():
    codes = torch.tensor([[0, 0, 0, 1, 2, 2, 3, 3]])
    assert code_agreement(codes, torch.full((1, 8), 2), 4).item() == 3 / 8


def test_where_the_limits_hold_nothing_is_violated():
    found = limit_violations(lanes_of(4, 0, -0.5), lanes_of(0, 0.1, 0.05), lanes_of(1, 0.5, 0.97), scale=100)
    assert list(found) == ["class_balance_violation", "coverage_violation", "violation"]
    assert all(amounts.tolist() == [0, 0, 0] for amounts in found.values())
    without = limit_violations(lanes_of(4, 0, -0.5), None, None, scale=100)
    assert {name: amounts.tolist() for name, amounts in without.items()} == {"violation": [0, 0, 0]}


def test_a_broken_limit_is_violated_by_its_relative_excess_and_by_the_distance_as_a_share_of_the_scale():
    """KL 0.2 and 0.4 break the limit 0.1 by 1/2 and 3/4; coverage 0.4 and 0 break the limit 0.5 by 1/5 and 1."""
    distance, kl, coverage = (
        lanes_of(4, 4, 4, -4, 4e9),
        lanes_of(0.2, 0.01, 0.4, math.inf, 0.2),
        lanes_of(1, 0.4, 0.4, 0, 1),
    )
    found = limit_violations(distance, kl, coverage, scale=100)
    np.testing.assert_allclose(found["class_balance_violation"].numpy(), [0.5, 0, 0.75, 1, 0.5])
    np.testing.assert_allclose(found["coverage_violation"].numpy(), [0, 0.2, 0.2, 1, 0])
    np.testing.assert_allclose(found["violation"].numpy(), [0.54, 0.24, 0.99, 2, 0.5 + MOST_EXCESS])
    chosen_limits = limit_violations(
        lanes_of(4), lanes_of(0.2), lanes_of(0.4), scale=100, class_kl_limit=0.2, coverage_limit=0.4
    )
    assert chosen_limits["violation"].item() == 0


def test_the_limit_of_class_balance_counts_above_the_floor():
    found = limit_violations(lanes_of(4, 4), lanes_of(0.2, 0.3), None, scale=100, class_kl_floor=0.1)
    np.testing.assert_allclose(found["class_balance_violation"].numpy(), [0, 0.5])


def test_450_balanced_classes_keep_the_limit_at_2000_samples():
    """Chance alone gives them 0.11 nats, which is more than the limit of 0.1; half of the classes break it."""
    classes, samples, generator = 450, 2_000, np.random.default_rng(0)
    real = torch.full((classes,), 1 / classes, dtype=torch.float64)
    halved = np.repeat([2 / classes, 0.0], classes // 2)
    shares = torch.from_numpy(generator.multinomial(samples, [np.full(classes, 1 / classes)] * 20 + [halved]) / samples)
    divergence = class_divergence(shares, real)
    assert (divergence[:20] > CLASS_KL_LIMIT).sum() > 15
    floor = (classes - 1) / (2 * samples)
    assert divergence[:20].mean().item() == pytest.approx(floor, rel=0.1)
    found = limit_violations(torch.ones(21), divergence, None, scale=1.0, class_kl_floor=floor)
    assert found["class_balance_violation"][:20].tolist() == [0] * 20
    assert found["class_balance_violation"][20] > 0.8


def test_what_breaks_a_limit_is_ranked_by_all_that_is_off_and_what_keeps_them_never_is():
    source, count, scale = np.random.default_rng(0), 500, 128.0
    distance = torch.from_numpy(source.uniform(0, 1, count) ** 3 * scale)
    class_kl, coverage = (torch.from_numpy(source.uniform(0, high, count)) for high in (0.3, 1))
    violation = limit_violations(distance, class_kl, coverage, scale=scale)["violation"]
    broken = (class_kl > 0.1) | (coverage < 0.5)
    assert 100 < broken.sum() < 450
    assert torch.equal(violation > 0, broken)
    assert len(violation[broken].unique()) == broken.sum()
    for worse in ((distance * 1.5, class_kl, coverage), (distance, class_kl * 1.5, coverage)):
        assert (limit_violations(*worse, scale=scale)["violation"] >= violation).all()


def test_a_distance_of_nan_makes_the_violations_nan_in_its_lane_alone():
    found = limit_violations(lanes_of(math.nan, 5), lanes_of(0.2, 0), lanes_of(1, 1), scale=100)
    for amounts in found.values():
        assert amounts.isnan().tolist() == [True, False]


def test_the_scale_is_the_mean_distance_of_generators_that_repeat_one_real_sample_each():
    real = drawn(40, 5) * torch.tensor([1.0, 2, 3, 4, 5])
    mean, covariance = moments(real.unsqueeze(0))
    distances = frechet_distance(real, torch.zeros(40, 5, 5, dtype=torch.float64), mean[0], covariance[0])
    unbiased = (39 / 40 + 1) / 2  # of these very samples the mean |x - m|^2 is (n - 1)/n of the trace
    assert point_mass_distance(covariance[0]) * unbiased == pytest.approx(distances.mean().item(), rel=1e-9)
