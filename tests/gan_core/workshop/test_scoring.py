"""Scored arrays: the content of a report, how lanes die and are removed, and how a workshop is made."""

import json
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from events import Clock
from tiny_arrays import GAUSSIAN, bits, timeless

from gan_core.config.conditions import Conditions, ScoringConfig
from gan_core.config.gan import GanConfig
from gan_core.config.health import HealthConfig
from gan_core.config.input_error import DamagedFile, InputError
from gan_core.config.lane import LaneConfig
from gan_core.config.reports import Death, FidelityReport, Midway
from gan_core.config.structure import StructureConfig
from gan_core.data.dataset import Dataset
from gan_core.fidelity.protocol import LATENT_SEED, Scorer
from gan_core.fidelity.scorers import ImageScorer, build_scorer
from gan_core.fidelity.value_scorers import PlaneScorer, ValueScorer
from gan_core.files.cache import cache_folder
from gan_core.lanes.streams import Stream
from gan_core.training.draws import BLOCK_STEPS
from gan_core.training.lane_array import LaneArray
from gan_core.workshop.scored_array import ScoredArray, evaluate
from gan_core.workshop.workshop import Workshop

BATCH = 20
WATCHED = BLOCK_STEPS * BATCH
HEALTH = HealthConfig(grace_images=0)
STRUCTURE = StructureConfig(**{**GAUSSIAN, "discriminator_width": 7, "latent_size": 1, "batch_size": BATCH})


def configs(lanes: int = 3) -> list[GanConfig]:
    """Lanes that differ; in the second, the generator is first trained after 10,000 steps."""
    known = [LaneConfig(), LaneConfig(discriminator_steps=1000), *(LaneConfig(generator_lr=i / 100) for i in (1, 2, 3))]
    return [GanConfig(structure=STRUCTURE, lane=lane, seed=seed) for seed, lane in enumerate(known[:lanes])]


@pytest.fixture(scope="module")
def scorer(gaussian: Dataset) -> Scorer:
    return build_scorer(gaussian, ScoringConfig(samples=500))


def scored(gaussian: Dataset, scorer: Scorer, chosen: Sequence[int] = (0, 1, 2)) -> ScoredArray:
    """An array of some of the five lanes."""
    known = configs(5)
    array = LaneArray([known[i] for i in chosen], gaussian, health=HEALTH, execution="eager")
    return ScoredArray(array, scorer, HEALTH)


def poison(array: ScoredArray, lane: int) -> None:
    """From the next step on, the discriminator of the lane returns NaN."""
    array.array.state.discriminator.flat[lane] = math.nan


def test_a_report_holds_losses_and_what_was_watched_since_the_one_before(gaussian, scorer):
    array, twin = (LaneArray(configs(), gaussian, health=HEALTH, execution="eager") for _ in range(2))
    for one in (array, twin):
        assert one.train_to(640)
    means = twin.state.watch.means()
    reports = evaluate(array, scorer, HEALTH, time.monotonic())
    for report, seen in zip(reports, means, strict=True):
        assert report.d_loss == seen["d_loss"]
        others = {name: value for name, value in seen.items() if name not in ("d_loss", "g_loss")}
        assert repr(report.health) == repr(others)  # in which NaN equals NaN
        assert (report.images_seen, report.device, report.death) == (
            640,
            f"cpu, eager, {array.lanes} lanes a call",
            None,
        )
        assert report.health["discriminator_accuracy"] > 0
    assert [report.g_loss for report in reports][::2] == [seen["g_loss"] for seen in means][::2]
    assert math.isnan(reports[1].g_loss)
    assert [report.fidelity for report in reports] == scorer.score(twin)
    assert math.isnan(evaluate(array, scorer, HEALTH, time.monotonic())[0].d_loss)


