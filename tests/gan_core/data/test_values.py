"""Tests mixtures against closed forms, scipy and mpmath, and mode scores against a plain loop."""

import math

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from given_samples import mixture
from scipy.spatial.distance import jensenshannon

from gan_core.config.dataset_name import DatasetName, parse_dataset_name
from gan_core.data.values import Mixture, mixture_of
from gan_core.fidelity.modes import mode_scores
from gan_core.lanes.streams import Stream, stream

MIXTURES = {
    "apart": "mixture:-3,0.5;4,1.5",
    "overlapping": "mixture:0,1;0.5,1;3,0.2",
    "narrow and wide": "mixture:0,0.001;1,10",
    "far": "mixture:-10,1;10,1",
    "large": "mixture:1000,0.01;-1000,0.01;5,300",
}


def exact_quantile(truth: Mixture, index: int, count: int) -> float:
    """The quantile (index - 1/2)/count by bisection with 60 digits."""
    with mpmath.workdps(60):
        modes = [
            (mpmath.mpf(float(m)), mpmath.mpf(float(s))) for m, s in zip(truth.means, truth.deviations, strict=True)
        ]
        level = mpmath.mpf(2 * index - 1) / (2 * count)
        low = min(mean - 40 * deviation for mean, deviation in modes)
        high = max(mean + 40 * deviation for mean, deviation in modes)
        for _ in range(120):
            middle = (low + high) / 2
            below = sum(mpmath.ncdf(middle, mean, deviation) for mean, deviation in modes) / len(modes) < level
            low, high = (middle, high) if below else (low, middle)
        return float(high)


