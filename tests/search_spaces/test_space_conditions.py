"""Ranges that exist only under a condition: when they are drawn, how they are checked, and what is refused."""

from itertools import product
from typing import Any

import numpy as np
import optuna
import pytest
from inline_spaces import inline, random_study, refusal

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from search_spaces.dependencies import ordered
from search_spaces.range_parsing import parse_range
from search_spaces.space import SearchSpace

LOSSES = ["non_saturating", "hinge", "least_squares", "wasserstein_gp"]
CROSS_ENTROPY = ["non_saturating"]
# A chain: the loss decides whether a penalty is drawn, the penalty whether its weight is.
CHAIN: dict[str, Any] = {
    "structure.loss": {"choices": LOSSES},
    "structure.gradient_penalty": {
        "choices": ["none", "r1", "wgan_gp"],
        "when": {"structure.loss": ["non_saturating", "hinge"]},
    },
    "lane.penalty_weight": {
        "low": 0.1,
        "high": 100.0,
        "log": True,
        "when": {"structure.gradient_penalty": ["r1", "wgan_gp"]},
    },
    "lane.label_smoothing": {"low": 0.0, "high": 0.3, "when": {"structure.loss": CROSS_ENTROPY}},
    "lane.beta1": {"low": 0.0, "high": 0.9},
}


def test_a_condition_decides_what_is_drawn_and_what_is_not_drawn_keeps_its_base_value():
    space = inline(base={"lane.penalty_weight": 7.0}, ranges=CHAIN)
    study, seen = random_study(), set()
    for number in range(200):
        drawn = space.suggest(study.ask())
        values = space.configuration(drawn, seed=number).flatten()
        has_choice = values["structure.loss"] in ("non_saturating", "hinge")
        assert ("structure.gradient_penalty" in drawn) == has_choice
        assert ("lane.penalty_weight" in drawn) == (values["structure.gradient_penalty"] != "none")
        assert ("lane.label_smoothing" in drawn) == (values["structure.loss"] == "non_saturating")
        assert "lane.penalty_weight" in drawn or values["lane.penalty_weight"] == 7.0
        assert "lane.label_smoothing" in drawn or values["lane.label_smoothing"] == 0.0
        seen.add((values["structure.loss"], values["structure.gradient_penalty"]))
    assert len(seen) == 3 + 3 + 1 + 1


def test_what_is_drawn_is_drawn_in_the_order_of_the_fields_but_after_what_it_depends_on():
    ranges = {
        "lane.beta2": {"low": 0.5, "high": 0.999},
        "structure.batch_size": {"choices": [32, 64], "when": {"lane.discriminator_steps": 2}},
        "structure.loss": {"choices": LOSSES},
        "lane.discriminator_steps": {"low": 1, "high": 3},
        "lane.beta1": {"low": 0.0, "high": 0.9},
    }
    space = inline(ranges=ranges)
    expected = ["lane.discriminator_steps", "structure.batch_size", "structure.loss", "lane.beta1", "lane.beta2"]
    assert list(space.ranges) == expected
    trial = optuna.trial.FixedTrial(dict(zip(expected, [2, 32, "hinge", 0.5, 0.75], strict=True)))
    assert list(space.suggest(trial)) == expected
    assert list(inline(ranges=dict(reversed(ranges.items()))).ranges) == expected


def test_all_names_of_a_condition_must_hold():
    both = {"structure.loss": "hinge", "lane.discriminator_steps": [1, 3]}
    ranges = {
        "structure.loss": {"choices": ["non_saturating", "hinge"]},
        "lane.discriminator_steps": {"low": 1, "high": 3},
        "lane.instance_noise": {"low": 0.0, "high": 0.5, "when": both},
    }
    space = inline(ranges=ranges)
    for loss, steps in product(("non_saturating", "hinge"), (1, 2, 3)):
        parameters = {
            "structure.loss": loss,
            "lane.discriminator_steps": steps,
            "lane.instance_noise": 0.25,
        }
        drawn = space.suggest(optuna.trial.FixedTrial(parameters))
        assert ("lane.instance_noise" in drawn) == (loss == "hinge" and steps != 2)


def test_a_condition_on_what_the_base_fixes_holds_always_or_is_refused():
    ranges = {"lane.instance_noise": {"low": 0.0, "high": 0.5, "when": {"structure.loss": "hinge"}}}
    always = inline(base={"structure.loss": "hinge"}, ranges=ranges)
    assert list(always.suggest(random_study().ask())) == ["lane.instance_noise"]
    message = refusal(name="mine", ranges=ranges)
    assert "space 'mine': the range of lane.instance_noise can never exist" in message
    assert "it does when structure.loss is hinge, and structure.loss is non_saturating" in message


