"""Limits of scores: the one order of results, and what a result breaks in words."""

import itertools
import math

import pytest

from gan_core.config.limits import (
    LAST,
    LIMITS,
    broken_in_words,
    limits_broken,
    limits_text,
    place,
    read_place,
    violation,
    written,
)
from gan_core.config.reports import place_of

CLASSES = {"class_balance_violation": 0.5, "class_kl": 0.2, "classes_covered": 8.0, "classes": 10.0}
COVERAGE = {"coverage_violation": 0.36, "coverage": 0.312, "coverage_floor": 0.98}


def scored(score: float, off: float = 0.0, **others: float) -> dict[str, float]:
    return {"fidelity": score, "violation": off, "coverage_violation": off, **others}


def test_what_keeps_the_limits_comes_first_by_score_and_the_rest_by_how_far_it_is_off_and_what_has_no_score_last():
    kept, broken = [scored(1.0), scored(90.0)], [scored(5.0, 0.1), scored(0.5, 0.2), scored(0.6, 0.2)]
    best_first = [*kept, *broken, scored(math.nan, 0.1)]
    for shuffled in itertools.permutations(best_first):
        assert sorted(shuffled, key=lambda values: place_of(values, "fidelity")) == best_first
    assert place_of(scored(math.nan), "fidelity") == place_of(scored(math.inf), "fidelity") == LAST
    assert place(math.nan, 0.1) == LAST


def test_only_fidelity_has_limits():
    values = scored(1.0, 0.3, fid=2.0, coverage=0.4)
    assert [violation(values, name) for name in ("fidelity", "fid", "-coverage", "seconds")] == [0.3, 0, 0, 0]
    assert place_of(values, "-coverage") == (0.0, -0.4)
    assert violation(scored(math.nan, math.nan), "fidelity") == violation({"fidelity": 1.0}, "fidelity") == 0


def test_results_of_an_earlier_version_which_do_not_say_what_they_break_are_ordered_by_their_score():
    """There, the score itself counts by how much."""
    numbers = [(2.0, 0.0), (140.0, 1.2), (150.0, 0.1)]
    earlier = [{"fidelity": score, "violation": off} for score, off in numbers]
    assert sorted(earlier[::-1], key=lambda values: place_of(values, "fidelity")) == earlier
    assert broken_in_words(earlier[1]) == "a limit of fidelity by 1.2"
    assert broken_in_words(earlier[0]) == ""


@pytest.mark.parametrize("where", [(0.0, 2.5), (0.3, -4.0)])
def test_a_place_survives_json(where):
    assert read_place(written(where)) == where
    assert isinstance(written(where), float) is (where[0] == 0)


@pytest.mark.parametrize("wrong", ["a", [1.0], None])
def test_what_is_no_place_is_refused(wrong):
    with pytest.raises((TypeError, ValueError)):
        read_place(wrong)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, ""),
        (CLASSES, "class balance: 8 of 10 classes"),
        ({**CLASSES, "classes_covered": 10.0}, "class balance: KL 0.2"),
        (COVERAGE, "coverage: 0.31 of 0.98"),
        ({**CLASSES, **COVERAGE}, "class balance: 8 of 10 classes and coverage: 0.31 of 0.98"),
        ({"coverage_violation": 0.4, "modes_covered": 3.0, "modes": 8.0}, "coverage: 3 of 8 modes"),
        ({"class_balance_violation": 0.0, "coverage_violation": math.nan}, ""),
    ],
)
def test_what_is_broken_is_said_in_words(values, says):
    assert broken_in_words(values) == says
    assert limits_broken(values) == tuple(name for name in LIMITS if name.replace("_", " ") in says)


def test_the_protocol_names_the_limits_with_all_digits_and_unlike_earlier_versions():
    assert limits_text(0.1, 0.5 + 1e-12) == "limits-kl0.1-coverage0.500000000001"
    assert not limits_text(0.1, 0.5).startswith("kl")
