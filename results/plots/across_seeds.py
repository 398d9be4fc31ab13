"""The figure of finalists: the replicates of each, and what they say together."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from results.objectives import directed
from results.plots.style import BEST, DEAD, OTHER, figure, graph_objects
from results.store import ResultsError
from results.table import ResultsTable

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

BESIDE = 0.2  # of the distance between two finalists, by which an interval stands beside its points


def replicates(table: ResultsTable) -> "Figure":
    """Draws each finalist's replicates as a strip of points, failed ones as crosses above (or below) all others, and
    beside it the median and the interquartile mean with its interval of 95%, as `ResultsTable.finalists` has them.

    Raises ResultsError if no replicate has a row.
    """
    found: Any = table.replicates()
    finalists = table.finalists()
    if found.empty:
        raise ResultsError("no trial of this run was trained from other seeds: confirm finalists (confirm.top)")
    places = {trial: place for place, trial in enumerate(found["trial"].unique())}
    made = figure("Finalists trained from other seeds", "", directed([table.objective]))
    edge = _edge(found["score"])
    for label, colour, symbol, rows in (
        ("replicate", OTHER, "circle", found[~found["failed"]]),
        ("failed replicate", DEAD, "x", found[found["failed"]]),
    ):
        values = rows["score"].where(np.isfinite(rows["score"]), edge)
        marker = {"color": colour, "symbol": symbol, "size": 8}
        shared = {"mode": "markers", "name": label, "marker": marker, "hoverinfo": "text"}
        texts = [_replicate_text(row) for row in rows.to_dict("records")]
        made.add_trace(graph_objects().Scatter(x=rows["trial"].map(places), y=values, text=texts, **shared))
    if len(finalists):
        _add_summaries(made, finalists)
    ticks = [f"trial {trial}" for trial in places]
    made.update_xaxes(tickvals=list(places.values()), ticktext=ticks, range=[-0.5, len(places) - 0.5])
    return made


def _add_summaries(made: "Figure", finalists: pd.DataFrame) -> None:
    """Draws what the replicates of each finalist say together, beside their points."""
    x = np.arange(len(finalists)) + BESIDE
    mean = finalists["interquartile_mean"]
    interval = {"symmetric": False, "array": finalists["high"] - mean, "arrayminus": mean - finalists["low"]}
    texts = [_finalist_text(row) for row in finalists.to_dict("records")]
    shared = {"mode": "markers", "text": texts, "hoverinfo": "text"}
    scatter = graph_objects().Scatter
    marker = {"color": BEST, "size": 9}
    means = {"name": "interquartile mean with its 95% interval", "marker": marker, "error_y": interval}
    made.add_trace(scatter(x=x, y=mean, **means, **shared))
    marker = {"color": BEST, "size": 16, "symbol": "line-ew-open", "line": {"width": 2}}
    made.add_trace(scatter(x=x, y=finalists["median"], name="median", marker=marker, **shared))


def _edge(values: Any) -> float:
    """Where failed replicates are drawn: beyond the other values, on the side of the worse ones."""
    finite = values[np.isfinite(values)]
    if finite.empty:
        return 0.0
    beyond = 0.1 * (finite.max() - finite.min() or 1.0)
    return float(finite.max() + beyond if values.max() == np.inf else finite.min() - beyond)


def _replicate_text(row: dict[str, Any]) -> str:
    said = str(row["outcome"]) if row["failed"] else f"{row['score']:.4g}, {row['outcome']}"
    return f"trial {row['trial']}, replicate {row['replicate']}: {said}"


def _finalist_text(row: dict[str, Any]) -> str:
    lines = [
        f"trial {row['trial']}, {row['seeds']} seeds, {row['failed']} failed",
        f"median {row['median']:.4g}",
        f"interquartile mean {row['interquartile_mean']:.4g} ({row['low']:.4g} to {row['high']:.4g})",
    ]
    if not np.isnan(row["chance_of_order"]):
        lines.append(f"the first is better with probability {row['probability_of_improvement']:.2g}")
        lines.append(f"so clear an order by chance: {row['chance_of_order']:.2g}")
    return "<br>".join(lines)
