"""Each sign at its threshold, and what proves a lane dead; plain numbers."""

import math
from typing import Any

import numpy as np
import pytest

from gan_core.config.health import HealthConfig, death, each_sign, signs
from gan_core.config.input_error import InputError
from gan_core.config.reports import Death
from gan_core.training.watch import SUMS

HEALTH = HealthConfig()
HEALTHY = {
    "g_gradient": 1.0,
    "d_gradient": 1.0,
    "discriminator_accuracy": 0.6,
    "d_loss": 2 * math.log(2),
    "sample_deviation": 0.9,
    "class_kl": 0.01,
    "coverage": 0.9,
    "coverage_floor": 0.97,
    "d_loss_deviation": 0.2,
    "memorisation": 0.5,
}
# Sign -> values that just do not show it, and values that do.
PLANTED: dict[str, tuple[dict[str, float], dict[str, float]]] = {
    "exploded_gradient": ({"g_gradient": 100.0, "d_gradient": 100.0}, {"d_gradient": 100.1}),
    "vanished_gradient": ({"g_gradient": 1e-6}, {"g_gradient": 9e-7}),
    "discriminator_won": (
        {"discriminator_accuracy": 1.0, "d_loss": 0.07},
        {"discriminator_accuracy": 0.99, "d_loss": 0.0699},
    ),
    "ignores_latent": ({"sample_deviation": 0.001}, {"sample_deviation": 0.00099}),
    "missing_classes": ({"class_kl": 0.1}, {"class_kl": 0.101}),
    "low_coverage": ({"coverage": 0.4, "coverage_floor": 0.8}, {"coverage": 0.39, "coverage_floor": 0.8}),
    "oscillation": ({"d_loss_deviation": 1.0}, {"d_loss_deviation": 1.01}),
    "memorisation": ({"memorisation": 0.6}, {"memorisation": 0.61}),
}


@pytest.mark.parametrize("sign", PLANTED)
def test_a_sign_is_shown_beyond_its_threshold_and_not_at_it(sign: str):
    below, beyond = PLANTED[sign]
    assert signs(50_000, HEALTHY | below, HEALTH) == ()
    assert signs(50_000, HEALTHY | beyond, HEALTH) == (sign,)


def test_signs_of_many_moments_are_those_of_each():
    moments = [
        (images, HEALTHY | values) for pair in PLANTED.values() for values in pair for images in (49_999, 50_000)
    ]
    moments.append((60_000, dict.fromkeys(HEALTHY, math.nan)))
    columns = {name: np.array([values[name] for _, values in moments]) for name in HEALTHY}
    found = each_sign(np.array([images for images, _ in moments]), columns, HEALTH)
    each = [tuple(name for name, shows in found.items() if shows[place]) for place in range(len(moments))]
    assert each == [signs(images, values, HEALTH) for images, values in moments]
    assert set(sum(each, ())) == set(PLANTED)
    lone = each_sign(np.array([50_000, 50_000]), {"g_gradient": np.array([1.0, 200.0])}, HEALTH)
    assert {name: shows.tolist() for name, shows in lone.items() if shows.any()} == {"exploded_gradient": [False, True]}


def test_all_signs_at_once_are_named_in_one_order():
    every = {name: value for _, beyond in PLANTED.values() for name, value in beyond.items()}
    assert signs(10**9, HEALTHY | every, HEALTH) == tuple(PLANTED)


@pytest.mark.parametrize("sign", PLANTED)
def test_what_every_young_generator_shows_counts_only_once_the_grace_is_over(sign: str):
    values, young = HEALTHY | PLANTED[sign][1], ("discriminator_won", "missing_classes", "low_coverage")
    early = () if sign in young else (sign,)
    assert signs(49_999, values, HEALTH) == early
    assert signs(999, values, HealthConfig(grace_images=1000)) == early
    assert signs(1000, values, HealthConfig(grace_images=1000)) == (sign,)


