"""Configurations: one dotted name each, checked when made, with errors that name the value; loaded without torch."""

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any, get_args

import pytest

from gan_core.config.dataset_name import IMAGE_KINDS, VALUE_KINDS
from gan_core.config.fields import Hyperparameter, check_value, fitted
from gan_core.config.gan import HYPERPARAMETERS, LARGEST_SEED, GanConfig, hyperparameter, parse_value
from gan_core.config.input_error import InputError, nearest
from gan_core.config.lane import LaneConfig
from gan_core.config.structure import OF_OUR_LAYERS, Architecture, GradientPenalty, LossName, StructureConfig
from gan_core.data.dataset import DATASETS
from gan_core.game.losses import LOSSES
from gan_core.game.penalties import PENALTIES
from gan_core.networks.architectures import ARCHITECTURES

NUMBERS = [name for name, known in HYPERPARAMETERS.items() if known.kind in (int, float)]
CHOICES = [name for name, known in HYPERPARAMETERS.items() if known.choices]
FLOATS = [name for name in NUMBERS if HYPERPARAMETERS[name].kind is float]
WHOLE = [name for name in NUMBERS if HYPERPARAMETERS[name].kind is int]


# What a structure field needs beside it to be allowed to leave its default.
BESIDE: dict[str, dict[str, Any]] = {
    "structure.categorical_codes": {"architecture": "infogan", "continuous_codes": 2},
    "structure.continuous_codes": {"architecture": "infogan", "categorical_codes": 10},
}


def directly(name: str, value: Any) -> Any:
    """The value given to the dataclass itself, which is how code makes a configuration; answers what it holds."""
    part, _, field = name.rpartition(".")
    kind = {"structure": StructureConfig, "lane": LaneConfig, "": GanConfig}[part]
    return getattr(kind(**{**BESIDE.get(name, {}), field: value}), field)


BOTH_WAYS = pytest.mark.parametrize("given", [directly, parse_value])


def refusal(given: Callable[[str, Any], Any], name: str, value: Any) -> str:
    with pytest.raises(InputError) as refused:
        given(name, value)
    message = str(refused.value)
    assert "\n" not in message
    return message


# Every hyperparameter -> a value that is not its default, and what it needs beside it.
_INFOGAN = {"structure.architecture": "infogan", "structure.categorical_codes": 10}
_VALUES = {"structure.architecture": "gaussian", "structure.dataset": "gaussian"}
_NORMED = {"structure.architecture": "mlp_bn"}
CHANGED: dict[str, tuple[Any, dict[str, Any]]] = {
    "structure.architecture": ("dcgan", {}),
    "structure.dataset": ("polygons", {}),
    "structure.image_size_pixels": (28, {}),
    "structure.generator_width": (5, {}),
    "structure.discriminator_width": (10, {}),
    "structure.latent_size": (1, {}),
    "structure.latent_distribution": ("uniform", {}),
    "structure.categorical_codes": (7, {"structure.architecture": "infogan"}),
    "structure.continuous_codes": (3, _INFOGAN),
    "structure.batch_size": (500, {}),
    "structure.loss": ("hinge", {}),
    "structure.loss_reduction": ("sum", {}),
    "structure.gradient_penalty": ("r1", {}),
    "structure.discriminator_norm": ("spectral", {}),
    "structure.discriminator_input": ("moments", _VALUES),
    "structure.update_order": ("generator_first", {}),
    "lane.generator_lr": (1e-3, {}),
    "lane.discriminator_lr": (1e-4, {}),
    "lane.lr_schedule": ("cosine", {}),
    "lane.lr_schedule_images": (1e4, {"lane.lr_schedule": "linear"}),
    "lane.beta1": (0.0, {}),
    "lane.beta2": (0.99, {}),
    "lane.discriminator_beta1": (0.0, {}),
    "lane.discriminator_beta2": (0.9, {}),
    "lane.generator_weight_decay": (0.1, {}),
    "structure.networks": ("my_gan.py#0123456789ab", {"structure.architecture": "own"}),
    "lane.discriminator_weight_decay": (1e-3, {}),
    "lane.discriminator_steps": (20, {}),
    "lane.generator_steps": (2, {}),
    "lane.ema_half_life_images": (1e4, {}),
    "lane.label_smoothing": (0.1, {}),
    "lane.instance_noise": (0.1, {}),
    "lane.instance_noise_images": (1e4, {"lane.instance_noise": 0.2}),
    "lane.generator_dropout": (0.25, {"structure.architecture": "mlp_dropout"}),
    "lane.discriminator_dropout": (0.5, {}),
    "lane.penalty_weight": (1.0, {"structure.gradient_penalty": "r1"}),
    "lane.batch_norm_eps": (0.8, _NORMED),
    "lane.batch_norm_momentum": (0.01, _NORMED),
    "lane.information_weight": (0.5, _INFOGAN),
    "lane.continuous_code_weight": (1.0, {**_INFOGAN, "structure.continuous_codes": 2}),
    "seed": (LARGEST_SEED, {}),
    "data_seed": (3, {}),
}