def test_training_that_is_broken_off_is_scored_where_it_stands(gaussian, scorer):
    class Enough(Exception):
        pass

    def stop(images: int) -> None:
        if images == 2 * WATCHED:
            raise Enough

    array, twin = scored(gaussian, scorer), scored(gaussian, scorer)
    for one in (array, twin):
        one.train_to(WATCHED)
    with pytest.raises(Enough):
        array.train_to(5 * WATCHED, stop)
    assert timeless(array.score()) == timeless(twin.train_to(2 * WATCHED))
    assert timeless(array.train_to(3 * WATCHED)) == timeless(twin.train_to(3 * WATCHED))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no memory"), RuntimeError("something else")], ids=str)
def test_where_memory_runs_out_a_rung_is_scored_without_what_training_needs(gaussian, scorer, error):
    class Short:
        """Scores only if no memory of training steps is held."""

        def __getattr__(self, name: str) -> Any:
            return getattr(scorer, name)

        def score(self, array: LaneArray) -> list[FidelityReport]:
            if array._steps:
                raise error
            return scorer.score(array)

    array, twin = scored(gaussian, cast("Scorer", Short())), scored(gaussian, scorer)
    if isinstance(error, torch.OutOfMemoryError):
        for images in (320, 640):  # and training goes on as if nothing had been
            assert timeless(array.train_to(images)) == timeless(twin.train_to(images))
    else:
        with pytest.raises(RuntimeError, match="something else"):
            array.train_to(320)


def test_signs_are_told_by_the_thresholds_and_after_the_grace(gaussian, scorer):
    every = HealthConfig(exploded_gradient=0.0, won_accuracy=0.0, won_loss=1e12)
    for grace, expected in ((640, {"exploded_gradient", "discriminator_won"}), (641, {"exploded_gradient"})):
        array = LaneArray(configs(), gaussian, execution="eager")
        array.train_to(640)
        reports = evaluate(array, scorer, replace(every, grace_images=grace), time.monotonic())
        assert [set(report.signs) for report in reports] == [expected] * 3


@pytest.mark.parametrize(
    ("network", "value", "scoreless"),
    [("generator", math.nan, True), ("generator", math.inf, False), ("discriminator", math.inf, False)],
)
def test_a_lane_whose_weights_are_not_finite_dies_at_the_rung(gaussian, scorer, network, value, scoreless):
    array, twin = (scored(gaussian, scorer) for _ in range(2))
    for one in (array, twin):
        one.train_to(320)
    getattr(array.array.state, network).flat[1, 0] = value
    reports, theirs = array.train_to(320), twin.train_to(320)
    assert [report.death for report in reports] == [None, Death("diverged", "weights are not finite"), None]
    assert math.isnan(reports[1].fidelity.values["fidelity"]) is scoreless
    assert timeless([reports[0], reports[2]]) == timeless([theirs[0], theirs[2]])


def test_a_lane_without_a_score_dies_at_the_rung(gaussian, scorer):
    array = scored(gaussian, scorer)
    array.train_to(320)
    array.array.state.generator.flat[2] = 1e38  # finite, but what it draws is not
    reports = array.train_to(320)
    assert [report.death for report in reports] == [None, None, Death("diverged", "score is nan")]


def test_a_lane_that_dies_between_rungs_leaves_at_once_and_the_others_are_as_if_it_had_never_been(gaussian, scorer):
    array, without = scored(gaussian, scorer), scored(gaussian, scorer, (0, 2))
    poison(array, 1)
    seen = []
    reports, theirs = array.train_to(2000, seen.append), without.train_to(2000)
    assert array.array.lanes == 2
    assert seen == [*range(WATCHED, 2001, WATCHED), 2000]
    assert [report.images_seen for report in reports] == [2000, WATCHED, 2000]
    assert reports[1].death == Death("diverged", "discriminator loss is nan")
    assert reports[1].fidelity.values.keys() == {"fidelity"}
    assert math.isnan(reports[1].fidelity.values["fidelity"])
    assert (reports[1].fidelity.protocol, reports[1].signs) == (scorer.protocol, ())
    assert timeless([reports[0], reports[2]]) == timeless(theirs)
    mine, other = array.array.state.tensors(), without.array.state.tensors()
    assert [name for name in mine if bits(mine[name]) != bits(other[name])] == []
    assert reports[0].d_loss != reports[2].d_loss