def test_a_condition_that_lies_outside_what_is_searched_can_never_hold():
    ranges = {
        "structure.loss": {"choices": ["non_saturating", "minimax"]},
        "lane.instance_noise": {"low": 0.0, "high": 0.5, "when": {"structure.loss": "hinge"}},
    }
    assert "structure.loss is non_saturating | minimax" in refusal(ranges=ranges)
    steps = {
        "lane.discriminator_steps": {"low": 1, "high": 5, "step": 2},
        "lane.instance_noise": {"low": 0.0, "high": 0.5, "when": {"lane.discriminator_steps": 2}},
    }
    assert "can never exist" in refusal(ranges=steps)
    steps["lane.instance_noise"]["when"] = {"lane.discriminator_steps": 3}
    assert inline(ranges=steps).is_conditional


def test_conditions_that_hold_alone_and_never_together_are_refused():
    ranges = {
        **CHAIN,
        "lane.instance_noise": {
            "low": 0.0,
            "high": 0.5,
            "when": {"structure.loss": "wasserstein_gp", "structure.gradient_penalty": "r1"},
        },
    }
    message = refusal(ranges=ranges)
    assert "lane.instance_noise can never exist" in message
    assert "cannot hold together" in message


def test_a_condition_sees_a_base_value_where_its_name_is_not_drawn():
    """With hinge the penalty is not drawn and stays r1, so its weight is drawn."""
    ranges = {
        "structure.loss": {"choices": ["non_saturating", "hinge"]},
        "structure.gradient_penalty": {"choices": ["none", "r1"], "when": {"structure.loss": "non_saturating"}},
        "lane.penalty_weight": {"low": 1.0, "high": 20.0, "when": {"structure.gradient_penalty": "r1"}},
    }
    space = inline(base={"structure.gradient_penalty": "r1"}, ranges=ranges)
    parameters = {"structure.loss": "hinge", "lane.penalty_weight": 3.0}
    assert space.suggest(optuna.trial.FixedTrial(parameters)) == parameters


@pytest.mark.parametrize(
    ("ranges", "circle"),
    [
        (
            {"lane.beta1": {"choices": [0.0, 0.9], "when": {"lane.beta1": 0.9}}},
            "lane.beta1 on lane.beta1",
        ),
        (
            {
                "structure.loss": {"choices": LOSSES, "when": {"structure.gradient_penalty": "none"}},
                "structure.gradient_penalty": {"choices": ["none", "r1"], "when": {"structure.loss": "hinge"}},
            },
            "structure.loss on structure.gradient_penalty on structure.loss",
        ),
        (
            {
                "lane.generator_lr": {"ratio_to": "lane.discriminator_lr", "low": 0.5, "high": 2.0},
                "lane.discriminator_lr": {"ratio_to": "lane.generator_lr", "low": 0.5, "high": 2.0},
            },
            "lane.generator_lr on lane.discriminator_lr on lane.generator_lr",
        ),
    ],
)
def test_ranges_that_depend_on_each_other_in_a_circle_are_refused(ranges, circle):
    message = refusal(ranges=ranges)
    assert f"in a circle: {circle};" in message
    assert message.endswith("drop one 'when' or 'ratio_to'")


def test_a_condition_on_a_continuous_range_is_refused_and_on_its_steps_it_is_not():
    noise = {"low": 0.0, "high": 0.5, "when": {"lane.beta1": 0.5}}
    for continuous in ({"low": 0.0, "high": 0.9}, {"complement": True, "choices": [0.1, 0.5]}):
        message = refusal(ranges={"lane.beta1": continuous, "lane.instance_noise": noise})
        assert "lane.instance_noise exists when lane.beta1 is 0.5" in message
        assert "only by chance; give it choices or a step" in message
    stepped = {"low": 0.1, "high": 0.9, "step": 0.2}
    assert inline(ranges={"lane.beta1": stepped, "lane.instance_noise": noise}).is_conditional


def test_a_condition_keeps_smoothing_away_from_losses_that_refuse_it():
    ranges = {"structure.loss": {"choices": LOSSES}, "lane.label_smoothing": {"low": 0.0, "high": 0.3}}
    assert "can combine lane.label_smoothing 0.3 with structure.loss 'hinge'" in refusal(ranges=ranges)
    ranges["lane.label_smoothing"]["when"] = {"structure.loss": "non_saturating"}
    assert inline(ranges=ranges).is_conditional


def test_a_condition_that_lets_smoothing_meet_such_a_loss_is_refused():
    allowed = {"structure.loss": ["non_saturating", "hinge"]}
    ranges = {
        "structure.loss": {"choices": LOSSES},
        "lane.label_smoothing": {"low": 0.0, "high": 0.3, "when": allowed},
    }
    assert "lane.label_smoothing needs a cross-entropy loss" in refusal(ranges=ranges)


