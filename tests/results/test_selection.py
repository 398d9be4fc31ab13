"""Rows and columns are chosen by the names that a person reads."""

import math
import statistics

import pytest
from table_rows import replicates, row, stored

from gan_core.config.input_error import InputError
from results.rows import Outcome
from results.table import ResultsTable

ROWS = [
    row(0, 0, 9.0),
    row(1, 0, 4.0),
    row(2, 0, math.nan, Outcome.DIVERGED),
    row(3, 0, 6.0, Outcome.PRUNED),
    row(0, 1, 8.0, Outcome.COMPLETED),
    row(1, 1, 7.0, Outcome.COMPLETED),
]


@pytest.fixture
def table(tmp_path) -> ResultsTable:
    return ResultsTable.load(stored(tmp_path, ROWS))


def test_without_a_wish_the_rows_are_the_trials_and_with_all_rungs_those_of_the_file(table):
    assert table.select().equals(table.trials)
    assert table.select(all_rungs=True)[["trial", "rung"]].values.tolist() == [[r["trial"], r["rung"]] for r in ROWS]


def test_columns_stand_in_the_order_in_which_they_were_asked_for(table):
    found = table.select(columns=["fidelity", "trial", "lane.beta1"])
    assert list(found.columns) == ["fidelity.fidelity", "trial", "lane.beta1"]
    assert found["trial"].tolist() == [1, 3, 0, 2]


def test_rows_are_first_chosen_then_sorted_then_counted(table):
    assert table.select(where="fidelity > 5", sort="-fidelity", top=1)["trial"].tolist() == [0]
    assert table.select(sort="beta1")["trial"].tolist() == [0, 1, 2, 3]
    assert table.select(sort="-beta1")["trial"].tolist() == [3, 2, 1, 0]


def test_missing_values_come_last_in_either_direction_and_equal_ones_keep_their_order(table):
    assert table.select(sort="fidelity")["trial"].tolist() == [1, 3, 0, 2]
    assert table.select(sort="-fidelity")["trial"].tolist() == [0, 3, 1, 2]
    assert table.select(sort="objective")["trial"].tolist() == table.trials["trial"].tolist()


@pytest.mark.parametrize("wish", [{"columns": ["fidelty"]}, {"sort": "-fidelty"}, {"where": "fidelty < 3"}])
def test_a_column_that_is_not_there_is_refused_with_the_nearest(table, wish):
    with pytest.raises(InputError, match="there is no column 'fidelty'; did you mean 'fidelity'"):
        table.select(**wish)


def test_finalists_have_what_they_reach_from_other_seeds_and_other_trials_nothing(tmp_path):
    seeds = (3.0, 6.0, 2.0)
    rows = [*ROWS, *replicates(1, math.inf, math.inf, 1.0), *replicates(3, *seeds)]
    found = ResultsTable.load(stored(tmp_path, rows)).select().set_index("trial")
    assert found.loc[[0, 2], ["confirmed.failed", "confirmed.median"]].isna().all(axis=None)
    assert found.loc[[1, 3], "confirmed.failed"].tolist() == [2, 0]
    assert found.loc[[1, 3], "confirmed.median"].tolist() == [math.inf, 3.0]
    assert found.loc[3, "confirmed.deviation"] == pytest.approx(statistics.stdev(seeds), rel=1e-15)
    assert "confirmed.search_score" not in found.columns  # it is the score
