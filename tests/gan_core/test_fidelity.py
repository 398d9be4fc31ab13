"""Distances against scipy, closed forms and simulations; scorers that know real from spoilt; reports of lanes."""

import math
import time
from typing import cast

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from torch import Tensor

from gan_core.config import GanConfig, LaneConfig, StructureConfig
from gan_core.data import Dataset
from gan_core.features import load_extractor
from gan_core.fidelity import (
    class_divergence,
    frechet_distance,
    frechet_floor,
    moments,
    wasserstein_1d,
    wasserstein_floor,
)
from gan_core.health import divergence
from gan_core.scoring import IMAGE_SAMPLES, VALUE_SAMPLES, ImageScorer, ScoredArray, ValueScorer, evaluate
from gan_core.training import LaneArray


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


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
    """|m1 - m2|^2 + sum (s1 - s2)^2, also where one of them is flat along an axis."""
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
    """s^2/M of the mean and s^2/2M of the deviation, for each of the two samples."""
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


@pytest.mark.parametrize("deviation", [1.0, 1.25])
def test_the_wasserstein_floor_is_the_mean_distance_of_a_normal_sample_to_its_distribution(deviation):
    count, repetitions = 2000, 400
    quantiles = torch.from_numpy(scipy.stats.norm.ppf((np.arange(count) + 0.5) / count, scale=deviation))
    distances = wasserstein_1d(drawn(repetitions, count) * deviation, quantiles)
    assert wasserstein_floor(deviation, count) == pytest.approx(distances.mean().item(), rel=0.1)
    assert distances.std().item() / math.sqrt(repetitions) < 0.03 * distances.mean().item()


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


class GivenSamples:
    """Stands where an array stands when it is scored: each lane answers with samples that were made beforehand."""

    def __init__(self, lanes: list[Tensor]) -> None:
        self.samples = torch.stack(lanes)
        self.lanes = len(lanes)

    def shared_latents(self, purpose: int, count: int, seed: int) -> Tensor:
        """The count is all that matters of them."""
        return torch.empty(self.lanes, count, 0)

    def generate(self, latents: Tensor) -> Tensor:
        """As many samples as there are latents."""
        return self.samples[:, : latents.shape[1]]


def scores(scorer: ImageScorer | ValueScorer, lanes: list[Tensor]) -> list[dict[str, float]]:
    return [report.values for report in scorer.score(cast(LaneArray, GivenSamples(lanes)))]


@pytest.fixture(scope="module")
def image_scorer(digits: Dataset) -> ImageScorer:
    return ImageScorer(digits, load_extractor(digits))


def chosen(images: Tensor) -> Tensor:
    """IMAGE_SAMPLES of these images, with replacement."""
    return images[torch.from_numpy(np.random.default_rng(0).integers(0, len(images), IMAGE_SAMPLES))]


def blurred(images: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)


def test_real_digits_score_better_than_spoilt_ones_and_near_their_floor(digits, image_scorer):
    real = chosen(digits.train)
    noisy = (real + drawn(*real.shape).float() / 2).clamp(-1, 1)
    noise = (drawn(*real.shape, seed=1).float()).clamp(-1, 1)
    of_real, of_blurred, of_noisy, of_noise = scores(image_scorer, [real, blurred(real), noisy, noise])
    assert 0 < of_real["fid"] < 10 * of_real["fid_floor"]
    assert of_real["fid"] < of_blurred["fid"] / 3
    assert of_real["fid"] < of_noisy["fid"] / 3
    assert max(of_blurred["fid"], of_noisy["fid"]) < of_noise["fid"]
    assert of_real["class_kl"] < 0.02
    assert of_real["classes_covered"] == 10


def test_real_digits_of_three_classes_alone_are_found_out(digits, image_scorer):
    kept = torch.isin(digits.train_labels, torch.tensor([1, 4, 7]))
    balanced, narrow = scores(image_scorer, [chosen(digits.train), chosen(digits.train[kept])])
    assert narrow["class_kl"] > 0.8 * math.log(10 / 3)
    assert (balanced["classes_covered"], narrow["classes_covered"]) == (10, 3)
    assert narrow["fid"] > 3 * balanced["fid"]


def test_the_held_out_split_itself_has_no_distance_to_itself(digits, image_scorer):
    whole = torch.cat([digits.held_out] * 3)[:IMAGE_SAMPLES]
    (values,) = scores(image_scorer, [whole])
    assert values["fid"] < values["fid_floor"]
    np.testing.assert_allclose(image_scorer.shares.sum().item(), 1)


def test_images_of_nan_score_nan_and_leave_the_other_scores_bit_for_bit_the_same(digits, image_scorer):
    real = chosen(digits.train)
    poisoned = real.clone()
    poisoned[3, 0, 2, 2] = math.nan
    clean, spoilt = scores(image_scorer, [real, blurred(real)]), scores(image_scorer, [real, poisoned, blurred(real)])
    assert math.isnan(spoilt[1]["fid"])
    assert [spoilt[0], spoilt[2]] == clean


