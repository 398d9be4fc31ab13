"""A search space: a base configuration and ranges around it, checked when it is read."""

import ast
import cProfile
import re
from pathlib import Path
from typing import Any

import optuna
import pytest
from inline_spaces import inline
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from gan_core.config import combinations, structure
from gan_core.config.gan import HYPERPARAMETERS, GanConfig
from gan_core.config.input_error import InputError
from gan_core.files.plain_yaml import parse_yaml, read_yaml
from search_spaces import fitting
from search_spaces.fitting import COMBINED, NEVER_SEARCHED
from search_spaces.range_parsing import parse_range
from search_spaces.ranges import Range
from search_spaces.space import SearchSpace, distribution, shipped_spaces

ADAM = {"lane.beta1": 0.5, "lane.beta2": 0.999, "lane.generator_lr": 2e-4, "lane.discriminator_lr": 2e-4}
NORMAL_100 = {"structure.latent_size": 100, "structure.latent_distribution": "normal"}
# What each family's own trial 0 must be: the published numbers, written down a second time.
PUBLISHED: dict[str, dict[str, Any]] = {
    "gaussian": {
        **{**ADAM, "lane.beta1": 0.9},
        "structure.dataset": "gaussian",
        "structure.generator_width": 50,
        "structure.discriminator_width": 50,
        "structure.latent_size": 1,
        "structure.latent_distribution": "uniform",
        "structure.batch_size": 100,
        "structure.discriminator_input": "minibatch",
    },
    "ring": {
        **ADAM,
        "structure.architecture": "gaussian",
        "structure.dataset": "ring",
        "structure.latent_size": 2,
        "structure.latent_distribution": "normal",
        "structure.batch_size": 100,
    },
    "mlp": {
        **NORMAL_100,
        **{**ADAM, "lane.beta1": 0.9},
        "structure.dataset": "mnist",
        "structure.generator_width": 256,
        "structure.discriminator_width": 256,
    },
    "mlp_bn": {
        **NORMAL_100,
        **ADAM,
        "structure.dataset": "mnist",
        "structure.generator_width": 128,
        "structure.discriminator_width": 256,
        "structure.batch_size": 128,
        "structure.update_order": "generator_first",
        "lane.batch_norm_eps": 0.8,
        "lane.batch_norm_momentum": 0.1,
    },
    "mlp_minimax": {"structure.dataset": "digits", "structure.loss": "minimax_clamped"},
    "mlp_dropout": {
        **NORMAL_100,
        "structure.dataset": "mnist",
        "structure.generator_width": 128,
        "structure.discriminator_width": 256,
        "structure.loss_reduction": "sum",
        "lane.generator_dropout": 0.25,
    },
    "cgan": {
        "structure.dataset": "mnist",
        "structure.generator_width": 200,
        "structure.discriminator_width": 240,
    },
    "dcgan": {
        "structure.dataset": "mnist",
        "structure.image_size_pixels": 32,
        "structure.generator_width": 64,
        "structure.discriminator_width": 64,
    },
    "infogan": {
        "structure.dataset": "mnist",
        "structure.generator_width": 64,
        "structure.discriminator_width": 64,
        "structure.latent_size": 62,
        "structure.categorical_codes": 10,
        "structure.continuous_codes": 2,
        "lane.information_weight": 1.0,
        "lane.continuous_code_weight": 0.1,
    },
}
# The large studies: what each drew, written down a second time.
RATES_TIED = {"ratio_to": "lane.generator_lr", "low": 1.0, "high": 1.0}
LUCIC_LOSSES = ["non_saturating", "minimax", "least_squares"]
LUCIC_NORMS = {"choices": ["batch", "none"], "when": {"structure.loss": LUCIC_LOSSES}}
OF_WGAN_GP = {"when": {"structure.loss": ["wasserstein_gp"]}}
OF_NORMS = {"when": {"structure.discriminator_norm": ["none", "spectral"]}}
OF_PENALTY = {"when": {"structure.gradient_penalty": ["wgan_gp"]}}
STUDIES: dict[str, dict[str, Any]] = {
    "lucic2018_wide": {
        "structure.loss": {"choices": ["wasserstein_gp", *LUCIC_LOSSES]},
        "structure.discriminator_norm": LUCIC_NORMS,
        "lane.generator_lr": {"low": 1e-5, "high": 1e-2, "log": True},
        "lane.discriminator_lr": RATES_TIED,
        "lane.beta1": {"low": 0.0, "high": 0.999999},
        "lane.discriminator_steps": {"choices": [1, 5]},
        "lane.penalty_weight": {"low": 0.1, "high": 100.0, "log": True, **OF_WGAN_GP},
    },
    "lucic2018_narrow": {
        "structure.loss": {"choices": ["wasserstein_gp", *LUCIC_LOSSES]},
        "structure.discriminator_norm": LUCIC_NORMS,
        "lane.generator_lr": {"low": 1e-4, "high": 1e-3, "log": True},
        "lane.discriminator_lr": RATES_TIED,
        "lane.penalty_weight": {"low": 0.1, "high": 10.0, "log": True, **OF_WGAN_GP},
    },
    "kurach2019": {
        "structure.loss": {"choices": ["non_saturating", "least_squares"]},
        "structure.discriminator_norm": {"choices": ["none", "batch", "spectral"]},
        "structure.gradient_penalty": {"choices": ["none", "wgan_gp"], **OF_NORMS},
        "lane.generator_lr": {"low": 1e-5, "high": 1e-2, "log": True},
        "lane.discriminator_lr": RATES_TIED,
        "lane.beta1": {"low": 0.0, "high": 0.999999},
        "lane.beta2": {"low": 0.0, "high": 0.999999},
        "lane.discriminator_steps": {"choices": [1, 5]},
        "lane.penalty_weight": {"low": 0.1, "high": 100.0, "log": True, **OF_PENALTY},
    },
}


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", shipped_spaces())
def test_a_shipped_space_loads_and_its_base_lies_within_its_ranges(name):
    space = SearchSpace.load(name)
    values = space.base.flatten()
    assert space.about
    assert len(space.ranges) >= 4
    assert bool(space.source) == (name in STUDIES)
    for searched, scope in space.ranges.items():
        if scope.exists(values):
            drawn = scope.drawn(values[searched], values)
            assert scope.contains(drawn)
            assert distribution(scope)._contains(distribution(scope).to_internal_repr(drawn))


