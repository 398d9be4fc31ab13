"""What a trial draws, the configuration that follows, and the inverse; and full grids."""

from typing import Any

import numpy as np
import optuna
import pytest
import yaml
from inline_spaces import inline, random_study

from gan_core.config.gan import HYPERPARAMETERS, GanConfig
from gan_core.config.input_error import InputError
from search_spaces.range_parsing import parse_range
from search_spaces.space import SearchSpace, shipped_spaces

# One range of each kind, with conditions, relations and constraints.
EVERYTHING: dict[str, Any] = {
    "name": "everything",
    "about": "One range of each kind.",
    "source": "ours: 'none', section 0",
    "base": {"structure.generator_width": 64, "lane.beta1": 0.5},
    "ranges": {
        "structure.generator_width": {"low": 32, "high": 128, "step": 32},
        "structure.discriminator_width": {"choices": [64, 128, 256]},
        "structure.latent_size": {"low": 8, "high": 512, "log": True},
        "structure.loss": {"choices": ["non_saturating", "hinge", "wasserstein_gp"]},
        "structure.gradient_penalty": {
            "choices": ["none", "r1"],
            "when": {"structure.loss": ["non_saturating", "hinge"]},
        },
        "lane.generator_lr": {"low": 1e-5, "high": 1e-2, "log": True},
        "lane.discriminator_lr": {"ratio_to": "lane.generator_lr", "low": 0.1, "high": 10.0, "log": True},
        "lane.beta1": {"low": 0.1, "high": 0.9, "step": 0.1},
        "lane.beta2": {"complement": True, "low": 1e-3, "high": 0.5, "log": True},
        "lane.discriminator_steps": {"low": 1, "high": 5},
        "lane.generator_steps": {"low": 1, "high": 1},
        "lane.label_smoothing": {"low": 0.0, "high": 0.3, "when": {"structure.loss": "non_saturating"}},
        "lane.instance_noise": {"ratio_to": "lane.beta1", "choices": [0.0, 1 / 3], "when": {"structure.loss": "hinge"}},
        "lane.penalty_weight": {"low": 0.1, "high": 100.0, "log": True, "when": {"structure.gradient_penalty": "r1"}},
    },
    "constraints": ["structure.discriminator_width <= 4 * structure.generator_width", 'structure.loss != "minimax"'],
}


def test_everything_that_is_drawn_comes_back_from_the_configuration_it_made():
    space = SearchSpace.load(EVERYTHING)
    study, names = random_study(), set()
    for number in range(400):
        trial = study.ask()
        drawn = space.suggest(trial)
        assert trial.params == drawn
        config = space.configuration(drawn, seed=number)
        again = space.parameters_of(config.flatten())
        assert list(again) == list(drawn)
        numbers = {name: value for name, value in drawn.items() if not isinstance(value, str)}
        assert {name: again[name] for name in numbers} == pytest.approx(numbers, rel=1e-9)
        assert {k: v for k, v in again.items() if k not in numbers} == {
            k: v for k, v in drawn.items() if k not in numbers
        }
        assert space.configuration(again, seed=number) == config
        assert space.suggest(optuna.trial.FixedTrial(again)) == again
        assert set(space.derived(drawn)) == set(drawn) - set(HYPERPARAMETERS)
        names |= set(drawn)
    assert names == {scope.parameter(name) for name, scope in space.ranges.items()}


@pytest.mark.parametrize("name", shipped_spaces())
def test_what_a_shipped_space_draws_comes_back_and_trial_0_is_its_base(name):
    space = SearchSpace.load(name)
    study = random_study(3)
    for number in range(50):
        config = space.configuration(space.suggest(study.ask()), seed=number)
        assert space.configuration(space.parameters_of(config.flatten()), seed=number) == config
    assert space.configuration(space.parameters_of({}), seed=space.base.seed) == space.base


@pytest.mark.parametrize("name", [*shipped_spaces(), "everything"])
def test_a_space_written_as_yaml_reads_back_as_the_same_space(name):
    space = SearchSpace.load(EVERYTHING if name == "everything" else name)
    again = SearchSpace.load(yaml.safe_load(yaml.safe_dump(space.plain(), sort_keys=False)))
    assert again == space
    assert list(again.ranges) == list(space.ranges)
    assert again.source == space.source


