"""A schedule is followed bit for bit as its lane in a population was, and stopping anywhere equals not stopping."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_arrays import GAUSSIAN, bits, timeless

from gan_core.config.conditions import Conditions, ScoringConfig
from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.lane import LaneConfig
from gan_core.config.reports import LaneReport
from gan_core.config.schedule import Schedule
from gan_core.config.structure import StructureConfig
from gan_core.training.checkpoint import load_tensors
from gan_core.training.draws import BLOCK_STEPS
from gan_core.workshop.one_model import (
    ModelFolder,
    Progress,
    best_row,
    load_generator_weights,
    read_metrics,
    train_model,
)
from gan_core.workshop.saved_generator import SampleKind, sample_generator
from gan_core.workshop.workshop import Workshop

pytestmark = pytest.mark.usefixtures("arithmetic")
BATCH, IMAGES, RUNGS = 13, 130, (20, 52, 91)
VALUES = GanConfig(
    structure=StructureConfig(**{**GAUSSIAN, "discriminator_width": 7, "latent_size": 3, "batch_size": BATCH}),
    lane=LaneConfig(generator_lr=0.02, discriminator_lr=0.02),
    seed=20,
)
# On, and off again: an average, noise, several steps.
LANES = (
    replace(VALUES.lane, ema_half_life_images=40.0, discriminator_steps=2, beta1=0.5),
    replace(VALUES.lane, instance_noise=0.3, instance_noise_images=200.0, generator_steps=2),
    replace(VALUES.lane, ema_half_life_images=20.0, generator_lr=0.001),
)
SCHEDULE = Schedule(VALUES, tuple(zip(RUNGS, LANES, strict=True)))
EVERY_CALL = range(1, 10 + 5 + 1)  # of on_progress: ten steps, and five scorings
IMAGE_CONFIG = GanConfig(
    structure=StructureConfig(
        architecture="mlp_bn", generator_width=7, discriminator_width=7, latent_size=5, batch_size=BATCH
    ),
    lane=LaneConfig(batch_norm_eps=0.8, generator_lr=0.005),
    seed=1,
)


@pytest.fixture
def _blocks_of_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_core.training.lane_array.BLOCK_STEPS", 1)


@pytest.fixture(scope="module")
def workshop() -> Workshop:
    return Workshop(Conditions(dataset="gaussian", scoring=ScoringConfig(samples=200)), device="cpu")


class Calls:
    """Answers True at one call of on_progress, or at none, and keeps the scorings."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at, self.count = stop_at, 0
        self.reports: list[LaneReport] = []

    def __call__(self, progress: Progress) -> bool:
        self.count += 1
        if progress.report is not None:
            self.reports.append(progress.report)
        return self.count == self.stop_at


def run(workshop: Workshop, home: Path, schedule: Schedule, stop_at: int | None = None) -> Calls:
    """Trained to the end, or stopped at a call and run again."""
    calls = Calls(stop_at)
    if stop_at is not None:
        with pytest.raises(KeyboardInterrupt):
            train_model(
                schedule, workshop, ModelFolder(home), images=IMAGES, evaluate_at_images=RUNGS, on_progress=calls
            )
    train_model(schedule, workshop, ModelFolder(home), images=IMAGES, evaluate_at_images=RUNGS, on_progress=calls)
    return calls


def test_the_parameters_of_a_step_are_the_last_that_began_and_a_score_is_of_the_step_before_it():
    first = LaneConfig(beta1=0.1)
    schedule = Schedule(VALUES, ((0, first), *SCHEDULE.changes))
    for images, step, score in (
        (0, first, first),
        (13, first, first),
        (26, LANES[0], first),  # from 20 images on: the first whole batch after them
        (39, LANES[0], LANES[0]),
        (52, LANES[1], LANES[0]),
        (65, LANES[1], LANES[1]),
        (1300, LANES[2], LANES[2]),
    ):
        assert (schedule.at(images).lane, schedule.scored_at(images).lane) == (step, score)
    assert SCHEDULE.at(0) == Schedule(VALUES).at(10**9) == VALUES


