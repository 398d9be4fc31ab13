"""Curves are dense where the run has points between rungs, and say which trials are best and which died."""

import math
from typing import Any

import pytest
from searches import run_of
from table_rows import row

from results.rows import Outcome
from results.store import JsonLines, ResultsError

ROWS = [
    row(0, 0, 5.0, d_loss=1.0),
    row(1, 0, 4.0, d_loss=2.0),
    row(2, 0, 9.0, d_loss=3.0),
    row(0, 1, 3.0, Outcome.COMPLETED, d_loss=1.5),
    row(1, 1, math.nan, Outcome.DIVERGED, d_loss=math.nan),
    row(2, 1, 8.0, Outcome.COMPLETED, d_loss=2.5),
    row(0, 0, 1.0, replicate=1, d_loss=100.0),
]


def table_of(path, points=(), **values):
    table = run_of(path, [{**each, **values} for each in ROWS])
    assert table.folder is not None
    JsonLines(table.folder.curves).append(points)
    return table


def point(trial: int, images: int, d_loss: float, replicate: int = 0) -> dict[str, float]:
    return {"trial": trial, "replicate": replicate, "images_seen": images, "d_loss": d_loss, "g_loss": -d_loss}


def test_without_points_rungs_are_the_curve(tmp_path):
    found: Any = table_of(tmp_path).curves("d_loss")
    assert found["trial"].tolist() == [0, 0, 1, 1, 2, 2]
    assert found["images_seen"].tolist() == [100, 200] * 3
    assert found["value"].tolist()[:3] == [1.0, 1.5, 2.0]
    assert set(found["metric"]) == {"d_loss"}
    assert found["outcome"].tolist() == ["completed"] * 2 + ["diverged"] * 2 + ["completed"] * 2
    assert found["best"].tolist() == [True, True, False, False, True, True]
    assert found["died"].tolist() == [False, False, True, False, False, False]  # the last value, not the missing one


def test_points_between_rungs_take_the_place_of_rungs(tmp_path):
    points = [
        point(0, 200, 0.4),
        point(0, 50, 0.2),
        point(1, 50, 7.0),
        point(1, 60, 8.0),
        point(0, 50, 9.0, replicate=1),
    ]
    found: Any = table_of(tmp_path, [*points, point(7, 50, 1.0)]).curves("d_loss")  # trial 7 has not reached a rung
    assert found["trial"].tolist() == [0, 0, 1, 1, 2, 2]
    assert found["images_seen"].tolist() == [50, 200, 50, 60, 100, 200]
    assert found["value"].tolist() == [0.2, 0.4, 7.0, 8.0, 3.0, 2.5]
    assert found["died"].tolist() == [False, False, False, True, False, False]


def test_scores_and_what_curves_lack_are_known_at_rungs(tmp_path):
    table = table_of(tmp_path, [point(0, 50, 0.2)])
    assert table.curves("fidelity.fid")["value"].tolist()[:2] == [6.0, 4.0]
    assert table.curves("health.d_gradient")["value"].tolist() == [0.0, 0.0, 10.0, 10.0, 20.0, 20.0]
    assert table.curves("score")["value"].tolist()[:2] == [5.0, 3.0]
    negated = table_of(tmp_path / "b", objective="-coverage")
    assert negated.curves("score")["value"].tolist()[:2] == [-5.0, -3.0]


def test_over_trials_there_are_the_quartiles_of_those_that_are_left(tmp_path):
    found: Any = table_of(tmp_path).curves("d_loss", by_trial=False)
    assert found["images_seen"].tolist() == [100, 200]
    assert found["trials"].tolist() == [3, 2]
    assert found["median"].tolist() == [2.0, 2.0]
    assert found["q25"].tolist() == [1.5, 1.75]
    assert found["q75"].tolist() == [2.5, 2.25]


def test_an_unknown_metric_is_refused_with_the_nearest(tmp_path):
    table = table_of(tmp_path)
    with pytest.raises(ResultsError, match="unknown metric 'health.d_gradiant'; did you mean 'health.d_gradient'?"):
        table.curves("health.d_gradiant")
    with pytest.raises(ResultsError, match="unknown metric 'lane.beta1'; known: d_loss, g_loss, score, fidelity"):
        table.curves("lane.beta1")
