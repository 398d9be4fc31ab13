"""The order of scores: each defect of the samples worsens the score meant for it, and no collapse wins a sweep."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from curve_array import curve_spec, opened, run_cohorts, run_folder
from given_samples import blurred, chosen, drawn, noisy, of_classes, repeated, scores
from torch import Tensor

from gan_core.config.conditions import ScoringConfig
from gan_core.config.gan import GanConfig
from gan_core.config.limits import Place, broken_in_words
from gan_core.config.reports import FidelityReport, LaneReport, Midway, place_of
from gan_core.data.dataset import Dataset, resized
from gan_core.fidelity.protocol import Scorer
from gan_core.fidelity.scorers import IMAGE_SAMPLES, build_scorer
from results.table import ResultsTable
from sweep.ladder.ladder import Ladder, Reached, Standing

ALL = list(range(10))
COLLAPSED = (
    "one class",
    "four classes",
    "one image",
    "an image a class",
    "five images a class",
    "a fifth of four classes",
)


def merged(images: Tensor) -> Tensor:
    """The mean of each image and the next."""
    return (images + images.roll(1, 0)) / 2


def spoilt(data: Dataset) -> dict[str, Tensor]:
    """Name -> IMAGE_SAMPLES images made of training images; each image of a collapsed set is perfect."""
    real = chosen(data.train)
    return {
        "real": real,
        "a little noise": noisy(real, 0.3),
        "noisy": noisy(real, 0.4),
        "very noisy": noisy(real, 1.0),
        "blurred": blurred(real, 2 * (data.sample_shape[1] // 8) + 1),
        "merged": merged(real),
        "noise": drawn(*real.shape).clamp(-1, 1),
        "one class": chosen(of_classes(data, [3])),
        "three classes": chosen(of_classes(data, [1, 4, 7])),
        "four classes": chosen(of_classes(data, [0, 3, 6, 9])),
        "nine classes": chosen(of_classes(data, ALL[:9])),
        "one image": repeated(data.train[:1]),
        "an image a class": repeated(of_classes(data, ALL, 1)),
        "five images a class": repeated(of_classes(data, ALL, 5)),
        "a fifth of four classes": repeated(of_classes(data, [0, 3, 6, 9], 20)),
        "copied": noisy(real, 0.02),
    }


@pytest.fixture(scope="module", params=[8, pytest.param(28, marks=pytest.mark.slow)])
def data(request: pytest.FixtureRequest, digits: Dataset) -> Dataset:
    """The digits in their own size, and enlarged to the size of MNIST."""
    size = request.param
    if size == 8:
        return digits
    train, held_out = resized(digits.train, size), resized(digits.held_out, size)
    return replace(digits, train_samples=train, held_out=held_out, digest=f"{digits.digest}-at-{size}")


@pytest.fixture(scope="module")
def scorer(data: Dataset) -> Scorer:
    return build_scorer(data, ScoringConfig())


@pytest.fixture(scope="module")
def found(data: Dataset, scorer: Scorer) -> dict[str, dict[str, float]]:
    """The name of a planted generator -> its scores."""
    planted = spoilt(data)
    return dict(zip(planted, scores(scorer, list(planted.values())), strict=True))


def test_real_images_are_near_every_floor(found):
    real = found["real"]
    assert 0 < real["fid"] < 3 * real["fid_floor"]
    assert real["coverage"] > 0.95 * real["coverage_floor"]
    assert real["precision"] > 0.95 * real["precision_real"]
    assert real["density"] == pytest.approx(1, abs=0.1)
    assert real["class_kl"] < 0.01
    assert real["classes_covered"] == 10
    assert real["violation"] == 0


def test_fidelity_and_both_distances_prefer_real_images_to_all_others(found):
    others = [name for name in found if name not in ("real", "copied")]
    for score in ("fidelity", "fid", "kid"):
        assert max(found[name][score] for name in ("real", "copied")) < min(found[name][score] for name in others)
    assert max(place(found["real"]), place(found["copied"])) < min(place(found[name]) for name in others)


def test_the_more_noise_the_worse(found):
    levels = ["a little noise", "noisy", "very noisy", "noise"]
    for score, sign in (("fidelity", 1), ("fid", 1), ("kid", 1), ("precision", -1), ("density", -1), ("coverage", -1)):
        values = [sign * found[name][score] for name in levels]
        assert values == sorted(values)
        assert len(set(values)) == 4


@pytest.mark.parametrize("name", ["blurred", "merged", "noisy", "very noisy"])
def test_images_that_are_not_real_lose_in_distance_and_precision_or_density(found, name):
    bad, real = found[name], found["real"]
    assert bad["fid"] > 2 * real["fid"]
    assert bad["kid"] > real["kid"] + 4 * real["kid_error"]
    assert min(bad["precision"] / real["precision"], bad["density"] / real["density"]) < 0.9


def test_missing_classes_are_counted_in_nats(found):
    for name, kept in (("one class", 1), ("three classes", 3), ("four classes", 4), ("nine classes", 9)):
        assert found[name]["class_kl"] == pytest.approx(np.log(10 / kept), abs=0.06)
        assert found[name]["classes_covered"] == pytest.approx(kept, abs=1)
        assert found[name]["class_balance_violation"] > 0
        assert broken_in_words(found[name]).startswith(f"class balance: {found[name]['classes_covered']:.0f} of 10 cl")
    assert place(found["nine classes"]) < place(found["three classes"]) < place(found["one class"])


def test_perfect_images_without_diversity_have_all_precision_and_no_recall(found):
    for name in ("one image", "an image a class", "five images a class"):
        assert found[name]["precision"] >= 0.95
        assert found[name]["recall"] < 0.05
        assert found[name]["coverage"] < 0.4
    assert found["an image a class"]["class_kl"] < 0.01
    assert found["an image a class"]["classes_covered"] == 10
    less_and_less = ["five images a class", "an image a class", "one image"]
    values = [place(found[name]) for name in less_and_less]
    assert values == sorted(values)


def test_copies_look_perfect_but_for_memorisation(found):
    copied, real = found["copied"], found["real"]
    assert copied["memorisation"] > 0.99
    assert copied["fidelity"] == pytest.approx(real["fidelity"], abs=0.2)
    assert found["very noisy"]["memorisation"] < 0.5


def test_images_that_were_never_seen_are_no_copies(data, scorer):
    (fresh,) = scores(scorer, [chosen(data.held_out)])
    assert abs(fresh["memorisation"] - 0.5) < 4 * fresh["memorisation_error"]


def place(values: dict[str, float]) -> Place:
    return place_of(values, "fidelity")


DECENT = ("a little noise", "noisy")


@pytest.mark.parametrize("name", COLLAPSED)
def test_no_collapse_is_preferred_to_a_merely_decent_generator_though_by_precision_it_would(found, name):
    for decent in DECENT:
        assert found[decent]["violation"] == 0
        assert found[name]["violation"] > 0
        assert place(found[decent]) < place(found[name])
    for score in ("precision", "density"):
        assert found[name][score] > 1.1 * found["noisy"][score]


def test_the_ladder_lets_decent_generators_go_on_and_no_collapse(found):
    names = [*DECENT, *COLLAPSED]
    ladder = Ladder((100, 200), 0.25)

    def going(score: Callable[[dict[str, float]], Place]) -> set[str]:
        reached = [score(found[name]) for name in names]
        standings = [Standing((own,), (0.0,), violation) for violation, own in reached]
        there = Reached()
        there.add(standings)
        judged = zip(names, standings, strict=True)
        return {name for name, standing in judged if ladder.judge(0, 0, standing, there).goes_on}

    assert going(place) == set(DECENT)
    assert not going(lambda values: (0.0, -values["precision"])) & set(DECENT)


class PlantedArray:
    """A `TrainableArray` of planted generators, chosen by beta1, which are the same at the second rung."""

    choices = 0

    def __init__(self, configs: Sequence[GanConfig], known: list[dict[str, float]], scorer: Scorer) -> None:
        self.configs, self.known, self.scorer = list(configs), known, scorer

    def train_to(self, images: int, on_step: Callable[[int], None] | None = None) -> list[LaneReport]:
        self.images = images
        return self.score()

    def score(self) -> list[LaneReport]:
        reports = []
        for config in self.configs:
            values = self.known[round(10 * config.lane.beta1)]
            fidelity = FidelityReport(values, self.scorer.protocol, self.scorer.data_digest)
            reports.append(LaneReport(self.images, 1.3, 0.7, fidelity, {}, (), None, 0.1, "cpu"))
        return reports

    def keep(self, lanes: Sequence[int]) -> None:
        self.configs = [self.configs[lane] for lane in lanes]

    def picture(self, lane: int, count: int) -> np.ndarray:
        return np.zeros((count, 1, 8, 8), np.float32)

    def save(self, path: Path) -> None:
        path.write_text("")

    def save_lane(self, lane: int, path: Path) -> None:
        path.write_text("")

    def save_generator(self, lane: int, path: Path) -> None:
        path.write_text("")

    def take_over(self, sources: Sequence[int], configs: Sequence[GanConfig]) -> None:
        raise AssertionError("this is no population")

    def save_midway(self, path: Path) -> Midway | None:
        return None  # nothing takes minutes

    def load_midway(self, path: Path, midway: Midway) -> None:
        raise AssertionError("nothing is saved between rungs")

    def load_lanes(self, places: Sequence[tuple[Path, int]]) -> None:
        raise AssertionError("nothing is resumed here")


def study(found: dict[str, dict[str, float]], scorer: Scorer, path: Path) -> tuple[list[str], Any]:
    """A complete sweep over planted generators with a collapsed base: their names by beta1, and the table."""
    names = ["an image a class", "noisy", *(name for name in COLLAPSED if name != "an image a class")]
    space = {
        "name": "planted",
        "base": {"lane.beta1": 0.0},
        "ranges": {"lane.beta1": {"choices": [place / 10 for place in range(len(names))]}},
    }
    spec = curve_spec(space=space, trials=40, lanes_per_cohort=8, sampler="random")
    folder = run_folder(spec, path)
    known = [found[name] for name in names]
    run_cohorts(spec, folder, lambda configs, _: PlantedArray(configs, known, scorer))
    with opened(spec, folder) as owner:
        assert owner.finished
    return names, ResultsTable.load(folder.path)


def test_the_best_of_a_whole_study_is_the_decent_generator_and_the_most_precise_one_is_not(found, scorer, tmp_path):
    names, table = study(found, scorer, tmp_path / "run")
    trials = table.trials
    assert set((10 * trials["lane.beta1"]).round()) == set(range(len(names)))
    assert names[round(10 * table.best()["lane.beta1"])] == "noisy"
    most_precise = trials.loc[trials["fidelity.precision"].idxmax()]
    assert names[round(10 * most_precise["lane.beta1"])] != "noisy"
    assert names[round(10 * table.baseline()["lane.beta1"])] == "an image a class"
    completed = trials[trials["outcome"] == "completed"]
    assert (trials[trials["lane.beta1"] == 0.1]["outcome"] == "completed").all()
    assert len(completed) < len(trials)


def test_scores_of_more_samples_do_not_change_the_order(data, found):
    """With half as many samples each distance keeps its rank and its floor grows."""
    names = ["real", "a little noise", "noisy", "four classes", "one class"]
    planted = spoilt(data)
    fewer = scores(build_scorer(data, ScoringConfig(samples=IMAGE_SAMPLES // 2)), [planted[name] for name in names])
    assert [values["fidelity"] for values in fewer] == sorted(values["fidelity"] for values in fewer)
    assert fewer[0]["fid_floor"] > found["real"]["fid_floor"]
