"""Figures of `results.plots` as plain values for the page: thinned to what a screen can show, numbers rounded."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from results.store import ResultsError

MOST_POINTS = 12_000  # of a figure; a screen does not show more, and a page is to be sent
MOST_TRACES = 400
FEWEST_POINTS = 40  # that a trace keeps
DIGITS = 5
OF_PANELS = ("anchor", "domain", "matches", "showticklabels")  # of an axis: where it stands among others
ALONG = ("x", "y", "text", "customdata", "hovertext", "ids", "base", "width", "offset")  # one entry for each point
ALONG_TOO = {
    "marker": ("color", "size", "symbol", "opacity"),
    "error_x": ("array", "arrayminus"),
    "error_y": ("array", "arrayminus"),
}


@dataclass(frozen=True)
class Drawn:
    """A figure of the page. key: its place in the page. name: how the page calls it. title: how it calls itself, which
    is shown. note: what a reader should know of it. missing: why it cannot be drawn, "" where it can. plain: its traces
    and layout as values for JSON.
    """

    key: str
    name: str
    title: str = ""
    note: str = ""
    missing: str = ""
    plain: dict[str, Any] = field(default_factory=dict)


def drawn(key: str, name: str, make: Callable[[], Any], note: str = "") -> Drawn:
    """A figure of Plotly for the page; where its analysis cannot be made of this run, the reason in its place."""
    try:
        made = make()
    except ResultsError as error:
        return Drawn(key, name, name, note, missing=str(error))
    whole: dict[str, Any] = made.layout.to_plotly_json()  # of the figure itself, arrays would be coded
    layout = {name: value for name, value in whole.items() if name not in ("template", "width", "title")}
    said = made.layout.title.text
    traces, thinned = _thinned([trace.to_plotly_json() for trace in made.data])
    notes = [note, thinned]
    return Drawn(
        key,
        name,
        str(said or name),
        " ".join(filter(None, notes)),
        "",
        {"data": plain(traces), "layout": plain(layout)},
    )


def panels(figure: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The panels of a figure in plain values, each as a figure with axes of its own."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for trace in figure["data"]:
        alone = {name: value for name, value in trace.items() if name not in ("xaxis", "yaxis")}
        groups.setdefault((trace.get("xaxis", "x"), trace.get("yaxis", "y")), []).append(alone)
    found, layout = [], figure["layout"]
    for pair, traces in groups.items():
        axes = {}
        for axis in pair:
            own = layout.get(f"{axis[0]}axis{axis[1:]}", {})
            axes[f"{axis[0]}axis"] = {name: value for name, value in own.items() if name not in OF_PANELS}
        lines = [shape for shape in layout.get("shapes", []) if shape.get("xref", "x").split()[0] == pair[0]]
        lines = [{**shape, "xref": shape["xref"].replace(pair[0], "x"), "yref": "y"} for shape in lines]
        shared = {name: layout[name] for name in ("showlegend", "shapes") if name in layout} | {"shapes": lines}
        found.append({"data": traces, "layout": {**shared, **axes}})
    return found


def pairs(figure: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The panels of a matrix of scatter plots (`splom`) in plain values, each as a figure of its own. Plotly draws the
    matrix by WebGL, for which it makes code from text, and the policy of the page forbids that.
    """
    matrices = [trace for trace in figure["data"] if trace["type"] == "splom"]
    count = len(matrices[0]["dimensions"])
    found = []
    for first, second in combinations(range(count), 2):
        traces = []
        for matrix in matrices:
            x, y = (matrix["dimensions"][place]["values"] for place in (first, second))
            shared = {name: matrix[name] for name in ("name", "marker", "text", "hoverinfo") if name in matrix}
            traces.append({"type": "scatter", "mode": "markers", "x": x, "y": y, **shared})
        labels = [matrices[0]["dimensions"][place]["label"] for place in (first, second)]
        axes = {f"{axis}axis": {"title": {"text": label}} for axis, label in zip("xy", labels, strict=True)}
        found.append({"data": traces, "layout": axes})
    return found


def plain(value: Any) -> Any:
    """Values for JSON: numpy's arrays and scalars as Python's, numbers rounded, None for what is not finite."""
    if isinstance(value, dict):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(inner) for inner in (value.tolist() if isinstance(value, np.ndarray) else value)]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return (
            (float(f"{value:.{DIGITS}g}") if not value.is_integer() else int(value)) if math.isfinite(value) else None
        )
    return value if isinstance(value, str | bool | int) or value is None else str(value)


def _thinned(traces: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
    """The traces with at most about MOST_POINTS points, and in words what was left out. Lines and points of a trace are
    taken evenly, the first and the last included; of too many traces likewise, but the last ones, which are drawn on
    top, all stay.
    """
    kept, said = list(traces), []
    if len(kept) > MOST_TRACES:
        free = len(kept) - MOST_TRACES // 2
        places = {*_evenly(free, MOST_TRACES // 2), *range(free, len(kept))}
        said.append(f"{MOST_TRACES:,} of {len(kept):,} lines are drawn.")
        kept = [trace for place, trace in enumerate(kept) if place in places]
    sizes = [_points(trace) for trace in kept]
    total = sum(sizes)
    if total > MOST_POINTS:
        limits = [max(FEWEST_POINTS, size * MOST_POINTS // total) for size in sizes]
        kept = [_shortened(trace, size, limit) for trace, size, limit in zip(kept, sizes, limits, strict=True)]
        said.append(f"{sum(map(_points, kept)):,} of {total:,} points are drawn.")
    return [{**trace, "type": "scatter"} if trace.get("type") == "scattergl" else trace for trace in kept], " ".join(
        said
    )


def _points(trace: dict[str, Any]) -> int:
    """How many points a trace has that can be left out; of a histogram or a box none, whose shape rests on all."""
    if trace.get("type", "scatter") not in ("scatter", "scattergl", "bar"):
        return 0
    return max(
        (len(trace[name]) for name in ("x", "y") if isinstance(trace.get(name), np.ndarray | list | tuple)), default=0
    )


def _shortened(trace: dict[str, Any], size: int, limit: int) -> dict[str, Any]:
    if size <= limit:
        return trace
    places = _evenly(size, limit)
    found = {name: _taken(value, places, size) if name in ALONG else value for name, value in trace.items()}
    for group, names in ALONG_TOO.items():
        if isinstance(found.get(group), dict):
            found[group] = {n: _taken(v, places, size) if n in names else v for n, v in found[group].items()}
    return found


def _taken(value: Any, places: Sequence[int], size: int) -> Any:
    if not isinstance(value, np.ndarray | list | tuple) or len(value) != size:
        return value
    return value[np.asarray(places)] if isinstance(value, np.ndarray) else [value[place] for place in places]


def _evenly(size: int, count: int) -> list[int]:
    """`count` of the places 0 to size - 1, evenly, with the first and the last."""
    return np.unique(np.linspace(0, size - 1, count).round().astype(int)).tolist()