@pytest.mark.parametrize("name", HYPERPARAMETERS)
def test_unflatten_is_the_inverse_of_flatten_and_a_dotted_name_reaches_its_field_alone(name: str):
    value, beside = CHANGED[name]
    config = GanConfig.unflatten({**beside, name: value})
    flat, default = config.flatten(), GanConfig().flatten()
    assert value != default[name]
    left_out = OF_OUR_LAYERS if config.structure.is_own else ()
    assert flat == {n: v for n, v in {**default, **beside, name: value}.items() if n not in left_out}
    assert list(flat) == [n for n in HYPERPARAMETERS if n not in left_out]
    following = [name for name, known in HYPERPARAMETERS.items() if known.follows]
    assert all(isinstance(value, str | int | float) or name in following for name, value in flat.items())
    assert GanConfig.unflatten(flat) == config
    assert GanConfig.unflatten(dict(reversed(flat.items()))).flatten() == flat


@pytest.mark.parametrize("name", OF_OUR_LAYERS)
def test_what_is_of_layers_of_ours_is_no_part_of_own_networks_and_refused_beside_them(name: str):
    own = {"structure.architecture": "own", "structure.networks": "mine.py"}
    assert name not in GanConfig.unflatten(own).flatten()
    with pytest.raises(InputError, match=name.partition(".")[2]):
        GanConfig.unflatten({**own, name: CHANGED[name][0]})


def test_what_is_known_of_a_hyperparameter_is_what_its_field_says():
    known = hyperparameter("lane.beta2")
    assert (known.name, known.kind, known.choices, known.default) == ("beta2", float, (), 0.999)
    assert (known.low, known.high, known.below) == (0, math.inf, 1)
    assert hyperparameter("structure.loss").choices == get_args(LossName)
    assert all(known.default == GanConfig().flatten()[name] for name, known in HYPERPARAMETERS.items())
    says = [known.says for known in HYPERPARAMETERS.values()]
    assert all(10 < len(line) <= 100 and "\n" not in line for line in says)
    assert len(set(says)) == len(says)


@BOTH_WAYS
@pytest.mark.parametrize("name", NUMBERS)
def test_both_ends_of_a_range_are_taken_and_what_lies_beyond_is_refused_by_name_and_value(name, given):
    known = HYPERPARAMETERS[name]
    one = 1 if known.kind is int else 1e-9
    assert given(name, known.kind(known.low)) == known.low
    beyond = [known.kind(known.low) - one]
    if math.isfinite(known.below):
        assert given(name, math.nextafter(known.below, 0)) < known.below
        beyond.append(known.below)
    else:
        assert given(name, known.kind(known.high)) == known.high
        beyond.append(known.high + 1 if known.kind is int else math.nextafter(known.high, math.inf))
    for value in beyond:
        message = refusal(given, name, value)
        assert message.startswith(f"{name} must be at least {known.low:g} and ")
        assert message.endswith(f"got {value!r}")


