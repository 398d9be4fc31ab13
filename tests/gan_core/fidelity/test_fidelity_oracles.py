"""Tests scores against torchmetrics, torch-fidelity, prdc and scipy. The names of the tests state the tolerances."""

import numpy as np
import prdc as naver
import pytest
import scipy.linalg
import scipy.stats
import torch
from given_samples import kernel_distance
from scipy.spatial.distance import cdist
from torch import Tensor, nn
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from gan_core.fidelity.copying import data_copying
from gan_core.fidelity.discrepancy import energy_distance
from gan_core.fidelity.distances import frechet_distance, moments
from gan_core.fidelity.neighbours import prdc, real_neighbours

LANES, REAL, FEATURES = 3, 150, 7
MIXING = np.linspace(0.2, 1.5, FEATURES)  # so that no two features have one variance


def features(samples: int, seed: int = 0) -> Tensor:
    """Features [L, M, D]; each lane is farther from the real ones than the lane before."""
    drawn = np.random.default_rng(seed).standard_normal((LANES, samples, FEATURES)) * MIXING
    steps = np.arange(LANES)[:, None, None]
    return torch.from_numpy(drawn * (1 + 0.2 * steps) + 0.3 * steps)


def real_features(samples: int = REAL) -> Tensor:
    return torch.from_numpy(np.random.default_rng(99).standard_normal((samples, FEATURES)) * MIXING)


def agrees(found: Tensor, expected: list[float], relative: float) -> bool:
    assert len({round(value, 6) for value in expected}) == LANES, "lanes that do not differ prove nothing"
    np.testing.assert_allclose(found.numpy(), expected, rtol=relative, atol=relative * 1e-3)
    return True


class Passing(nn.Module):
    """A feature extractor for torchmetrics that is given features in place of images."""

    num_features = FEATURES

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def of_torchmetrics(metric: FrechetInceptionDistance | KernelInceptionDistance, lane: Tensor, real: Tensor) -> Tensor:
    metric.update(real, real=True)
    metric.update(lane, real=False)
    value = metric.compute()
    return value[0] if isinstance(value, tuple) else value


def frechet(lanes: Tensor, real: Tensor) -> Tensor:
    mean, covariance = moments(real.unsqueeze(0))
    return frechet_distance(*moments(lanes), mean[0], covariance[0])


@pytest.mark.parametrize("samples", [100, 400])
def test_the_frechet_distance_is_torchmetrics_and_torch_fidelitys_to_1e_6(samples):
    lanes, real = features(samples), real_features()
    found = frechet(lanes, real)
    theirs = [float(of_torchmetrics(FrechetInceptionDistance(Passing()), lane, real)) for lane in lanes]
    assert agrees(found, theirs, 1e-6)
    of_real = fid_features_to_statistics(real)
    values = [fid_statistics_to_metric(fid_features_to_statistics(lane), of_real, verbose=False) for lane in lanes]
    assert agrees(found, [float(next(iter(value.values()))) for value in values], 1e-6)


def test_the_frechet_distance_of_samples_is_that_of_scipys_matrix_root_to_1e_8():
    lanes, real = features(100), real_features()
    expected = []
    for lane in lanes.numpy():
        one, other = np.cov(lane, rowvar=False), np.cov(real.numpy(), rowvar=False)
        root = np.real(np.asarray(scipy.linalg.sqrtm(one @ other)))
        apart = np.square(lane.mean(0) - real.numpy().mean(0)).sum()
        expected.append(float(apart + np.trace(one + other - 2 * root)))
    assert agrees(frechet(lanes, real), expected, 1e-8)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save all extracted features:UserWarning")