def test_two_lanes_may_die_at_different_times_and_seconds_are_counted_once(gaussian, scorer, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("gan_core.workshop.scored_array.time", clock)
    array = scored(gaussian, scorer, range(5))
    poison(array, 0)

    def block(images: int) -> None:
        clock.tick()
        if images == WATCHED:
            poison(array, 3)  # while lane 0 has yet to leave

    reports = array.train_to(2000, block)
    assert [report.images_seen for report in reports] == [WATCHED, 2000, 2000, 2 * WATCHED, 2000]
    assert [report.death is None for report in reports] == [False, True, True, False, True]
    assert sum(report.seconds for report in reports) == pytest.approx(clock.seconds)
    assert 0 < reports[0].seconds < reports[3].seconds < reports[1].seconds == reports[4].seconds


def test_lanes_are_numbered_by_the_last_keep_and_pictures_are_of_the_right_one(gaussian, scorer):
    array, alone = scored(gaussian, scorer, range(5)), scored(gaussian, scorer, (4,))
    poison(array, 1)
    array.train_to(400)
    alone.train_to(400)
    expected = alone.picture(0, 25)
    assert expected.shape == (25, 1)
    assert expected.dtype == np.float32
    np.testing.assert_array_equal(array.picture(4, 25), expected)
    assert not np.array_equal(array.picture(3, 25), expected)
    drawn = alone.array.generate(alone.array.shared_latents(Stream.SCORE_LATENTS, scorer.samples, LATENT_SEED))
    np.testing.assert_allclose(expected, drawn[0, :25].numpy(), rtol=1e-6)
    array.keep([4, 0, 3])
    np.testing.assert_array_equal(array.picture(0, 25), expected)
    poison(array, 1)
    reports, theirs = array.train_to(800), alone.train_to(800)
    assert [report.death is None for report in reports] == [True, False, True]
    assert timeless(reports[:1]) == timeless(theirs)
    array.keep([2, 0])
    assert timeless(array.train_to(1200)[1:]) == timeless(alone.train_to(1200))


def test_what_is_saved_after_a_death_goes_on_as_if_it_had_not_stopped(gaussian, scorer, tmp_path):
    array, other = (scored(gaussian, scorer, range(4)) for _ in range(2))
    poison(array, 1)
    array.train_to(640)
    array.save(tmp_path / "state")
    other.load(tmp_path / "state")
    assert other.array.lanes == 3
    np.testing.assert_array_equal(array.picture(3, 9), other.picture(3, 9))
    for one in (array, other):
        one.keep([0, 3])
    assert timeless(array.train_to(1280)) == timeless(other.train_to(1280))


def test_a_checkpoint_of_other_lanes_is_refused_in_one_line(gaussian, scorer, tmp_path):
    four, two = scored(gaussian, scorer, range(4)), scored(gaussian, scorer, range(2))
    four.save(tmp_path / "state")
    with pytest.raises(InputError, match="is of other lanes; it is another run's$") as caught:
        two.load(tmp_path / "state")
    assert "\n" not in str(caught.value)
    poison(four, 0)
    poison(four, 1)
    four.train_to(320)
    four.save(tmp_path / "two of four")
    with pytest.raises(InputError, match="another run's"):
        two.load(tmp_path / "two of four")


def test_where_all_lanes_die_nothing_is_scored_and_a_checkpoint_of_it_loads(gaussian, scorer, tmp_path):
    array = scored(gaussian, scorer, range(2))
    poison(array, 0)
    poison(array, 1)
    reports = array.train_to(2000)
    assert [report.images_seen for report in reports] == [WATCHED] * 2
    assert [report.death for report in reports] == [Death("diverged", "discriminator loss is nan")] * 2
    assert array.array.state.images_seen == WATCHED
    array.save(tmp_path / "state")
    again = scored(gaussian, scorer, range(2))
    again.load(tmp_path / "state")
    again.keep([])
    assert again.train_to(4000) == []
    assert again.array.state.images_seen == 0


def test_an_array_goes_on_from_any_step_of_its_way_to_a_rung_with_the_bits_and_reports_of_one_left_alone(
    gaussian, scorer, tmp_path
):
    """One lane is dead before the first of its steps from which another array goes on, and curves have points."""
    images = 3 * WATCHED + 5 * BATCH
    whole, saved = scored(gaussian, scorer), []

    def save(seen: int) -> None:
        path = tmp_path / str(seen)
        saved.append((seen, path, whole.save_midway(path)))

    poison(whole, 1)
    expected = timeless(whole.train_to(images, save))
    assert [seen for seen, _, _ in saved] == [WATCHED, 2 * WATCHED, 3 * WATCHED, images]
    assert saved[0][2] is None  # a lane has died in this step, and is removed after it
    assert not saved[0][1].exists()
    for _, path, midway in saved[1:3]:
        assert list(midway.dead) == [1]
        other = scored(gaussian, scorer)
        other.load_midway(path, Midway.from_plain(json.loads(json.dumps(midway.plain()))))
        assert timeless(other.train_to(images)) == expected
        assert bits(other.array.state.generator.flat) == bits(whole.array.state.generator.flat)


def test_the_seconds_before_an_array_went_on_count(gaussian, scorer, tmp_path):
    array = scored(gaussian, scorer)
    array.train_to(WATCHED)
    array.save_midway(tmp_path / "state")
    other = scored(gaussian, scorer)
    other.load_midway(tmp_path / "state", Midway(seconds=3_000.0))
    assert all(1_000 <= report.seconds < 1_100 for report in other.train_to(2 * WATCHED))


@pytest.mark.parametrize("lost", ["curve_before", "curve_marks", "curve_images"])
def test_marks_of_other_lanes_are_refused(gaussian, scorer, lost):
    watch, fewer = scored(gaussian, scorer).array.state.watch, scored(gaussian, scorer, [0]).array.state.watch
    with pytest.raises(DamagedFile, match="are of other lanes"):
        watch.set_marks(fewer.marks())
    with pytest.raises(DamagedFile, match="lacks the marks"):
        watch.set_marks({name: tensor for name, tensor in watch.marks().items() if name != lost})


def test_a_generator_that_answers_alike_collapses_and_its_neighbours_go_on(gaussian, scorer):
    health = HealthConfig(collapsed_images=2 * WATCHED)
    still = replace(configs()[0], lane=LaneConfig(generator_lr=0.0))
    array = ScoredArray(LaneArray([still, *configs()[1:]], gaussian, health=health, execution="eager"), scorer, health)
    array.array.state.generator.flat[0] = 0.0
    reports = array.train_to(2000)
    assert [report.images_seen for report in reports] == [2 * WATCHED, 2000, 2000]
    assert [report.death.outcome if report.death else None for report in reports] == ["collapsed", None, None]


@pytest.mark.parametrize(
    ("name", "kind", "samples"),
    [("digits", ImageScorer, 100), ("gaussian", ValueScorer, 50), ("ring", PlaneScorer, 50)],
)
def test_a_workshop_reads_the_conditions(name, kind, samples):
    scoring, health = ScoringConfig(samples=samples, coverage_limit=0.25), HealthConfig(grace_images=7)
    workshop = Workshop(Conditions(dataset=name, scoring=scoring, health=health), "cpu")
    assert isinstance(workshop.scorer, kind)
    assert workshop.scorer.samples == samples
    assert "coverage0.25" in workshop.scorer.protocol
    architecture = "mlp" if name == "digits" else "gaussian"
    structure = StructureConfig(
        architecture=architecture, dataset=name, generator_width=4, discriminator_width=4, latent_size=2
    )
    array = workshop.build([GanConfig(structure=structure)])
    assert array.health == array.array.state.watch.health == health
    (report,) = array.train_to(64)
    assert report.fidelity.protocol == workshop.scorer.protocol
    assert report.fidelity.data_digest == workshop.dataset.digest


def test_a_workshop_says_what_it_does_before_it_does_it(tmp_path, monkeypatch):
    said: list[str] = []
    scoring = ScoringConfig(samples=50)
    conditions = Conditions(dataset="digits", scoring=scoring)
    Workshop(conditions, "cpu")  # the classifier is kept from here on
    workshop = Workshop(conditions, "cpu", said.append)
    assert said == ["loading digits", "examining the scores of digits"]
    structure = StructureConfig(dataset="digits", generator_width=4, discriminator_width=4, latent_size=2)
    for seed in range(2):
        workshop.build([GanConfig(structure=structure, seed=seed)])
    workshop.build([GanConfig(structure=replace(structure, latent_size=3))])
    assert said[2:] == ["compiling the steps of mlp"] * 2
    said.clear()
    monkeypatch.setattr("gan_core.workshop.workshop.build_scorer", lambda *given: None)
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path))
    replayed = Workshop(replace(conditions, execution="replayed"), "cpu", said.append)
    replayed.build([GanConfig(structure=structure)])
    assert said == ["loading digits", "training a classifier for the scores of digits", "preparing the steps of mlp"]


