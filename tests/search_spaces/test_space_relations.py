"""Hyperparameters that are drawn as a ratio to another one, or as a complement to 1."""

import math
from typing import Any

import numpy as np
import optuna
import pytest
from inline_spaces import inline, refusal

from gan_core.config.input_error import InputError
from search_spaces.range_parsing import parse_range
from search_spaces.space import distribution

RATE = {"low": 1e-5, "high": 1e-2, "log": True}
RATIO = {"ratio_to": "lane.generator_lr", "low": 0.1, "high": 10.0, "log": True}
COMPLEMENT = {"complement": True, "low": 1e-3, "high": 0.1, "log": True}
RANGES: dict[str, Any] = {
    "lane.generator_lr": RATE,
    "lane.discriminator_lr": RATIO,
    "lane.beta2": COMPLEMENT,
}


def test_a_ratio_and_a_complement_have_names_of_their_own_and_become_values():
    space = inline(ranges=RANGES)
    parameters = {"lane.generator_lr": 1e-3, "lane.discriminator_lr.ratio": 4.0, "lane.beta2.complement": 0.03125}
    assert space.suggest(optuna.trial.FixedTrial(parameters)) == parameters
    lane = space.configuration(parameters, seed=0).lane
    assert (lane.generator_lr, lane.discriminator_lr, lane.beta2) == (1e-3, 4e-3, 0.96875)
    assert space.derived(parameters) == {k: v for k, v in parameters.items() if k != "lane.generator_lr"}
    assert list(space.distributions()) == list(parameters)


def test_a_ratio_is_drawn_after_what_it_is_a_ratio_to():
    ranges = {
        "lane.generator_lr": {**RATIO, "ratio_to": "lane.discriminator_lr"},
        "lane.discriminator_lr": RATE,
    }
    assert list(inline(ranges=ranges).distributions()) == ["lane.discriminator_lr", "lane.generator_lr.ratio"]


def test_what_was_drawn_comes_back_from_the_configuration_it_made():
    """Values are recovered exactly for every draw, and draws up to rounding."""
    space = inline(ranges=RANGES)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    ratios = []
    for _ in range(500):
        drawn = space.suggest(study.ask())
        config = space.configuration(drawn, seed=0)
        again = space.parameters_of(config.flatten())
        assert space.configuration(again, seed=0) == config
        assert list(again) == list(drawn)
        assert list(again.values()) == pytest.approx(list(drawn.values()), rel=1e-11)
        ratios.append(math.log10(drawn["lane.discriminator_lr.ratio"]))
    assert np.quantile(ratios, [0, 0.25, 0.5, 0.75, 1]) == pytest.approx([-1, -0.5, 0, 0.5, 1], abs=0.12)


@pytest.mark.parametrize("steps", [1, 3])
def test_the_base_comes_back_exactly_and_its_ratio_and_complement_are_short(steps):
    base = {"lane.generator_lr": 2e-4, "lane.discriminator_lr": steps * 1e-4, "lane.beta2": 0.999}
    space = inline(base=base, ranges=RANGES)
    first = space.parameters_of({})
    assert first == {
        "lane.generator_lr": 2e-4,
        "lane.discriminator_lr.ratio": pytest.approx(steps / 2, rel=1e-15),
        "lane.beta2.complement": 0.001,
    }
    assert space.configuration(first, seed=0) == space.base


@pytest.mark.parametrize("beta2", [0.9, 0.999, 0.99, 0.95, 0.97])
def test_an_end_of_a_complement_is_reached_in_spite_of_rounding(beta2):
    """1 - 0.9 is 0.09999999999999998, which is below a range that begins at 0.1."""
    scope = {"complement": True, "low": round(1 - beta2, 6), "high": 0.5}
    space = inline(base={"lane.beta2": beta2}, ranges={"lane.beta2": scope})
    assert space.parameters_of({}) == {"lane.beta2.complement": scope["low"]}
    assert space.configuration(space.parameters_of({}), seed=0).lane.beta2 == beta2


def test_a_ratio_of_one_value_ties_two_hyperparameters():
    for tie in ({"low": 2.0, "high": 2.0}, {"choices": [2.0]}):
        space = inline(
            base={"lane.generator_lr": 1e-3},
            ranges={"lane.generator_lr": RATE, "lane.discriminator_lr": {"ratio_to": "lane.generator_lr", **tie}},
        )
        assert space.base.lane.discriminator_lr == 2e-3  # the base follows, as it does not say otherwise
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        lanes = [space.configuration(space.suggest(study.ask()), seed=0).lane for _ in range(20)]
        assert [lane.discriminator_lr for lane in lanes] == [2 * lane.generator_lr for lane in lanes]
        assert len({lane.generator_lr for lane in lanes}) == 20
        followed = space.fix({"lane.generator_lr": 5e-4})
        assert followed.base.lane.discriminator_lr == 1e-3
        assert space.parameters_of({"lane.generator_lr": 5e-4})["lane.discriminator_lr.ratio"] == 2.0


