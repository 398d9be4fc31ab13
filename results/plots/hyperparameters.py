"""Figures of hyperparameters against scores: which matter, and parallel coordinates of all."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from results.analysis import drawn
from results.analysis.drawn import Parameter, chosen
from results.analysis.rung_rows import rows_at
from results.objectives import directed, higher_is_better
from results.plots.style import BEST, DEAD, OTHER, as_text, axis_type, figure, graph_objects
from results.store import ResultsError
from results.table import ResultsTable, Rung

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

TICKS = 5
BELOW = 0.1  # of an axis, by which what has no number stands beside the numbers
COLOURS_BY_RANK = [[0.0, BEST], [0.45, "#9ecae1"], [0.9, "#dddddd"], [0.9, DEAD], [1.0, DEAD]]


def importance(table: ResultsTable, rung: int | Literal["first", "last", "both"] = "first") -> "Figure":
    """Draws `ResultsTable.importance`: a bar for each parameter, blue where it is above its noise, which is a tick, and
    grey elsewhere. Raises ResultsError as it does.
    """
    found = table.importance(rung)
    rungs = found["rung"].unique().tolist()
    said = found.drop_duplicates("rung").set_index("rung")
    names = [f"rung {n}: the best {said['top_trials'][n]} of {said['trials'][n]} trials" for n in rungs]
    title = "Importance for being among the best; the black tick is what chance gives"
    made = figure(title if len(rungs) > 1 else f"{title} ({names[0]})", showlegend=False)
    made.set_subplots(rows=1, cols=len(rungs), shared_yaxes=True, subplot_titles=names if len(rungs) > 1 else None)
    made.update_layout(margin={"l": 220, "t": 90})
    for column, number in enumerate(rungs, 1):
        rows = found.loc[found["rung"] == number].iloc[::-1]  # Plotly draws the first at the bottom
        labels = [as_text(name) for name in rows["parameter"]]
        colours = [BEST if above else OTHER for above in rows["above_noise"]]
        shared = {"y": labels, "hovertemplate": "%{y}: %{x:.1%}<extra></extra>"}
        bars = graph_objects().Bar(x=rows["importance"], orientation="h", marker={"color": colours}, **shared)
        made.add_trace(bars, row=1, col=column)
        tick = {"symbol": "line-ns-open", "size": 14, "color": "black", "line": {"width": 2}}
        noise = graph_objects().Scatter(x=rows["noise"], mode="markers", marker=tick, **shared)
        made.add_trace(noise, row=1, col=column)
        made.update_xaxes(title_text="share of the importance", tickformat=".0%", rangemode="tozero", row=1, col=column)
    return made


def parallel(table: ResultsTable, parameters: Sequence[str] | None = None, rung: Rung = None) -> "Figure":
    """Draws `ResultsTable.parallel` as parallel coordinates that can be brushed: an axis for each parameter and one for
    the score, a line for each trial, the best ones blue and dead ones in orange, to the tick "dead". Raises
    ResultsError as it does, and if no trial has a score.

    Optuna's own figure has a trace for each trial, which cannot be brushed and is slow for a thousand.
    """
    frame = table.rank(parameters, rung)
    frame = frame.loc[frame["score"].notna() | frame["dead"]]
    order = frame["rank"].where(~frame["dead"]).to_numpy(float)
    if not np.isfinite(order).any():
        raise ResultsError(f"no trial that is not dead has a score: {table.endings}")
    rows = rows_at(table, rung)
    rows = rows.loc[rows["trial"].isin(frame["trial"])].reset_index(drop=True)
    axes = [_axis(each) for each in chosen(drawn.parameters(table, rows), parameters)]
    name, scores = as_text(directed([table.objective])), frame["score"].where(~frame["dead"]).to_numpy(float)
    log = axis_type(scores) == "log"
    axes.append(_number_axis(scores, name, log, "dead", higher_is_better(table.objective)))
    colours = np.where(np.isnan(order), 1.0, 0.89 * order)
    line = {"color": colours, "cmin": 0, "cmax": 1, "colorscale": COLOURS_BY_RANK}
    made = figure(f"{len(frame):,} trials, a line each: {name}")
    made.add_trace(graph_objects().Parcoords(dimensions=axes, line=line, labelangle=-30))
    made.update_layout(margin={"l": 140, "r": 120, "t": 160, "b": 30}, title={"y": 0.98, "yanchor": "top"})
    return made


def _axis(parameter: Parameter) -> dict[str, Any]:
    """The axis of a parameter; trials in which it is idle end at a tick of their own."""
    if not parameter.choices:
        numbers = np.array([np.nan if value is None else value for value in parameter.values.tolist()], float)
        return _number_axis(numbers, as_text(parameter.name), parameter.log, "idle", True)
    places = {choice: place for place, choice in enumerate(parameter.choices, 1)}
    values = [0 if value is None else places[value] for value in parameter.values.tolist()]
    idle = {} if parameter.exists.all() else {0: "idle"}
    ticks = {**idle, **{place: as_text(choice) for choice, place in places.items()}}
    return {
        "label": as_text(parameter.name),
        "values": values,
        "tickvals": list(ticks),
        "ticktext": list(ticks.values()),
    }


def _number_axis(numbers: np.ndarray, label: str, log: bool, missing: str, missing_is_low: bool) -> dict[str, Any]:
    """The axis of numbers. missing: what the tick says beside the numbers, at which lines without one end."""
    shown = np.log10(numbers) if log else numbers
    low, high = np.nanmin(shown), np.nanmax(shown)
    beside = BELOW * (high - low or 1.0)
    ticks = np.linspace(low, high, TICKS).tolist() if high > low else [low]
    texts = [f"{10**tick if log else tick:.3g}" for tick in ticks]
    if np.isnan(shown).any():
        place = low - beside if missing_is_low else high + beside
        shown, ticks, texts = np.where(np.isnan(shown), place, shown), [*ticks, place], [*texts, missing]
    return {"label": label, "values": shown, "tickvals": ticks, "ticktext": texts}
