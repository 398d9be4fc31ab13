"""The figure of curves: a metric against the images that trials were shown."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from results.objectives import directed
from results.plots.style import BEST, COLOURS, DEAD, OTHER, as_text, axis_type, figure, graph_objects
from results.table import ResultsTable

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_LINES = 100  # of trials; more hide each other
MOST_DEAD_LINES = 30  # of these, where there are enough others


def curves(table: ResultsTable, metric: str = "d_loss", by_trial: bool = True) -> "Figure":
    """Draws `ResultsTable.curves`: the 5 best trials in colours, the others grey, a cross where a trial died. Of more
    than 100 trials, the best and some that died are drawn, as the title says. Otherwise the median over trials and the
    band between the quartiles. Raises ResultsError for an unknown metric.
    """
    found = table.curves(metric, by_trial)
    name = as_text(directed([table.objective])) if metric == "score" else as_text(metric)
    if not by_trial:
        return _quartiles(found, name)
    found = found.dropna(subset="value")
    every = found["trial"].nunique()
    lines = _lines(table, found)
    found = found.loc[found["trial"].isin(lines)]
    dead = found.loc[found["died"]]
    of = f"{every:,}" if len(lines) == every else f"{len(lines):,} of {every:,}"
    cut = "" if len(lines) == every else ", the best ones and some that died"
    made = figure(f"{name} of {of} trials{cut}", "images seen", name)
    made.update_yaxes(type=axis_type(found["value"]), exponentformat="power")
    made.update_layout(legend={"traceorder": "reversed"})
    ranks = {trial: place for place, trial in enumerate(table.trials["trial"].tolist())}
    for trial, points in sorted(found.groupby("trial"), key=lambda each: -ranks[each[0]]):  # the best on top
        made.add_trace(_line(int(trial), points, ranks[trial]))
    if len(dead):
        texts = [f"trial {trial}: {outcome}" for trial, outcome in zip(dead["trial"], dead["outcome"], strict=True)]
        marker = {"color": DEAD, "symbol": "x", "size": 8}
        shared = {"mode": "markers", "name": "died", "marker": marker, "text": texts, "hoverinfo": "text+x+y"}
        made.add_trace(graph_objects().Scatter(x=dead["images_seen"], y=dead["value"], **shared))
    return made


def _lines(table: ResultsTable, found: pd.DataFrame) -> list[int]:
    """The trials that are drawn: all, or the best ones that live and the first ones that died."""
    known = set(found["trial"])
    died = set(found.loc[found["died"], "trial"])
    order = [trial for trial in table.trials["trial"].tolist() if trial in known]
    living, dead = [t for t in order if t not in died], sorted(died)
    some_dead = dead[: max(MOST_DEAD_LINES, MOST_LINES - len(living))]
    return [*living[: MOST_LINES - len(some_dead)], *some_dead]


def _line(trial: int, points: pd.DataFrame, rank: int) -> Any:
    """The line of one trial. rank: its place in the table, 0 for the best."""
    best = bool(points["best"].iloc[0])
    line = {"color": COLOURS[rank % len(COLOURS)] if best else OTHER, "width": 2.5 if best else 1}
    said = f"trial {trial}" + (", the best" if best and not rank else f", place {rank + 1}" if best else "")
    return graph_objects().Scatter(
        x=points["images_seen"],
        y=points["value"],
        mode="lines" if len(points) > 1 else "markers",
        line=line,
        marker={"color": line["color"]},
        opacity=1.0 if best else 0.4,
        name=said,
        showlegend=best,
        hovertemplate=f"{said}<br>%{{x:,}} images: %{{y:.4g}}<extra></extra>",
    )


def _quartiles(found: pd.DataFrame, name: str) -> "Figure":
    made = figure(f"{name}: median and quartiles of the trials that are left", "images seen", name)
    made.update_yaxes(type=axis_type(found[["q25", "q75"]]), exponentformat="power")
    scatter = graph_objects().Scatter
    shared = {"x": found["images_seen"], "mode": "lines"}
    made.add_trace(scatter(y=found["q25"], line={"width": 0}, showlegend=False, hoverinfo="skip", **shared))
    band = {"fill": "tonexty", "fillcolor": "rgba(0, 114, 178, 0.2)", "line": {"width": 0}}
    made.add_trace(scatter(y=found["q75"], name="quartiles", hoverinfo="skip", **band, **shared))
    texts = [f"{value:.4g}, {trials} trials" for value, trials in zip(found["median"], found["trials"], strict=True)]
    line = {"name": "median", "line": {"color": BEST}, "text": texts, "hoverinfo": "text+x"}
    made.add_trace(scatter(y=found["median"], **line, **shared))
    return made