def test_the_shipped_spaces_are_those_of_the_package():
    assert set(PUBLISHED) | set(STUDIES) | {"digits", "fashion_mlp", "polygons"} == set(shipped_spaces())


@pytest.mark.parametrize("name", PUBLISHED)
def test_trial_0_of_a_familys_space_has_the_published_settings(name):
    """Values not listed are the defaults of all architectures: cross-entropy, one step each, D first, no penalty."""
    space = SearchSpace.load(name)
    common = {
        "structure.architecture": name,
        "structure.image_size_pixels": 0,
        "structure.loss": "non_saturating",
        "structure.loss_reduction": "mean",
        "structure.gradient_penalty": "none",
        "structure.discriminator_norm": "published",
        "structure.discriminator_input": "sample",
        "structure.update_order": "discriminator_first",
        "structure.categorical_codes": 0,
        "structure.continuous_codes": 0,
        "lane.discriminator_steps": 1,
        "lane.generator_steps": 1,
        "lane.ema_half_life_images": 0.0,
        "lane.label_smoothing": 0.0,
        "lane.instance_noise": 0.0,
        "lane.generator_dropout": 0.0,
        "lane.discriminator_dropout": 0.0,
        "lane.batch_norm_eps": 1e-5,
    }
    expected = {**common, **PUBLISHED[name]}
    first = space.configuration(space.parameters_of({}), seed=1).flatten()
    assert {k: first[k] for k in expected} == expected