def test_enqueued_values_are_what_the_next_trial_has():
    space = SearchSpace.load(EVERYTHING)
    values = {"structure.loss": "hinge", "lane.generator_lr": "4e-4", "lane.discriminator_lr": 8e-4, "lane.beta1": 0.3}
    study = random_study()
    study.enqueue_trial(space.parameters_of(values))
    config = space.configuration(space.suggest(study.ask()), seed=0)
    expected = {**space.base.flatten(), **values, "lane.generator_lr": 4e-4}
    assert config.flatten() == pytest.approx(expected)
    assert space.parameters_of(values)["lane.discriminator_lr.ratio"] == 2.0


REFUSED_VALUES = {
    "above its range": ({"lane.generator_lr": 0.1}, ["lane.generator_lr 0.1 lies outside its range 1e-05 .. 0.01 log"]),
    "not a choice": (
        {"structure.discriminator_width": 96},
        ["structure.discriminator_width 96 lies outside", "64 | 128"],
    ),
    "off the steps": ({"lane.beta1": 0.55}, ["lane.beta1 0.55 lies outside its range 0.1 .. 0.9 step 0.1"]),
    "off the whole steps": ({"structure.generator_width": 48}, ["structure.generator_width 48 lies outside"]),
    "a ratio outside": (
        {"lane.discriminator_lr": 4e-3},
        ["lane.discriminator_lr 0.004", "0.1 .. 10 log x lane.generator_lr"],
    ),
    "a ratio outside by its other": ({"lane.generator_lr": 5e-3}, ["lane.discriminator_lr 0.0002 lies outside"]),
    "a complement outside": ({"lane.beta2": 0.3}, ["lane.beta2 0.3 lies outside its range 1 - (0.001 .. 0.5 log)"]),
    "not searched": ({"structure.batch_size": 32}, ["structure.batch_size is not searched", "must be 64", "got 32"]),
    "not searched here": (
        {"structure.loss": "hinge", "lane.label_smoothing": 0.1},
        ["lane.label_smoothing is searched only when structure.loss is non_saturating", "must be 0.0", "got 0.1"],
    ),
    "not searched along a chain": ({"lane.penalty_weight": 3.0}, ["lane.penalty_weight", "gradient_penalty is r1"]),
    "another data set": ({"structure.dataset": "mnist"}, ["structure.dataset is not searched", "'digits'"]),
    "unknown": ({"lane.beta3": 3.0}, ["unknown hyperparameter 'lane.beta3'", "lane.beta"]),
    "wrong type": ({"lane.beta1": "much"}, ["lane.beta1 must be a number", "'much'"]),
    "out of the field": ({"lane.beta1": 7}, ["lane.beta1 must be", "below 1", "7"]),
}


@pytest.mark.parametrize(("values", "says"), REFUSED_VALUES.values(), ids=REFUSED_VALUES)
def test_values_that_the_space_cannot_draw_are_refused_by_name(values, says):
    with pytest.raises(InputError) as refused:
        SearchSpace.load(EVERYTHING).parameters_of(values)
    message = str(refused.value)
    assert "\n" not in message
    assert [fragment for fragment in says if fragment not in message] == []


def test_values_that_are_not_searched_may_be_named_as_they_are_in_the_base():
    space = SearchSpace.load(EVERYTHING)
    assert space.parameters_of({**space.base.flatten(), "seed": 99}) == space.parameters_of({})
    assert space.parameters_of({"structure.batch_size": 64, "lane.penalty_weight": 10.0}) == space.parameters_of({})


def test_what_does_not_exist_is_passed_over_and_what_is_no_parameter_is_our_mistake():
    space = SearchSpace.load(EVERYTHING)
    drawn = {"structure.loss": "wasserstein_gp", "lane.label_smoothing": 0.2, "structure.gradient_penalty": "r1"}
    config = space.configuration(drawn, seed=1)
    assert (config.lane.label_smoothing, config.structure.gradient_penalty) == (0.0, "none")
    with pytest.raises(ValueError, match="draws no lane.discriminator_lr; it draws structure.generator_width") as error:
        space.configuration({"lane.discriminator_lr": 1e-3}, seed=1)
    assert not isinstance(error.value, InputError)