@BOTH_WAYS
@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [True, False, None, "many", [1], math.nan, math.inf, -math.inf], ids=str)
def test_what_is_no_number_in_range_is_refused_by_name_and_value(name, value, given):
    if value is None and HYPERPARAMETERS[name].follows:
        assert given(name, value) is None
        return
    message = refusal(given, name, value)
    assert message.startswith(f"{name} must be ")
    assert message.endswith(f"got {value!r}")


def test_what_is_missing_follows_another_also_when_that_one_changes():
    config = GanConfig(lane=LaneConfig(beta1=0.25, discriminator_beta2=0.5))
    assert config.lane.discriminator_adam == (2e-4, 0.25, 0.5, 0.0)
    assert config.in_force() == {**config.flatten(), "lane.discriminator_beta1": 0.25}
    assert replace(config.lane, beta1=0.75, beta2=0.9).discriminator_adam[1:3] == (0.75, 0.5)
    assert LaneConfig(discriminator_beta1=0.0).discriminator_adam[1] == 0.0


@BOTH_WAYS
@pytest.mark.parametrize("name", WHOLE)
def test_a_fraction_is_refused_where_a_whole_number_is_due(name, given):
    message = refusal(given, name, 1.5)
    assert message.startswith(f"{name} must be a whole number")
    assert message.endswith("got 1.5")


@BOTH_WAYS
@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("value", ["no such thing", 3, None, True], ids=str)
def test_an_unknown_choice_is_answered_with_all_choices(name, value, given):
    choices = ", ".join(HYPERPARAMETERS[name].choices)
    assert refusal(given, name, value) == f"{name} must be one of {choices}, got {value!r}"


@BOTH_WAYS
@pytest.mark.parametrize("value", [3, None, True, ["digits"]], ids=str)
def test_a_name_of_a_data_set_is_text(value, given):
    message = refusal(given, "structure.dataset", value)
    assert message.startswith("structure.dataset must be text")
    assert message.endswith(f"got {value!r}")


@BOTH_WAYS
@pytest.mark.parametrize("value", [[], {}, ["mlp"]], ids=str)
def test_a_list_where_a_choice_is_due_is_refused(value, given):
    assert refusal(given, "structure.loss", value).endswith(f"got {value!r}")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("lane.generator_lr", "1e-4", 1e-4),
        ("lane.generator_lr", " 0.5 ", 0.5),
        ("lane.generator_lr", 1, 1.0),
        ("lane.ema_half_life_images", "1_000", 1000.0),
        ("structure.batch_size", "64", 64),
        ("structure.batch_size", 64.0, 64),
        *(("structure.batch_size", text, 1000) for text in ("1e3", "1E3", "1.0e+3", "1000.0", "10e2")),
        ("seed", str(LARGEST_SEED), LARGEST_SEED),
        ("structure.loss", "hinge", "hinge"),
    ],
)
def test_a_value_takes_the_type_of_its_hyperparameter(name, text, value):
    parsed = parse_value(name, text)
    assert parsed == value
    assert type(parsed) is type(value)
    assert GanConfig.unflatten({name: text}).flatten()[name] == value


@pytest.mark.parametrize(
    ("name", "text"),
    [("structure.batch_size", "1e-3"), ("structure.batch_size", "6.4"), ("lane.beta1", "nan"), ("lane.beta1", "0,9")],
)
def test_a_text_that_is_no_such_number_is_refused_by_name_and_value(name, text):
    message = refusal(parse_value, name, text)
    assert message.startswith(f"{name} must be ")
    assert text in message


def test_code_may_not_give_a_text_for_a_number():
    assert refusal(directly, "lane.generator_lr", "1e-4").startswith("lane.generator_lr must be a number")


