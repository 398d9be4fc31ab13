"""The figure of several runs beside each other."""

from typing import Any

import pandas as pd
import pytest
from table_rows import row

from results.plots.comparison import compare
from results.rows import Outcome
from results.store import ResultsError
from results.table import ResultsTable


def table(*scores: float, seconds: float = 1.0) -> ResultsTable:
    rows = [row(n, 0, score, Outcome.COMPLETED, seconds=seconds) for n, score in enumerate(scores)]
    return ResultsTable(pd.DataFrame(rows))


def test_each_run_has_its_best_score_so_far_and_its_scores():
    made: Any = compare(table(5.0, 6.0, 3.0), table(700.0, 2.0, seconds=4.0), names=["<b>", "other"])
    curve, box, second_curve, second_box = made.data
    assert (list(curve.x), list(curve.y), curve.name) == ([1.0, 2.0, 3.0], [5.0, 5.0, 3.0], "&lt;b&gt;")
    assert (sorted(box.y), box.text[0], box.boxpoints) == ([3.0, 5.0, 6.0], "trial 2", "all")
    assert (list(second_curve.x), list(second_box.y)) == ([4.0, 8.0], [2.0, 700.0])
    (line,) = made.layout.shapes
    assert (line.y0, line.y1) == (3.0, 3.0)
    assert made.layout.yaxis.type == "log"
    assert made.layout.yaxis.title.text == "best fidelity (lower is better)"


def test_runs_that_cannot_be_compared_have_no_figure():
    with pytest.raises(ResultsError, match="needs another table"):
        compare(table(1.0))
