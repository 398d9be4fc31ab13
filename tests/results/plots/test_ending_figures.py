"""Figures of how trials ended."""

from typing import Any

import pandas as pd
import pytest
from table_rows import row

from results.plots.endings import outcomes, signs_before_death
from results.rows import Outcome
from results.store import ResultsError
from results.table import ResultsTable

LOSS = "structure.loss"


def table(*rows: dict) -> ResultsTable:
    return ResultsTable(pd.DataFrame(rows))


def test_each_outcome_has_its_share_of_each_region():
    ended = [("hinge", Outcome.DIVERGED), ("hinge", Outcome.COMPLETED), ("<b>", Outcome.COMPLETED)]
    made: Any = outcomes(
        table(*({**row(n, 0, 1.0, end, **{"lane.beta1": 0.5}), LOSS: loss} for n, (loss, end) in enumerate(ended)))
    )
    completed, diverged = made.data
    assert (completed.name, list(completed.x)) == ("completed", [1.0, 0.5])
    assert [list(level) for level in completed.y] == [["loss", "loss"], ["&lt;b&gt; (1)", "hinge (2)"]]
    assert (list(diverged.x), list(diverged.hovertext)) == ([0.0, 0.5], ["0 diverged", "1 diverged"])


def test_equal_trials_have_no_regions_to_draw():
    with pytest.raises(ResultsError, match="nothing differs between the trials"):
        outcomes(table(row(0, 0, 1.0)))


def test_signs_of_the_dead_stand_beside_those_of_the_survivors():
    rows = [
        row(0, 0, 1.0, signs="oscillation"),
        row(0, 2, 1.0, Outcome.DIVERGED),
        row(2, 0, 1.0, Outcome.COMPLETED, signs="oscillation"),
        row(3, 0, 1.0, Outcome.COMPLETED),
    ]
    made: Any = signs_before_death(table(*rows))
    dead, survivors = made.data
    assert (list(dead.x), list(dead.y), list(survivors.y)) == (["oscillation"], [1.0], [0.5])
    assert (dead.name, survivors.name) == ("1 dead trials, before they died", "2 survivors")
    assert (dead.hovertext[0], survivors.hovertext[0]) == ("1 of 1, 200 images before", "1 of 2")


def test_without_signs_there_is_nothing_to_draw():
    with pytest.raises(ResultsError, match="no trial of this run showed a sign of trouble"):
        signs_before_death(table(row(0, 0, 1.0)))
