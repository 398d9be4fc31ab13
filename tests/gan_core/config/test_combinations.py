"""Which hyperparameters go together: every refusal is reached, and says the rule, the value and what to do."""

from typing import Any

import pytest

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.lane import LaneConfig
from gan_core.config.structure import StructureConfig, dcgan_start_pixels

VALUES: dict[str, Any] = {"architecture": "gaussian", "dataset": "gaussian"}
DCGAN: dict[str, Any] = {"architecture": "dcgan"}
INFOGAN: dict[str, Any] = {"architecture": "infogan", "categorical_codes": 10, "continuous_codes": 2}
IMAGES: dict[str, Any] = {"dataset": "images:a folder", "image_size_pixels": 32}
NO_NORM: dict[str, Any] = {"discriminator_norm": "none"}


def refusal(**values: Any) -> str:
    """One line, the same for a structure made directly and by dotted names."""
    with pytest.raises(InputError) as refused:
        StructureConfig(**values)
    with pytest.raises(InputError) as again:
        GanConfig.unflatten({f"structure.{name}": value for name, value in values.items()})
    assert str(refused.value) == str(again.value)
    assert "\n" not in str(refused.value)
    return str(refused.value)


# What is given -> pieces that the refusal must have: the rule, the value, the fix.
REFUSED: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    (
        {"architecture": "gaussian"},
        ("goes with data sets of numbers", "'gaussian' with dataset 'digits'", "change one of them"),
    ),
    ({"dataset": "gaussian"}, ("architecture 'mlp' with dataset 'gaussian'", "change one of them")),
    ({"dataset": "ring:5", "architecture": "dcgan"}, ("architecture 'dcgan' with dataset 'ring:5'",)),
    ({"dataset": "nothing"}, ("unknown data set 'nothing'",)),
    ({"architecture": "cgan", "dataset": "polygons"}, ("needs a data set with labels", "got 'polygons'", "use one of")),
    (VALUES | {"image_size_pixels": 8}, ("must be 0 for numbers", "got 8", "dataset 'gaussian'")),
    ({"dataset": "images:a folder"}, ("structure.image_size_pixels must be set", "'images:a folder'")),
    (DCGAN | {"image_size_pixels": 30}, ("must be 4, 5, 6 or 7 times a power of two", "got 30", "use 8, 28, 32 or 64")),
    (DCGAN | {"image_size_pixels": 4}, ("got 4;",)),
    (DCGAN | {"image_size_pixels": 9}, ("got 9;",)),
    (DCGAN | {"image_size_pixels": 7}, ("got 7;",)),
    (INFOGAN | {"image_size_pixels": 30}, ("must be a multiple of 4 from 8 on", "got 30", "use 28 or 32")),
    (INFOGAN | {"image_size_pixels": 4}, ("got 4;",)),
    ({"architecture": "infogan"}, ("needs at least one", "got 0 and 0 with architecture 'infogan'", "10 and 2")),
    ({"categorical_codes": 10}, ("are InfoGAN's", "got 10 and 0 with architecture 'mlp'", "10 and 2")),
    ({"continuous_codes": 2}, ("are InfoGAN's", "got 0 and 2 with architecture 'mlp'")),
    (INFOGAN | {"categorical_codes": 1}, ("must be 0 or at least 2", "got 1")),
    ({"discriminator_input": "moments"}, ("'moments' needs architecture 'gaussian'", "got 'mlp'", "use 'sample'")),
    (
        {"loss": "wasserstein_gp", "gradient_penalty": "r1"},
        ("'wasserstein_gp' has the penalty wgan_gp", "got gradient_penalty 'r1'", "set it to 'none'"),
    ),
    (DCGAN | {"gradient_penalty": "r1"}, ("(r1)", "batch norm in D ties samples together", "'none' or 'spectral'")),
    (DCGAN | {"loss": "wasserstein_gp"}, ("(wgan_gp)", "structure.discriminator_norm")),
    ({"discriminator_norm": "batch", "gradient_penalty": "wgan_gp"}, ("(wgan_gp)", "discriminator_norm")),
    (
        VALUES | {"discriminator_norm": "batch", "discriminator_input": "minibatch"},
        ("needs several decisions", "got discriminator_input 'minibatch'", "discriminator_norm to 'none'"),
    ),
    (
        {"architecture": "mlp_minimax", "discriminator_norm": "batch"},
        ("architecture 'mlp_minimax' has one", "got structure.discriminator_norm 'batch'", "'none' or 'spectral'"),
    ),
    (DCGAN | {"batch_size": 1}, ("must be at least 2 with batch norm", "got 1")),
    ({"architecture": "mlp_bn", "batch_size": 1}, ("must be at least 2 with batch norm", "got 1")),
    ({"discriminator_norm": "batch", "batch_size": 1}, ("must be at least 2 with batch norm", "got 1")),
]


