"""Figures of several objectives."""

from typing import Any

import pandas as pd
import pytest
from table_rows import row

from results.plots.fronts import hypervolume, pareto
from results.rows import Outcome
from results.store import ResultsError
from results.table import ResultsTable

VALUES = [(4.0, 0.5, 1.0), (2.0, 0.25, 2.0), (3.0, 0.75, 3.0), (600.0, 0.125, 4.0)]


def table(objective: str = "fid, -coverage") -> ResultsTable:
    rows = [
        row(
            n,
            0,
            fid,
            Outcome.COMPLETED,
            objective=objective,
            seconds=s,
            **{"fidelity.fid": fid, "fidelity.coverage": c},
        )
        for n, (fid, c, s) in enumerate(VALUES)
    ]
    return ResultsTable(pd.DataFrame(rows))


def test_the_front_stands_out_of_the_other_trials_and_its_edge_is_a_staircase():
    made: Any = pareto(table())
    others, front, edge = made.data
    assert (others.x.tolist(), others.y.tolist()) == ([4.0, 600.0], [0.5, 0.125])
    assert (front.x.tolist(), front.y.tolist()) == ([2.0, 3.0], [0.25, 0.75])
    assert front.text[0] == "trial 1, completed<br>fid 2<br>coverage 0.25"
    assert (edge.x.tolist(), edge.line.shape) == ([2.0, 3.0], "hv")
    assert made.layout.xaxis.title.text == "fid (lower is better)"
    assert made.layout.yaxis.title.text == "coverage (higher is better)"
    assert (made.layout.xaxis.type, made.layout.yaxis.type) == ("log", "linear")


def test_three_objectives_are_drawn_in_pairs():
    made: Any = pareto(table("fid, -coverage, seconds"))
    others, front = made.data
    assert [axis.label for axis in front.dimensions][2] == "seconds (lower is better)"
    assert (list(front.dimensions[2]["values"]), list(others.dimensions[2]["values"])) == ([2.0, 3.0, 1.0], [4.0])


def test_the_volume_is_drawn_against_trials_and_device_seconds():
    made: Any = hypervolume(table(), {"fid": 8.0, "coverage": 0.0})
    by_trials, by_seconds = made.data
    assert by_trials.x.tolist() == [1, 2, 3, 4]
    assert by_seconds.x.tolist() == [1.0, 3.0, 6.0, 10.0]
    assert by_trials.y.tolist() == by_seconds.y.tolist() == [2.0, 2.5, 4.0, 4.0]
    assert made.layout.title.text == "Hypervolume that the trials dominate, up to fid 8, coverage 0"


def test_trials_that_break_limits_are_drawn_apart_and_have_no_volume():
    frame = table("fidelity, -coverage").frame.assign(**{"fidelity.fidelity": 1.0})
    off = [0.5, 0.0, 0.0, 0.0]
    made: Any = pareto(ResultsTable(frame.assign(**{"fidelity.violation": off, "fidelity.coverage_violation": off})))
    assert [(trace.name, len(trace.x)) for trace in made.data[:3]] == [
        ("break limits", 1),
        ("other trials", 1),
        ("Pareto front", 2),
    ]
    none = frame.assign(**{"fidelity.violation": 0.5, "fidelity.coverage_violation": 0.5})
    made = pareto(ResultsTable(none))
    assert made.layout.title.text == "Pareto front: 0 of 4 trials"
    with pytest.raises(ResultsError, match="no trial of this run has all objectives and keeps their limits"):
        hypervolume(ResultsTable(none))


@pytest.mark.parametrize("draw", [pareto, hypervolume])
def test_one_objective_has_no_such_figure(draw):
    with pytest.raises(ResultsError, match="this run has one"):
        draw(table("fid"))