@pytest.mark.parametrize("name", STUDIES)
def test_a_studys_space_has_its_ranges_and_one_rate_for_both_networks(name):
    space = SearchSpace.load(name)
    assert {searched: scope.plain() for searched, scope in space.ranges.items()} == STUDIES[name]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    configs = [space.configuration(space.suggest(study.ask()), seed=0) for _ in range(50)]
    assert [c for c in configs if c.lane.generator_lr != c.lane.discriminator_lr] == []
    assert [c for c in configs if c.structure.penalty != "none" and c.structure.norm == "batch"] == []
    assert {c.structure.batch_size for c in configs} == {64}
    assert space.base.structure.dataset == "mnist"
    assert re.search(r"arXiv \d{4}\.\d{5}.*; code: compare_gan [0-9a-f]{7}, ", space.source)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lucic2018_wide", (1e-4, 0.5, 0.999, 5, 10.0, "wasserstein_gp", "none")),
        ("lucic2018_narrow", (1e-4, 0.5, 0.999, 1, 10.0, "wasserstein_gp", "none")),
        ("kurach2019", (2e-4, 0.5, 0.999, 1, 10.0, "non_saturating", "spectral")),
    ],
)
def test_trial_0_of_a_study_has_the_settings_its_authors_name(name, expected):
    base = SearchSpace.load(name).base
    lane, structure = base.lane, base.structure
    assert lane.discriminator_lr == lane.generator_lr
    found = (lane.generator_lr, lane.beta1, lane.beta2, lane.discriminator_steps, lane.penalty_weight)
    assert (*found, structure.loss, structure.norm) == expected


def test_the_latent_of_lucics_study_is_64_uniform_numbers_and_no_code_is_asked_for():
    structure = SearchSpace.load("lucic2018_wide").base.structure
    assert structure.latent_size + structure.categorical_codes + structure.continuous_codes == 64
    assert structure.latent_distribution == "symmetric_uniform"
    assert SearchSpace.load("lucic2018_wide").base.lane.information_weight == 0


def test_one_model_of_a_study_is_searched_by_fixing_its_loss():
    wide = SearchSpace.load("lucic2018_wide")
    penalty, norm = "lane.penalty_weight", "structure.discriminator_norm"
    assert norm not in wide.fix({"structure.loss": "wasserstein_gp"}).ranges
    assert penalty in wide.fix({"structure.loss": "wasserstein_gp"}).ranges
    assert norm in wide.fix({"structure.loss": "minimax"}).ranges
    assert penalty not in wide.fix({"structure.loss": "minimax"}).ranges
    says = "structure.loss=wasserstein_gp structure.gradient_penalty=wgan_gp structure.discriminator_norm=none"
    kurach = SearchSpace.load("kurach2019").fix({part.split("=")[0]: part.split("=")[1] for part in says.split()})
    assert penalty in kurach.ranges
    text = (Path(fitting.__file__).parent / "shipped" / "kurach2019.yaml").read_text()
    assert " ".join(f"--set {part}" for part in says.split()) in text


@pytest.mark.parametrize("name", shipped_spaces())
def test_a_shipped_space_says_in_a_sentence_what_it_is_about(name):
    about = SearchSpace.load(name).about
    assert re.fullmatch(r"[A-Z0-9].{20,130}\.", about)
    assert "\n" not in about


@pytest.mark.parametrize("name", shipped_spaces())
def test_whatever_a_shipped_space_can_propose_makes_sense(name):
    """Random draws become configurations; an invalid one would raise InputError in the middle of a sweep."""
    space = SearchSpace.load(name)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = {space.configuration(space.suggest(study.ask()), seed=0) for _ in range(100)}
    assert len(seen) == 100


@pytest.mark.parametrize("name", shipped_spaces())
def test_a_space_written_out_reads_back_as_the_same_space(name):
    space = SearchSpace.load(name)
    again = SearchSpace.load(space.plain())
    assert again.plain() == space.plain()
    assert again.base.flatten() == space.base.flatten()
    assert again.distributions() == space.distributions()


def test_a_child_lays_its_own_lines_over_its_parents():
    parent = SearchSpace.load("mlp")
    child = inline(extends="mlp", base={"lane.beta2": 0.99}, ranges={"lane.beta2": {"low": 0.5, "high": 0.99}})
    assert child.base.lane.beta2 == 0.99
    assert child.ranges["lane.beta2"] == Range(low=0.5, high=0.99)
    others = {k: v for k, v in parent.ranges.items() if k != "lane.beta2"}
    assert {k: v for k, v in child.ranges.items() if k != "lane.beta2"} == others
    assert child.base.structure == parent.base.structure
    assert child.about == parent.about


def test_null_takes_a_parents_range_out_and_leaves_its_base_value():
    child = inline(extends="mlp", ranges={"lane.generator_lr": None})
    assert "lane.generator_lr" not in child.ranges
    assert child.base.lane.generator_lr == SearchSpace.load("mlp").base.lane.generator_lr


def test_a_base_value_without_a_range_of_its_own_fixes_what_the_parent_searched():
    child = inline(extends="mlp", base={"lane.beta1": 0.5})
    assert "lane.beta1" not in child.distributions()
    assert child.base.lane.beta1 == 0.5