def test_configurations_keep_what_is_not_named_and_have_the_seed():
    space = SearchSpace.load(EVERYTHING)
    assert space.configuration({}, seed=0) == space.base
    assert space.configuration({}, seed=12).seed == 12


def test_every_kind_of_range_stays_within_itself():
    space = SearchSpace.load(EVERYTHING)
    study = random_study(5)
    draws = [space.suggest(study.ask()) for _ in range(400)]
    latent = np.array([drawn["structure.latent_size"] for drawn in draws])
    assert latent.dtype.kind == "i"
    assert latent.min() >= 8
    assert latent.max() <= 512
    assert np.median(latent) == pytest.approx(64, rel=0.25)  # the middle of a log scale; of a linear one it is 260
    assert {drawn["structure.generator_width"] for drawn in draws} == {32, 64, 96, 128}
    assert {round(drawn["lane.beta1"], 9) for drawn in draws} == {round(0.1 * step, 9) for step in range(1, 10)}
    assert {drawn["lane.discriminator_steps"] for drawn in draws} == {1, 2, 3, 4, 5}
    assert {drawn["lane.generator_steps"] for drawn in draws} == {1}


@pytest.mark.parametrize(
    ("name", "written", "high"),
    [
        ("lane.beta1", {"low": 0.0, "high": 0.95, "step": 0.1}, "0.9"),
        ("lane.discriminator_steps", {"low": 1, "high": 4, "step": 2}, "3"),
        ("lane.discriminator_lr", {"ratio_to": "lane.generator_lr", "low": 0.5, "high": 2.2, "step": 0.5}, "2"),
    ],
)
def test_a_range_that_is_no_whole_number_of_steps_is_refused_with_the_end_that_is(name, written, high):
    with pytest.raises(InputError, match=f"{name} must be a whole number of steps long, .*; set high to {high}$"):
        parse_range(name, written)


def test_choices_written_twice_are_one():
    assert parse_range("lane.beta1", {"choices": [0, 0.0, "0", 0.5]}).choices == (0.0, 0.5)


GRID_RANGES: dict[str, Any] = {
    "structure.generator_width": {"low": 64, "high": 256, "step": 64},
    "structure.loss": {"choices": ["non_saturating", "hinge"]},
    "lane.generator_lr": {"low": 1e-5, "high": 1e-2, "log": True},
    "lane.discriminator_lr": {"ratio_to": "lane.generator_lr", "low": 1, "high": 1},
    "lane.beta1": {"low": 0.3, "high": 0.9, "step": 0.1},
    "lane.beta2": {"complement": True, "low": 0.001, "high": 0.5},
    "lane.discriminator_steps": {"low": 1, "high": 3},
}