def test_a_tie_and_a_base_that_say_different_things_are_refused():
    tie = {"ratio_to": "lane.generator_lr", "low": 1.0, "high": 1.0}
    message = refusal(base={"lane.discriminator_lr": 1e-3}, ranges={"lane.discriminator_lr": tie})
    assert "the base value 0.001 of lane.discriminator_lr lies outside its range 1 x lane.generator_lr" in message
    with pytest.raises(InputError, match="lane.discriminator_lr 0.001 lies outside its range 1 x"):
        inline(ranges={"lane.discriminator_lr": tie}).parameters_of({"lane.discriminator_lr": 1e-3})


def test_a_ratio_to_what_is_not_searched_is_one_to_its_base_value():
    space = inline(base={"lane.generator_lr": 1e-3}, ranges={"lane.discriminator_lr": RATIO})
    assert space.configuration({"lane.discriminator_lr.ratio": 0.5}, seed=0).lane.discriminator_lr == 5e-4


def test_ratios_may_stand_on_ratios_and_under_conditions():
    ranges = {
        "structure.loss": {"choices": ["non_saturating", "hinge"]},
        "lane.generator_lr": RATE,
        "lane.discriminator_lr": {**RATIO, "when": {"structure.loss": "hinge"}},
        "lane.instance_noise": {"ratio_to": "lane.discriminator_lr", "choices": [0.0, 100.0]},
    }
    space = inline(ranges=ranges)
    parameters = {
        "structure.loss": "hinge",
        "lane.generator_lr": 1e-3,
        "lane.discriminator_lr.ratio": 2.0,
        "lane.instance_noise.ratio": 100.0,
    }
    assert space.configuration(parameters, seed=0).lane.instance_noise == 0.2
    assert space.parameters_of(space.configuration(parameters, seed=0).flatten()) == parameters
    without = space.configuration({**parameters, "structure.loss": "non_saturating"}, seed=0).lane
    assert (without.discriminator_lr, without.instance_noise) == (2e-4, 0.02)


def test_steps_and_choices_of_a_ratio_are_its_own():
    scope = parse_range("lane.discriminator_lr", {"ratio_to": "lane.generator_lr", "low": 1, "high": 4, "step": 0.5})
    assert distribution(scope) == optuna.distributions.FloatDistribution(1.0, 4.0, step=0.5)
    assert scope.drawn(7e-4, {"lane.generator_lr": 2e-4}) == 3.5
    assert scope.drawn(7.2e-4, {"lane.generator_lr": 2e-4}) is None
    choices = parse_range("lane.discriminator_lr", {"ratio_to": "lane.generator_lr", "choices": [1, 3, "5"]})
    assert choices.choices == (1.0, 3.0, 5.0)
    assert choices.drawn(6e-4, {"lane.generator_lr": 2e-4}) == 3.0


def test_products_that_do_not_fit_the_field_are_refused():
    message = refusal(
        base={"lane.generator_lr": 0.1, "lane.discriminator_lr": 0.1},
        ranges={"lane.generator_lr": {"low": 0.1, "high": 2.0}, "lane.discriminator_lr": {**RATIO, "high": 20.0}},
    )
    assert "20 times lane.generator_lr of 2 is too much or too little: lane.discriminator_lr must be" in message
    assert "got 40.0" in message


def test_bounds_of_a_product_are_those_of_all_that_it_is_made_of():
    """A ratio to a complement, to a ratio, and to a hyperparameter that keeps its base value if it is not drawn."""
    beta2 = {"complement": True, "low": 0.2, "high": 0.5}
    ratio = {"ratio_to": "lane.beta2", "low": 0.5, "high": 1.2}
    base = {"lane.beta2": 0.7, "lane.beta1": 0.7}
    assert inline(base=base, ranges={"lane.beta2": beta2, "lane.beta1": ratio}).ranges
    message = refusal(base=base, ranges={"lane.beta2": beta2, "lane.beta1": {**ratio, "high": 1.3}})
    assert "1.3 times lane.beta2 of 0.8 is too much" in message

    chain: dict[str, Any] = {
        "lane.generator_lr": {"low": 1e-5, "high": 1.0},
        "lane.discriminator_lr": {"ratio_to": "lane.generator_lr", "low": 0.1, "high": 5.0},
        "lane.instance_noise": {"ratio_to": "lane.discriminator_lr", "choices": [0.0, 2.0]},
    }
    assert inline(ranges=chain).ranges
    chain["lane.instance_noise"]["choices"] = [0.0, 3.0]
    assert "3 times lane.discriminator_lr of 5 is too much" in refusal(ranges=chain)

    kept: dict[str, Any] = {
        "structure.loss": {"choices": ["non_saturating", "hinge"]},
        "lane.discriminator_lr": {"low": 0.1, "high": 1.0, "when": {"structure.loss": "hinge"}},
        "lane.instance_noise": {"ratio_to": "lane.discriminator_lr", "choices": [0.0, 2.0]},
    }
    assert inline(base={"lane.discriminator_lr": 5.0}, ranges=kept).ranges
    assert "2 times lane.discriminator_lr of 6 is too much" in refusal(base={"lane.discriminator_lr": 6.0}, ranges=kept)