def test_a_child_of_a_child_keeps_what_neither_changed(tmp_path):
    middle = write(tmp_path / "middle.yaml", "extends: digits\nbase: {lane.beta1: 0.25}\n")
    space = inline(extends=str(middle), ranges={"lane.beta2": None})
    assert space.base.structure.dataset == "digits"
    assert space.base.lane.beta1 == 0.25
    assert not {"lane.beta1", "lane.beta2"} & set(space.ranges)


def test_a_file_and_a_mapping_give_the_same_space(tmp_path):
    text = "name: mine\nabout: x\nextends: digits\nranges:\n  lane.beta1: {low: 0.1, high: 0.95}\n"
    from_file = SearchSpace.load(write(tmp_path / "other.yaml", text))
    assert from_file == SearchSpace.load(parse_yaml(text, "text"))
    assert from_file.name == "mine"


def test_a_files_name_names_the_space(tmp_path):
    assert SearchSpace.load(write(tmp_path / "wide.yaml", "extends: mlp\n")).name == "wide"


def test_fixing_takes_the_range_out_and_puts_the_value_into_every_configuration():
    space = SearchSpace.load("mlp")
    fixed = space.fix({"lane.beta1": 0.125})
    assert "lane.beta1" not in fixed.distributions()
    assert fixed.configuration({}, seed=3).lane.beta1 == 0.125
    assert "lane.beta1" in space.distributions()  # the space it was made from is unchanged


def test_fixing_takes_text_that_is_a_number_for_one():
    assert SearchSpace.load("mlp").fix({"lane.generator_lr": "1e-4"}).base.lane.generator_lr == 1e-4


@pytest.mark.parametrize(
    ("name", "written", "expected"),
    [
        ("lane.beta1", {"low": 0, "high": 0.9}, FloatDistribution(0.0, 0.9)),
        ("lane.generator_lr", {"low": "1e-5", "high": 1e-2, "log": True}, FloatDistribution(1e-5, 1e-2, log=True)),
        ("lane.beta1", {"low": 0.0, "high": 0.75, "step": 0.25}, FloatDistribution(0.0, 0.75, step=0.25)),
        ("lane.discriminator_steps", {"low": 1, "high": 5}, IntDistribution(1, 5)),
        ("lane.discriminator_steps", {"low": 1, "high": 5, "step": 2}, IntDistribution(1, 5, step=2)),
        ("structure.latent_size", {"low": 8, "high": 512, "log": True}, IntDistribution(8, 512, log=True)),
        ("structure.generator_width", {"choices": [64, 128]}, CategoricalDistribution((64, 128))),
        ("structure.loss", {"choices": ["hinge", "minimax"]}, CategoricalDistribution(("hinge", "minimax"))),
        ("lane.ema_half_life_images", {"choices": [0, 500]}, CategoricalDistribution((0.0, 500.0))),
    ],
)
def test_a_range_becomes_the_distribution_of_its_hyperparameters_type(name, written, expected):
    scope = parse_range(name, written)
    assert distribution(scope) == expected
    assert parse_range(name, scope.plain()) == scope


def test_distributions_stand_in_the_order_of_the_fields():
    ranges = {"lane.beta2": {"low": 0.5, "high": 0.999}, "structure.latent_size": {"low": 1, "high": 200}}
    assert list(inline(ranges=ranges).distributions()) == ["structure.latent_size", "lane.beta2"]


def test_the_baseline_is_the_base_restricted_to_what_is_searched():
    space = SearchSpace.load("gaussian")
    base = space.base.flatten()
    assert space.parameters_of({}) == {name: base[name] for name in space.ranges}
    assert space.configuration(space.parameters_of({}), seed=0) == space.base


def test_a_proposal_changes_what_it_names_and_the_seed_alone():
    space = SearchSpace.load("digits")
    config = space.configuration({"lane.beta1": 0.125}, seed=77)
    changed = {k for k, v in config.flatten().items() if v != space.base.flatten()[k]}
    assert changed == {"lane.beta1", "seed"}
    assert (config.lane.beta1, config.seed) == (0.125, 77)


