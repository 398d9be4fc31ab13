"""Tests standard errors against simulations with a fixed reference, closed forms and numerical derivatives."""

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from given_samples import lanes_of, mixture
from torch import Tensor
from torch_twins import drawn

from gan_core.fidelity.distances import class_divergence, covariance_factor, frechet_distance, moments, wasserstein_1d
from gan_core.fidelity.modes import mode_scores
from gan_core.fidelity.standard_errors import (
    class_divergence_error,
    delta_error,
    frechet_error,
    mean_and_deviation_errors,
    median_error,
    mode_divergence_error,
    spread_within,
    violation_error,
    wasserstein_error,
)


def ratio(errors: Tensor, values: Tensor) -> float:
    """The root mean square of the errors over the deviation of the values; the lanes are repetitions."""
    return float(errors.square().mean().sqrt() / values.std())


def one_stratum(samples: int) -> Tensor:
    return torch.ones(samples, 1, dtype=torch.float64)


def in_turn(samples: int, strata: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.arange(samples) % strata, strata).double()


def covariance_of(size: int, seed: int) -> Tensor:
    factor = drawn(size, size + 3, seed=seed)
    return factor @ factor.T / size


def frechet(samples: Tensor, real: tuple[Tensor, Tensor], strata: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Distances and errors of samples [L, M, D]; real: mean [D] and covariance [D, D]."""
    factor, (mean, covariance) = covariance_factor(real[1]), moments(samples)
    kind = one_stratum(samples.shape[1]) if strata is None else strata
    errors = frechet_error(samples, mean, covariance, real[0], factor, kind)
    return frechet_distance(mean, covariance, *real, factor), errors


def reference(size: int, samples: int) -> tuple[Tensor, Tensor]:
    """The moments of this many real samples; for 0, the exact ones."""
    covariance = covariance_of(size, 7)
    if not samples:
        return torch.zeros(size, dtype=torch.float64), covariance
    mean, found = moments((drawn(samples, size, seed=8) @ torch.linalg.cholesky(covariance).T)[None])
    return mean[0], found[0]


def fresh(size: int, samples: int, spread: float, shift: float, turn: float = 0.0, lanes: int = 500) -> Tensor:
    factor = spread * torch.linalg.cholesky(covariance_of(size, 7)) + turn * drawn(size, size, seed=9)
    return drawn(lanes, samples, size, seed=10) @ factor.T + shift


@pytest.mark.parametrize(
    ("size", "samples", "real_samples", "spread", "shift", "turn"),
    [
        (4, 300, 200, 1.0, 1.0, 0.0),
        (8, 300, 300, 0.5, 0.0, 0.0),
        (8, 300, 300, 0.01, 0.0, 0.0),
        (16, 400, 400, 1.3, 0.1, 0.0),
        (16, 400, 400, 1.0, 0.0, 0.1),
        (16, 400, 400, 1.0, 0.0, 0.0),  # alike but for the reference's own noise
    ],
)
def test_the_frechet_error_is_the_spread_over_draws_against_one_and_the_same_reference(
    size, samples, real_samples, spread, shift, turn
):
    values, errors = frechet(fresh(size, samples, spread, shift, turn), reference(size, real_samples))
    assert ratio(errors, values) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("size", [4, 16])
def test_where_the_first_order_vanishes_the_frechet_error_is_the_closed_form_of_the_second(size):
    """With the exact reference, the deviation of the distance over draws is that of the quadratic term. The error is up
    to a third larger, because only the excess of the first order over the second is counted.
    """
    samples = 400
    values, errors = frechet(fresh(size, samples, 1.0, 0.0, lanes=800), reference(size, 0))
    spectrum = torch.linalg.eigvalsh(covariance_of(size, 7))
    pairs = (spectrum[:, None] * spectrum / (spectrum[:, None] + spectrum)).square()
    variance = 2 * spectrum.square().sum() + spectrum.square().sum() / 2 + pairs.sum() - pairs.diagonal().sum()
    assert float(values.std()) == pytest.approx(float(variance.sqrt()) / samples, rel=0.12)
    assert 1 < ratio(errors, values) < 1.35


@pytest.mark.parametrize("size", [1, 7])
def test_a_lane_of_the_references_own_moments_has_exactly_the_error_of_the_second_order(size):
    lane = drawn(30, size) @ drawn(size, size, seed=1)
    mean, covariance = (moment[0] for moment in moments(lane[None]))
    _, errors = frechet(lane[None], (mean, covariance))
    spectrum = np.linalg.eigvalsh(covariance.numpy())
    squares = 2.5 * np.square(spectrum).sum()  # 2 of the mean, 1/2 of the deviations along the axes
    squares += sum(2 * (a * b / (a + b)) ** 2 for i, a in enumerate(spectrum) for b in spectrum[:i])
    assert float(errors) == pytest.approx(math.sqrt(squares) / 30, rel=1e-6)


def test_the_first_order_of_the_frechet_error_is_the_jackknifes():
    """Far from the reference, compares with the distances that leave out one sample each, by scipy's matrix root."""
    samples, (real_mean, real_covariance) = 2 + drawn(80, 3, seed=3) @ drawn(3, 3, seed=4), reference(3, 50)

    def distance(some: np.ndarray) -> float:
        covariance = np.cov(some, rowvar=False)
        root = np.real(np.asarray(scipy.linalg.sqrtm(covariance @ real_covariance.numpy())))
        shift = some.mean(0) - real_mean.numpy()
        return float(shift @ shift + np.trace(covariance + real_covariance.numpy() - 2 * root))

    without = np.array([distance(np.delete(samples.numpy(), i, 0)) for i in range(80)])
    jackknife = math.sqrt(79 / 80 * np.square(without - without.mean()).sum())
    _, errors = frechet(samples[None], (real_mean, real_covariance))
    assert float(errors) == pytest.approx(jackknife, rel=0.05)


def collapsed_lanes() -> Tensor:
    """A point, a line, a plane, two points, a distant line, and noise: [6, 40, 5]."""
    lines = drawn(40, 1, seed=5) @ drawn(1, 5, seed=6)
    planes, points = drawn(40, 2, seed=5) @ drawn(2, 5, seed=6), (torch.arange(40) % 2)[:, None] * drawn(5, seed=2)
    return torch.stack((torch.ones(40, 5).double(), lines, planes, points, 1e30 * lines, drawn(40, 5, seed=11)))


@pytest.mark.parametrize("flat", [False, True])
def test_collapsed_lanes_and_a_flat_reference_have_finite_errors_and_a_lane_of_one_point_has_none(flat):
    covariance = torch.diag(torch.tensor([1.0, 2.0, 0.0 if flat else 3.0, 0.5, 0.0 if flat else 1.0]).double())
    values, errors = frechet(collapsed_lanes(), (torch.zeros(5).double(), covariance))
    assert errors.isfinite().all()
    assert errors[0] == 0 < values[0]
    assert bool((errors[1:] > 0).all())


def test_on_a_flat_lane_the_frechet_error_is_that_of_the_directions_it_has():
    """Along a single axis the distance is (m - 0)^2 + (s - r)^2, as in 1-D, plus a constant."""
    values = drawn(300, 60, seed=1) * 0.5 + 1
    lanes = torch.nn.functional.pad(values[..., None], (0, 2))
    covariance = torch.diag(torch.tensor([2.0, 1.0, 4.0]).double())
    _, errors = frechet(lanes, (torch.zeros(3).double(), covariance))
    _, of_line = frechet(values[..., None], (torch.zeros(1).double(), covariance[:1, :1]))
    torch.testing.assert_close(errors, of_line, rtol=1e-9, atol=0)
    exact = values.mean(1).square() + (values.std(1) - math.sqrt(2)).square()
    assert ratio(errors, exact) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_lane_of_nan_has_an_error_of_nan_and_the_others_keep_their_bits_alone_and_in_any_order(poison):
    lanes, real = fresh(6, 50, 1.0, 0.3, lanes=3) * torch.tensor([1, 2, 0.5])[:, None, None], reference(6, 40)
    clean = frechet(lanes, real)[1]
    assert len(set(clean.tolist())) == 3
    assert [frechet(lane[None], real)[1].item() for lane in lanes] == clean.tolist()
    assert torch.equal(frechet(lanes.flip(0), real)[1], clean.flip(0))
    lanes[1, 3, 2] = poison
    spoilt = frechet(lanes, real)[1]
    assert spoilt.isnan().tolist() == [False, True, False]
    assert torch.equal(spoilt[[0, 2]], clean[[0, 2]])


def test_samples_drawn_class_by_class_vary_within_their_classes_alone():
    """Five distant classes, each drawn a fixed number of times, so that their means do not vary."""
    samples, classes = 400, in_turn(400, 5)
    lanes = fresh(6, samples, 0.5, 0.2) + classes @ (3 * drawn(5, 6, seed=12))
    values, errors = frechet(lanes, reference(6, 300), classes)
    assert ratio(errors, values) == pytest.approx(1, abs=0.12)
    _, regardless = frechet(lanes, reference(6, 300))
    assert ratio(regardless, values) > 1.5


def test_the_spread_within_one_stratum_is_the_variance_and_within_strata_of_one_sample_nothing():
    influence = drawn(30)
    assert float(spread_within(influence, one_stratum(30))) == pytest.approx(float(influence.var()), rel=1e-12)
    assert float(spread_within(influence, torch.eye(30).double())) == 0
    with_none_of_the_last = torch.nn.functional.pad(in_turn(30, 3), (0, 1))
    parts = sum(influence[i::3].var().item() * 9 for i in range(3)) / 27
    assert float(spread_within(influence, with_none_of_the_last)) == pytest.approx(parts, rel=1e-12)


def test_the_error_of_a_quadratic_score_is_right_on_average_near_and_far_from_its_least_value():
    """|m|^2 of M normal samples in D axes of mean c has variance 4 c^2 D/M + 2 D/M^2, the latter of second order."""
    size, samples = 20, 50
    for shift, most in ((0.0, 1.25), (0.1, 1.1), (1.0, 1.05)):
        means = shift + drawn(4000, size, seed=1) / math.sqrt(samples)
        second = torch.tensor(2 * size / samples**2).double()
        errors = delta_error(4 * means.square().sum(1) / samples, second)
        assert 0.97 < ratio(errors, means.square().sum(1)) < most


SHARES = {"balanced": [0.25] * 4, "uneven": [0.4, 0.3, 0.2, 0.1], "two missing": [0.5, 0.5, 0.0, 0.0]}


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("samples", [60, 2000])
def test_the_error_of_the_class_divergence_is_the_spread_over_draws(name, samples):
    """Near balance and with few samples it is up to half too large: only the excess over the second order counts."""
    source, real = np.random.default_rng(3), torch.full((4,), 0.25).double()
    predicted = torch.from_numpy(source.choice(4, (2000, samples), p=SHARES[name]))
    shares = torch.nn.functional.one_hot(predicted, 4).double().mean(1)
    found = ratio(class_divergence_error(predicted, real, one_stratum(samples)), class_divergence(shares, real))
    assert (0.9 < found < 1.1) if name == "uneven" else (0.9 < found < 1.6)


def test_the_error_of_the_class_divergence_has_the_multinomials_first_order_and_none_for_one_class():
    predicted = torch.tensor([[0] * 70 + [1] * 20 + [2] * 10, [1] * 100])
    real, shares = torch.full((3,), 1 / 3).double(), np.array([0.7, 0.2, 0.1])
    found = class_divergence_error(predicted, real, one_stratum(100)).tolist()
    logs = np.log(3 * shares)
    variance = shares @ logs**2 - (shares @ logs) ** 2
    assert found[0] == pytest.approx(math.sqrt(variance / 100 - 2 / (2 * 100**2)), rel=1e-12)
    assert found[1] == 0


def test_classes_that_were_asked_for_and_drawn_leave_the_class_divergence_no_error():
    """A generator that draws what is requested; if half of a class is taken for the next, only these samples vary."""
    asked, real = in_turn(200, 4), torch.full((4,), 0.25).double()
    right = torch.arange(200).remainder(4)
    assert class_divergence_error(right[None], real, asked).tolist() == [0]
    source = np.random.default_rng(4)
    odd = torch.from_numpy(source.random((2000, 200)) < 0.5)
    predicted = torch.where(odd & (right == 0), 1, right)
    shares = torch.nn.functional.one_hot(predicted, 4).double().mean(1)
    found, values = class_divergence_error(predicted, real, asked), class_divergence(shares, real)
    assert ratio(found, values) == pytest.approx(1, abs=0.1)
    assert ratio(class_divergence_error(predicted, real, one_stratum(200)), values) > 1.2


@pytest.mark.parametrize(
    ("shift", "spread", "least", "most"),
    [(1.0, 1.0, 0.9, 1.15), (0.0, 0.2, 0.9, 1.1), (0.0, 1.4, 0.9, 1.15), (0.3, 0.8, 0.9, 1.15), (0.0, 1.0, 1.2, 1.66)],
)
def test_the_error_of_the_wasserstein_distance_is_the_spread_over_draws_and_too_large_where_all_is_right(
    shift, spread, least, most
):
    samples, truth = 500, mixture("gaussian:0,1")
    lanes, quantiles = drawn(600, samples) * spread + shift, truth.quantiles(samples)
    assert least < ratio(wasserstein_error(lanes, quantiles), wasserstein_1d(lanes, quantiles)) < most


def test_the_influence_on_the_wasserstein_distance_is_the_integral_of_the_sign_of_what_is_above():
    """Piece by piece between all samples and quantiles; each sample has influence on the pieces above it."""
    samples, quantiles = drawn(7, seed=3).numpy() + 0.2, mixture("gaussian:0,1").quantiles(7).numpy()
    ends = np.sort(np.concatenate((samples, quantiles)))
    middles = (ends[1:] + ends[:-1]) / 2
    signs = np.sign([(samples < x).sum() - (quantiles < x).sum() for x in middles])
    assert set(signs) == {-1, 0, 1}
    influence = [(np.diff(ends) * signs)[middles > x].sum() for x in samples]
    found = wasserstein_error(torch.from_numpy(samples)[None], torch.from_numpy(quantiles))
    assert found.item() == pytest.approx(np.std(influence, ddof=1) / math.sqrt(7), rel=1e-12)


def test_the_error_of_the_wasserstein_distance_holds_for_shares_of_modes_far_apart():
    truth, samples, source = mixture("mixture:0,1;20,1"), 400, np.random.default_rng(5)
    modes = source.choice([0.0, 20.0], (500, samples), p=[0.7, 0.3])
    lanes, quantiles = torch.from_numpy(source.standard_normal((500, samples)) + modes), truth.quantiles(samples)
    errors = wasserstein_error(lanes, quantiles)
    assert ratio(errors, wasserstein_1d(lanes, quantiles)) == pytest.approx(1, abs=0.1)
    assert float(errors.mean()) == pytest.approx(20 * math.sqrt(0.7 * 0.3 / samples), rel=0.1)


def test_the_wasserstein_error_of_a_shifted_lane_is_that_of_its_mean_and_of_a_lane_of_nan_nan():
    lanes = drawn(3, 40) + 100
    lanes[1, 3] = math.nan
    quantiles = mixture("gaussian:0,1").quantiles(40)
    found = wasserstein_error(lanes, quantiles)
    assert bool(found[1].isnan())
    for i in (0, 2):
        assert float(found[i]) == pytest.approx(float(lanes[i].std()) / math.sqrt(40), rel=1e-9)
        assert wasserstein_error(lanes[i : i + 1], quantiles).tolist() == found[i : i + 1].tolist()


def test_the_errors_of_mean_and_deviation_are_their_spread_over_draws_of_a_skew_distribution():
    lanes = torch.from_numpy(np.random.default_rng(6).gamma(4.0, size=(1500, 400)))
    of_mean, of_deviation = mean_and_deviation_errors(lanes)
    assert ratio(of_mean, lanes.mean(1)) == pytest.approx(1, abs=0.06)
    assert ratio(of_deviation, lanes.std(1)) == pytest.approx(1, abs=0.1)
    alone = mean_and_deviation_errors(lanes[7:8])
    assert [alone[0].item(), alone[1].item()] == [of_mean[7].item(), of_deviation[7].item()]


def test_the_errors_of_a_lane_of_one_number_are_zero_and_of_a_lane_of_nan_nan():
    lanes = torch.tensor([[3.0] * 10, [math.nan] * 10]).double()
    found = torch.stack(mean_and_deviation_errors(lanes))
    assert found[:, 0].tolist() == [0, 0]
    assert found[:, 1].isnan().all()


@pytest.mark.parametrize(
    ("shares", "most"), [([0.125] * 8, 1.35), ([0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05], 1.1), ([0.9, 0.1], 1.1)]
)
def test_the_error_of_the_mode_divergence_is_the_spread_over_draws(shares, most):
    truth, samples = mixture("ring:8,1,0.01"), 1000
    source = np.random.default_rng(7)
    modes = torch.from_numpy(source.choice(len(shares), (600, samples), p=shares))
    found = mode_scores(truth.means[modes], truth)
    assert 0.9 < ratio(found.mode_jsd_error, found.mode_jsd) < most


def test_the_error_of_the_mode_divergence_in_balance_is_the_closed_form_and_none_for_one_mode_or_no_sample():
    counts = torch.tensor([[50] * 8, [400] + [0] * 7, [0] * 8]).double()
    assert mode_divergence_error(counts).tolist() == pytest.approx([math.sqrt(7 / 32) / 400, 0, 0], abs=1e-12)


def test_the_error_of_the_mode_divergence_is_the_deviation_of_its_derivative():
    """Far from balance, the derivative by a share is taken from differences of scipy's distance."""
    shares, count = np.array([0.6, 0.25, 0.1, 0.05]), 10**6

    def divergence(at: np.ndarray) -> float:
        middle = (at + 0.25) / 2
        return float(scipy.stats.entropy(at, middle) + scipy.stats.entropy([0.25] * 4, middle)) / 2

    def moved(i: int, by: float) -> float:
        return divergence((1 - by) * shares + by * np.eye(4)[i])

    slopes = np.array([(moved(i, 1e-5) - moved(i, -1e-5)) / 2e-5 for i in range(4)])
    found = mode_divergence_error(torch.from_numpy(shares * count)[None]).item()
    assert found == pytest.approx(math.sqrt(shares @ slopes**2 / count), rel=1e-4)


@pytest.mark.parametrize("samples", [60, 1000])
def test_the_error_of_a_median_is_its_spread_over_draws(samples):
    lanes = torch.from_numpy(np.random.default_rng(8).gamma(3.0, size=(500, samples)))
    errors = torch.stack([median_error(lane) for lane in lanes])
    assert ratio(errors, lanes.quantile(0.5, dim=1)) == pytest.approx(1, abs=0.12)


def test_the_error_of_a_median_of_very_few_is_a_quarter_of_their_range():
    assert float(median_error(torch.tensor([1.0, 5.0]))) == 1
    assert float(median_error(torch.tensor([2.0]))) == 0


def test_the_violation_moves_with_the_scores_that_break_their_limits_and_with_no_other():
    """The error of max(0, 1 - 0.1/kl) + max(0, 1 - coverage/0.5) by the slopes 0.1/kl^2 and 1/0.5, and that of the
    distance where a limit is broken.
    """
    divergence = lanes_of(0.2, 0.05, 0.2, 0.05, math.inf), lanes_of(0.01, 0.01, 0.01, 0.01, math.nan)
    coverage = lanes_of(0.9, 0.4, 0.4, 0.9, 0.9), lanes_of(0.02, 0.02, 0.02, 0.02, 0.02)
    found = violation_error(torch.zeros(5), divergence, coverage, 0.1, 0.5)
    assert found.tolist() == pytest.approx([0.025, 0.04, math.hypot(0.025, 0.04), 0, 0], rel=1e-12)
    found = violation_error(torch.full((5,), 0.3), None, coverage, 0.1, 0.5)
    assert found.tolist() == pytest.approx([0, math.hypot(0.04, 0.3), math.hypot(0.04, 0.3), 0, 0])
