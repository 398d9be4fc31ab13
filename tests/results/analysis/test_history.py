"""History says what had been spent when the best score went down."""

import math
from typing import Any

import pytest
from searches import BREAKING, limits, run_of
from table_rows import replicates, row

from results.rows import Outcome
from results.table import ResultsTable


def table_of(path, objective: str = "fidelity") -> ResultsTable:
    rows = [
        row(1, 0, 9.0, seconds=2.0, elapsed_seconds=3.0),
        row(0, 0, 7.0, seconds=1.0, elapsed_seconds=4.0),
        row(2, 0, 1.0, seconds=1.0, elapsed_seconds=5.0),  # dies later, and so never counts
        row(1, 1, 5.0, Outcome.COMPLETED, seconds=4.0, elapsed_seconds=9.0),
        row(0, 1, 6.0, Outcome.COMPLETED, seconds=2.0, elapsed_seconds=10.0),
        row(2, 1, math.nan, Outcome.DIVERGED, seconds=0.5, elapsed_seconds=11.0),
        *replicates(1, 4.0, 4.5),
    ]
    return run_of(path, [{**each, "objective": objective} for each in rows])


def test_history_adds_up_what_was_spent(tmp_path):
    found: Any = table_of(tmp_path).history()
    assert found["trial"].tolist() == [1, 0, 2, 1, 0, 2]
    assert found["trials"].tolist() == [1, 2, 3, 3, 3, 3]
    assert found["images"].tolist() == [100, 200, 300, 400, 500, 600]
    assert found["device_seconds"].tolist() == [2.0, 3.0, 4.0, 8.0, 10.0, 10.5]
    assert found["elapsed_seconds"].tolist() == [3.0, 4.0, 5.0, 9.0, 10.0, 11.0]


@pytest.mark.parametrize("objective", ["fidelity", "-coverage"])
def test_history_has_the_best_score_so_far_of_trials_that_live(tmp_path, objective):
    table = table_of(tmp_path, objective)
    found: Any = table.history()
    sign = -1.0 if objective.startswith("-") else 1.0
    assert (sign * found["best"]).tolist() == [9.0, 7.0, 7.0, 5.0, 5.0, 5.0]
    assert found["improved"].tolist() == [True, True, False, True, False, False]
    assert (sign * found["score"]).tolist()[:5] == [9.0, 7.0, 1.0, 5.0, 6.0]
    assert found["best"].iloc[-1] == sign * table.best()["score"]
    assert set(found["default"]) == {sign * 6.0}  # the best of trial 0
    assert found["finalist"].tolist() == [False, False, False, True, False, False]


def test_before_the_first_score_there_is_no_best(tmp_path):
    rows = [row(3, 0, math.nan, Outcome.FAILED), row(2, 0, 4.0)]
    found: Any = run_of(tmp_path, rows).history()
    assert math.isnan(found["best"].iloc[0])
    assert found["best"].iloc[1] == 4.0
    assert found["default"].isna().all()


def test_a_score_that_breaks_limits_is_best_only_until_one_keeps_them(tmp_path):
    rows = [row(n, 0, score, Outcome.COMPLETED, **limits(off)) for n, (score, off) in enumerate(BREAKING)]
    found: Any = run_of(tmp_path, rows).history()
    assert found["best"].tolist() == [1.0, 5.0, 5.0, 5.0]
    assert found["improved"].tolist() == [True, True, False, False]