@pytest.mark.parametrize(
    ("scope", "text"),
    [
        (Range(low=1e-5, high=1e-2, log=True), "1e-05 .. 0.01 log"),
        (Range(low=0.0, high=1.0, step=0.25), "0 .. 1 step 0.25"),
        (Range(low=1, high=3), "1 .. 3"),
        (Range(choices=(64, 128)), "64 | 128"),
    ],
)
def test_a_range_prints_as_a_person_writes_it(scope, text):
    assert str(scope) == text


BAD_RANGES = {
    "low above high": ("lane.beta1", {"low": 0.9, "high": 0.1}, ["low <= high", "low=0.9", "high=0.1"]),
    "log at zero": ("lane.generator_lr", {"low": 0, "high": 1, "log": True}, ["low > 0", "low=0"]),
    "log as text": (
        "lane.generator_lr",
        {"low": 1e-5, "high": 1, "log": "yes please"},
        ["true or false", "yes please"],
    ),
    "unknown key": ("lane.beta1", {"lo": 0.1, "high": 0.9}, ["unknown key 'lo'", "did you mean 'low'"]),
    "far key": ("lane.beta1", {"q": 0.1}, ["unknown key 'q'", "low, high, log, step, choices"]),
    "unknown name": ("lane.generator_rl", {"low": 0.1, "high": 0.9}, ["lane.generator_lr"]),
    "no high": ("lane.beta1", {"low": 0.1}, ["lacks high"]),
    "neither": ("lane.beta1", {}, ["lacks high and low"]),
    "no mapping": ("lane.beta1", 0.5, ["{low, high}", "0.5", "base"]),
    "choices with low": ("lane.beta1", {"choices": [0.1], "low": 0.1}, ["choices", "alone"]),
    "no choices": ("lane.beta1", {"choices": []}, ["at least one"]),
    "choices no list": ("lane.beta1", {"choices": 0.5}, ["list"]),
    "choice of wrong type": ("lane.beta1", {"choices": [0.5, "high"]}, ["lane.beta1", "a number", "'high'"]),
    "choice out of range": ("lane.beta1", {"choices": [0.5, 1.0]}, ["below 1", "1.0"]),
    "unknown choice": ("structure.loss", {"choices": ["hinge", "hing"]}, ["hinge", "minimax", "'hing'"]),
    "low of wrong type": ("lane.beta1", {"low": "a", "high": 0.5}, ["a number", "'a'"]),
    "low out of range": ("lane.beta1", {"low": -0.1, "high": 0.5}, ["at least 0", "-0.1"]),
    "low not a number": ("lane.beta1", {"low": float("nan"), "high": 0.5}, ["lane.beta1", "nan"]),
    "part of a whole": ("lane.discriminator_steps", {"low": 1, "high": 2.5}, ["a whole number", "2.5"]),
    "range of a name": ("structure.loss", {"low": 0, "high": 1}, ["choices", "not a number"]),
    "step at zero": ("lane.beta1", {"low": 0, "high": 0.9, "step": 0}, ["above 0", "step=0"]),
    "step with log": ("lane.beta2", {"low": 0.1, "high": 0.9, "step": 0.1, "log": True}, ["without log"]),
    "step as text": ("lane.beta1", {"low": 0, "high": 0.9, "step": "x"}, ["step='x'"]),
    "step as truth": ("lane.beta1", {"low": 0, "high": 0.9, "step": True}, ["step=True"]),
    "step not a number": ("lane.beta1", {"low": 0, "high": 0.9, "step": float("nan")}, ["step", "nan"]),
    "half a step": ("lane.discriminator_steps", {"low": 1, "high": 3, "step": 0.5}, ["step", "0.5"]),
}


@pytest.mark.parametrize(("name", "written", "says"), BAD_RANGES.values(), ids=BAD_RANGES)
def test_a_range_that_is_none_is_refused_with_the_rule_and_the_value(name, written, says):
    with pytest.raises(InputError) as refusal:
        parse_range(name, written)
    message = str(refusal.value)
    assert "\n" not in message
    assert [fragment for fragment in says if fragment not in message] == []