def test_a_ratio_to_a_base_value_of_zero_is_refused():
    condition = {"when": {"structure.loss": "non_saturating"}}
    message = refusal(base={"lane.generator_lr": 0.0}, ranges={"lane.discriminator_lr": {**RATIO, **condition}})
    assert "lane.generator_lr, which must then be above 0 and can be 0;" in message
    with pytest.raises(InputError, match="which must then be above 0 and can be 0;"):
        inline(ranges={"lane.discriminator_lr": RATIO}).fix({"lane.generator_lr": 0.0})


def test_a_ratio_to_what_can_be_zero_is_refused():
    ranges = {"lane.generator_lr": {"low": 0.0, "high": 0.1}, "lane.discriminator_lr": RATIO}
    message = refusal(ranges=ranges)
    assert "lane.discriminator_lr is a ratio to lane.generator_lr, which must then be above 0 and can be 0" in message


BAD_RELATIONS = {
    "both": ("lane.beta2", {**RATIO, "complement": True}, ["both complement and ratio_to", "drop one"]),
    "ratio of a whole number": (
        "lane.discriminator_steps",
        {"ratio_to": "lane.generator_steps", "low": 1, "high": 2},
        ["ratio_to", "lane.discriminator_steps", "not a whole or a name"],
    ),
    "complement of a name": ("structure.loss", {"complement": True, "choices": [0.1]}, ["complement", "not a whole"]),
    "ratio to a name": (
        "lane.beta1",
        {**RATIO, "ratio_to": "structure.loss"},
        ["must name a number"],
    ),
    "ratio to the seed": ("lane.beta1", {**RATIO, "ratio_to": "seed"}, ["must name a number", "'seed'"]),
    "ratio to nothing known": ("lane.beta1", {**RATIO, "ratio_to": "lane.generator_rl"}, ["lane.generator_lr"]),
    "ratio to a list": ("lane.beta1", {**RATIO, "ratio_to": ["lane.beta2"]}, ["unknown hyperparameter"]),
    "complement as text": ("lane.beta2", {**COMPLEMENT, "complement": "yes"}, ["true or false", "'yes'"]),
    "ratio below 0": ("lane.discriminator_lr", {**RATIO, "low": -1, "log": False}, ["a ratio", "at least 0", "-1"]),
    "ratio no number": ("lane.discriminator_lr", {**RATIO, "high": "much"}, ["a ratio", "'much'"]),
    "ratio a truth": ("lane.discriminator_lr", {**RATIO, "high": True}, ["a ratio", "True"]),
    "ratio without end": ("lane.discriminator_lr", {**RATIO, "high": math.inf}, ["a ratio", "inf"]),
    "ratio too large to read": (
        "lane.discriminator_lr",
        {**RATIO, "high": 10**400},
        ["a ratio", "40 digits"],
    ),
    "ratio low above high": ("lane.discriminator_lr", {**RATIO, "low": 20}, ["low <= high", "low=20.0"]),
    "ratio log at zero": ("lane.discriminator_lr", {**RATIO, "low": 0}, ["low > 0"]),
    "ratio log as text": ("lane.discriminator_lr", {**RATIO, "log": "1"}, ["true or false"]),
    "complement too small": (
        "lane.beta2",
        {"complement": True, "low": 0.0, "high": 0.1},
        ["lane.beta2 cannot have the complement 0:", "below 1", "1.0"],
    ),
    "complement too large": ("lane.beta2", {**COMPLEMENT, "high": 1.5}, ["complement 1.5", "at least 0", "-0.5"]),
    "complement no number": ("lane.beta2", {**COMPLEMENT, "low": None}, ["a complement", "None"]),
    "choices with low": ("lane.beta2", {**COMPLEMENT, "choices": [0.1]}, ["choices", "alone"]),
}


@pytest.mark.parametrize(("name", "written", "says"), BAD_RELATIONS.values(), ids=BAD_RELATIONS)
def test_a_relation_that_is_none_is_refused_with_the_rule_and_the_value(name, written, says):
    with pytest.raises(InputError) as refused:
        parse_range(name, written)
    message = str(refused.value)
    assert "\n" not in message
    assert [fragment for fragment in says if fragment not in message] == []


def test_complement_false_is_an_ordinary_range():
    assert parse_range("lane.beta2", {"complement": False, "low": 0.5, "high": 0.9}) == parse_range(
        "lane.beta2", {"low": 0.5, "high": 0.9}
    )
