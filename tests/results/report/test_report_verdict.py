"""The verdict on a run: who won, against what, what it cost, and how sure that is."""

import math

import pytest
from table_rows import replicates, row, stored

from results.report.verdict import verdict
from results.report.wording import lasting, many, short
from results.rows import Outcome
from results.table import ResultsTable

SEARCH = [row(0, 0, 10.0, Outcome.COMPLETED), row(1, 0, 4.0, Outcome.COMPLETED), row(2, 0, 2.5, Outcome.COMPLETED)]


def said(tmp_path, *rows, **options):
    return verdict(ResultsTable.load(stored(tmp_path, list(rows))), **options)


def test_one_seed_says_who_is_best_by_how_much_and_that_it_may_be_luck(tmp_path):
    result, cost = said(tmp_path, *SEARCH)
    assert result == (
        "Trial 2 is the best: fidelity 2.5 at 100 images, 75% below the 10 of trial 0, the defaults of the space."
    )
    assert cost == (
        "It took 3 trials, 300 images and 1.5 s of device time; it rests on one seed, which confirming finalists would "
        "check."
    )


@pytest.mark.parametrize(("error", "clear"), [(0.5, "more than"), (0.7, "no more than")])
def test_a_lead_is_compared_with_what_other_latents_would_change(tmp_path, error, clear):
    """The standard error of a difference of two is the root of two times as large, and counts twice."""
    _, cost = said(tmp_path, *({**each, "fidelity.fidelity_error": error} for each in SEARCH))
    assert f"its lead of 1.5 on trial 1 is {clear} other latents would change" in cost
    assert (2 * math.sqrt(2) * error < 1.5) == (clear == "more than")


def test_finalists_say_the_interval_and_the_chance_that_their_order_is_luck(tmp_path):
    rows = [*SEARCH, *replicates(2, 1.0, 1.5, 1.2, 0.9, 1.1), *replicates(1, 2.0, 2.5, 1.9, 2.2, 2.4)]
    result, cost = said(tmp_path, *rows)
    assert result.startswith("Trial 2 is the best: fidelity 1.1 over 5 seeds (interquartile mean, 95% interval ")
    assert result.endswith(", 89% below the 10 of trial 0, the defaults of the space (from one seed).")
    assert cost.startswith("It took 3 trials and 10 replicates of finalists, 2,300 images and ")
    assert cost.endswith("chance alone would put it so clearly before trial 1 with probability 0.0079.")


def test_finalists_that_hardly_differ_leave_their_order_open(tmp_path):
    rows = [*SEARCH, *replicates(2, 1.0, 1.5, 1.2), *replicates(1, 1.1, 1.4, 1.3)]
    assert said(tmp_path, *rows)[1].endswith(", so which of the two is better is open.")


def test_where_more_is_better_the_value_is_its_own(tmp_path):
    rows = [{**each, "objective": "-coverage", "score": -each["score"] / 10} for each in SEARCH]
    result, _ = said(tmp_path, *rows)
    assert result.startswith("No trial is better than trial 0, the defaults of the space: coverage 1 at 100 images")


def test_limits_that_are_broken_are_said_in_words(tmp_path):
    off = {"fidelity.violation": 0.5, "fidelity.coverage_violation": 0.5, "fidelity.class_balance_violation": 0.0}
    off |= {"fidelity.coverage": 0.2, "fidelity.coverage_floor": 0.9}
    kept = dict.fromkeys(off, 0.0)
    one, two, three = SEARCH
    result, cost = said(tmp_path / "one", {**one, **off}, {**two, **kept}, {**three, **off})
    assert result == (
        "Trial 1 is the best: fidelity 4 at 100 images, against 10 of trial 0, the defaults of the space (it breaks "
        "coverage: 0.2 of 0.9)."
    )
    assert "no other trial keeps the limits, and it rests on one seed" in cost
    result, _ = said(tmp_path / "all", *({**each, **off} for each in SEARCH))
    assert result.startswith(
        "Trial 2 comes nearest to the limits, which no trial keeps: fidelity 2.5 at 100 images (it "
    )


def test_a_default_without_a_score_is_said_to_have_none(tmp_path):
    result, _ = said(tmp_path, row(0, 0, float("nan"), Outcome.DIVERGED), *SEARCH[1:])
    assert result.endswith(", while trial 0, the defaults of the space, has no score (diverged).")


def test_a_sweep_that_goes_on_and_a_default_that_is_not_judged_yet_are_said(tmp_path):
    result, cost = said(tmp_path, *SEARCH[1:], going_on=True)
    assert result.endswith(", while trial 0, the defaults of the space, has not been judged yet.")
    assert cost.startswith("So far this took 2 trials, 200 images")


def test_numbers_are_as_long_as_they_need_to_be():
    assert [short(x) for x in (0.0123456, 99.96, 12345.6, -math.inf)] == ["0.0123", "100", "12,300", "minus infinity"]
    assert [lasting(x) for x in (59.6, 3600, 90_000, 172_800)] == ["60 s", "1 h", "25 h", "2 days"]
    assert [many(x) for x in (999_999, 1_380_000, 2.5e9)] == ["999,999", "1.38 million", "2.5 billion"]