def test_a_score_says_how_it_was_made(digits, image_scorer):
    (report,) = image_scorer.score(cast(LaneArray, GivenSamples([chosen(digits.train)])))
    assert report.data_digest == digits.digest
    assert report.protocol == image_scorer.protocol
    for part in (image_scorer.extractor.name, digits.digest, "held_out-797", "2000@latents42"):
        assert part in report.protocol


def test_images_without_labels_cannot_be_scored(digits, gaussian):
    with pytest.raises(ValueError, match="'gaussian' has no labels"):
        ImageScorer(gaussian, load_extractor(digits))


def test_values_are_scored_by_their_distance_and_the_errors_of_mean_and_deviation(gaussian):
    scorer = ValueScorer(gaussian)
    real = gaussian.train[:VALUE_SAMPLES]
    of_real, of_shifted, of_wide = scores(scorer, [real, real + 1, (real - 4) * 2 + 4])
    assert of_real["wasserstein"] < 3 * of_real["wasserstein_floor"]
    assert of_shifted["wasserstein"] == pytest.approx(1, abs=0.05)
    assert of_shifted["mean_error"] == pytest.approx(1, abs=0.05)
    assert of_wide["deviation_error"] == pytest.approx(1.25, abs=0.05)
    assert of_wide["wasserstein"] == pytest.approx(1.25 * math.sqrt(2 / math.pi), abs=0.05)
    for values in (of_real, of_shifted, of_wide):
        assert values["wasserstein_floor"] == wasserstein_floor(1.25, VALUE_SAMPLES)


def value_lanes() -> list[GanConfig]:
    structure = StructureConfig(
        architecture="gaussian", dataset="gaussian", generator_width=7, discriminator_width=7, latent_size=1
    )
    lanes = [LaneConfig(), LaneConfig(discriminator_steps=100), LaneConfig(generator_lr=0.01)]
    return [GanConfig(structure=structure, lane=lane, seed=i) for i, lane in enumerate(lanes)]


def test_a_lane_report_holds_the_losses_since_the_one_before_and_the_reason_of_death(gaussian):
    array, twin = (LaneArray(value_lanes(), gaussian) for _ in range(2))
    scorer = ValueScorer(gaussian)
    started = time.monotonic()
    for one in (array, twin):
        one.train_to(640)
        one.state.discriminator.flat[2, 0] = math.inf
    reports, (d_loss, g_loss) = evaluate(array, scorer, started), twin.read_losses()
    assert [report.d_loss for report in reports] == d_loss
    assert g_loss[1] is None
    assert math.isnan(reports[1].g_loss)
    assert [reports[i].g_loss for i in (0, 2)] == [g_loss[i] for i in (0, 2)]
    assert [report.fidelity for report in reports] == scorer.score(twin)
    assert [report.diverged for report in reports] == [None, None, "weights are not finite"]
    assert {(report.images_seen, report.device) for report in reports} == {(640, "cpu")}
    assert 0 < sum(report.seconds for report in reports) <= time.monotonic() - started
    assert all(math.isnan(report.d_loss) for report in evaluate(array, scorer, started))


def test_a_scored_array_trains_scores_keeps_and_goes_on_from_a_file(gaussian, tmp_path):
    scorer = ValueScorer(gaussian)
    array, other = (ScoredArray(LaneArray(value_lanes(), gaussian), scorer) for _ in range(2))
    array.train_to(640)
    array.save(tmp_path / "state")
    other.load(tmp_path / "state")
    mine, theirs = array.train_to(1280), other.train_to(1280)
    assert [report.fidelity for report in mine] == [report.fidelity for report in theirs]
    assert len({report.fidelity.values["wasserstein"] for report in mine}) == 3
    picture = array.picture(2, 25)
    assert picture.shape == (25, 1)
    array.keep([2])
    assert array.array.lanes == 1
    np.testing.assert_array_equal(array.picture(0, 25), picture)
    assert array.train_to(1280)[0].fidelity == mine[2].fidelity


@pytest.mark.parametrize(
    ("d_loss", "g_loss", "weight", "score", "reason"),
    [
        (1.4, 0.7, 0.1, 3.0, None),
        (1.4, None, 0.1, 3.0, None),
        (None, None, 0.1, 3.0, None),
        (None, None, math.nan, 3.0, "weights are not finite"),
        (1.4, math.nan, 0.1, 3.0, "generator loss is nan"),
        (math.nan, 0.7, 0.1, 3.0, "discriminator loss is nan"),
        (math.inf, 0.7, 0.1, 3.0, "discriminator loss is inf"),
        (1.4, -math.inf, 0.1, 3.0, "generator loss is -inf"),
        (1.4, 0.7, math.nan, 3.0, "weights are not finite"),
        (1.4, 0.7, -math.inf, 3.0, "weights are not finite"),
        (1.4, 0.7, 0.1, math.nan, "score is nan"),
        (math.nan, math.inf, math.nan, math.nan, "discriminator loss is nan"),
    ],
)
def test_a_lane_is_dead_when_a_loss_a_weight_or_the_score_is_not_finite(d_loss, g_loss, weight, score, reason):
    assert divergence(d_loss, g_loss, torch.tensor([0.5, weight]), score) == reason
