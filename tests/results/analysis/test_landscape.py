"""Scores over what was drawn, at each trial's best rung or at one rung."""

import math
from typing import Any

import pytest
from searches import BREAKING, formula_search, limits, run_of
from table_rows import row

from results.rows import Outcome
from results.store import ResultsError

PARAMETERS = [
    *("lane.generator_lr", "lane.beta1", "lane.discriminator_lr.ratio", "lane.discriminator_steps"),
    *("structure.loss", "lane.penalty_weight"),
]


def test_parallel_has_a_column_for_each_parameter(tmp_path):
    table = formula_search(tmp_path, 20)
    found: Any = table.parallel()
    assert list(found.columns) == ["trial", "score", "outcome", "dead", "breaks_limits", *PARAMETERS]
    assert found["trial"].tolist() == list(range(20))
    assert found["dead"].tolist() == [False] * 18 + [True] * 2
    assert found["score"][0] == pytest.approx(abs(math.log10(found["lane.generator_lr"][0]) + 3))
    assert found["score"][18:].isna().all()
    assert (found["lane.penalty_weight"].isna() == (found["structure.loss"] == "hinge")).all()
    ordered = table.parallel(["lane.beta1", "lane.discriminator_lr"])  # of which the ratio was drawn
    assert list(ordered.columns)[5:] == ["lane.beta1", "lane.discriminator_lr.ratio"]
    assert table.parallel(rung="last")["trial"].tolist() == [n for n in range(18) if n % 3 != 2]


def test_slices_have_a_row_for_each_parameter_that_a_trial_has(tmp_path):
    found: Any = formula_search(tmp_path, 20).slices(rung="first")
    counts = found["parameter"].value_counts()
    assert counts[PARAMETERS[:5]].tolist() == [20] * 5
    wide = formula_search(tmp_path / "b", 20).parallel(rung="first")
    assert counts["lane.penalty_weight"] == wide["lane.penalty_weight"].count()
    rows = found[found["parameter"] == "lane.beta1"]
    assert rows["value"].tolist() == wide["lane.beta1"].tolist()
    assert rows["score"].tolist()[:18] == wide["score"].tolist()[:18]


def test_slices_of_one_trial_are_empty(tmp_path):
    found: Any = run_of(tmp_path, [row(0, 0, 1.0)], space={"ranges": {}}).slices()
    assert list(found.columns) == ["parameter", "value", "trial", "score", "outcome", "dead", "breaks_limits"]
    assert len(found) == 0


def test_contour_has_the_trials_that_have_both(tmp_path):
    table = formula_search(tmp_path, 20)
    found: Any = table.contour("lane.generator_lr", "lane.penalty_weight")
    assert list(found.columns)[:5] == ["trial", "score", "outcome", "dead", "breaks_limits"]
    assert list(found.columns)[5:] == ["lane.generator_lr", "lane.penalty_weight"]
    assert found["trial"].tolist() == table.parallel().dropna(subset="lane.penalty_weight")["trial"].tolist()


def test_contour_refuses_what_was_not_drawn(tmp_path):
    table = formula_search(tmp_path, 20)
    with pytest.raises(ResultsError, match="'lane.beta3' was not drawn in this search; did you mean 'lane.beta1'?"):
        table.contour("lane.beta3", "lane.beta1")
    with pytest.raises(ResultsError, match="two different hyperparameters, got lane.beta1 twice"):
        table.contour("lane.beta1", "lane.beta1")
    alone = run_of(tmp_path / "b", [row(0, 0, 1.0)], space={"ranges": {}})
    with pytest.raises(ResultsError, match="'lane.beta1' was not drawn in this search; nothing differs"):
        alone.contour("lane.beta1", "lane.beta2")


def test_ranks_go_from_the_best_to_the_worst_that_lives(tmp_path):
    scores = [3.0, 1.0, 3.0, 7.0]
    rows = [row(n, 0, score, Outcome.COMPLETED) for n, score in enumerate(scores)]
    found: Any = run_of(tmp_path, [*rows, row(4, 0, 0.5, Outcome.COLLAPSED)]).rank()
    assert found["rank"].tolist()[:4] == [0.5, 0.0, 0.5, 1.0]
    assert math.isnan(found["rank"][4])


def test_ranks_of_trials_that_break_limits_come_behind_all_that_keep_them(tmp_path):
    rows = [row(n, 0, score, Outcome.COMPLETED, **limits(off)) for n, (score, off) in enumerate(BREAKING)]
    found: Any = run_of(tmp_path, rows).rank()
    assert found["rank"].tolist() == pytest.approx([2 / 3, 0.0, 1.0, 1 / 3])
    assert found["breaks_limits"].tolist() == [True, False, True, False]