@pytest.mark.parametrize("name", HEALTHY)
def test_a_value_that_is_missing_or_not_a_number_shows_nothing(name: str):
    assert signs(10**9, {key: value for key, value in HEALTHY.items() if key != name}, HEALTH) == ()
    assert signs(10**9, HEALTHY | {name: math.nan}, HEALTH) == ()
    assert signs(10**9, {}, HEALTH) == ()


@pytest.mark.parametrize(("nan", "high"), [("g_gradient", "d_gradient"), ("d_gradient", "g_gradient")])
def test_a_gradient_that_nobody_took_hides_no_other_that_exploded(nan: str, high: str):
    assert signs(10**9, HEALTHY | {nan: math.nan, high: 101.0}, HEALTH) == ("exploded_gradient",)


@pytest.mark.parametrize(
    ("changed", "values", "sign"),
    [
        ({"exploded_gradient": 0.5}, {}, "exploded_gradient"),
        ({"vanished_gradient": 2.0}, {}, "vanished_gradient"),
        ({"won_accuracy": 0.5, "won_loss": 2.0}, {}, "discriminator_won"),
        ({"collapsed_deviation": 1.0}, {}, "ignores_latent"),
        ({"class_kl": 0.001}, {}, "missing_classes"),
        ({"coverage": 1.0}, {}, "low_coverage"),
        ({"oscillation": 0.1}, {}, "oscillation"),
        ({"copying": 0.4}, {}, "memorisation"),
    ],
)
def test_every_threshold_can_be_set(changed: dict[str, Any], values: dict[str, float], sign: str):
    assert signs(10**9, HEALTHY | values, HealthConfig(**changed)) == (sign,)


def sums(**values: float) -> dict[str, float]:
    return {name: 0.0 for name in SUMS} | values


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("d_loss", "discriminator loss is"),
        ("g_loss", "generator loss is"),
        ("penalty", "gradient penalty is"),
        ("d_gradient", "discriminator gradient is"),
        ("g_gradient", "generator gradient is"),
        ("sample_deviation", "deviation of samples is"),
    ],
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_sum_that_is_not_finite_is_a_death_that_names_it(name: str, said: str, value: float):
    assert death(sums(**{name: value}), HEALTH) == Death("diverged", f"{said} {value:g}")


def test_a_lane_of_finite_sums_lives_until_its_counts_are_full():
    assert death(sums(d_loss=-1e30, g_gradient=1e30), HEALTH) is None
    assert death(sums(quiet_images=19_999, still_images=19_999), HEALTH) is None
    vanished = death(sums(quiet_images=20_000), HEALTH)
    assert vanished == Death("diverged", "no gradient for G in 20,000 images: its norm stays below 1e-06")
    collapsed = death(sums(still_images=20_000), HEALTH)
    assert collapsed is not None
    assert (collapsed.outcome, "20,000 images" in collapsed.reason) == ("collapsed", True)
    assert death(sums(quiet_images=100), HealthConfig(vanished_images=100)) is not None
    assert death(sums(still_images=100), HealthConfig(collapsed_images=100)) is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("grace_images", -1),
        ("grace_images", 1.5),
        ("vanished_images", 0),
        ("collapsed_images", 0),
        ("won_accuracy", 1.1),
        ("class_kl", math.nan),
        ("copying", "much"),
        ("oscillation", True),
        ("vanished_gradient", -1e-9),
    ],
)
def test_a_threshold_out_of_range_is_refused_by_name_and_value(name: str, value: Any):
    with pytest.raises(InputError) as refused:
        HealthConfig(**{name: value})
    message = str(refused.value)
    assert message.startswith(f"health.{name} must be ")
    assert message.endswith(f"got {value!r}")
    assert "\n" not in message


def test_classes_are_missing_only_above_what_chance_alone_would_miss():
    """450 classes at 2,000 samples have a KL of 0.112 by chance."""
    floor = 449 / 4000
    for divergence, shown in ((0.12, ()), (floor + 0.099, ()), (floor + 0.101, ("missing_classes",))):
        values = {"class_kl": divergence, "class_kl_floor": floor}
        assert signs(10**6, values, HealthConfig()) == shown