def test_the_kernel_distance_is_torchmetrics_and_torch_fidelitys_on_one_whole_subset_to_1e_9():
    lanes, real = features(REAL), real_features()
    found, _, _ = kernel_distance(lanes, real)
    metrics = [KernelInceptionDistance(Passing(), subsets=1, subset_size=REAL) for _ in lanes]
    theirs = [float(of_torchmetrics(metric, lane, real)) for metric, lane in zip(metrics, lanes, strict=True)]
    assert agrees(found, theirs, 1e-9)
    cubic = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None}
    whole = {"kid_subsets": 1, "kid_subset_size": REAL, "kid_kernel_poly_coef0": 1.0, "rng_seed": 0, "verbose": False}
    values = [kid_features_to_metric(lane, real, **cubic, **whole) for lane in lanes]
    assert agrees(found, [value["kernel_inception_distance_mean"] for value in values], 1e-9)


def unbiased(within: np.ndarray, between: np.ndarray, within_real: np.ndarray) -> float:
    """The U-statistic of kernel matrices [M, M], [M, R] and [R, R], written out."""
    means = [matrix[~np.eye(len(matrix), dtype=bool)].mean() for matrix in (within, within_real)]
    return float(sum(means) - 2 * between.mean())


@pytest.mark.parametrize("samples", [31, 32, 33, 200])
def test_the_kernel_distance_of_sets_of_different_sizes_is_the_sum_written_out_to_1e_11(samples):
    lanes, real = features(samples), real_features()

    def cubic(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return (one @ other.T / FEATURES + 1) ** 3

    y = real.numpy()
    expected = [unbiased(cubic(x, x), cubic(x, y), cubic(y, y)) for x in lanes.numpy()]
    assert agrees(kernel_distance(lanes, real)[0], expected, 1e-11)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_energy_distance_is_the_sum_over_all_pairs_written_out_to_1e_11(size):
    lanes, real = features(40)[:, :, :size], real_features()[:, :size]
    y = real.numpy()
    expected = [unbiased(-cdist(x, x), -cdist(x, y), -cdist(y, y)) for x in lanes.numpy()]
    assert agrees(energy_distance(lanes, real)[0], expected, 1e-11)


def test_the_energy_distance_with_each_sample_paired_with_itself_too_is_scipys_squared_to_1e_10():
    """scipy computes the root of the V-statistic, whose mean |x - x'| includes the zeros of the diagonal."""
    lanes, real = features(40)[:, :, :1], real_features()[:, :1]
    found, _, _ = energy_distance(lanes, real)
    ours, theirs = [], []
    for lane, value in zip(lanes.numpy(), found.tolist(), strict=True):
        diagonal = sum(cdist(x, x).sum() / len(x) ** 2 / (len(x) - 1) for x in (lane, real.numpy()))
        ours.append(value + diagonal)
        theirs.append(float(scipy.stats.energy_distance(lane[:, 0], real.numpy()[:, 0]) ** 2))
    assert agrees(torch.tensor(ours, dtype=torch.float64), theirs, 1e-10)


@pytest.mark.parametrize(("samples", "k"), [(150, 5), (70, 1), (200, 3)])
def test_precision_recall_density_and_coverage_are_the_prdc_packages_exactly(samples, k):
    lanes, real = features(samples), real_features()
    found = prdc(lanes, real_neighbours(real, k))
    expected = [naver.compute_prdc(real.numpy(), lane.numpy(), k) for lane in lanes]
    for name in ("precision", "recall", "density", "coverage"):
        values = [float(value[name]) for value in expected]
        assert len(set(values)) > 1
        np.testing.assert_allclose(getattr(found, name).numpy(), values, rtol=1e-14)


@pytest.mark.parametrize("decimals", [15, 1])
def test_data_copying_is_scipys_mann_whitney_statistic_over_its_range_to_1e_14(decimals):
    """With one decimal, most values are tied."""
    source = np.random.default_rng(0)
    to_train = np.abs(source.standard_normal((LANES, 40))).round(decimals) * np.array([[1.0], [0.7], [2.0]])
    held_out = np.abs(source.standard_normal(30)).round(decimals)
    expected = [scipy.stats.mannwhitneyu(held_out, lane).statistic / (40 * 30) for lane in to_train]
    assert agrees(data_copying(torch.from_numpy(to_train), torch.from_numpy(held_out)), expected, 1e-14)
