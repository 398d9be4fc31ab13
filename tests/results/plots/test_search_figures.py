"""Figures of a search draw the numbers of its analyses, the trials that died, and names as text."""

import math
from typing import Any

import numpy as np
import pytest
from searches import BREAKING, formula_search, limits, run_of
from table_rows import replicates, row

import results.plots as plots
from results.rows import Outcome
from results.store import ResultsError
from results.table import ResultsTable

MARKUP = '<b onmouseover="x()">\n'


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> ResultsTable:
    return formula_search(tmp_path_factory.mktemp("formula"), 40, sampler="random")


def test_curves_highlight_the_best_and_mark_where_trials_died(tmp_path):
    rows = [row(n, rung, 20.0 - n - rung, d_loss=n + 0.5 * rung) for n in range(8) for rung in (0, 1)]
    rows[-1] = row(7, 1, math.nan, Outcome.DIVERGED, d_loss=99.0)
    made: Any = plots.curves(run_of(tmp_path, rows), "d_loss")
    lines, crosses = made.data[:-1], made.data[-1]
    assert [line.name.partition(",")[0] for line in lines] == [f"trial {n}" for n in (7, 0, 1, 2, 3, 4, 5, 6)]
    assert [line.showlegend for line in lines] == [False] * 3 + [True] * 5
    assert len({line.line.color for line in lines if line.showlegend}) == 5
    assert len({line.line.color for line in lines if not line.showlegend}) == 1
    assert list(lines[-1].y) == [6.0, 6.5]
    assert (list(crosses.x), list(crosses.y), list(crosses.text)) == ([200], [99.0], ["trial 7: diverged"])


def test_of_many_trials_the_best_and_some_that_died_are_drawn(table, monkeypatch):
    monkeypatch.setattr("results.plots.over_images.MOST_LINES", 10)
    monkeypatch.setattr("results.plots.over_images.MOST_DEAD_LINES", 3)
    made: Any = plots.curves(table, "d_loss")
    assert made.layout.title.text == "d_loss of 10 of 40 trials, the best ones and some that died"
    drawn = {int(trace.name.split()[1].strip(",")) for trace in made.data if trace.name.startswith("trial")}
    best = table.trials["trial"].tolist()[:7]
    assert drawn == {*best, 36, 37, 38}


def test_quartiles_are_a_band_around_the_median(table):
    found: Any = table.curves("score", by_trial=False)
    low, high, median = plots.curves(table, "score", by_trial=False).data
    assert list(low.y) == found["q25"].tolist()
    assert list(high.y) == found["q75"].tolist()
    assert list(median.y) == found["median"].tolist()
    assert high.fill == "tonexty"


def test_history_has_steps_the_defaults_and_the_finalists(tmp_path):
    rows = [row(0, 0, 7.0, seconds=3600), row(1, 0, 9.0, seconds=3600), row(2, 0, 5.0, seconds=1800), row(3, 0, 6.0)]
    made: Any = plots.history(run_of(tmp_path, [*rows, *replicates(2, 5.5)]))
    steps, defaults, stars = made.data
    assert (list(steps.x), list(steps.y)) == ([1, 3, 4], [7.0, 5.0, 5.0])
    assert set(defaults.y) == {7.0}
    assert (list(stars.x), list(stars.y)) == ([3], [5.0])
    assert steps.line.shape == "hv"
    hours = made.layout.updatemenus[0].buttons[2].args[0]["x"][0]
    assert hours == pytest.approx([1.0, 2.5, 2.5 + rows[3]["seconds"] / 3600])


def test_the_expected_best_says_which_of_both_it_is(table, tmp_path):
    found: Any = table.expected_best()
    made: Any = plots.expected_best(table)
    assert made.layout.title.text.startswith("Best of k random trials")
    low, high, median, mean = made.data
    assert list(median.y) == [None if math.isinf(v) else v for v in found["best"]] or np.allclose(
        median.y, found["best"]
    )
    whole = found[np.isfinite(found["high"])]
    assert list(low.x) == list(high.x) == whole["trials"].tolist()
    assert list(high.y) == whole["high"].tolist()
    assert list(mean.y) == found["expected_if_any"].tolist()
    learning: Any = plots.expected_best(formula_search(tmp_path, 12, sampler="tpe"))
    assert learning.layout.title.text.startswith("Best score so far")
    assert len(learning.data) == 1