def test_a_grid_has_choices_steps_and_points_on_each_scale():
    grid = inline(ranges=GRID_RANGES).grid(4)
    assert list(grid) == [
        *("structure.generator_width", "structure.loss", "lane.generator_lr", "lane.discriminator_lr.ratio"),
        *("lane.beta1", "lane.beta2.complement", "lane.discriminator_steps"),
    ]
    assert grid["structure.generator_width"] == [64, 128, 192, 256]
    assert grid["structure.loss"] == ["non_saturating", "hinge"]
    assert grid["lane.generator_lr"] == pytest.approx(np.geomspace(1e-5, 1e-2, 4))
    assert (grid["lane.generator_lr"][0], grid["lane.generator_lr"][-1]) == (1e-5, 1e-2)
    assert grid["lane.discriminator_lr.ratio"] == [1.0]
    assert grid["lane.beta1"] == [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert grid["lane.beta2.complement"] == pytest.approx(np.linspace(0.001, 0.5, 4))
    assert grid["lane.discriminator_steps"] == [1, 2, 3]
    assert [type(value) for value in grid["lane.discriminator_steps"]] == [int] * 3


@pytest.mark.parametrize("points", [2, 3, 7, 1000])
def test_a_grids_points_are_distinct_and_lie_in_the_range_both_ends_among_them(points):
    rate = {"low": 1e-5, "high": 0.023, "log": True}  # low * (high / low) is not high
    space = inline(ranges={"lane.beta2": {"low": 0.1, "high": 0.999}, "lane.generator_lr": rate})
    for name, values in space.grid(points).items():
        assert len(set(values)) == points
        assert values == sorted(values)
        assert [value for value in values if not space.ranges[name].contains(value)] == []
        assert (values[0], values[-1]) == (space.ranges[name].low, space.ranges[name].high)


def test_whole_numbers_on_a_log_scale_are_all_taken_or_thinned_to_points():
    space = inline(ranges={"structure.latent_size": {"low": 8, "high": 512, "log": True}})
    assert space.grid(None) == {"structure.latent_size": list(range(8, 513))}
    assert space.grid(4) == {"structure.latent_size": [8, 32, 128, 512]}
    assert [type(value) for value in space.grid(4)["structure.latent_size"]] == [int] * 4
    small = inline(ranges={"lane.discriminator_steps": {"low": 1, "high": 4, "log": True}})
    assert small.grid(1000) == {"lane.discriminator_steps": [1, 2, 3, 4]}


def test_optunas_grid_sampler_visits_every_point_of_a_grid_once():
    ranges = {
        name: GRID_RANGES[name] for name in ("structure.loss", "lane.discriminator_lr", "lane.beta1", "lane.beta2")
    }
    space = inline(ranges=ranges)
    study = optuna.create_study(sampler=optuna.samplers.GridSampler(space.grid(3), seed=0))
    configs = set()
    study.optimize(lambda trial: configs.add(space.configuration(space.suggest(trial), seed=0)) or 0.0)
    assert len(configs) == len(study.trials) == 2 * 1 * 7 * 3


@pytest.mark.parametrize(
    ("ranges", "points", "says"),
    [
        ({"lane.beta1": {"low": 0.0, "high": 0.9}}, None, ["grid needs points for lane.beta1", "0 .. 0.9", "choices"]),
        ({"lane.beta1": {"low": 0.0, "high": 0.9}}, 1, ["points of a grid", "2 to 1000", "got 1"]),
        ({"lane.beta1": {"low": 0.0, "high": 0.9}}, 1001, ["points of a grid", "got 1001"]),
        ({"lane.beta1": {"low": 0.0, "high": 0.9}}, 2.5, ["points of a grid", "got 2.5"]),
        ({"lane.beta1": {"low": 0.0, "high": 0.9}}, True, ["points of a grid", "got True"]),
        (
            {"structure.generator_width": {"low": 1, "high": 1001}},
            None,
            ["1,001 values of structure.generator_width", "at most 1000", "larger step"],
        ),
        ({"lane.beta1": {"low": 0.0, "high": 0.9, "step": 0.0005}}, 5, ["1,801 values of lane.beta1"]),
        (
            {
                "structure.loss": {"choices": ["non_saturating", "hinge"]},
                "lane.beta1": {"choices": [0.5, 0.9], "when": {"structure.loss": "hinge"}},
            },
            3,
            ["a grid cannot have the range of lane.beta1", "only when structure.loss is hinge", "another sampler"],
        ),
    ],
    ids=str,
)
def test_a_grid_that_cannot_be_is_refused(ranges, points, says):
    with pytest.raises(InputError) as refused:
        inline(ranges=ranges).grid(points)
    message = str(refused.value)
    assert "\n" not in message
    assert [fragment for fragment in says if fragment not in message] == []
    assert inline(ranges={"structure.generator_width": {"low": 1, "high": 1000}}).grid(None) != {}


def test_a_space_knows_whether_it_is_conditional():
    assert SearchSpace.load(EVERYTHING).is_conditional
    assert not inline(ranges=GRID_RANGES).is_conditional
    assert not SearchSpace.load("mlp").is_conditional


def test_a_space_without_ranges_draws_nothing():
    space = inline()
    assert space.suggest(random_study().ask()) == {}
    assert space.grid(None) == {}
    assert space.parameters_of({"lane.beta1": 0.9}) == {}
    assert space.configuration({}, seed=0) == GanConfig()


def test_a_child_inherits_the_source_unless_it_says_its_own():
    assert inline(extends=EVERYTHING).source == EVERYTHING["source"]
    assert inline(extends=EVERYTHING, source="a book").source == "a book"
    assert inline(extends=EVERYTHING).fix({"lane.beta1": 0.2}).source == EVERYTHING["source"]
    assert "source" not in SearchSpace.load("mlp").plain()
