"""The figure of finalists."""

import math
from typing import Any

import pandas as pd
import pytest
import table_rows
from table_rows import row

from results.plots.across_seeds import replicates
from results.rows import Outcome
from results.store import ResultsError
from results.table import ResultsTable


def table(*rows: dict, **values: Any) -> ResultsTable:
    return ResultsTable(pd.DataFrame([row(2, 0, 1.5, Outcome.COMPLETED), *rows]).assign(**values))


def test_points_stand_in_strips_and_failures_beyond_them():
    rows = [*table_rows.replicates(2, 5.0, 6.0, 7.0), *table_rows.replicates(3, 1.0, 2.0, math.inf)]
    made: Any = replicates(table(*rows))
    points, failed, means, medians = made.data
    assert (list(points.x), list(points.y)) == ([0, 0, 1, 1, 1], [1.0, 2.0, 5.0, 6.0, 7.0])
    assert (list(failed.x), list(failed.y)) == ([0], [7.6])
    assert failed.text == ("trial 3, replicate 3: failed",)
    assert list(made.layout.xaxis.ticktext) == ["trial 3", "trial 2"]
    assert list(medians.y) == [2.0, 6.0]
    assert means.y[1] == pytest.approx(6.0)
    assert means.error_y.array[1] + means.y[1] <= 7.0
    assert "the first is better with probability 0.67" in medians.text[1]


def test_failures_stand_below_where_more_is_better():
    rows = [*table_rows.replicates(2, -0.5, -0.7), *table_rows.replicates(3, -0.6, math.inf)]
    made: Any = replicates(table(*rows, objective="-coverage"))
    assert list(made.data[1].y) == [pytest.approx(0.48)]
    assert made.layout.yaxis.title.text == "coverage (higher is better)"


def test_replicates_in_training_are_drawn_without_a_summary_and_failures_alone_at_0():
    made: Any = replicates(table(row(2, 0, 3.0, replicate=1)))
    assert (len(made.data), list(made.data[0].y)) == (2, [3.0])
    made = replicates(table(*table_rows.replicates(2, math.inf, math.inf)))
    assert list(made.data[1].y) == [0.0, 0.0]


def test_without_replicates_there_is_nothing_to_draw():
    with pytest.raises(ResultsError, match="no trial of this run was trained from other seeds"):
        replicates(table())
