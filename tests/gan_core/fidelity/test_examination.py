"""Scores are examined on each data set before they are used, and the examination tells good scores from bad ones."""

from dataclasses import replace

import pytest
import torch
from drawn_pictures import as_dataset, circles, coloured_shapes, textures

from gan_core.config.conditions import FEATURES_OF_AUTO, ScoringConfig, as_scored_before
from gan_core.data.dataset import Dataset
from gan_core.data.enough_images import ENOUGH_HELD_OUT
from gan_core.fidelity.damages import blurred, damages, fresh_images
from gan_core.fidelity.examination import PASSED, Examination, Finding, judged
from gan_core.fidelity.examine import examine
from gan_core.fidelity.features.extractors import load_extractor
from gan_core.fidelity.features.joined_features import (
    CLASSIFIER_VARIANCE,
    PIXELS_BESIDE_VARIANCE,
    TEXTURES_VARIANCE,
    join_features,
)
from gan_core.fidelity.features.textures import FILTERS, fit_textures
from gan_core.fidelity.image_reference import compared_with
from gan_core.fidelity.protocol import chosen
from gan_core.fidelity.scorers import ImageScorer, build_scorer, kinds_in_turn
from sweep.cohorts.examined import unseen

EASY = ScoringConfig(samples=1_000)
SIDE = 16  # pixels
GOOD = {"fidelity": 1.0, "fid": 1.0, "fid_error": 0.1, "precision": 0.9, "coverage": 1.0}
GOOD |= {"memorisation": 0.5, "memorisation_error": 0.05, "violation": 0.0}
WORSE = {**GOOD, "fidelity": 9.0, "fid": 9.0, "precision": 0.1, "coverage": 0.1, "memorisation": 0.9}


@pytest.fixture
def few_samples(monkeypatch):
    monkeypatch.setattr("gan_core.fidelity.scorers.EXAMINED_IMAGES", EASY.samples)


@pytest.fixture(scope="module")
def shapes() -> Dataset:
    return as_dataset("shapes", coloured_shapes(600, SIDE))


def examined(dataset: Dataset, kind: str, scoring: ScoringConfig = EASY) -> Examination:
    extractor = load_extractor(dataset, kind)
    return examine(ImageScorer(dataset, scoring, extractor, load_extractor(dataset)), kind)


def test_a_classifier_of_a_few_hundred_pictures_is_found_blind_to_noise_and_is_replaced(shapes, few_samples):
    found = examined(shapes, "classifier")
    assert any("noise alone" in fault and "precision" in fault for fault in found.faults)
    assert "pure noise" in found.verdict
    scorer = build_scorer(shapes, EASY)
    assert isinstance(scorer, ImageScorer)
    assert scorer.examination is not None
    assert (scorer.examination.extractor, scorer.examination.verdict) == ("classifier+pixels", PASSED)
    assert "classifier+pixels104" in scorer.protocol


@pytest.mark.parametrize(
    ("drawn", "labelled"),
    [
        (coloured_shapes(100, SIDE), True),
        (coloured_shapes(100, SIDE), False),
    ],
    ids=["100 shapes", "100 shapes without labels"],
)
def test_by_default_scores_see_every_damage(drawn, labelled, few_samples):
    scorer = build_scorer(as_dataset("few", drawn, labelled), EASY)
    assert scorer.examination is not None
    assert scorer.examination.faults == ()


def test_shipped_digits_pass_with_the_classifier_alone(digits):
    scorer = build_scorer(digits, ScoringConfig())
    assert scorer.examination is not None
    assert (scorer.examination.extractor, scorer.examination.verdict) == ("classifier", PASSED)


@pytest.mark.slow
@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize(
    "drawn",
    [*((coloured_shapes, count) for count in (100, 600, 5_000)), (textures, 1_500), (textures, 5_000), (circles, 600)],
)
def test_by_default_scores_see_every_damage_at_32_pixels(drawn, labelled):
    draw, count = drawn
    scorer = build_scorer(as_dataset("many", draw(count), labelled), ScoringConfig())
    assert scorer.examination is not None
    assert scorer.examination.faults == ()


def test_noise_alone_ranks_behind_blobs_by_what_a_sweep_minimises(shapes, few_samples):
    scorer = build_scorer(shapes, EASY)
    assert scorer.examination is not None
    of = {kind: [f.scores["fidelity"] for f in scorer.examination.findings if f.kind == kind] for kind in KINDS}
    assert min(of["pure noise"]) > max(of["blur"]) > of["real"][0]


KINDS = ("real", "noise", "pure noise", "shuffled pixels", "blur", "modes", "repetition", "copies", "colours", "place")


