"""The rungs and the rule that prunes."""

import itertools
import math

import numpy as np
import pytest

from gan_core.config import InputError
from results.rows import Outcome
from sweep.ladder import Ladder

SCORES = [3.0, 1.0, 2.0, 2.0, 9.0]


def survivors(ladder: Ladder, scores: list[float], rung: int = 0) -> list[float]:
    return sorted(score for score in scores if ladder.judge(rung, score, scores).goes_on)


@pytest.mark.parametrize(
    ("keep_fraction", "kept"),
    [
        (0.2, [1.0]),
        (0.39, [1.0]),
        (0.4, [1.0, 2.0, 2.0]),  # two places, and the tie at the second goes on together
        (0.6, [1.0, 2.0, 2.0]),
        (0.8, [1.0, 2.0, 2.0, 3.0]),
        (1.0, [1.0, 2.0, 2.0, 3.0, 9.0]),
        (0.01, [1.0]),  # never nobody
    ],
)
def test_the_best_share_of_those_that_reached_a_rung_goes_on(keep_fraction, kept):
    assert survivors(Ladder((10, 20), keep_fraction), SCORES) == kept


def test_lane_order_never_changes_survivors():
    ladder = Ladder((10, 20), 0.5)
    kept = {tuple(survivors(ladder, list(order))) for order in itertools.permutations(SCORES)}
    assert kept == {(1.0, 2.0, 2.0)}


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("keep_fraction", [0.01, 1 / 3, 0.5, 0.9])
def test_at_least_one_goes_on_and_never_more_than_the_share(count, keep_fraction):
    scores = np.random.default_rng(count).permutation(count).astype(float).tolist()
    kept = survivors(Ladder((10, 20), keep_fraction), scores)
    assert len(kept) == max(1, math.floor(keep_fraction * count + 1e-9))
    assert kept == sorted(scores)[: len(kept)]


def test_a_third_of_three_is_one_and_not_none():
    assert survivors(Ladder((10, 20), 1 / 3), [1.0, 2.0, 3.0]) == [1.0]
    assert len(survivors(Ladder((10, 20), 0.1), [float(i) for i in range(30)])) == 3  # 0.1 * 30 is below 3 in floats


def test_all_equal_scores_go_on_together():
    assert survivors(Ladder((10, 20), 0.1), [5.0] * 6) == [5.0] * 6


@pytest.mark.parametrize("score", [0.0, 1e9])
def test_the_last_rung_completes_whoever_reaches_it(score):
    ladder = Ladder((10, 20, 30), 0.1)
    verdict = ladder.judge(2, score, [0.0, 1.0, 1e9])
    assert verdict.outcome is Outcome.COMPLETED
    assert not verdict.goes_on


def test_a_ladder_of_one_rung_completes_all():
    assert {Ladder((10,), 0.1).judge(0, score, SCORES).outcome for score in SCORES} == {Outcome.COMPLETED}


def test_keeping_all_prunes_nobody_at_any_rung():
    ladder = Ladder((10, 20, 30), 1.0)
    outcomes = [{ladder.judge(rung, score, SCORES).outcome for score in SCORES} for rung in range(3)]
    assert outcomes == [{Outcome.RUNNING}, {Outcome.RUNNING}, {Outcome.COMPLETED}]


def test_a_reason_names_the_rank_and_the_places():
    ladder = Ladder((10, 20), 0.4)
    assert ladder.judge(0, 1.0, SCORES).reason == "rank 1 of 5"
    assert ladder.judge(0, 9.0, SCORES).reason == "rank 5 of 5 at rung 0, the best 2 go on"
    assert ladder.judge(1, 3.0, SCORES).reason == "rank 4 of 5 at the last rung"


def test_those_that_came_before_are_ranked_against_too():
    ladder = Ladder((10, 20), 0.5)
    assert ladder.judge(0, 5.0, [5.0, 6.0]).goes_on
    assert not ladder.judge(0, 5.0, [1.0, 2.0, 5.0, 6.0, 7.0]).goes_on


def test_a_score_that_is_not_a_number_never_goes_on():
    ladder = Ladder((10, 20), 0.5)
    assert not ladder.judge(0, math.nan, [1.0, 2.0, math.nan]).goes_on


def test_a_score_that_is_not_a_number_takes_no_rank_from_others():
    ladder = Ladder((10, 20), 0.5)
    assert ladder.judge(0, 1.0, [math.nan, 1.0]).reason.startswith("rank 1 ")


@pytest.mark.parametrize(
    ("rungs", "keep_fraction", "trials", "images"),
    [
        ((100,), 0.5, 4, 400),
        ((100, 300), 0.5, 4, 4 * 100 + 2 * 200),
        ((100, 300, 700), 0.5, 8, 8 * 100 + 4 * 200 + 2 * 400),
        ((100, 300), 1.0, 5, 5 * 300),
        ((100, 300), 0.1, 2, 2 * 100 + 1 * 200),  # one goes on at least
        ((90, 180, 270), 1 / 3, 9, 9 * 90 + 3 * 90 + 1 * 90),
    ],
)
def test_the_images_expected_are_those_counted_by_hand(rungs, keep_fraction, trials, images):
    assert Ladder(rungs, keep_fraction).expected_images(trials) == images


@pytest.mark.parametrize(
    ("rungs", "keep_fraction", "says"),
    [
        ((), 0.5, "at least 1"),
        ((0, 5), 0.5, "at least 1"),
        ((5, True), 0.5, "whole numbers"),
        ((5, 6.0), 0.5, "whole numbers"),
        ((5, 5), 0.5, "must rise, got [5, 5]"),
        ((6, 5), 0.5, "must rise, got [6, 5]"),
        ((5, 6), 0.0, "above 0 and at most 1, got 0.0"),
        ((5, 6), 1.1, "above 0 and at most 1, got 1.1"),
        ((5, 6), math.nan, "got nan"),
    ],
)
def test_a_ladder_that_is_none_is_refused(rungs, keep_fraction, says):
    with pytest.raises(InputError) as refusal:
        Ladder(rungs, keep_fraction)
    assert says in str(refusal.value)
