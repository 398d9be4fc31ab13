"""Figures of several objectives: the Pareto front, and the hypervolume that it dominates as trials end."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from results.objectives import directed, higher_is_better, score_name
from results.plots.style import BEST, OTHER, axis_type, figure, graph_objects
from results.store import ResultsError
from results.table import ResultsTable

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def pareto(table: ResultsTable) -> "Figure":
    """Draws the objectives of all trials that have them, and among them the Pareto front; for more than two objectives,
    each pair of them. Raises ResultsError as `ResultsTable.pareto` does.
    """
    found = table.pareto()
    found = found.loc[found["pareto_rank"].notna()]
    objectives = {score_name(name): directed([name]) for name in table.objectives}
    made = figure(f"Pareto front: {found['front'].sum()} of {len(found)} trials", showlegend=True)
    kept = found["limits_kept"]
    parts = [
        ("break limits", OTHER, "circle-open", 6, found[~kept]),
        ("other trials", OTHER, "circle", 6, found[kept & ~found["front"]]),
        ("Pareto front", BEST, "circle", 9, found[found["front"]]),
    ]
    for label, colour, symbol, size, rows in parts:
        if rows.empty:
            continue
        marker = {"color": colour, "symbol": symbol, "size": size}
        texts = [_text(row, list(objectives)) for row in rows.to_dict("records")]
        shared = {"name": label, "marker": marker, "text": texts, "hoverinfo": "text"}
        made.add_trace(_pairs(rows, objectives, shared) if len(objectives) > 2 else _pair(rows, objectives, shared))
    if len(objectives) == 2:
        axes = zip((made.update_xaxes, made.update_yaxes), objectives.items(), table.objectives, strict=True)
        for update, (name, title), objective in axes:
            update(title_text=title, type="linear" if higher_is_better(objective) else axis_type(found[name]))
        made.add_trace(_staircase(found[found["front"]], table))
    return made


def hypervolume(table: ResultsTable, reference: Mapping[str, float] | None = None) -> "Figure":
    """Draws the hypervolume against the number of trials and against device-seconds. Raises ResultsError as
    `ResultsTable.hypervolume` does, and without a reference where no trial is on the front.
    """
    found = table.hypervolume(reference)
    if found.filter(like="reference.").isna().all(axis=None):
        raise ResultsError("no trial of this run has all objectives and keeps their limits")
    names = [score_name(name) for name in table.objectives]
    reference_text = ", ".join(f"{name} {found[f'reference.{name}'].iloc[0]:.4g}" for name in names)
    made = figure(f"Hypervolume that the trials dominate, up to {reference_text}", showlegend=False)
    made.set_subplots(rows=1, cols=2, shared_yaxes=True)
    for column, (name, title) in enumerate((("trials", "trials"), ("device_seconds", "device-seconds")), 1):
        line = {"shape": "hv", "color": BEST}
        trials = [f"trial {trial}" for trial in found["trial"]]
        trace = graph_objects().Scatter(x=found[name], y=found["hypervolume"], text=trials, mode="lines", line=line)
        made.add_trace(trace, row=1, col=column)
        made.update_xaxes(title_text=title, row=1, col=column)
    made.update_yaxes(title_text="hypervolume", row=1, col=1)
    return made


def _pair(rows: pd.DataFrame, objectives: Mapping[str, str], shared: Mapping[str, Any]) -> Any:
    x, y = objectives
    return graph_objects().Scatter(x=rows[x], y=rows[y], mode="markers", **shared)


def _pairs(rows: pd.DataFrame, objectives: Mapping[str, str], shared: Mapping[str, Any]) -> Any:
    axes = [{"label": title, "values": rows[name]} for name, title in objectives.items()]
    return graph_objects().Splom(dimensions=axes, diagonal={"visible": False}, showupperhalf=False, **shared)


def _staircase(front: pd.DataFrame, table: ResultsTable) -> Any:
    """The edge of the region that the front dominates, for two objectives."""
    x, y = (score_name(name) for name in table.objectives)
    falling = higher_is_better(table.objectives[0])  # from the better to the worse values of the first objective
    ordered = front.sort_values(x, ascending=not falling)
    line = {"shape": "hv", "color": BEST, "width": 1}
    return graph_objects().Scatter(x=ordered[x], y=ordered[y], mode="lines", line=line, showlegend=False)


def _text(row: Mapping[str, Any], names: list[str]) -> str:
    return "<br>".join([f"trial {row['trial']}, {row['outcome']}", *(f"{name} {row[name]:.4g}" for name in names)])