def test_damages_are_of_every_kind_keyed_and_of_the_same_form(shapes):
    images, labels = fresh_images(shapes, 500)
    first, again = list(damages(images, labels)), list(damages(images, labels))
    assert {damage.kind for damage in first} == set(KINDS) - {"real"}
    for damage, same in zip(first, again, strict=True):
        assert damage.images.shape == images.shape
        assert torch.equal(damage.images, same.images), damage.name
        assert float(damage.images.abs().max()) <= 1 + 1e-6, damage.name
    assert len({damage.name for damage in first}) == len(first)


def test_what_is_missing_of_modes_are_the_largest_and_one_is_left(shapes):
    images, labels = fresh_images(shapes, 300)
    assert labels is not None
    left = [d for d in damages(images, labels) if d.kind == "modes"]
    assert [d.name for d in left] == ["1 of 3 modes missing", "2 of 3 modes missing"]
    places = {image.numpy().tobytes(): int(label) for image, label in zip(images, labels, strict=True)}
    kept = [{places[image.numpy().tobytes()] for image in d.images} for d in left]
    assert [len(classes) for classes in kept] == [2, 1]
    assert kept[1] < kept[0]


def test_pictures_without_labels_have_clusters_for_modes_and_equal_ones_have_none():
    images = torch.cat([torch.full((20, 1, 8, 8), value) for value in (-0.9, 0.0, 0.9)])
    names = [d.name for d in damages(images, None) if d.kind == "modes"]
    assert names == ["1 of 3 modes missing", "2 of 3 modes missing"]
    assert [d for d in damages(images[:20], None) if d.kind == "modes"] == []


def test_blur_keeps_what_is_flat_and_has_the_deviation_it_says():
    flat = torch.full((1, 2, 9, 9), 0.3)
    torch.testing.assert_close(blurred(flat, 1.7), flat)
    point = torch.zeros(1, 1, 41, 41)
    point[0, 0, 20, 20] = 1.0
    spread = blurred(point, 2.0)[0, 0].sum(0).double()
    away = torch.arange(41).double() - 20
    assert float(spread.sum()) == pytest.approx(1, abs=1e-6)
    assert float((spread * away.square()).sum()) ** 0.5 == pytest.approx(2.0, rel=0.02)  # cut at three deviations


def finding(kind: str, dose: int = 0, **scores: float) -> Finding:
    return Finding(f"{kind} {dose}", kind, dose, {**WORSE, "fid": 9.0 + dose, **scores})


REAL = Finding("", "real", 0, GOOD)


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (finding("noise", fid=1.1), "noise 0: fid does not see it"),
        (finding("noise", fid=float("nan")), "noise 0: fid does not see it"),
        (finding("noise", precision=0.89), "noise 0: precision is 0.89, and 0.9 of real images"),
        (finding("pure noise", fidelity=8.0), "pure noise 0 ranks before blurred images"),
        (finding("shuffled pixels", precision=0.95), "shuffled pixels 0: precision is 0.95, and 0.9 of real images"),
        (finding("repetition", coverage=1.0), "repetition 0: coverage is 1, and 1 of real images"),
        (finding("modes", coverage=0.9999), "modes 0: coverage is 1, and 1 of real images"),
        (finding("copies", memorisation=0.54), "copies 0 go unnoticed by memorisation"),
        (finding("colours", fid=0.2), "colours 0: fid does not see it"),
        (finding("place", fid=1.14), "place 0: fid does not see it"),
    ],
)
def test_each_fault_has_its_line_and_without_it_there_is_none(bad, fault):
    blur = finding("blur", fidelity=8.5)
    found = Examination("x", judged([REAL, blur, bad], 1_000))
    assert found.faults == (fault,)
    said = unseen("images:my pictures", found)
    assert said == f"images:my pictures: {found.line}; see them all: gan-sweep data 'images:my pictures'"
    good = replace(bad, scores={**WORSE})
    assert Examination("x", judged([REAL, blur, good], 1_000)).verdict == PASSED


def test_a_greater_dose_must_score_worse():
    found = judged([REAL, finding("blur", 0), finding("blur", 1), finding("blur", 2, fid=9.5)], 1_000)
    assert [f.faults for f in found] == [(), (), (), ("blur 2: fid is not worse than after blur 1",)]


def test_real_pictures_that_break_a_limit_are_a_fault():
    found = Examination("x", judged([replace(REAL, scores={**GOOD, "violation": 0.2})], 1_000))
    assert found.faults == ("fresh real images break a limit of fidelity",)
    assert found.verdict == "failed: real"


def test_an_examination_survives_json_and_its_text_has_a_line_a_finding():
    found = Examination("pca", judged([REAL, finding("blur", fid=1.0), finding("noise")], 100))
    assert Examination.from_plain(found.plain()) == found
    lines = found.text().splitlines()
    assert len(lines) == 1 + len(found.findings) + 1
    assert lines[2].endswith("<- missed")
    assert lines[-1] == found.line == "features 'pca' do not see everything: blur 0: fid does not see it"
    with pytest.raises(ValueError, match="has findings"):
        Examination.from_plain({"extractor": "pca", "findings": []})