def test_two_conditions_that_score_differently_never_share_a_protocol():
    def protocol(image_size_pixels: int = 0, **scoring: object) -> str:
        chosen = ScoringConfig(**scoring)  # pyright: ignore[reportArgumentType]
        conditions = Conditions(dataset="digits", image_size_pixels=image_size_pixels, scoring=chosen)
        return Workshop(conditions, "cpu").scorer.protocol

    fast = {"samples": 50}
    others = [
        protocol(**fast),
        protocol(samples=51),
        protocol(**fast, features="pca"),
        protocol(**fast, class_kl_limit=0.1000001),
        protocol(**fast, coverage_limit=0.4),
        protocol(5, **fast, features="pca"),
    ]
    assert len(set(others)) == len(others)
    assert protocol(**fast, features="classifier") == others[0]


def tensors_in(value: object, name: str = "") -> dict[str, torch.Tensor]:
    """All tensors that an object holds, by their path, except those of networks."""
    if isinstance(value, torch.Tensor):
        return {name: value}
    inside = vars(value) if is_dataclass(value) or isinstance(value, (ImageScorer, PlaneScorer, ValueScorer)) else {}
    skipped = ("dataset", "extractor", "_cheap", "truth")
    parts = [tensors_in(part, f"{name}.{key}") for key, part in inside.items() if key not in skipped]
    return {key: tensor for part in parts for key, tensor in part.items()}


@pytest.mark.parametrize(("name", "fewest"), [("digits", 10), ("gaussian", 5), ("ring", 5)])
def test_what_samples_are_compared_with_does_not_depend_on_the_callers_threads(name, fewest, tmp_path, monkeypatch):
    for kept in cache_folder().glob("*.safetensors"):
        shutil.copy(kept, tmp_path)  # other tests read what is removed here
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path))

    def known(threads: int) -> dict[str, bytes]:
        for kept in cache_folder().glob("reference-*.safetensors"):
            kept.unlink()  # so that it is computed again
        torch.set_num_threads(threads)
        try:
            scorer = Workshop(Conditions(dataset=name), "cpu").scorer
        finally:
            assert torch.get_num_threads() == threads
            torch.set_num_threads(1)
        found = {key: bits(tensor) for key, tensor in tensors_in(scorer).items()}
        return found | {"constants": repr(scorer.constants).encode()}  # pyright: ignore[reportAttributeAccessIssue]

    one = known(1)
    assert len(one) >= fewest
    assert known(2) == one
    assert known(3) == one