def test_entries_of_a_file_are_what_they_change_and_read_as_they_were_written():
    entries = [{"from_images": 0, "lane.beta1": "0.25"}, {"from_images": 640, "lane.generator_lr": 1}]
    schedule = Schedule.read(VALUES, entries)
    first = replace(VALUES.lane, beta1=0.25)
    assert schedule.changes == ((0, first), (640, replace(first, generator_lr=1.0)))
    assert schedule.plain() == [
        {"from_images": 0, "lane.generator_lr": 0.02, "lane.beta1": 0.25},
        {"from_images": 640, "lane.generator_lr": 1.0, "lane.beta1": 0.25},
    ]
    for each in (schedule, SCHEDULE, Schedule(VALUES)):
        assert Schedule.read(VALUES, yaml.safe_load(yaml.safe_dump(each.plain()))) == each


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([{"from_images": 20}, {"from_images": 20}], r"must rise from 0 or more, got \[20, 20\]"),
        ([{"from_images": -1}], r"must rise from 0 or more, got \[-1\]"),
        ([{"lane.beta1": 0.5}], r"needs from_images, a whole number, got {'lane.beta1': 0.5}"),
        ([{"from_images": True}], "needs from_images, a whole number"),
        ([{"from_images": 0, "lane.beta": 0.5}], "unknown hyperparameter 'lane.beta'; did you mean 'lane.beta"),
        (
            [{"from_images": 0, "structure.batch_size": 4}],
            r"only lane.\* may change in a schedule, got structure.batch",
        ),
        ([{"from_images": 0, "lane.beta1": 2}], "lane.beta1 must be at least 0 and below 1"),
        ([{"from_images": 0, "lane.batch_norm_eps": 0.5}], "lane.batch_norm_eps needs batch norm"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused_in_one_line(entries: list[dict[str, Any]], says: str):
    with pytest.raises(InputError, match=says) as refused:
        Schedule.read(VALUES, entries)
    assert "\n" not in str(refused.value)


def test_a_schedule_is_followed_as_its_lane_in_a_population_was(workshop, tmp_path):
    """The lane moves from place to place, and its company changes."""
    calls = run(workshop, tmp_path, SCHEDULE)
    others = [replace(VALUES, seed=3), replace(VALUES, seed=4, lane=LANES[2])]
    population, at = workshop.build([others[0], VALUES, others[1]]), 1
    expected = [population.train_to(RUNGS[0])[1]]
    for rung, lane in zip((*RUNGS[1:], IMAGES), LANES, strict=True):
        config = replace(VALUES, lane=lane)
        population.take_over([at, at, at], [VALUES, replace(VALUES, lane=LANES[1]), config])
        at = 2
        expected += [population.train_to(rung)[at]]
    seen = [report.images_seen for report in expected]
    assert seen == [26, 52, 91, 130]
    assert timeless([report for report in calls.reports if report.images_seen in seen[:3]]) == timeless(expected[:3])
    last = {name: tensor for name, tensor in population.array.state.take([at]).tensors().items() if name != "watch"}
    kept = load_tensors(ModelFolder(tmp_path).state)
    assert [name for name in last if bits(last[name]) != bits(kept[name])] == []


@pytest.mark.parametrize("rung", [0, 1, 2])
def test_each_change_of_a_schedule_makes_a_difference(workshop, tmp_path, rung):
    without = Schedule(VALUES, tuple(change for i, change in enumerate(SCHEDULE.changes) if i != rung))
    for name, schedule in (("with", SCHEDULE), ("without", without)):
        (tmp_path / name).mkdir()
        run(workshop, tmp_path / name, schedule)
    mine, theirs = (load_tensors(ModelFolder(tmp_path / name).state)["generator"] for name in ("with", "without"))
    assert bits(mine) != bits(theirs)


@pytest.fixture(scope="module")
def whole(workshop, tmp_path_factory) -> ModelFolder:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gan_core.training.lane_array.BLOCK_STEPS", 1)
        folder = ModelFolder(tmp_path_factory.mktemp("whole"))
        calls = run(workshop, folder.path, SCHEDULE)
    assert calls.count == len(EVERY_CALL)
    return folder


@pytest.mark.usefixtures("_blocks_of_one_step")
@pytest.mark.parametrize("at", EVERY_CALL)
def test_stopped_at_any_call_and_run_again_equals_not_stopping(workshop, whole, tmp_path, at):
    run(workshop, tmp_path, SCHEDULE, stop_at=at)
    mine, theirs = load_tensors(ModelFolder(tmp_path).state), load_tensors(whole.state)
    assert [name for name in theirs if bits(mine[name]) != bits(theirs[name])] == []
    assert ModelFolder(tmp_path).metrics.read_text() == whole.metrics.read_text()
    assert ModelFolder(tmp_path).generator.read_bytes() == whole.generator.read_bytes()


def test_where_parameters_change_is_scored_and_what_never_comes_is_not(workshop, tmp_path):
    schedule = Schedule(VALUES, ((0, LANES[0]), (30, LANES[1]), (500, LANES[2])))
    folder, points = ModelFolder(tmp_path), (IMAGES,)
    train_model(schedule, workshop, folder, images=IMAGES, evaluate_at_images=points, on_progress=Calls())
    assert [row["images_seen"] for row in read_metrics(folder.metrics)] == [39, 130]


@pytest.fixture(scope="module")
def images() -> Workshop:
    return Workshop(Conditions(dataset="digits", scoring=ScoringConfig(samples=50, features="pca")), device="cpu")


@pytest.mark.parametrize("wins", ["first", "second"])
def test_the_best_generator_is_sampled_with_the_parameters_that_it_was_scored_with(images, tmp_path, wins):
    """Batch norm's eps is a lane parameter that samples depend on."""
    block, rate = BLOCK_STEPS * BATCH, 1.0 if wins == "first" else IMAGE_CONFIG.lane.generator_lr
    later = replace(IMAGE_CONFIG.lane, batch_norm_eps=1e-3, generator_lr=rate)
    schedule, folder = Schedule(IMAGE_CONFIG, ((block, later),)), ModelFolder(tmp_path)
    train_model(schedule, images, folder, images=4 * block, evaluate_at_images=(block,), on_progress=Calls())
    best = best_row(folder, "fidelity")
    config = schedule.scored_at(int(best["images_seen"]))
    array = images.build([IMAGE_CONFIG])
    array.train_to(block)
    if best["images_seen"] > block:
        array.take_over([0], [replace(IMAGE_CONFIG, lane=later)])
    score = array.train_to(int(best["images_seen"]))[0].fidelity.values["fidelity"]
    assert score == best["fidelity.fidelity"]
    drawn = sample_generator(config, SampleKind((1, 8, 8), 10), load_generator_weights(folder), 9, seed=2)
    assert bits(drawn) == bits(array.array.sample(9, seed=2)[0])
    assert (best["images_seen"] > block) is (wins == "second")


def test_a_table_of_scorings_without_the_score_that_decides_is_refused(tmp_path):
    folder = ModelFolder(tmp_path)
    for content in ("images_seen,d_loss\n13,1.0\n", "images_seen\n"):
        folder.metrics.write_text(content)
        with pytest.raises(
            InputError, match="(no row of numbers with a column 'fidelity.kid'|holds no scoring); it was"
        ):
            best_row(folder, "kid")