UNFITTING_PAIRS: dict[str, tuple[dict[str, Any], tuple[str, str], str]] = {
    "smoothing and a loss that has no labels": (
        {
            "structure.loss": {"choices": ["non_saturating", "hinge"]},
            "lane.label_smoothing": {"low": 0.0, "high": 0.3},
        },
        ("lane.label_smoothing 0.3", "structure.loss 'hinge'"),
        "lane.label_smoothing needs a cross-entropy loss",
    ),
    "penalty and batch norm": (
        {
            "structure.gradient_penalty": {"choices": ["none", "r1"]},
            "structure.discriminator_norm": {"choices": ["published", "batch"]},
        },
        ("structure.discriminator_norm 'batch'", "structure.gradient_penalty 'r1'"),
        "a gradient penalty (r1) acts on each sample alone",
    ),
    "the loss's own penalty and batch norm": (
        {
            "structure.loss": {"choices": ["non_saturating", "wasserstein_gp"]},
            "structure.discriminator_norm": {"choices": ["published", "batch", "spectral"]},
        },
        ("structure.discriminator_norm 'batch'", "structure.loss 'wasserstein_gp'"),
        "structure.discriminator_norm to 'none' or 'spectral'",
    ),
    "one penalty and another": (
        {
            "structure.loss": {"choices": ["non_saturating", "wasserstein_gp"]},
            "structure.gradient_penalty": {"choices": ["none", "r1"]},
        },
        ("structure.gradient_penalty 'r1'", "structure.loss 'wasserstein_gp'"),
        "set it to 'none'",
    ),
    "batch norm and batches of one": (
        {
            "structure.batch_size": {"low": 1, "high": 64},
            "structure.discriminator_norm": {"choices": ["published", "batch"]},
        },
        ("structure.batch_size 1", "structure.discriminator_norm 'batch'"),
        "structure.batch_size must be at least 2",
    ),
    "dropout and networks that have none": (
        {
            "structure.architecture": {"choices": ["mlp", "mlp_minimax"]},
            "structure.discriminator_norm": {"choices": ["published", "batch"]},
        },
        ("structure.architecture 'mlp_minimax'", "structure.discriminator_norm 'batch'"),
        "architecture 'mlp_minimax' has one",
    ),
}


@pytest.mark.parametrize(("ranges", "names", "says"), UNFITTING_PAIRS.values(), ids=UNFITTING_PAIRS)
def test_ranges_that_can_combine_into_nonsense_are_refused_when_the_space_is_made(ranges, names, says):
    """Each range alone fits the base; two that do not fit each other are named, with the values and the fix."""
    for name, scope in ranges.items():
        assert set(inline(ranges={name: scope}).ranges) == {name}
    with pytest.raises(InputError) as refusal:
        inline(name="mine", ranges={"lane.beta1": {"low": 0.0, "high": 0.9}, **ranges})
    message = str(refusal.value)
    assert f"space 'mine' can combine {names[0]} with {names[1]}: " in message
    assert says in message
    assert message.endswith(", or narrow one of the two ranges")
    assert "\n" not in message


def test_hyperparameters_are_fixed_together():
    fixed = SearchSpace.load("mlp").fix({"structure.architecture": "gaussian", "structure.dataset": "gaussian"})
    assert fixed.base.structure.architecture == "gaussian"
    for alone in ({"structure.architecture": "gaussian"}, {"structure.dataset": "gaussian"}):
        with pytest.raises(InputError, match="change one of them"):
            SearchSpace.load("mlp").fix(alone)


def test_fixing_nothing_is_the_same_space():
    assert SearchSpace.load("mlp").fix({}) == SearchSpace.load("mlp")


def test_the_pairs_that_are_checked_are_of_all_names_that_combinations_looks_at():
    """Parsed from the source: `structure.x`, `lane.x`, and the properties of a structure, which stand for fields."""
    source = "\n".join(Path(str(module.__file__)).read_text() for module in (structure, combinations))
    stands_for = {"penalty": "gradient_penalty", "norm": "discriminator_norm", "has_batch_norm": "discriminator_norm"}
    stands_for["is_own"] = "architecture"
    looked_at = {
        f"{node.value.id}.{stands_for.get(node.attr, node.attr)}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.value.id in ("structure", "lane")
    }
    looked_at |= {f"lane.{name}" for name in combinations._EFFECTIVE}
    assert looked_at - set(NEVER_SEARCHED) - {"structure.trainer"} == COMBINED


def test_making_the_largest_shipped_space_takes_a_moment():
    """In calls of functions: the largest takes about 50,000, which are 7 ms."""
    calls = []
    for name in shipped_spaces():
        with cProfile.Profile() as profile:
            SearchSpace.load(name)
        calls.append(sum(entry.callcount for entry in profile.getstats()))
    assert max(calls) < 200_000