@pytest.mark.parametrize("count", [1, 2, 101, 10_000])
@pytest.mark.parametrize("text", ["gaussian", "gaussian:-2,0.3"])
def test_quantiles_of_one_normal_are_its_closed_form_to_the_last_bit(text, count):
    truth = mixture(text)
    levels = (torch.arange(1, count + 1, dtype=torch.float64) - 0.5) / count
    mean, deviation = parse_dataset_name(text).numbers
    assert torch.equal(truth.quantiles(count), mean + deviation * math.sqrt(2) * torch.erfinv(2 * levels - 1))
    expected = scipy.stats.norm.ppf(levels.numpy(), mean, deviation)
    np.testing.assert_allclose(truth.quantiles(count).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("text", MIXTURES.values(), ids=MIXTURES)
@pytest.mark.parametrize("count", [7, 10_000])
def test_quantiles_of_mixtures_are_exact_to_1e12_of_the_mixtures_spread(text, count):
    truth = mixture(text)
    found = truth.quantiles(count)
    for index in {1, 2, count // 3, (count + 1) // 2, count // 2 + 1, count - 1, count}:
        assert abs(float(found[index - 1]) - exact_quantile(truth, index, count)) < 1e-12 * float(truth.deviation)
    assert bool((found.diff() > 0).all())


def test_the_median_in_a_gap_where_the_distribution_is_flat_to_1e23_is_still_exact():
    assert float(mixture("mixture:-10,1;10,1").quantiles(3)[1]) == pytest.approx(0, abs=1e-12)


def test_a_quantile_in_a_gap_that_float64_cannot_fill_lies_at_its_left_end():
    """The tail of a normal distribution is 0 in float64 beyond about 38 deviations."""
    assert 37 < float(mixture("mixture:0,1;1000,1").quantiles(3)[1]) < 40


@pytest.mark.parametrize("modes", [2, 5])
def test_equal_modes_are_one_mode(modes):
    one, many = mixture("gaussian:4,1.25"), mixture("mixture:" + ";".join(["4,1.25"] * modes))
    np.testing.assert_allclose(many.quantiles(1000).numpy(), one.quantiles(1000).numpy(), rtol=1e-12)
    assert (float(many.mean), float(many.deviation)) == pytest.approx((4, 1.25), rel=1e-15)


@pytest.mark.parametrize("text", ["gaussian", *MIXTURES.values()])
def test_the_distribution_function_is_the_mean_of_its_modes_and_takes_quantiles_back(text):
    truth = mixture(text)
    values = torch.linspace(-20, 20, 82, dtype=torch.float64).view(2, 41)
    pairs = np.array(parse_dataset_name(text).numbers).reshape(-1, 2)
    expected = np.mean([scipy.stats.norm.cdf(values.numpy(), mean, deviation) for mean, deviation in pairs], 0)
    np.testing.assert_allclose(truth.cdf(values).numpy(), expected, rtol=1e-12, atol=1e-300)
    levels = (np.arange(1000) + 0.5) / 1000
    if text != MIXTURES["large"]:  # there a float64 holds 1000 +- 0.01 too coarsely for a level to come back
        np.testing.assert_allclose(truth.cdf(truth.quantiles(1000)).numpy(), levels, atol=1e-11)


def test_mean_and_deviation_are_those_of_the_closed_forms():
    two = mixture("mixture:-3,1;3,1")
    assert (float(two.mean), float(two.deviation)) == pytest.approx((0, math.sqrt(10)), abs=1e-15)
    uneven = mixture("mixture:0,1;4,3")
    assert (float(uneven.mean), float(uneven.deviation)) == pytest.approx((2, 3), abs=1e-15)
    ring, grid = mixture("ring:8,2,0.5"), mixture("grid")
    assert ring.mean.tolist() == pytest.approx([0, 0], abs=1e-15)
    assert ring.deviation.tolist() == pytest.approx([1.5, 1.5], rel=1e-14)
    assert grid.deviation.tolist() == pytest.approx([math.sqrt(8 + 0.05**2)] * 2, rel=1e-14)


@pytest.mark.parametrize("text", ["gaussian", "gaussian:-2,0.5", "mixture:-3,0.5;4,1.5;4,0.25"])
def test_draws_of_a_1d_mixture_follow_its_distribution_function(text):
    truth = mixture(text)
    drawn = truth.draw(20_000, stream(0, Stream.DATA_SAMPLES))
    assert (drawn.shape, drawn.dtype) == ((20_000, 1), torch.float32)
    assert scipy.stats.kstest(drawn[:, 0].double().numpy(), lambda x: truth.cdf(torch.from_numpy(x)).numpy())[1] > 1e-3
    assert torch.equal(drawn, truth.draw(20_000, stream(0, Stream.DATA_SAMPLES)))
    assert not torch.equal(drawn, truth.draw(20_000, stream(1, Stream.DATA_SAMPLES)))


@pytest.mark.parametrize("text", ["ring", "grid", "ring:1", "grid:2,100,3"])
def test_draws_of_a_2d_mixture_have_its_modes_in_equal_shares_and_its_deviation_around_each(text):
    truth, count = mixture(text), 50_000
    drawn = truth.draw(count, stream(0, Stream.DATA_SAMPLES)).double()
    mode = torch.cdist(drawn, truth.means).argmin(1)
    shares = torch.bincount(mode, minlength=truth.modes) / count
    assert float((shares - 1 / truth.modes).abs().max()) < 5 / math.sqrt(truth.modes * count)
    around = ((drawn - truth.means[mode]) / truth.deviations[mode, None]).flatten().numpy()
    assert scipy.stats.kstest(around, "norm")[1] > 1e-3
    error = truth.deviation / math.sqrt(count)
    assert bool(((drawn.mean(0) - truth.mean).abs() < 5 * error).all())
    assert bool(((drawn.std(0) - truth.deviation).abs() < 5 * error).all())


def test_a_ring_has_its_modes_on_a_circle_at_equal_distances():
    means = mixture("ring:6,2").means
    assert means.norm(dim=1).tolist() == pytest.approx([2] * 6, rel=1e-14)
    assert (means - means.roll(1, 0)).norm(dim=1).tolist() == pytest.approx([2] * 6, rel=1e-14)


def test_the_published_grid_has_its_25_modes_at_even_numbers():
    expected = {(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)}
    assert {tuple(mean) for mean in mixture("grid").means.tolist()} == expected
    assert {tuple(mean) for mean in mixture("grid:2,1").means.tolist()} == {
        (x, y) for x in (-0.5, 0.5) for y in (-0.5, 0.5)
    }


def test_images_are_no_mixture():
    with pytest.raises(ValueError, match="'digits' is no mixture"):
        mixture_of(DatasetName("digits"))


def scores_by_loop(samples: np.ndarray, truth: Mixture) -> tuple[int, float, float]:
    """The scores of one lane [M, d], computed sample by sample."""
    counts = np.zeros(truth.modes)
    for sample in samples:
        scaled = [
            math.dist(sample, mean) / deviation
            for mean, deviation in zip(truth.means.tolist(), truth.deviations.tolist(), strict=True)
        ]
        if min(scaled) < 3:
            counts[int(np.argmin(scaled))] += 1
    uniform = np.full(truth.modes, 1 / truth.modes)
    return int((counts > 0).sum()), counts.sum() / len(samples), jensenshannon(counts / counts.sum(), uniform) ** 2


@pytest.mark.parametrize("text", ["ring", "grid", "grid:3,1,0.4", "mixture:0,0.1;1,2;8,0.5"])
def test_mode_scores_equal_a_plain_loop(text):
    truth, source = mixture(text), np.random.default_rng(0)
    spread = float(truth.deviation.max())
    lanes = np.stack(
        [truth.draw(300, source).double().numpy() + amount * spread * source.standard_normal((300, truth.value_size))
         for amount in (0, 0.01, 0.1, 0.5)]
    )  # fmt: skip
    found = mode_scores(torch.from_numpy(lanes), truth)
    expected = np.array([scores_by_loop(lane, truth) for lane in lanes]).T
    assert len({tuple(row) for row in expected.T}) == 4
    np.testing.assert_allclose(found.modes_covered.numpy(), expected[0])
    np.testing.assert_allclose(found.high_quality_share.numpy(), expected[1], rtol=1e-14)
    np.testing.assert_allclose(found.mode_jsd.numpy(), expected[2], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("text", ["ring", "grid"])
def test_real_samples_score_as_the_closed_forms_say(text):
    """The share within 3 deviations in 2-D; the divergence of a histogram from its true one is about (K - 1)/8M."""
    truth, count = mixture(text), 20_000
    found = mode_scores(truth.draw(count, stream(3, Stream.DATA_SAMPLES))[None], truth)
    share = 1 - math.exp(-4.5)
    assert float(found.modes_covered) == truth.modes
    assert abs(float(found.high_quality_share) - share) < 5 * math.sqrt(share * (1 - share) / count)
    assert 0 < float(found.mode_jsd) < 3 * (truth.modes - 1) / (8 * count)


def test_a_lane_on_one_mode_covers_one_and_a_lane_far_from_all_covers_none():
    truth = mixture("ring")
    one, none, half = truth.means[:1].expand(8, 2), torch.zeros(8, 2), truth.means[torch.arange(8) % 4]
    found = mode_scores(torch.stack((one, none.double(), half)), truth)
    point = (math.log(16 / 9) + math.log(2 / 9) / 8 + 7 / 8 * math.log(2)) / 2
    assert found.modes_covered.tolist() == [1, 0, 4]
    assert found.high_quality_share.tolist() == [1, 0, 1]
    shares = jensenshannon([1 / 4] * 4 + [0] * 4, [1 / 8] * 8) ** 2
    assert found.mode_jsd.tolist() == pytest.approx([point, math.log(2), shares], rel=1e-12)


def test_a_samples_quality_ends_at_three_deviations():
    truth = mixture("ring:1,1,0.1")
    samples = torch.tensor([[1.2999, 0.0], [1.3001, 0.0], [1.0, 0.2999], [1.0, -0.3001]]).unsqueeze(1)
    assert mode_scores(samples, truth).high_quality_share.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_a_lane_with_a_sample_that_is_not_finite_scores_nan_and_the_others_as_without_it(poison):
    truth = mixture("grid")
    samples = torch.stack([truth.draw(50, stream(seed, Stream.DATA_SAMPLES)) for seed in range(3)])
    samples[2, :25] = samples[2, :1]
    before = mode_scores(samples, truth)
    assert float(before.mode_jsd[0]) != float(before.mode_jsd[2])
    poisoned = samples.clone()
    poisoned[1, 7, 1] = poison
    after = mode_scores(poisoned, truth)
    for name in ("modes_covered", "high_quality_share", "mode_jsd"):
        old, new = getattr(before, name), getattr(after, name)
        assert torch.equal(old[[0, 2]], new[[0, 2]])
        assert bool(new[1].isnan())
        assert bool(old[1].isfinite())


def test_lanes_are_scored_alone_and_in_any_order():
    truth = mixture("ring:5,1,0.2")
    samples = torch.stack([truth.draw(40, stream(seed, Stream.DATA_SAMPLES)) * (1 + 0.2 * seed) for seed in range(4)])
    together = mode_scores(samples, truth).mode_jsd
    assert len(set(together.tolist())) == 4
    assert torch.equal(mode_scores(samples.flip(0), truth).mode_jsd, together.flip(0))
    assert [float(mode_scores(lane[None], truth).mode_jsd) for lane in samples] == together.tolist()
