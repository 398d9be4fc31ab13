"""The budget at which a sweep stops by itself."""

import math
from dataclasses import replace

import pytest

from gan_core.config.input_error import InputError
from sweep.spec.budget import Budget, Cost


def cost(hours: float = 0.0, device_hours: float = 0.0, images: int = 0, best: float = math.inf) -> Cost:
    return Cost(elapsed_seconds=hours * 3600, device_seconds=device_hours * 3600, images=images, best_score=best)


def test_without_limits_nothing_is_ever_spent():
    assert Budget().spent(cost(1e6, 1e9, 10**15, -1e9)) is None
    assert Budget().used(cost(1.0)) == ""


@pytest.mark.parametrize(
    ("budget", "below", "at", "says"),
    [
        (Budget(hours=2.0), cost(hours=1.99), cost(hours=2.0), "budget.hours of 2 is spent"),
        (Budget(device_hours=3), cost(2, 2.9), cost(0, 3), "budget.device_hours of 3 is spent"),
        (Budget(images=1e6), cost(images=999_999), cost(images=10**6), "budget.images of 1,000,000 is spent"),
        (Budget(score=1.5), cost(best=1.51), cost(best=1.5), "score 1.5 reaches budget.score 1.5"),
    ],
)
def test_each_limit_ends_a_sweep_when_it_is_reached_and_not_before(budget, below, at, says):
    assert budget.spent(below) is None
    assert budget.spent(at) == says


def test_whichever_comes_first_ends_it():
    budget = Budget(hours=10, images=100, score=0.0)
    assert budget.spent(cost(hours=1, images=100, best=5)) == "budget.images of 100 is spent"
    assert budget.spent(cost(hours=11, images=1, best=5)) == "budget.hours of 10 is spent"


def test_what_is_used_is_said_for_each_limit():
    text = Budget(hours=2, device_hours=8, images=1e6).used(cost(0.5, 1.25, 250_000))
    assert text == "0.5 of 2 hours, 1.25 of 8 device-hours, 250,000 of 1,000,000 images"


@pytest.mark.parametrize(
    ("images", "limit", "says"),
    [
        (6_080, 5_000, "6,080 of 5,000 images"),
        (64, 99, "64 of 99 images"),
        (0, 10**12, "0 of 1,000,000,000,000 images"),
    ],
)
def test_images_are_counted_plainly(images, limit, says):
    assert Budget(images=limit).used(cost(images=images)) == says


def test_hours_are_never_a_power_of_ten():
    budget = Budget(hours=2_000)
    said = [budget.used(cost(hours)).partition(" of ")[0] for hours in (1e-5, 0.012345, 99.94, 1234.5)]
    assert said == ["0.00001", "0.0123", "99.9", "1,234"]
    assert budget.spent(cost(2_000)) == "budget.hours of 2,000 is spent"


def test_a_score_that_is_good_enough_is_above_where_more_is_better():
    budget = Budget(score=0.9)
    reached = [replace(cost(best=-value), objective="-coverage") for value in (0.89, 0.9, 0.95)]
    assert [budget.spent(c) for c in reached] == [None, *(f"score {s} reaches budget.score 0.9" for s in (0.9, 0.95))]
    assert Budget().spent(reached[2]) is None
    assert budget.spent(replace(cost(), objective="-coverage")) is None  # nothing is best yet


@pytest.mark.parametrize(
    ("key", "value"), [("hours", -1.0), ("images", math.nan), ("when_spent", "stop"), ("score", "x")]
)
def test_a_budget_that_is_none_is_refused(key, value):
    with pytest.raises(InputError, match=f"budget.{key}"):
        Budget(**{key: value})