def test_importance_has_bars_and_the_noise_of_each(table, monkeypatch):
    monkeypatch.setattr("results.analysis.importance.MOST_PERMUTATIONS", 5)
    found: Any = table.importance("both")
    first, first_noise, last, _ = plots.importance(table, "both").data
    assert list(first.y)[::-1] == found.loc[found["rung"] == 0, "parameter"].tolist()
    assert list(first.x)[::-1] == found.loc[found["rung"] == 0, "importance"].tolist()
    assert list(first_noise.x)[::-1] == found.loc[found["rung"] == 0, "noise"].tolist()
    assert len(last.x) == (found["rung"] == 1).sum()
    made: Any = plots.importance(table)
    assert made.layout.title.text.endswith("(rung 0: the best 5 of 40 trials)")


def test_parallel_coordinates_have_log_axes_and_ticks_for_what_is_missing(table):
    (lines,) = plots.parallel(table).data
    frame: Any = table.parallel()
    rate, penalty, score = (lines.dimensions[place] for place in (0, 5, 6))
    assert rate.label == "lane.generator_lr"
    assert np.allclose(rate.values, np.log10(frame["lane.generator_lr"]))
    assert penalty.ticktext[-1] == "idle"
    idle = np.isclose(penalty.values, penalty.tickvals[-1])
    assert (idle == frame["lane.penalty_weight"].isna()).all()
    assert score.ticktext[-1] == "dead"
    assert (np.isclose(score.values, score.tickvals[-1]) == frame["dead"]).all()
    assert set(np.asarray(lines.line.color)[frame["dead"]]) == {1.0}
    assert max(np.asarray(lines.line.color)[~frame["dead"]]) < 0.9


def test_slices_are_optunas_with_the_dead_beyond_the_worst(table):
    made: Any = plots.slices(table, ["structure.loss", "lane.generator_lr"])
    loss, dead, rate, dead_rate = made.data
    frame: Any = table.parallel()
    alive = frame[~frame["dead"]]
    assert sorted(rate.x) == sorted(alive["lane.generator_lr"])
    assert sorted(rate.y) == sorted(alive["score"])
    assert made.layout.xaxis2.type == "log"
    assert made.layout.xaxis.type == "category"
    assert list(dead_rate.x) == frame.loc[frame["dead"], "lane.generator_lr"].tolist()
    assert set(dead_rate.y) == set(dead.y)
    assert min(dead_rate.y) > max(rate.y)
    assert set(dead.x) <= {"'hinge'", "'wasserstein_gp'"}
    assert sorted(set(loss.x)) == ["'hinge'", "'wasserstein_gp'"]
    assert made.layout.title.text == "fidelity (lower is better) of 36 trials; 4 died (crosses)"


def test_contour_has_the_first_name_across_and_the_second_upwards(table):
    made: Any = plots.contour(table, "lane.generator_lr", "lane.beta1")
    contour, points, dead = made.data[0], made.data[1], made.data[-1]
    frame: Any = table.parallel()
    assert contour.type == "contour"
    assert made.layout.xaxis.title.text == "lane.generator_lr"
    assert made.layout.xaxis.type == "log"
    assert sorted(points.x) == sorted(frame.loc[~frame["dead"], "lane.generator_lr"])
    assert sorted(points.y) == sorted(frame.loc[~frame["dead"], "lane.beta1"])
    assert list(dead.x) == frame.loc[frame["dead"], "lane.generator_lr"].tolist()


def test_rank_has_a_panel_for_each_pair(table, monkeypatch):
    monkeypatch.setattr("results.analysis.importance.MOST_PERMUTATIONS", 2)
    pair: Any = plots.rank(table, ["lane.beta1", "lane.generator_lr"])
    assert [len(trace.x) for trace in pair.data] == [36, 1, 4]
    assert pair.layout.yaxis.type == "log"
    square: Any = plots.rank(table)
    crosses = [trace for trace in square.data if trace.name == "died"]
    assert len(crosses) == 12
    assert len(square.data) == 16 + 1 + 12


def test_of_many_trials_some_are_drawn_evenly_from_the_best_to_the_worst(table, monkeypatch):
    monkeypatch.setattr("results.plots.landscape.MOST_OF_CONTOUR", 12)
    made: Any = plots.contour(table, "lane.generator_lr", "lane.beta1")
    assert "12 trials of 36, evenly from the best to the worst" in made.layout.title.text
    assert len(made.data[1].x) == 12
    best = table.best()["lane.generator_lr"]
    assert best in made.data[1].x