def test_a_base_value_that_does_not_fit_where_its_range_does_not_exist_is_refused():
    """With hinge, label smoothing would keep its base value of 0.1."""
    ranges = {
        "structure.loss": {"choices": ["non_saturating", "hinge"]},
        "lane.label_smoothing": {"low": 0.0, "high": 0.3, "when": {"structure.loss": "non_saturating"}},
    }
    assert "lane.label_smoothing needs" in refusal(base={"lane.label_smoothing": 0.1}, ranges=ranges)


def test_a_range_need_not_contain_the_base_value_where_it_does_not_exist_in_the_base():
    """The base has the batch norm of dcgan; if there is a penalty, one of two other norms is drawn."""
    ranges = {
        "structure.gradient_penalty": {"choices": ["none", "r1"]},
        "structure.discriminator_norm": {
            "choices": ["none", "spectral"],
            "when": {"structure.gradient_penalty": "r1"},
        },
    }
    space = inline(extends="dcgan", ranges={**ranges})
    study = random_study()
    norms = {(c.penalty, c.norm) for c in (draw(space, study).structure for _ in range(100))}
    assert norms == {("none", "batch"), ("r1", "none"), ("r1", "spectral")}
    with pytest.raises(InputError, match="structure.discriminator_norm 'published' lies outside its range"):
        space.parameters_of({"structure.gradient_penalty": "r1"})


def draw(space: SearchSpace, study: optuna.Study) -> GanConfig:
    return space.configuration(space.suggest(study.ask()), seed=0)


def test_every_pair_that_conditions_allow_makes_a_configuration():
    """All combinations of choices and ends that a trial can draw, by brute force with FixedTrial."""
    space = inline(ranges=CHAIN)
    tried = {
        tuple(sorted(drawn.items()))
        for choice in product(LOSSES, ["none", "r1", "wgan_gp"], [0.1, 100.0], [0.0, 0.3], [0.0, 0.9])
        if (drawn := space.suggest(optuna.trial.FixedTrial(dict(zip(CHAIN, choice, strict=True)))))
    }
    structures = {space.configuration(dict(drawn), seed=0).structure for drawn in tried}
    assert len(structures) == 8
    assert len(tried) == (1 + 2 + 2) * 2 * 2 + (1 + 2 + 2) * 2 + 2 + 2


def test_a_child_inherits_conditions_and_replaces_or_drops_ranges_whole():
    parent = inline(ranges=CHAIN)
    child = inline(extends={"ranges": CHAIN}, ranges={"lane.beta1": None})
    assert child.ranges["lane.penalty_weight"] == parent.ranges["lane.penalty_weight"]
    assert "lane.beta1" not in child.ranges
    replaced = inline(extends={"ranges": CHAIN}, ranges={"lane.penalty_weight": {"low": 1.0, "high": 20.0}})
    assert replaced.ranges["lane.penalty_weight"].when == {}


def test_what_can_no_longer_exist_goes_when_a_hyperparameter_is_fixed():
    space = inline(ranges=CHAIN)
    fixed = space.fix({"structure.loss": "least_squares"})
    assert list(fixed.ranges) == ["lane.beta1"]
    assert not fixed.is_conditional
    kept = space.fix({"structure.loss": "hinge"})
    assert list(kept.ranges) == ["structure.gradient_penalty", "lane.beta1", "lane.penalty_weight"]
    child = inline(extends={"ranges": CHAIN}, base={"structure.loss": "least_squares"})
    assert list(child.ranges) == ["lane.beta1"]


def test_what_a_child_writes_itself_is_refused_where_it_can_never_exist():
    weight = {"low": 1.0, "high": 20.0, "when": {"structure.gradient_penalty": "r1"}}
    message = refusal(
        extends={"ranges": CHAIN}, base={"structure.loss": "least_squares"}, ranges={"lane.penalty_weight": weight}
    )
    assert "lane.penalty_weight can never exist" in message


@pytest.mark.parametrize(
    ("when", "says"),
    [
        ("hinge", ["when", "must map", "'hinge'"]),
        ({}, ["when", "must map"]),
        ({"structure.los": "hinge"}, ["unknown hyperparameter 'structure.los'", "structure.loss"]),
        ({"structure.loss": "hing"}, ["structure.loss must be one of", "'hing'"]),
        ({"structure.loss": []}, ["lists no value of structure.loss"]),
        ({"structure.loss": ["hinge", 3]}, ["structure.loss must be one of", "3"]),
        ({"lane.discriminator_steps": "many"}, ["a whole number", "'many'"]),
        ({"seed": 3}, ["cannot ask for the seed"]),
        ({5: 3}, ["unknown hyperparameter"]),
    ],
    ids=str,
)
def test_a_condition_that_is_none_is_refused_with_the_rule_and_the_value(when, says):
    with pytest.raises(InputError) as refused:
        parse_range("lane.beta1", {"low": 0.0, "high": 0.9, "when": when})
    message = str(refused.value)
    assert "\n" not in message
    assert [fragment for fragment in says if fragment not in message] == []