@pytest.mark.parametrize(("values", "says"), REFUSED, ids=lambda part: str(part)[:80])
def test_a_structure_that_makes_no_sense_is_refused_with_rule_value_and_fix(
    values: dict[str, Any], says: tuple[str, ...]
):
    message = refusal(**values)
    assert [piece for piece in says if piece not in message] == []


ACCEPTED: list[dict[str, Any]] = [
    VALUES,
    VALUES | {"discriminator_input": "minibatch", "batch_size": 1},
    VALUES | {"discriminator_input": "moments", "gradient_penalty": "r1"},
    VALUES | {"dataset": "grid:3", "discriminator_norm": "batch"},
    IMAGES,
    IMAGES | {"architecture": "cgan"},
    {"architecture": "cgan"},
    {"architecture": "cgan", "dataset": "cifar10"},
    {"architecture": "mlp", "dataset": "polygons", "image_size_pixels": 14},
    DCGAN | {"dataset": "mnist"},
    DCGAN | {"dataset": "polygons"},
    DCGAN | NO_NORM | {"gradient_penalty": "r1", "batch_size": 2},
    DCGAN | {"discriminator_norm": "spectral", "loss": "wasserstein_gp"},
    INFOGAN,
    INFOGAN | {"categorical_codes": 0},
    INFOGAN | {"continuous_codes": 0, "dataset": "cifar10"},
    INFOGAN | NO_NORM | {"gradient_penalty": "wgan_gp"},
    {"loss": "wasserstein_gp", "gradient_penalty": "wgan_gp"},
    {"batch_size": 1},
]


@pytest.mark.parametrize("values", ACCEPTED, ids=str)
def test_what_goes_together_is_taken(values: dict[str, Any]):
    structure = StructureConfig(**values)
    assert {name: getattr(structure, name) for name in values} == values


