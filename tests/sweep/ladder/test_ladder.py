"""The rungs and the rule that prunes."""

import itertools
import math

import numpy as np
import pytest

from gan_core.config.input_error import InputError
from results.rows import Outcome
from sweep.ladder.ladder import Ladder, Reached, Standing, Verdict

SCORES = [3.0, 1.0, 2.0, 2.0, 9.0]


def judge(
    ladder: Ladder, rung: int, score: float, scores: list[float], error: float = 0.0, bracket: int = 0
) -> Verdict:
    reached = Reached()
    reached.add([Standing((other,), (0.0,)) for other in scores])
    return ladder.judge(rung, bracket, Standing((score,), (error,)), reached)


def survivors(ladder: Ladder, scores: list[float], rung: int = 0) -> list[float]:
    return sorted(score for score in scores if judge(ladder, rung, score, scores).goes_on)


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
    verdict = judge(ladder, 2, score, [0.0, 1.0, 1e9])
    assert verdict.outcome is Outcome.COMPLETED
    assert not verdict.goes_on


def test_a_ladder_of_one_rung_completes_all():
    assert {judge(Ladder((10,), 0.1), 0, score, SCORES).outcome for score in SCORES} == {Outcome.COMPLETED}


def test_keeping_all_prunes_nobody_at_any_rung():
    ladder = Ladder((10, 20, 30), 1.0)
    outcomes = [{judge(ladder, rung, score, SCORES).outcome for score in SCORES} for rung in range(3)]
    assert outcomes == [{Outcome.RUNNING}, {Outcome.RUNNING}, {Outcome.COMPLETED}]


def test_a_reason_names_the_rank_and_the_places():
    ladder = Ladder((10, 20), 0.4)
    assert judge(ladder, 0, 1.0, SCORES).reason == "rank 1 of 5"
    assert judge(ladder, 0, 9.0, SCORES).reason == "rank 5 of 5 at rung 0, the best 2 go on"
    assert judge(ladder, 1, 3.0, SCORES).reason == "rank 4 of 5 at the last rung"


def test_those_that_came_before_are_ranked_against_too():
    ladder = Ladder((10, 20), 0.5)
    assert judge(ladder, 0, 5.0, [5.0, 6.0]).goes_on
    assert not judge(ladder, 0, 5.0, [1.0, 2.0, 5.0, 6.0, 7.0]).goes_on


def test_a_score_that_is_not_a_number_never_goes_on():
    ladder = Ladder((10, 20), 0.5)
    assert not judge(ladder, 0, math.nan, [1.0, 2.0, math.nan]).goes_on


def test_a_score_that_is_not_a_number_takes_no_rank_from_others():
    ladder = Ladder((10, 20), 0.5)
    assert judge(ladder, 0, 1.0, [math.nan, 1.0]).reason.startswith("rank 1 ")


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


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("rule", "ahsa", "unknown ladder.rule 'ahsa'; did you mean 'asha'"),
        ("grace_images", -1, "ladder.grace_images must be a whole number of at least 0, got -1"),
        ("patience_rungs", 1.5, "ladder.patience_rungs must be a whole number of at least 0, got 1.5"),
    ],
)
def test_a_rule_that_is_none_is_refused(key, value, says):
    with pytest.raises(InputError) as refusal:
        Ladder((10, 20), 0.5, **{key: value})
    assert says in str(refusal.value)


@pytest.mark.parametrize(("error", "goes_on"), [(0.0, False), (0.49, False), (0.5, True), (3.0, True)])
def test_nobody_is_pruned_by_less_than_twice_its_standard_error(error, goes_on):
    """Two of five go on, the second at 2.0; a lane at 3.0 is worse by 1.0."""
    verdict = judge(Ladder((10, 20), 0.4), 0, 3.0, SCORES, error)
    assert verdict.goes_on is goes_on
    assert verdict.reason.startswith("rank 4 of 5")
    assert ("within twice its standard error of the best 2" in verdict.reason) is goes_on


@pytest.mark.parametrize("count", [3, 10, 40])
def test_with_errors_all_go_on_that_would_without_and_only_those_beside_them(count):
    random = np.random.default_rng(count)
    scores, errors = random.normal(size=count).tolist(), random.uniform(0, 0.3, size=count).tolist()
    ladder = Ladder((10, 20), 0.3)
    cut = sorted(scores)[max(1, math.floor(0.3 * count + 1e-9)) - 1]
    for score, error in zip(scores, errors, strict=True):
        assert judge(ladder, 0, score, scores, error).goes_on == (score - 2 * error <= cut)


def test_rule_none_and_a_grace_budget_prune_nobody_before_the_last_rung():
    assert survivors(Ladder((10, 20), 0.2, rule="none"), SCORES) == sorted(SCORES)
    ladder = Ladder((10, 20, 30), 0.2, grace_images=20)
    assert survivors(ladder, SCORES, 0) == sorted(SCORES)
    assert survivors(ladder, SCORES, 1) == [1.0]
    assert judge(Ladder((10, 20), 0.2, rule="none"), 1, 9.0, SCORES).outcome is Outcome.COMPLETED