def test_a_condition_reads_values_as_their_hyperparameters_type():
    when = {"lane.discriminator_steps": ["1", 3.0], "lane.beta1": [0, "5e-1"]}
    found = parse_range("lane.beta2", {"low": 0.0, "high": 0.9, "when": when}).when
    assert found == {"lane.discriminator_steps": (1, 3), "lane.beta1": (0.0, 0.5)}
    assert [type(value) for value in found["lane.discriminator_steps"]] == [int, int]


def test_ranges_come_parents_first_in_any_order_of_writing():
    generator = np.random.default_rng(0)
    names = list(CHAIN)
    for _ in range(20):
        shuffled = [names[place] for place in generator.permutation(len(names))]
        order = list(ordered({name: parse_range(name, CHAIN[name]) for name in shuffled}))
        assert order == list(inline(ranges=CHAIN).ranges)


def test_tpe_learns_over_conditional_ranges_without_a_word():
    space = inline(ranges=CHAIN)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=5))
    study.enqueue_trial(space.parameters_of({}))
    firsts = []
    for _ in range(25):
        trial = study.ask()
        drawn = space.suggest(trial)
        assert trial.params == drawn
        firsts.append(drawn)
        study.tell(trial, space.configuration(drawn, 0).lane.beta1)
    assert firsts[0] == space.parameters_of({})
    assert study.best_value < 0.1


POOL: dict[str, list[Any]] = {
    "structure.loss": ["non_saturating", "hinge", "wasserstein_gp"],
    "structure.gradient_penalty": ["none", "r1", "wgan_gp"],
    "structure.discriminator_norm": ["published", "batch", "spectral"],
    "structure.architecture": ["mlp", "mlp_bn", "mlp_dropout"],
    "structure.batch_size": [1, 64],
    "lane.label_smoothing": [0.0, 0.2],
    "lane.generator_dropout": [0.0, 0.2],
    "lane.instance_noise": [0.0, 0.3],
    "lane.instance_noise_images": [0.0, 1000.0],
}


def random_space(generator: np.random.Generator) -> dict[str, Any]:
    """Two to five ranges of choices, some with conditions on earlier ones, and some base values."""
    chosen = [str(name) for name in generator.permutation(list(POOL))[: generator.integers(2, 6)]]
    ranges = {}
    for place, name in enumerate(chosen):
        ranges[name] = {"choices": random_part(POOL[name], generator)}
        if place and generator.random() < 0.6:
            above = random_part(chosen[:place], generator)[:2]
            ranges[name]["when"] = {parent: random_part(POOL[parent], generator)[:2] for parent in above}
    return {"base": {name: POOL[name][0] for name in chosen if generator.random() < 0.5}, "ranges": ranges}


def random_part(values: list[Any], generator: np.random.Generator) -> list[Any]:
    return [values[place] for place in generator.permutation(len(values))[: generator.integers(1, len(values) + 1)]]


def outcomes(written: dict[str, Any]) -> tuple[set[str], bool]:
    """By brute force over all choices: the ranges that ever exist, and whether any configuration is invalid."""
    base = GanConfig.unflatten(written["base"]).flatten()
    ranges = ordered({name: parse_range(name, scope) for name, scope in written["ranges"].items()})
    existing: set[str] = set()
    nonsense = False
    for choice in product(*(scope.choices for scope in ranges.values())):
        values = dict(base)
        for (name, scope), one in zip(ranges.items(), choice, strict=True):
            if all(values[parent] in allowed for parent, allowed in scope.when.items()):
                existing.add(name)
                values[name] = one
        try:
            GanConfig.unflatten(values)
        except InputError:
            nonsense = True
    return existing, nonsense


def test_a_space_is_refused_exactly_where_something_it_can_draw_makes_no_sense_or_a_range_is_never_drawn():
    generator, found = np.random.default_rng(0), []
    while len(found) < 400:
        written = random_space(generator)
        try:
            existing, nonsense = outcomes(written)
        except InputError:
            continue  # the base alone makes no sense
        try:
            SearchSpace.load(written)
        except InputError as error:
            if "lies outside its range" in str(error):
                continue  # of a base value, which is another rule
            never = "can never exist" in str(error)
            assert existing < set(written["ranges"]) if never else nonsense
            found.append("never" if never else "nonsense")
        else:
            assert existing == set(written["ranges"])
            assert not nonsense
            found.append("conditional" if any("when" in scope for scope in written["ranges"].values()) else "plain")
    assert min(found.count(kind) for kind in ("never", "nonsense", "conditional", "plain")) >= 20
