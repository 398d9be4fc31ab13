"""Time estimates: the arithmetic for given costs, and what a dry run prints."""

import re
from typing import Any

import pytest
from tiny_runs import TINY, settings

from sweep.ladder.ladder import Ladder
from sweep.planning.time_estimate import Costs, drawn_structures, estimate, in_words, measured_costs, time_lines
from sweep.spec.sweep_spec import SweepSpec

COSTS = Costs(image_seconds=(1e-3, 3e-3), shares=(0.75, 0.25), structures=2)


def spec_of(**values: Any) -> SweepSpec:
    ladder = {"rungs_images": [1_000, 3_000], "keep_fraction": 0.5}
    return SweepSpec.from_mapping({"trials": 8, "ladder": ladder, **values})


def test_the_lanes_of_each_rung_and_the_images_follow_the_ladder():
    assert Ladder((10, 30, 100), 0.5).expected_lanes(8) == [8, 4, 2]
    assert Ladder((10, 30, 100), 0.1).expected_lanes(8) == [8, 1, 1]
    assert Ladder((10, 30, 100), 0.5, grace_images=20).expected_lanes(8) == [8, 8, 4]
    assert Ladder((10, 30, 100), 0.5, "none").expected_lanes(8) == [8, 8, 8]
    assert Ladder((10, 30, 100), 0.5).expected_images(8) == 8 * 10 + 4 * 20 + 2 * 70


def test_a_time_is_images_times_their_pace_over_the_slots_that_have_work():
    found = estimate(spec_of(), COSTS, slots=2, lanes=4)
    images = 8 * 1_000 + 4 * 2_000
    assert (found.low, found.expected, found.high) == pytest.approx((images * 5e-4, images * 7.5e-4, images * 1.5e-3))
    assert found.unpruned == pytest.approx(8 * 3_000 * 7.5e-4)
    assert estimate(spec_of(), COSTS, slots=8, lanes=8).low == pytest.approx(images * 1e-3)  # one cohort fills one slot


def test_scores_confirmations_and_budgets_are_counted():
    plain = estimate(spec_of(), COSTS, slots=1, lanes=4).expected
    scored = Costs(image_seconds=(1e-3, 3e-3), shares=(0.75, 0.25), structures=2, score_seconds=0.5)
    assert estimate(spec_of(), scored, slots=1, lanes=4).expected == pytest.approx(plain + (8 + 4) * 0.5)
    confirmed = estimate(spec_of(confirm={"top": 2, "seeds": 3}), scored, slots=1, lanes=4).expected
    assert confirmed == pytest.approx(plain + 6 + 6 * (3_000 * 1.5e-3 + 2 * 0.5))
    assert estimate(spec_of(budget={"images": 4_000}), COSTS, 1, 4).expected == pytest.approx(plain / 4)
    assert estimate(spec_of(budget={"hours": 0.001}), COSTS, 1, 4).expected == pytest.approx(3.6)


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        *((0.2, "a second"), (40.4, "40 seconds"), (100, "100 seconds"), (130, "2 minutes"), (1_500, "25 minutes")),
        *((11_500, "3.2 hours"), (100_000, "28 hours"), (354_000, "4.1 days"), (8.64e7, "1000 days")),
    ],
)
def test_times_are_said_in_two_digits_or_three(seconds, says):
    assert in_words(seconds) == says


def test_structures_are_those_of_the_space_the_commonest_first():
    space = spec_of(space="digits").space
    drawn = drawn_structures(space)
    assert sum(share for _, share in drawn) == pytest.approx(1)
    shares = [share for _, share in drawn]
    assert shares == sorted(shares, reverse=True)
    assert all({config.structure for config in configs} == {configs[0].structure} for configs, _ in drawn)
    fixed = SweepSpec.from_mapping({}, list(TINY)).space
    assert space.base.structure in [configs[0].structure for configs, _ in drawn]
    assert len(drawn_structures(fixed)) <= len(drawn)


def test_what_is_measured_is_positive_and_a_lane_that_would_not_fit_is_not_built():
    values = ("space=ring", "structure.generator_width=8", "structure.discriminator_width=8", "scoring.samples=50")
    costs = measured_costs(SweepSpec.from_mapping({}, values), 1, "cpu")
    assert costs is not None
    assert costs.structures >= len(costs.image_seconds) >= 1
    assert min(costs.image_seconds) > 0
    assert costs.score_seconds is not None
    assert costs.score_seconds > 0
    wide = ("structure.generator_width=8192", "structure.discriminator_width=8192", "trials=2")
    assert time_lines(SweepSpec.from_mapping({}, wide), 1, 1, "cpu").startswith(
        "time: not told, for a lane is too large"
    )


def test_lanes_that_die_in_their_first_steps_are_measured_until_there_is_a_time():
    rates = ("lane.generator_lr=10", "lane.discriminator_lr=10", "structure.loss=least_squares")
    values = ("space=ring", "structure.generator_width=8", "structure.discriminator_width=8", "scoring.samples=50")
    alive, dead = (measured_costs(SweepSpec.from_mapping({}, [*values, *more]), 1, "cpu") for more in ((), rates))
    assert alive is not None
    assert dead is not None
    assert 0 < dead.mean_image_seconds < 100 * alive.mean_image_seconds


def test_a_dry_run_says_how_long_with_a_range_and_counts_one_as_one(gan_sweep):
    said = gan_sweep("run", "--dry-run", "--local", *settings(*TINY, "trials=1")).out
    assert re.search(r"^1 trial in 1 cohort of up to 1 lane, 1 at a time$", said, re.M)
    assert re.search(r"^time: about .*(second|minute)s?, .*were no trial pruned$", said, re.M)
    assert re.search(r"^  by a few steps of .* structures?, [\d,]+( to [\d,]+)? images/s in a slot, as if", said, re.M)