@pytest.mark.parametrize(
    ("misspelt", "right"),
    [
        ("lane.generator_rl", "lane.generator_lr"),
        ("generator_lr", "lane.generator_lr"),
        ("structure.batchsize", "structure.batch_size"),
        ("sead", "seed"),
        ("lane.descriminator_steps", "lane.discriminator_steps"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(misspelt, right):
    with pytest.raises(InputError) as refused:
        GanConfig.unflatten({misspelt: 1})
    assert str(refused.value) == f"unknown hyperparameter {misspelt!r}; did you mean {right!r}?"


def test_a_name_like_no_other_is_answered_with_all_of_few_and_the_nearest_of_many():
    assert nearest("zzz", ["seed", "data_seed"]) == "known: seed, data_seed"
    message = refusal(parse_value, "learning", 1)
    assert message.startswith(f"unknown hyperparameter 'learning'; the nearest of {len(HYPERPARAMETERS)}: ")
    assert sum(name in message for name in HYPERPARAMETERS) == 5
    assert len(message) < 250


NUMBER = Hyperparameter("x", float, (), 1.0, "of something", low=0.0, high=math.inf, below=2.0)
WHOLE_NUMBER = Hyperparameter("n", int, (), 1, "of things", low=1, high=7, below=math.inf)


@pytest.mark.parametrize(
    ("known", "value", "fits"),
    [
        (NUMBER, 1, 1.0),
        (NUMBER, "1e-3", 1e-3),
        (NUMBER, 0, 0.0),
        (NUMBER, 1.999, 1.999),
        (WHOLE_NUMBER, "7", 7),
        (WHOLE_NUMBER, 7.0, 7),
        (WHOLE_NUMBER, 1, 1),
    ],
)
def test_what_is_fitted_is_checked_has_its_own_type_and_fits_again(known: Hyperparameter, value: Any, fits: Any):
    fitting = fitted("name", known, value)
    assert (fitting, type(fitting)) == (fits, type(fits))
    assert fitted("name", known, fitting) == fitting
    check_value("name", known, fitting)


@pytest.mark.parametrize(
    ("known", "value", "says"),
    [
        (NUMBER, 2.0, "name must be at least 0 and below 2 (of something), got 2.0"),
        (NUMBER, -1e-9, "name must be at least 0 and below 2 (of something), got -1e-09"),
        (NUMBER, "two", "name must be a number (of something), got 'two'"),
        (NUMBER, 10**400, "name must be at least 0 and below 2 (of something), got a number of more than 40 digits"),
        (WHOLE_NUMBER, 8, "name must be at least 1 and at most 7 (of things), got 8"),
        (WHOLE_NUMBER, 7.5, "name must be a whole number (of things), got 7.5"),
        (WHOLE_NUMBER, False, "name must be a whole number (of things), got False"),
    ],
    ids=lambda part: str(part)[:40],
)
def test_what_does_not_fit_is_refused_with_the_range_and_what_the_field_is(
    known: Hyperparameter, value: Any, says: str
):
    for check in (fitted, check_value):
        with pytest.raises(InputError) as refused:
            check("name", known, value)
        assert str(refused.value) == says


@pytest.mark.parametrize("part", [GanConfig(), StructureConfig(), LaneConfig()])
def test_a_configuration_is_frozen_and_its_equals_are_interchangeable(part):
    field = next(iter(vars(part)))
    with pytest.raises(FrozenInstanceError):
        setattr(part, field, None)
    assert len({part, type(part)()}) == 1


@pytest.mark.parametrize(
    ("names", "implementations"),
    [(Architecture, ARCHITECTURES), (LossName, LOSSES), (GradientPenalty, {"none": None, **PENALTIES})],
    ids=["architectures", "losses", "penalties"],
)
def test_every_name_has_an_implementation_and_the_other_way_round(names, implementations):
    assert tuple(implementations) == get_args(names)
    assert tuple(DATASETS) == (*VALUE_KINDS, *IMAGE_KINDS, "own")


@pytest.mark.parametrize("module", ["gan_core.config.gan", "gan_core.config.reports", "gan_core.config.health"])
def test_it_loads_without_torch(module):
    program = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    root = Path(__file__).parents[3]
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert "gan_core" in loaded
    assert not {"torch", "torchvision", "numpy", "pandas", "ray", "optuna"} & set(loaded)