BAD_SPACES = {
    "unknown key": ({"bases": {}}, ["unknown key 'bases'", "did you mean 'base'"]),
    "unknown base name": ({"base": {"lane.beta3": 1}}, ["unknown hyperparameter 'lane.beta3'", "lane.beta"]),
    "number as a name": ({"base": {5: 1}}, ["unknown hyperparameter"]),
    "base out of range": ({"base": {"lane.beta1": 2}}, ["lane.beta1", "below 1", "2"]),
    "base of wrong type": ({"base": {"lane.beta1": "high"}}, ["a number", "'high'"]),
    "base null": ({"base": {"lane.beta1": None}}, ["lane.beta1", "a number"]),
    "base no mapping": ({"base": [1]}, ["base", "dotted names"]),
    "ranges no mapping": ({"ranges": "all"}, ["ranges", "dotted names", "'all'"]),
    "base outside a range": (
        {"base": {"lane.beta1": 0.95}, "ranges": {"lane.beta1": {"low": 0, "high": 0.9}}},
        ["0.95", "lane.beta1", "0 .. 0.9", "trial 0"],
    ),
    "base not among choices": ({"ranges": {"structure.batch_size": {"choices": [32]}}}, ["64", "32"]),
    "unknown architecture": ({"base": {"structure.architecture": "cnn"}}, ["gaussian, mlp", "'cnn'"]),
    "unknown loss": ({"base": {"structure.loss": "bce"}}, ["hinge", "minimax", "'bce'"]),
    "unknown data set": ({"base": {"structure.dataset": "cifar"}}, ["unknown data set 'cifar'", "'cifar10'"]),
    "unfitting choice": (
        {"ranges": {"structure.architecture": {"choices": ["mlp", "gaussian"]}}},
        ["'gaussian'", "'digits'", "change one of them"],
    ),
    "unknown parent": ({"extends": "cyclegan"}, ["unknown space 'cyclegan'", "did you mean 'cgan'"]),
    "parent of wrong type": ({"extends": 5}, ["5"]),
    "parents as a list": ({"extends": ["mlp"]}, ["mlp"]),
}


@pytest.mark.parametrize(("written", "says"), BAD_SPACES.values(), ids=BAD_SPACES)
def test_a_space_that_does_not_fit_is_refused_with_the_rule_and_the_value(written, says):
    with pytest.raises(InputError) as refusal:
        SearchSpace.load(written)
    message = str(refusal.value)
    assert "\n" not in message
    assert [fragment for fragment in says if fragment not in message] == []


@pytest.mark.parametrize("name", NEVER_SEARCHED)
def test_seeds_and_the_data_set_are_never_searched(name):
    scope = (
        {"choices": ["digits", "mnist"]}
        if name in ("structure.dataset", "structure.networks")
        else {"low": 0, "high": 9}
    )
    assert name in HYPERPARAMETERS
    with pytest.raises(InputError, match=f"{name} cannot be searched"):
        inline(ranges={name: scope})


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("digit", "did you mean 'digits'"),
        ("cifar", "the nearest of 15: infogan, cgan, dcgan, "),
    ],
)
def test_an_unknown_space_is_answered_with_the_nearest_or_the_list(written, says):
    with pytest.raises(InputError) as refusal:
        SearchSpace.load(written)
    assert f"unknown space {written!r}" in str(refusal.value)
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"base: [1", "not plain YAML at line 1"),
        (b"- 1\n- 2\n", "'key: value' lines, got list"),
        (b"", "'key: value' lines, got NoneType"),
        (b"\xff\xfe\x00base", "not text"),
        (b"about: !!int twelve\n", "not plain YAML"),
    ],
)
def test_a_file_that_holds_no_mapping_is_refused_by_its_path(tmp_path, content, says):
    path = tmp_path / "space.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as refusal:
        read_yaml(path)
    assert str(path) in str(refusal.value)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_folder_is_no_space(tmp_path):
    (tmp_path / "space.yaml").mkdir()
    with pytest.raises(InputError, match="cannot read .*space.yaml: Is a directory"):
        SearchSpace.load(tmp_path / "space.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "base: !!python/object/apply:os.system ['touch {trap}']",
        "extends: mlp\nranges:\n  lane.beta1: !!python/object/apply:os.system ['touch {trap}']",
        "about: !!python/name:os.system",
    ],
)
def test_a_python_tag_is_refused_and_nothing_runs(tmp_path, text):
    trap = tmp_path / "trap"
    path = write(tmp_path / "space.yaml", text.format(trap=trap))
    with pytest.raises(InputError, match=r"not plain YAML at line \d+: it has the tag \S*python/"):
        SearchSpace.load(path)
    assert not trap.exists()