def test_where_more_is_better_the_dead_stand_below(tmp_path):
    rows = [row(n, 0, -0.1 * n, Outcome.COMPLETED, objective="-coverage") for n in range(1, 6)]
    rows.append(row(6, 0, math.nan, Outcome.FAILED, objective="-coverage"))
    table = run_of(tmp_path, rows)
    scores, dead = plots.slices(table).data
    assert sorted(scores.y) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert dead.y[0] == pytest.approx(0.1 - 0.08 * 0.4)
    (lines,) = plots.parallel(table).data
    assert lines.dimensions[-1].tickvals[-1] < 0.1


def test_names_with_markup_stay_text(tmp_path):
    space = {"ranges": {"structure.dataset": {"choices": [MARKUP, "b"]}, "lane.beta1": {"low": 0.0, "high": 9.0}}}
    names = {"structure.dataset": MARKUP}
    rows = [row(n, 0, 1.0 + n, Outcome.COMPLETED, **(names if n % 2 else {"structure.dataset": "b"})) for n in range(6)]
    rows.append(row(6, 0, math.nan, Outcome.FAILED, **names))
    table = run_of(tmp_path, rows, space=space)
    table = ResultsTable(table.frame.assign(objective=f"onmouseover{MARKUP}"), table.folder)
    figures = [plots.slices(table), plots.parallel(table), plots.rank(table), plots.history(table)]
    figures += [plots.expected_best(table), plots.curves(table, "score")]
    figures.append(plots.contour(table, "structure.dataset", "lane.beta1"))
    for made in figures:
        text = str(made.to_json())
        assert "<b onmouse" not in text.replace("\\u003c", "<")
        assert "onmouseover" in text


def test_figures_refuse_what_they_cannot_draw(tmp_path):
    dead = run_of(tmp_path / "dead", [row(0, 0, math.nan, Outcome.FAILED), row(1, 0, math.nan, Outcome.FAILED)])
    for name in ("parallel", "slices"):
        with pytest.raises(ResultsError, match="no trial that is not dead has a score"):
            getattr(plots, name)(dead)
    alone = run_of(tmp_path / "alone", [row(0, 0, 1.0)], space={"ranges": {}})
    with pytest.raises(ResultsError, match="no hyperparameter differs between the trials"):
        plots.slices(alone)
    with pytest.raises(ResultsError, match="rank needs at least two hyperparameters that differ, got lane.beta1"):
        plots.rank(run_of(tmp_path / "one", [row(0, 0, 1.0), row(1, 0, 2.0)]))
    space = {"ranges": {name: {"low": 0.0, "high": 1.0} for name in ("lane.beta1", "lane.beta2")}}
    same: Any = {"lane.beta2": 0.5}
    with pytest.raises(ResultsError, match="all 2 trials have the same lane.beta2; choose one that differs"):
        plots.contour(
            run_of(tmp_path / "same", [row(n, 0, 1.0, **same) for n in range(2)], space=space),
            "lane.beta1",
            "lane.beta2",
        )


def test_trials_that_break_limits_are_grey_where_others_keep_them(tmp_path):
    space = {"ranges": {"lane.beta1": {"low": 0.0, "high": 1.0}, "structure.batch_size": {"choices": [64, 128]}}}
    size: Any = {"structure.batch_size": 64}
    rows = [row(n, 0, score, Outcome.COMPLETED, **size, **limits(off)) for n, (score, off) in enumerate(BREAKING)]
    made: Any = plots.slices(run_of(tmp_path, rows, space=space))
    for keeping, breaking, _ in (made.data[:3], made.data[3:]):
        assert (list(keeping.y), list(breaking.y)) == ([5.0, 6.0], [1.0, 0.5])
        assert breaking.marker.color == "#cccccc"
        assert list(breaking.text) == ["trial 0 breaks limits", "trial 2 breaks limits"]
    assert list(made.data[4].x) == ["64", "64"]
    assert made.layout.title.text == "fidelity (lower is better) of 4 trials, 2 of which break limits (grey)"
    rows = [row(n, 0, score, Outcome.COMPLETED, **size, **limits(0.1)) for n, (score, _) in enumerate(BREAKING)]
    made = plots.slices(run_of(tmp_path / "all", rows, space=space))
    assert list(made.data[0].y) == [score for score, _ in BREAKING]
    assert made.layout.title.text.endswith("4 trials, all of which break limits")