def test_textures_are_the_logarithms_of_filtered_energies(shapes):
    extractor = fit_textures(shapes)
    images = shapes.held_out[:3].double()
    features, none = extractor.to("cpu")(images.float())
    assert none is None
    assert features.shape == (3, extractor.features) == (3, 3 * FILTERS)  # at 16, 8 and 4 pixels
    first = torch.nn.functional.conv2d(images, extractor.filters[0].double()).square().mean((2, 3))
    expected = (first + extractor.floors[:FILTERS]).log() / 2
    torch.testing.assert_close(features[:, :FILTERS].double(), expected, rtol=1e-5, atol=1e-5)
    for weights in extractor.filters:
        torch.testing.assert_close(weights.mean((2, 3)), torch.zeros(FILTERS, 3), atol=1e-6, rtol=0)
        torch.testing.assert_close(weights.flatten(1).norm(dim=1), torch.ones(FILTERS))
    assert bool(extractor(torch.full((1, 3, SIDE, SIDE), torch.nan))[0].isnan().all())


def test_each_part_of_joined_features_has_its_share_of_the_real_variance(shapes):
    joined = join_features(shapes, "classifier+pixels")
    features, probabilities = joined(shapes.train)
    assert probabilities is not None
    assert probabilities.shape == (len(shapes.train), 3)
    parts = [float(part.double().var(0).sum()) for part in features.split(list(joined.sizes), 1)]
    assert parts == pytest.approx([CLASSIFIER_VARIANCE, PIXELS_BESIDE_VARIANCE, TEXTURES_VARIANCE], rel=1e-4)
    assert float(features.mean(0).abs().max()) < 1e-3
    assert joined.weights == load_extractor(shapes).weights != ""
    assert not join_features(shapes, "pixels").classifies


def test_a_held_out_split_that_says_little_is_joined_by_the_training_pictures():
    few = as_dataset("few", coloured_shapes(100, SIDE))
    assert len(few.held_out) < ENOUGH_HELD_OUT
    images, labels = compared_with(few)
    assert labels is not None
    assert len(images) == len(labels) == 100
    scorer = ImageScorer(few, EASY, load_extractor(few, "pixels"), load_extractor(few))
    assert f"images-{few.digest}-all-100/" in scorer.protocol
    enough = as_dataset("enough", coloured_shapes(330, SIDE))
    assert compared_with(enough)[0] is enough.held_out
    assert (
        "held_out-54/" in ImageScorer(enough, EASY, load_extractor(enough, "pixels"), load_extractor(enough)).protocol
    )


def test_fresh_pictures_repeat_where_there_are_fewer(shapes):
    images, labels = fresh_images(shapes, 1_200)
    count = len(shapes.train_samples)
    assert labels is not None
    assert torch.equal(images[:10], images[count : count + 10])
    assert torch.equal(images[:count], chosen(shapes.train, count, 3))


def test_what_is_asked_for_is_examined_alone_and_auto_tries_in_turn(shapes, digits):
    assert kinds_in_turn(shapes, ScoringConfig(features="pca")) == ("pca",)
    assert kinds_in_turn(shapes, ScoringConfig()) == ("classifier", "classifier+pixels", "pixels")
    assert kinds_in_turn(replace(shapes, train_labels=None), ScoringConfig()) == ("pca", "pixels")
    tiny = replace(digits, train_samples=digits.train_samples[..., :2, :2])
    assert kinds_in_turn(tiny, ScoringConfig()) == ("classifier", "classifier+pixels")


def test_what_a_run_was_scored_in_stays_its_own_whatever_would_pass_now():
    auto, of = ScoringConfig(), "fid/{}-0123abcd/images-9-held_out-80/2000@latents42/kl0.1-coverage0.5"
    for kind in FEATURES_OF_AUTO:
        for name in (f"{kind}64", f"{kind}104-45ab+classifier64"):
            assert as_scored_before(auto, of.format(name)).features == kind
    for nothing in ("", None, 7, "energy/ring-9-held_out-80", of.format("inception2048")):
        assert as_scored_before(auto, nothing) == auto
    chosen = ScoringConfig(features="pca")
    assert as_scored_before(chosen, of.format("classifier64")) == chosen


def test_a_kept_examination_that_was_changed_is_made_anew(shapes, tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path))
    extractor = load_extractor(shapes, "pca")
    scorer = ImageScorer(shapes, ScoringConfig(samples=50), extractor, extractor)
    found = examine(scorer, "pca")
    (path,) = tmp_path.glob("examination-*.json")
    written = path.read_text()
    assert found.faults
    for edited in ("", written.replace("fid does not see it", "all is well"), "[" * 10_000, written[:-9]):
        path.write_text(edited)
        assert examine(scorer, "pca") == found
        assert path.read_text() == written