def test_a_bracket_of_hyperband_begins_to_prune_at_its_own_rung():
    ladder = Ladder((10, 20, 40, 80), 0.5, rule="hyperband")
    for bracket in range(4):
        pruned = [not judge(ladder, rung, 9.0, SCORES, bracket=bracket).goes_on for rung in range(3)]
        assert pruned == [rung >= bracket for rung in range(3)]


def test_the_brackets_of_hyperband_cost_about_the_same():
    """Li et al. 2018, table 1: eta 3, R 81 in units of the first rung: 81, 34, 15, 8, 5 configurations."""
    ladder = Ladder((1, 3, 9, 27, 81), 1 / 3, rule="hyperband")
    draws = (np.arange(143_000) + 0.5) / 143_000
    counts = np.bincount([ladder.bracket(draw) for draw in draws], minlength=5) / 1000
    assert counts == pytest.approx([81, 34, 15, 8, 5], rel=0.07)
    assert {Ladder((1, 3), 0.5).bracket(draw) for draw in (0.0, 0.5, 0.999)} == {0}


def test_patience_ends_a_lane_that_has_not_improved_beyond_its_error():
    ladder = Ladder((10, 20, 30, 40), 1.0, patience_rungs=2)
    course = [Standing((best,), (0.1,)) for best in (5.0, 4.0, 3.9, 3.85)]
    assert [ladder.is_plateau(course[: n + 1]) for n in range(4)] == [False, False, False, True]
    assert not ladder.is_plateau([Standing((best,), (0.1,)) for best in (5.0, 4.0, 3.9, 3.79)])
    assert not Ladder((10, 20, 30, 40), 1.0).is_plateau(course)


def test_several_objectives_are_ranked_by_fronts_and_then_by_the_first():
    points = [(1.0, 9.0), (2.0, 2.0), (9.0, 1.0), (3.0, 3.0), (9.0, 9.0)]
    reached = Reached()
    reached.add([Standing(point, (0.0, 0.0)) for point in points])
    ladder = Ladder((10, 20), 0.6)
    going = [p for p in points if ladder.judge(0, 0, Standing(p, (0.0, 0.0)), reached).goes_on]
    assert [reached.rank((0.0, *point)) for point in points] == [1, 2, 3, 4, 5]
    assert going == points[:3]
    assert ladder.judge(0, 0, Standing((3.0, 3.0), (0.5, 0.5)), reached).goes_on  # it may be as good as (2, 2)


def test_a_lane_that_keeps_limits_ranks_before_all_that_do_not_and_those_rank_by_how_far_they_are_off():
    """Of six, the third share goes on, then half: the best score breaks a limit."""
    lanes = [(0.0, 5.0), (0.0, 9.0), (0.1, 3.0), (0.3, 1.0), (0.3, 2.0), (2.0, 0.5)]
    standings = [Standing((score,), (0.0,), off) for off, score in lanes]
    reached = Reached()
    reached.add(standings[::-1])
    assert [reached.rank(standing.place) for standing in standings] == [1, 2, 3, 4, 5, 6]
    for share, going in ((1 / 3, 2), (0.5, 3)):
        verdicts = [Ladder((10, 20), share).judge(0, 0, standing, reached) for standing in standings]
        assert [verdict.goes_on for verdict in verdicts] == [place < going for place in range(6)]


@pytest.mark.parametrize(("error", "goes_on"), [(0.0, False), (0.09, False), (0.1, True)])
def test_what_is_off_by_less_than_twice_its_standard_error_more_is_not_pruned(error, goes_on):
    reached = Reached()
    reached.add([Standing((1.0,), (0.0,), off) for off in (0.2, 0.4)])
    assert Ladder((10, 20), 0.5).judge(0, 0, Standing((1.0,), (0.0,), 0.4, error), reached).goes_on is goes_on


def test_a_lane_that_comes_closer_to_its_limits_has_improved():
    ladder = Ladder((10, 20, 30), 1.0, patience_rungs=1)
    before = Standing((1.0,), (0.0,), 0.5, 0.05)
    assert not ladder.is_plateau([before, Standing((2.0,), (0.0,), 0.35)])
    assert ladder.is_plateau([before, Standing((0.5,), (0.0,), 0.45)])
    assert not ladder.is_plateau([before, Standing((9.0,), (0.0,), 0.0)])


def test_fronts_of_lanes_that_break_limits_come_last_and_go_by_how_far_they_are_off():
    lanes = [(0.0, (9.0, 9.0)), (0.2, (1.0, 1.0)), (0.1, (2.0, 2.0)), (0.0, (1.0, 10.0))]
    standings = [Standing(values, (0.0, 0.0), off) for off, values in lanes]
    reached = Reached()
    reached.add(standings)
    assert [reached.rank(standing.place) for standing in standings] == [2, 4, 3, 1]
