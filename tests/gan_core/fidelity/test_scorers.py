"""The scorers of all kinds of data: real samples reach the floors, defects are named, and lanes do not mix."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from given_samples import Asked, chosen, drawn, noisy, scores
from torch import Tensor

from gan_core.config.conditions import ScoringConfig
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.lane import LaneConfig
from gan_core.config.limits import broken_in_words
from gan_core.config.reports import place_of
from gan_core.config.structure import StructureConfig
from gan_core.data.dataset import Dataset, load_dataset
from gan_core.data.polygons import polygon_vertices, rasterise
from gan_core.fidelity.neighbours import coverage_null
from gan_core.fidelity.protocol import Scorer
from gan_core.fidelity.scorers import IMAGE_SAMPLES, ImageScorer, build_scorer
from gan_core.fidelity.triangles import recall_ceiling
from gan_core.fidelity.value_scorers import PLANE_SAMPLES, VALUE_SAMPLES
from gan_core.networks.latents import shared_choices
from gan_core.training.lane_array import LaneArray

MIXTURE = "mixture:0,1;6,0.5;20,1"


def blobs(count: int, seed: int, size: int = 5) -> Tensor:
    """Unlabelled images from a known distribution: [count, 1, size, size]."""
    paint = torch.linspace(-1, 1, 3 * size * size).view(3, -1).mul(7).sin() / 4
    return (drawn(count, 3, seed=seed) @ paint + 0.1 * drawn(count, size * size, seed=seed + 1000)).view(
        -1, 1, size, size
    )


def blob_set(train: int = 1500, held_out: int = 600, digest: str = "blobs") -> Dataset:
    return Dataset("images:somewhere", blobs(train, 1), None, blobs(held_out, 2), None, 0, digest)


def triangles(start: int, end: int) -> Tensor:
    return torch.from_numpy(rasterise(polygon_vertices(end)[start:])).float().div(127.5).sub(1).unsqueeze(1)


def triangle_set() -> Dataset:
    return Dataset("polygons", triangles(0, 80), None, triangles(80, 140), None, 0, "triangles")


@pytest.fixture(scope="module")
def digits_scorer(digits: Dataset) -> Scorer:
    return build_scorer(digits, ScoringConfig())


@pytest.fixture(scope="module")
def cases(digits: Dataset, gaussian: Dataset) -> dict[str, tuple[Dataset, Callable[[int], Tensor]]]:
    """Name -> a data set, and a function from a seed to 53 samples that are nearly real."""

    def some(samples: Tensor, spread: float) -> Callable[[int], Tensor]:
        return lambda seed: chosen(samples, 53, seed) + spread * drawn(53, *samples.shape[1:], seed=seed)

    known = {"digits": digits, "gaussian": gaussian, MIXTURE: load_dataset(MIXTURE), "ring": load_dataset("ring")}
    known |= {"blobs": blob_set(), "polygons": triangle_set()}
    spreads = {"digits": 0.3, "blobs": 0.1, "ring": 0.02, "polygons": 0.05}
    return {name: (data, some(data.train, spreads.get(name, 0.2))) for name, data in known.items()}


FLOORS = {
    *("fid_floor", "coverage_floor", "precision_real", "recall_real", "memorisation_error", "class_kl_floor"),
    *("classes", "triangle_recall_floor", "wasserstein_floor", "modes"),
}
NAMES = ["digits", "blobs", "polygons", "gaussian", MIXTURE, "ring"]


@pytest.mark.parametrize("name", NAMES)
def test_a_lane_scores_the_same_bits_alone_in_any_place_and_beside_lanes_of_nan(name, cases):
    dataset, samples = cases[name]
    scorer = build_scorer(dataset, ScoringConfig(samples=23 if name == "polygons" else 53))  # a fit for each triangle
    lanes = [samples(seed) for seed in range(3)]
    together = scores(scorer, lanes)
    assert len({lane["fidelity"] for lane in together}) == 3
    assert all(math.isfinite(value) for lane in together for value in lane.values())
    assert [scores(scorer, [lane])[0] for lane in lanes] == together
    assert scores(scorer, lanes[::-1]) == together[::-1]
    for poison in (math.nan, math.inf, -math.inf):
        poisoned = lanes[1].clone()
        poisoned.view(-1)[7] = poison
        spoilt = scores(scorer, [lanes[0], poisoned, lanes[2]])
        assert [spoilt[0], spoilt[2]] == [together[0], together[2]]
        assert list(spoilt[1]) == list(together[1])
        numbers = {key for key, value in spoilt[1].items() if not math.isnan(value)}
        assert numbers == {key for key in spoilt[1] if key in FLOORS}


def test_fresh_images_of_the_real_distribution_score_what_the_floors_say():
    """Held-out images are fresh samples too, so the floors include the noise of both sides."""
    found = []
    for seed in range(10, 34, 2):
        dataset = replace(blob_set(digest=f"blobs {seed}"), held_out=blobs(600, seed))
        found += scores(build_scorer(dataset, ScoringConfig(samples=1000)), [blobs(1000, seed + 1)])
    mean = {name: np.mean([lane[name] for lane in found]) for name in found[0]}
    assert mean["fid"] == pytest.approx(mean["fid_floor"], rel=0.25)
    assert mean["fidelity"] == pytest.approx(mean["fid"] - mean["fid_floor"], abs=1e-12)
    assert mean["coverage_floor"] == coverage_null(1000, 600)
    assert mean["coverage"] == pytest.approx(mean["coverage_floor"], abs=0.01)
    assert mean["density"] == pytest.approx(1, abs=0.05)
    assert mean["precision"] == pytest.approx(mean["precision_real"], abs=0.03)
    assert mean["recall"] == pytest.approx(mean["recall_real"], abs=0.03)
    assert abs(mean["memorisation"] - 0.5) < 4 * mean["memorisation_error"]
    assert all(abs(lane["kid"]) < 4 * lane["kid_error"] for lane in found)
    assert all(lane["violation"] == 0 for lane in found)


def test_images_without_labels_have_no_scores_of_classes():
    (found,) = scores(build_scorer(blob_set(), ScoringConfig(samples=60)), [blobs(60, 3)])
    assert not [name for name in found if "class" in name or "code" in name or "triangle" in name]
    assert {"fidelity", "violation", "fid", "kid", "precision", "recall", "density", "coverage"} <= set(found)


def test_balanced_draws_of_all_classes_differ_from_the_real_shares_by_the_floor(digits, digits_scorer):
    found = scores(digits_scorer, [chosen(digits.held_out, seed=seed) for seed in range(10)])
    divergence = np.mean([lane["class_kl"] for lane in found])
    assert divergence == pytest.approx(found[0]["class_kl_floor"], rel=0.5)
    assert found[0]["class_kl_floor"] == 9 / (2 * IMAGE_SAMPLES)
    assert {lane["classes_covered"] for lane in found} == {10}


def test_the_held_out_split_itself_has_no_distance_to_itself(digits, digits_scorer):
    (values,) = scores(digits_scorer, [torch.cat([digits.held_out] * 3)[:IMAGE_SAMPLES]])
    assert 0 <= values["fid"] < values["fid_floor"]
    assert (values["coverage"], values["precision"]) == (1, 1)


def test_with_other_features_classes_and_copies_are_still_those_of_the_cheap_classifier(digits, digits_scorer):
    scorer = build_scorer(digits, ScoringConfig(features="pca"))
    lanes = [chosen(digits.train), noisy(chosen(digits.held_out), 0.4)]
    mine, theirs = scores(scorer, lanes), scores(digits_scorer, lanes)
    for one, other in zip(mine, theirs, strict=True):
        assert list(one) == list(other)
        for name in ("class_kl", "classes_covered", "memorisation"):
            assert one[name] == other[name]
        assert one["fid"] != other["fid"]
        assert one["coverage"] != other["coverage"]
    assert mine[0]["memorisation"] > 0.99 > mine[1]["memorisation"]


def held_out_of(digits: Dataset, asked: Tensor) -> Tensor:
    """For each requested class the next held-out image of it."""
    assert digits.held_out_labels is not None
    places = [(digits.held_out_labels == label).nonzero()[:, 0] for label in range(10)]
    rows = [places[label][i % len(places[label])] for i, label in enumerate(asked.tolist())]
    return digits.held_out[torch.stack(rows)]


def test_a_conditional_generator_is_scored_by_whether_it_draws_what_was_asked(digits, digits_scorer):
    asked = digits_scorer.asked
    only_low = torch.where(asked < 5, asked, 0)
    lanes = [held_out_of(digits, labels) for labels in (asked, (asked + 1) % 10, only_low)]
    right, wrong, half = scores(digits_scorer, lanes, Asked(10, conditional=True))
    assert right["class_accuracy"] > 0.96
    assert wrong["class_accuracy"] < 0.02
    assert half["class_accuracy"] == pytest.approx(0.5, abs=0.02)
    assert [half[f"class_accuracy_{label}"] > 0.5 for label in range(10)] == [True] * 5 + [False] * 5
    for values in (right, wrong, half):
        by_class = [values[f"class_accuracy_{label}"] for label in range(10)]
        weights = torch.bincount(asked).double() / len(asked)
        assert values["class_accuracy"] == pytest.approx(
            float(weights @ torch.tensor(by_class, dtype=torch.float64)), abs=1e-9
        )
    assert "code_agreement" not in right


def test_classes_are_asked_for_in_the_shares_of_the_held_out_split(digits, digits_scorer):
    """Otherwise a conditional generator would be penalised for rare classes that are requested too often."""
    few = replace(digits, held_out_labels=(digits.held_out_labels > 0).long(), classes=2)
    rare = float((few.held_out_labels == 0).double().mean())
    assert rare < 0.12
    scorer = ImageScorer(few, ScoringConfig(), digits_scorer.extractor, digits_scorer.extractor)
    assert float((scorer.asked == 0).double().mean()) == pytest.approx(rare, abs=0.005)
    real = torch.bincount(digits.held_out_labels).double() / len(digits.held_out)
    torch.testing.assert_close(torch.bincount(digits_scorer.asked).double() / IMAGE_SAMPLES, real, atol=0.01, rtol=0)


def test_categorical_codes_are_scored_under_any_renaming(digits, digits_scorer):
    codes = shared_choices(IMAGE_SAMPLES, 10)
    renamed = torch.tensor([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])[codes]
    regardless = torch.from_numpy(np.random.default_rng(0).integers(0, 10, IMAGE_SAMPLES))
    lanes = [held_out_of(digits, labels) for labels in (renamed, regardless)]
    told, untold = scores(digits_scorer, lanes, Asked(10))
    assert told["code_agreement"] > 0.96
    assert 0.1 <= untold["code_agreement"] < 0.2
    assert "class_accuracy" not in told


def test_what_is_asked_for_is_no_noise_in_the_errors_of_conditional_and_coded_generators(digits, digits_scorer):
    """A generator that mostly draws the requested class, so that other latents hardly change its classes."""
    codes = shared_choices(IMAGE_SAMPLES, 10)
    for asked, networks in ((digits_scorer.asked, Asked(10, conditional=True)), (codes, Asked(10))):
        lane = noisy(held_out_of(digits, asked), 0.4)
        (told,), (untold,) = scores(digits_scorer, [lane], networks), scores(digits_scorer, [lane])
        assert 0 < told["class_kl_error"] < 0.75 * untold["class_kl_error"]
        assert told["fid_error"] < 0.95 * untold["fid_error"]
        assert (told["fid"], told["class_kl"]) == (untold["fid"], untold["class_kl"])


@pytest.mark.parametrize(("architecture", "codes"), [("cgan", 0), ("infogan", 4), ("infogan", 13)])
def test_real_arrays_of_conditional_and_coded_families_are_scored(digits, architecture, codes):
    structure = StructureConfig(
        architecture=architecture, generator_width=3, discriminator_width=3, latent_size=4, categorical_codes=codes
    )
    array = LaneArray([GanConfig(structure=structure, seed=seed) for seed in range(2)], digits)
    reports = build_scorer(digits, ScoringConfig(samples=120)).score(array)
    for report in reports:
        assert all(math.isfinite(value) for value in report.values.values())
        assert ("class_accuracy_9" in report.values) == (architecture == "cgan")
        assert ("code_agreement" in report.values) == (codes > 0)
    assert reports[0].values["fidelity"] != reports[1].values["fidelity"]


@pytest.mark.parametrize("name", ["gaussian", MIXTURE])
def test_exact_draws_of_numbers_score_zero_above_the_floors(name):
    dataset, count = load_dataset(name), 400
    scorer = build_scorer(dataset, ScoringConfig(samples=count))
    found = scores(scorer, list(dataset.train[: 300 * count].view(300, count, 1)))
    column = {key: np.array([lane[key] for lane in found]) for key in found[0]}
    for key in ("energy", "fidelity"):
        error = column[key].std() / math.sqrt(len(found))
        assert abs(column[key].mean()) < 3.5 * error
    assert column["wasserstein"].mean() == pytest.approx(column["wasserstein_floor"][0], rel=0.1)
    assert column["energy_error"].mean() < 3 * column["energy"].std()
    assert (column["violation"] == 0).all()
    assert ("modes_covered" in column) == (name == MIXTURE)


def test_numbers_are_scored_by_their_distance_and_the_errors_of_mean_and_deviation(gaussian):
    scorer = build_scorer(gaussian, ScoringConfig())
    real = gaussian.train[:VALUE_SAMPLES]
    of_real, of_shifted, of_wide = scores(scorer, [real, real + 1, (real - 4) * 2 + 4])
    assert of_real["wasserstein"] < 3 * of_real["wasserstein_floor"]
    assert of_shifted["wasserstein"] == pytest.approx(1, abs=0.05)
    assert of_shifted["mean_error"] == pytest.approx(1, abs=0.05)
    assert of_shifted["fidelity"] == pytest.approx(1 - of_shifted["wasserstein_floor"], abs=0.05)
    assert of_wide["deviation_error"] == pytest.approx(1.25, abs=0.05)
    assert of_wide["wasserstein"] == pytest.approx(1.25 * math.sqrt(2 / math.pi), abs=0.05)


def test_a_mixture_of_which_most_modes_are_missing_is_worse_than_any_that_has_them():
    dataset = load_dataset(MIXTURE)
    real = dataset.train[:VALUE_SAMPLES]
    two, one = (chosen(dataset.train[dataset.train[:, 0] < below], VALUE_SAMPLES) for below in (13, 3.5))
    of_real, of_two, of_one, of_shifted = scores(build_scorer(dataset, ScoringConfig()), [real, two, one, real + 1])
    assert [values["modes_covered"] for values in (of_real, of_two, of_one)] == [3, 2, 1]
    assert of_real["high_quality_share"] == pytest.approx(0.9973, abs=0.002)
    assert of_real["mode_jsd"] < 1e-3 < of_two["mode_jsd"] < of_one["mode_jsd"]
    assert of_one["coverage_violation"] == pytest.approx(1 - (1 / 3) / 0.5, abs=1e-12)
    assert [values["violation"] for values in (of_real, of_two, of_shifted)] == [0, 0, 0]
    places = [place_of(values, "fidelity") for values in (of_real, of_shifted, of_two, of_one)]
    assert places == sorted(places)
    assert broken_in_words(of_one) == "coverage: 1 of 3 modes"


@pytest.mark.parametrize(("name", "modes", "deviation"), [("ring", 8, 0.05), ("grid", 25, 0.05)])
def test_points_are_scored_without_bias_and_by_their_modes(name, modes, deviation):
    dataset = load_dataset(name)
    assert dataset.truth is not None
    assert dataset.truth.modes == modes
    scorer = build_scorer(dataset, ScoringConfig(samples=500))
    found = scores(scorer, list(dataset.train[: 60 * 500].view(60, 500, 2)))
    assert np.mean([abs(lane["energy"]) < 3 * lane["energy_error"] for lane in found]) > 0.95
    assert {lane["modes_covered"] for lane in found} == {lane["modes"] for lane in found} == {modes}
    assert np.mean([lane["high_quality_share"] for lane in found]) == pytest.approx(1 - math.exp(-4.5), abs=0.003)
    assert all(lane["fidelity"] == lane["energy"] for lane in found)
    assert all(lane["fidelity_error"] == lane["energy_latent_error"] < lane["energy_error"] for lane in found)


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_points_on_few_modes_are_worse_than_any_that_cover_them(name):
    dataset = load_dataset(name)
    assert dataset.truth is not None
    means = dataset.truth.means.float()
    spread = 0.003 * drawn(PLANE_SAMPLES, 2)
    few, one = means[: len(means) // 3][torch.arange(PLANE_SAMPLES) % (len(means) // 3)] + spread, means[:1] + spread
    real = dataset.train[:PLANE_SAMPLES]
    of_real, of_coarse, of_few, of_one = scores(
        build_scorer(dataset, ScoringConfig()), [real, real + 0.3 * drawn(PLANE_SAMPLES, 2, seed=1), few, one]
    )
    assert of_few["high_quality_share"] == of_one["high_quality_share"] == 1
    assert of_coarse["high_quality_share"] < 0.2
    places = [place_of(values, "fidelity") for values in (of_real, of_coarse, of_few, of_one)]
    assert places == sorted(places)
    assert of_coarse["violation"] == of_coarse["violation_error"] == 0 < of_one["violation_error"]
    assert of_one["coverage_violation"] == pytest.approx(1 - 2 / len(means), abs=1e-12)
    assert of_one["violation"] > of_one["coverage_violation"]


def test_triangles_are_scored_by_what_is_known_of_them():
    scorer = build_scorer(triangle_set(), ScoringConfig(samples=120))
    fresh, of_noise = scores(scorer, [triangles(140, 260), drawn(120, 1, 28, 28).clamp(-1, 1)])
    assert fresh["triangle_precision"] > 0.98
    assert fresh["triangle_recall"] == pytest.approx(fresh["triangle_recall_floor"], abs=0.06)
    assert fresh["triangle_recall_floor"] == recall_ceiling(120, 60)
    assert fresh["triangle_distance"] < 0.2
    assert (of_noise["triangle_precision"], of_noise["triangle_recall"]) == (0, 0)
    assert of_noise["triangle_distance"] > 10
    assert fresh["fidelity"] < of_noise["fidelity"]


ERRORS = {
    "digits": {
        "fidelity": "fidelity_error",
        "fid": "fid_error",
        "kid": "kid_latent_error",
        "class_kl": "class_kl_error",
    },
    "polygons": {"fid": "fid_error", "triangle_distance": "triangle_distance_error"},
    "gaussian": {"fidelity": "fidelity_error", "wasserstein": "wasserstein_error", "energy": "energy_latent_error"}
    | {"mean_error": "mean_error_error", "deviation_error": "deviation_error_error"},
    "ring": {"fidelity": "fidelity_error", "energy": "energy_latent_error", "mode_jsd": "mode_jsd_error"},
}


@pytest.mark.parametrize("name", ERRORS)
def test_each_score_that_can_be_minimised_has_the_error_that_other_draws_of_the_same_model_show(name, cases):
    """An imperfect model: noisy draws from a part of the data, more from its beginning. It is far from all limits."""
    dataset = cases[name][0]
    pool = dataset.train[dataset.train[:, 0] < 4.5] if name == "gaussian" else dataset.train[:80]
    count, models = (53, 36) if name == "polygons" else (150, 60)  # a fit for each triangle
    spread = {"gaussian": 0.2, "ring": 0.01}.get(name, 0.05)

    def model(seed: int) -> Tensor:
        source = np.random.default_rng(seed)
        rows = torch.from_numpy(len(pool) * source.random(count) ** 1.5).long()
        return pool[rows] + spread * drawn(count, *pool.shape[1:], seed=seed)

    scoring = ScoringConfig(samples=count, class_kl_limit=5.0, coverage_limit=0.0)
    found = scores(build_scorer(dataset, scoring), [model(seed) for seed in range(models)])
    for score, error in ERRORS[name].items():
        values, errors = (np.array([lane[column] for lane in found]) for column in (score, error))
        assert 0.75 < math.sqrt(np.square(errors).mean()) / values.std() < 1.5, score


def test_the_violation_has_the_error_of_all_that_it_is_made_of(digits, digits_scorer):
    """A few classes with varying shares: with the coverage, the error is a bound."""
    few = digits.train[digits.train_labels < 4]
    broken = scores(digits_scorer, [chosen(few, seed=seed) for seed in range(12)])
    (whole,) = scores(digits_scorer, [chosen(digits.train)])
    assert whole["violation"] == whole["violation_error"] == 0 < min(lane["violation"] for lane in broken)
    assert np.std([lane["violation"] for lane in broken]) < min(lane["violation_error"] for lane in broken)
    for lane in (whole, *broken):
        assert lane["fidelity"] == lane["fid"] - lane["fid_floor"]
        assert lane["fidelity_error"] == lane["fid_error"]
    scale = 2 * float(digits_scorer._reference.covariance.trace())
    for lane in broken:
        above = lane["class_kl"] - lane["class_kl_floor"]
        coverage_error = math.sqrt(lane["coverage"] * (1 - lane["coverage"]) / 797) / lane["coverage_floor"]
        parts = 0.1 / above**2 * lane["class_kl_error"], coverage_error / 0.5, lane["fid_error"] / scale
        assert lane["violation_error"] == pytest.approx(math.hypot(*parts), rel=1e-12)
        off = 1 - 0.1 / above, 1 - lane["coverage"] / lane["coverage_floor"] / 0.5
        assert (lane["class_balance_violation"], lane["coverage_violation"]) == pytest.approx(off, rel=1e-12)
        assert lane["violation"] == pytest.approx(sum(off) + lane["fidelity"] / scale, rel=1e-12)


@pytest.mark.parametrize(("name", "samples", "least"), [("digits", 5, 6), ("gaussian", 3, 4), ("ring", 3, 4)])
def test_too_few_samples_for_the_scores_are_refused_in_one_line(name, samples, least):
    dataset = load_dataset(name)
    with pytest.raises(InputError) as caught:
        build_scorer(dataset, ScoringConfig(samples=samples))
    assert str(caught.value) == (
        f"scoring.samples must be 0 or at least {least} with this data set, got {samples}; leave it 0"
    )
    build_scorer(dataset, ScoringConfig(samples=least))


def test_too_few_held_out_images_are_refused_in_one_line():
    with pytest.raises(InputError) as caught:
        build_scorer(blob_set(held_out=5), ScoringConfig())
    expected = "scores need at least 6 held-out images, and data set 'images:somewhere' has 5; add pictures"
    assert str(caught.value) == expected
    build_scorer(blob_set(held_out=6), ScoringConfig())


def protocol(dataset: Dataset, **scoring: float | str) -> str:
    return build_scorer(dataset, ScoringConfig(**scoring)).protocol  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", ["blobs", "gaussian", MIXTURE, "ring"])
def test_whatever_decides_a_score_changes_the_protocol_and_nothing_else_does(name, cases):
    dataset = cases[name][0]
    counts = {"blobs": IMAGE_SAMPLES, "ring": PLANE_SAMPLES}
    assert protocol(dataset, samples=counts.get(name, VALUE_SAMPLES)) == protocol(dataset)
    others = [
        protocol(dataset),
        protocol(dataset, samples=60),
        protocol(dataset, samples=61),
        protocol(dataset, samples=60, coverage_limit=0.4),
        protocol(dataset, samples=60, coverage_limit=0.5 + 1e-12),
        protocol(dataset, samples=60, class_kl_limit=0.2),
    ]
    assert len(set(others)) == 6


def test_the_protocol_of_images_names_features_data_split_counts_latents_and_limits(digits, digits_scorer):
    assert isinstance(digits_scorer, ImageScorer)
    features = digits_scorer.extractor.name
    held_out = f"digits-{digits.digest}-held_out-797"
    weights = digits_scorer.features_digest
    assert digits_scorer.protocol == f"fid/{features}@{weights}/{held_out}/2000@latents42/limits-kl0.1-coverage0.5"
    assert protocol(digits, features="classifier") == digits_scorer.protocol
    other = protocol(digits, features="pca")
    assert other.split("/")[1].startswith("pca")
    assert other.split("/")[1].endswith(f"+{features}@{weights}")
    assert other.split("/")[2:] == digits_scorer.protocol.split("/")[2:]


def test_the_protocol_follows_the_data_and_no_folder_of_one_machine():
    plain = blob_set()
    elsewhere = replace(plain, name="images:/else/where")
    assert protocol(elsewhere) == protocol(plain)
    assert protocol(blob_set(digest="others")) != protocol(plain)
    fewer = replace(plain, held_out=plain.held_out[:500])
    assert protocol(fewer) != protocol(plain)


def test_a_report_says_how_it_was_made(digits, digits_scorer):
    structure = StructureConfig(generator_width=4, discriminator_width=4, latent_size=3)
    array = LaneArray([GanConfig(structure=structure, lane=LaneConfig())], digits)
    (report,) = digits_scorer.score(array)
    assert (report.protocol, report.data_digest) == (digits_scorer.protocol, digits.digest)
    again = digits_scorer.score(array)
    assert again == [report]
