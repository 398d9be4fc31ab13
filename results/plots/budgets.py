"""Figures of what a search cost: the best score as it went down, and what the best of k trials reaches."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from results.objectives import directed
from results.plots.style import BASELINE, BEST, COLOURS, as_text, axis_type, figure, graph_objects
from results.table import ResultsTable

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SPENT = {"trials": "trials", "images": "images, of all trials", "device_hours": "device-hours"}  # column -> axis
BAND = "rgba(0, 114, 178, 0.2)"


def history(table: ResultsTable) -> "Figure":
    """Draws `ResultsTable.history`: the best score so far against trials, and by buttons against images and
    device-hours; the score of the defaults as a line; stars where finalists were found.
    """
    found = table.history()
    found = found.assign(device_hours=found["device_seconds"] / 3600)
    name = as_text(directed([table.objective]))
    steps = found.loc[found["improved"] | (np.arange(len(found)) == len(found) - 1)]
    stars = found.loc[found["finalist"]]
    made = figure(f"Best score so far of {found['trials'].iloc[-1]:,} trials", SPENT["trials"], name)
    scatter = graph_objects().Scatter
    made.add_trace(
        scatter(
            x=steps["trials"],
            y=steps["best"],
            mode="lines+markers",
            line={"shape": "hv", "color": BEST},
            name="best so far",
            text=_texts(steps),
            hoverinfo="text",
        )
    )
    default = {"line": {"color": BASELINE, "dash": "dash"}, "name": "defaults (trial 0)", "hoverinfo": "name+y"}
    ends = found.iloc[[0, -1]]
    made.add_trace(scatter(x=ends["trials"], y=ends["default"], mode="lines", **default))
    marker = {"color": COLOURS[1], "symbol": "star", "size": 12}
    star = {"marker": marker, "name": "finalist found", "text": _texts(stars), "hoverinfo": "text"}
    made.add_trace(scatter(x=stars["trials"], y=stars["score"], mode="markers", **star))
    made.update_yaxes(type=axis_type(found[["best", "default"]]))
    buttons = [
        {
            "label": title.partition(",")[0],
            "method": "update",
            "args": [{"x": [rows[column].tolist() for rows in (steps, ends, stars)]}, {"xaxis.title.text": title}],
        }
        for column, title in SPENT.items()
    ]
    menu = {"type": "buttons", "direction": "right", "buttons": buttons, "x": 1, "xanchor": "right", "y": 1.12}
    made.update_layout(updatemenus=[menu])
    return made


def expected_best(table: ResultsTable, budget: int | None = None) -> "Figure":
    """Draws `ResultsTable.expected_best`; the title says which of both it is. Raises ResultsError as it does."""
    found = table.expected_best(budget)
    name = as_text(directed([table.objective]))
    kind = str(found["kind"].iloc[0])
    if kind == "best so far":
        made = figure("Best score so far (trials of this search depend on each other)", "trials", name)
        made.update_yaxes(type=axis_type(found["best"]))
        made.add_trace(_median(found, "best so far", "hv"))
        return made
    made = figure("Best of k random trials: median, and where nine in ten searches end", "k, trials", name)
    finite: Any = found.replace([np.inf, -np.inf], np.nan)
    made.update_yaxes(type=axis_type(finite[["low", "high"]]))
    shared = {"x": finite["trials"], "mode": "lines", "hoverinfo": "skip"}
    known = finite.dropna(subset=["low", "high"])  # where the band has both of its ends
    scatter = graph_objects().Scatter
    made.add_trace(scatter(**{**shared, "x": known["trials"]}, y=known["low"], line={"width": 0}, showlegend=False))
    band = {"fill": "tonexty", "fillcolor": BAND, "line": {"width": 0}, "name": "5% to 95%"}
    made.add_trace(scatter(**{**shared, "x": known["trials"]}, y=known["high"], **band))
    made.add_trace(_median(finite, "median", "linear"))
    if_any = {"line": {"color": BEST, "dash": "dot"}, "name": "mean, where one has a score"}
    made.add_trace(scatter(y=finite["expected_if_any"], **if_any, **shared))
    return made


def _median(found: pd.DataFrame, name: str, shape: str) -> Any:
    texts = [
        f"{row['trials']} trials, {row['device_seconds'] / 3600:.3g} device-hours: {row['best']:.4g}"
        + ("" if pd.isna(row["chance_of_score"]) else f"<br>{row['chance_of_score']:.1%} have a score")
        for row in found.to_dict("records")
    ]
    line = {"shape": shape, "color": BEST}
    return graph_objects().Scatter(
        x=found["trials"], y=found["best"], mode="lines", line=line, name=name, text=texts, hoverinfo="text"
    )


def _texts(rows: pd.DataFrame) -> list[str]:
    return [
        f"trial {row['trial']}, rung {row['rung']}: {row['score']:.4g}<br>after {row['trials']} trials, "
        f"{row['images']:,} images, {row['device_hours']:.3g} device-hours"
        for row in rows.to_dict("records")
    ]