@pytest.mark.parametrize("size", range(1, 140))
def test_dcgan_takes_exactly_the_sizes_that_halve_to_4_5_6_or_7(size: int):
    taken = size in {start * 2**halvings for start in (4, 5, 6, 7) for halvings in range(1, 6)}
    if taken:
        assert StructureConfig(**DCGAN, image_size_pixels=size).image_size_pixels == size
        start = dcgan_start_pixels(size)
        assert start in (4, 5, 6, 7)
        assert (size // start).bit_count() == 1
        assert size % start == 0
    else:
        assert f"got {size};" in refusal(**DCGAN, image_size_pixels=size)


@pytest.mark.parametrize(("size", "taken"), [(8, True), (12, True), (28, True), (32, True), (10, False), (6, False)])
def test_infogan_takes_multiples_of_four(size: int, taken: bool):
    if taken:
        assert StructureConfig(**INFOGAN, image_size_pixels=size).image_size_pixels == size
    else:
        assert f"got {size};" in refusal(**INFOGAN, image_size_pixels=size)


@pytest.mark.parametrize(
    ("values", "penalty", "norm", "has_batch_norm"),
    [
        ({}, "none", "none", False),
        ({"loss": "wasserstein_gp"}, "wgan_gp", "none", False),
        ({"loss": "hinge", "gradient_penalty": "r1"}, "r1", "none", False),
        ({"discriminator_norm": "batch"}, "none", "batch", True),
        ({"discriminator_norm": "spectral"}, "none", "spectral", False),
        ({"architecture": "mlp_bn"}, "none", "none", True),
        ({"architecture": "cgan"}, "none", "none", True),
        (DCGAN, "none", "batch", True),
        (DCGAN | NO_NORM, "none", "none", True),
        (INFOGAN, "none", "batch", True),
        (INFOGAN | {"discriminator_norm": "spectral"}, "none", "spectral", True),
    ],
)
def test_what_is_in_force_follows_from_loss_architecture_and_norm(values, penalty, norm, has_batch_norm):
    structure = StructureConfig(**values)
    assert (structure.penalty, structure.norm, structure.has_batch_norm) == (penalty, norm, has_batch_norm)


# Lane parameter -> a value, a structure where it has an effect, one where it has none, and the need that is named.
WITHOUT_EFFECT: list[tuple[str, float, dict[str, Any], dict[str, Any], str]] = [
    ("label_smoothing", 0.1, {"loss": "minimax"}, {"loss": "hinge"}, "a cross-entropy loss"),
    ("label_smoothing", 0.1, {"loss": "minimax_clamped"}, {"loss": "least_squares"}, "a cross-entropy loss"),
    ("label_smoothing", 0.1, {}, {"loss": "wasserstein_gp"}, "a cross-entropy loss"),
    ("generator_dropout", 0.25, {"architecture": "mlp_dropout"}, {}, "architecture 'mlp_dropout'"),
    (
        "generator_dropout",
        0.25,
        {"architecture": "mlp_dropout"},
        {"architecture": "mlp_bn"},
        "architecture 'mlp_dropout'",
    ),
    ("batch_norm_eps", 0.8, {"architecture": "mlp_bn"}, {}, "batch norm in G or D"),
    ("batch_norm_momentum", 0.2, {"discriminator_norm": "batch"}, {}, "batch norm in G or D"),
    ("information_weight", 2.0, INFOGAN, {"architecture": "cgan"}, "architecture 'infogan'"),
    ("continuous_code_weight", 1.0, INFOGAN, {}, "structure.continuous_codes"),
    ("continuous_code_weight", 1.0, INFOGAN, INFOGAN | {"continuous_codes": 0}, "structure.continuous_codes"),
]


@pytest.mark.parametrize(("name", "value", "there", "elsewhere", "need"), WITHOUT_EFFECT)
def test_a_lane_parameter_that_is_set_and_would_have_no_effect_is_refused(name, value, there, elsewhere, need):
    lane = LaneConfig(**{name: value})
    assert getattr(GanConfig(structure=StructureConfig(**there), lane=lane).lane, name) == value
    with pytest.raises(InputError) as refused:
        GanConfig(structure=StructureConfig(**elsewhere), lane=lane)
    message = str(refused.value)
    assert message.startswith(f"lane.{name} needs {need}")
    assert f"got {value:g} with architecture" in message
    assert f"set it to {getattr(LaneConfig(), name):g} or change the structure" in message
    assert "\n" not in message
    assert GanConfig(structure=StructureConfig(**elsewhere)).lane == LaneConfig()


def test_the_length_of_a_noise_that_is_not_there_is_refused():
    with pytest.raises(InputError) as refused:
        GanConfig(lane=LaneConfig(instance_noise_images=1000.0))
    assert "got 1000 with no noise; set lane.instance_noise too, or set it to 0" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert GanConfig(lane=LaneConfig(instance_noise_images=1000.0, instance_noise=0.1)).lane.instance_noise == 0.1
