"""Figures of what a run cost."""

from typing import Any

import pandas as pd
import pytest
from table_rows import row

from results.plots.costs import cost, savings, timeline
from results.rows import Outcome
from results.store import ResultsError
from results.table import ResultsTable

ROWS = [
    row(0, 0, 3.0, seconds=1.0, node="<b>", elapsed_seconds=3.0),
    row(0, 1, 2.0, Outcome.COMPLETED, seconds=4.0, node="<b>", elapsed_seconds=9.0),
    row(1, 0, 5.0, Outcome.PRUNED, seconds=2.0, node="<b>", elapsed_seconds=3.0),
]


def table(*rows: dict) -> ResultsTable:
    return ResultsTable(pd.DataFrame(rows or ROWS))


def test_divisions_with_several_parts_are_drawn_the_largest_on_top():
    made: Any = cost(table())
    outcomes, rungs = made.data
    assert (list(outcomes.x), list(outcomes.y)) == ([5.0, 2.0], [["outcome", "outcome"], ["completed", "pruned"]])
    assert (list(rungs.x), list(rungs.y[1])) == ([3.0, 4.0], ["0", "1"])
    assert outcomes.hovertext[0] == "completed<br>71%, 1 trainings, 200 images"
    assert made.layout.title.text == "Where 7 device-seconds went"


def test_beyond_the_largest_parts_the_others_are_one_bar():
    made: Any = cost(table(*({**row(n, 0, 1.0, seconds=20.0 - n), "structure.width": n} for n in range(15))))
    structures = made.data[-1]
    assert list(structures.y[1]) == [*(f"width={n}" for n in range(12)), "3 others"]
    assert structures.x[-1] == 8 + 7 + 6


def test_a_long_name_is_whole_only_where_the_pointer_is():
    names = ["x" * 60, "<b>"]
    rows = [{**row(n, 0, 1.0, seconds=2.0 - n), "structure.loss": name} for n, name in enumerate(names)]
    made: Any = cost(table(*rows))
    assert list(made.data[-1].y[1]) == [f"loss={'x' * 35}… (1)", "loss=&lt;b&gt;"]
    assert made.data[-1].hovertext[0].startswith(f"loss={'x' * 60}<br>67%, 1 trainings")


def test_savings_stand_beside_what_was_spent_on_the_way_to_the_rung():
    made: Any = savings(table(*ROWS, row(0, 0, 3.0, replicate=1)))
    spent, saved = made.data
    assert (list(spent.x), list(spent.y)) == ([0, 1], [3.0, 4.0])
    assert (list(saved.x), list(saved.y)) == ([0], [2.0])
    assert made.layout.title.text == "Pruning saved 22% of what the search would have cost"


def test_a_bar_of_the_timeline_is_a_rung_of_a_cohort():
    made: Any = timeline(table())
    first, second = made.data
    assert (list(first.base), list(first.x), list(first.y)) == ([0.0], [3.0], ["&lt;b&gt;, slot 0"])
    assert (list(second.base), list(second.x)) == ([3.0], [6.0])
    assert first.hovertext[0].startswith("cohort 0, search, to rung 0: 2 lanes<br>0 to 3 s<br>cpu")


def test_rows_without_times_have_no_timeline():
    with pytest.raises(ResultsError, match="have no times"):
        timeline(table(row(0, 0, 1.0)))
