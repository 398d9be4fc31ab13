"""Figures in a page: what is left out of large ones, and why one is missing."""

import json
from typing import Any

import numpy as np

from results.plots.style import figure, graph_objects
from results.report.figures import MOST_POINTS, MOST_TRACES, drawn, pairs, panels
from results.store import ResultsError


def test_a_figure_is_plain_and_rounded_with_its_title_beside_it():
    made = figure("A <b>title</b>", "x", "y")
    made.add_scatter(x=np.array([1.0, 2.5]), y=[1 / 3, float("nan")])
    found = drawn("a", "other", lambda: made, "A note.")
    assert (found.title, found.note, found.missing) == ("A <b>title</b>", "A note.", "")
    assert json.dumps(found.plain["data"]) == '[{"x": [1, 2.5], "y": [0.33333, null], "type": "scatter"}]'
    assert not {"template", "title", "width"} & set(found.plain["layout"])
    assert found.plain["layout"]["xaxis"] == {"title": {"text": "x"}}


def test_too_many_points_are_thinned_evenly_with_their_colours_and_it_is_said():
    made, count = figure("t"), 5 * MOST_POINTS
    places = np.arange(count)
    made.add_scatter(x=places, y=places, marker={"color": places, "size": 3}, customdata=places[:, None])
    made.add_scattergl(x=[0, count], y=[0, 0])
    found = drawn("a", "t", lambda: made)
    long, short = found.plain["data"]
    assert abs(len(long["x"]) - MOST_POINTS) <= 40
    assert long["x"][0] == 0
    assert long["x"][-1] == count - 1
    assert long["x"] == long["y"] == long["marker"]["color"] == [entry[0] for entry in long["customdata"]]
    assert set(np.diff(long["x"])) <= {4, 5, 6}
    assert (short["type"], short["x"]) == ("scatter", [0, count])  # WebGL would need a policy that allows eval
    assert found.note == f"{len(long['x']) + 2:,} of {count + 2:,} points are drawn."


def test_too_many_lines_are_thinned_but_not_those_on_top():
    lines = [graph_objects().Scatter(x=[0, 1], y=[n, n]) for n in range(3 * MOST_TRACES)]
    made = figure("t").add_traces(lines)
    kept = [trace["y"][0] for trace in drawn("a", "t", lambda: made).plain["data"]]
    assert len(kept) == MOST_TRACES
    assert kept[0] == 0
    assert kept[-MOST_TRACES // 2 :] == list(range(3 * MOST_TRACES - MOST_TRACES // 2, 3 * MOST_TRACES))


def test_an_analysis_that_cannot_be_made_says_why_in_its_place():
    def make():
        raise ResultsError("too few trials")

    found = drawn("a", "What mattered", make)
    assert (found.title, found.missing, found.plain) == ("What mattered", "too few trials", {})


def test_panels_are_figures_of_their_own_with_their_axes_and_lines():
    made: Any = figure("t", showlegend=False)
    made.set_subplots(rows=1, cols=2, shared_yaxes=True)
    made.add_scatter(x=[0], y=[1], row=1, col=1)
    made.add_scatter(x=[2], y=[3], row=1, col=2)
    made.add_hline(y=4, row=1, col=2)
    made.update_xaxes(title_text="second", type="log", row=1, col=2)
    first, second = panels(drawn("a", "t", lambda: made).plain)
    assert [panel["data"][0]["x"] for panel in (first, second)] == [[0], [2]]
    assert second["layout"]["xaxis"] == {"title": {"text": "second"}, "type": "log"}
    assert not {"anchor", "domain", "matches", "showticklabels"} & set(second["layout"]["yaxis"])
    assert first["layout"]["shapes"] == []
    assert [(line["xref"], line["yref"], line["y0"]) for line in second["layout"]["shapes"]] == [("x domain", "y", 4)]
    assert "xaxis" not in second["data"][0]


def test_a_matrix_of_scatter_plots_is_drawn_without_webgl():
    axes = [{"label": name, "values": [n, n + 1]} for n, name in enumerate("abc")]
    matrix = graph_objects().Splom(dimensions=axes, name="front", text=["p", "q"], marker={"size": 9})
    made = figure("t").add_trace(matrix)
    found = pairs(drawn("a", "t", lambda: made).plain)
    assert [(p["layout"]["xaxis"]["title"]["text"], p["layout"]["yaxis"]["title"]["text"]) for p in found] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
    expected = {"type": "scatter", "mode": "markers", "name": "front", "text": ["p", "q"], "marker": {"size": 9}}
    assert found[1]["data"] == [{**expected, "x": [0, 1], "y": [2, 3]}]