def test_a_space_that_extends_itself_is_refused(tmp_path):
    path = tmp_path / "loop.yaml"
    write(path, f"extends: {path}\n")
    with pytest.raises(InputError, match="loop.yaml"):
        SearchSpace.load(path)


def test_every_default_lies_in_the_default_configuration():
    assert inline().base == GanConfig()
    assert inline().distributions() == {}


# ---- averages that every trial keeps


HALF_LIFE = "lane.ema_half_life_images"
EVERY = {HALF_LIFE: {"every": [0, 500, "2_000", 500]}}


def test_every_average_is_kept_and_none_is_drawn():
    space = inline(ranges={**EVERY, "lane.beta1": {"low": 0.0, "high": 0.9}})
    assert space.averages_images == (0.0, 500.0, 2000.0)
    assert list(space.ranges) == ["lane.beta1"] == list(space.distributions())
    assert space.searched == ["lane.beta1", HALF_LIFE]
    assert SearchSpace.load(space.plain()) == space
    assert space.configuration({"lane.beta1": 0.5}, 3).lane.ema_half_life_images == 0.0


def test_averages_are_inherited_overwritten_fixed_or_drawn():
    space = inline(ranges=EVERY)
    assert inline(extends=space.plain()).averages_images == (0.0, 500.0, 2000.0)
    assert inline(extends=space.plain(), ranges={HALF_LIFE: None}).averages_images == ()
    fixed = inline(extends=space.plain(), base={HALF_LIFE: 7.0})
    assert (fixed.averages_images, fixed.base.lane.ema_half_life_images) == ((), 7.0)
    drawn = inline(extends=space.plain(), ranges={HALF_LIFE: {"choices": [0, 9]}})
    assert (drawn.averages_images, drawn.ranges[HALF_LIFE].choices) == ((), (0.0, 9.0))
    again = inline(extends=drawn.plain(), ranges={HALF_LIFE: {"every": [0]}})
    assert (again.averages_images, dict(again.ranges)) == ((0.0,), {})
    assert space.fix({HALF_LIFE: 300.0}).averages_images == ()
    assert space.fix({"lane.beta1": 0.25}).averages_images == space.averages_images
    assert space.drawing_averages().ranges[HALF_LIFE].choices == space.averages_images
    assert space.drawing_averages().averages_images == ()
    assert drawn.drawing_averages() is drawn


def test_a_known_point_may_name_an_average_that_every_trial_has():
    space = inline(ranges=EVERY)
    assert space.parameters_of({HALF_LIFE: 500.0}) == {}
    with pytest.raises(InputError, match=r"ema_half_life_images 7\.0 is not among every \[0\.0, 500\.0, 2000\.0\]"):
        space.parameters_of({HALF_LIFE: 7.0})


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({HALF_LIFE: {"every": []}}, "must be a list of at least one value, alone"),
        ({HALF_LIFE: {"every": 500}}, "must be a list of at least one value, alone"),
        ({HALF_LIFE: {"every": [0, 500], "choices": [0]}}, "must be a list of at least one value, alone"),
        ({HALF_LIFE: {"every": [0, -1]}}, "ema_half_life_images"),
        ({HALF_LIFE: {"every": [500]}}, "0.0 is not among every [500.0]; choose one of them, or add it"),
        ({"lane.beta1": {"every": [0.5, 0.9]}}, "every in the range of lane.beta1"),
    ],
)
def test_what_is_no_list_of_averages_is_refused(ranges, message):
    with pytest.raises(InputError, match=re.escape(message)):
        inline(ranges=ranges)


@pytest.mark.parametrize("name", ["mlp", "mlp_bn", "mlp_minimax", "mlp_dropout", "cgan", "dcgan", "infogan"])
def test_the_families_on_mnist_keep_four_averages(name):
    assert SearchSpace.load(name).averages_images == (0.0, 2000.0, 10_000.0, 50_000.0)
