"""The figure of several runs beside each other."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from results.objectives import directed, natural
from results.plots.style import COLOURS, OTHER, as_text, axis_type, figure, graph_objects
from results.table import ResultsTable

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_POINTS = 200  # that a box has beside it one by one


def compare(
    table: ResultsTable, *others: ResultsTable, score: float | None = None, names: Sequence[str] | None = None
) -> "Figure":
    """Draws the best score so far of each run against device-seconds, with a line at the score to reach, and beside it
    the scores of its trials at their best rungs. Raises ResultsError as `ResultsTable.compare` does.
    """
    found = table.compare(*others, score=score, names=names)
    target = float(found["score_to_reach"].iloc[0])
    made: Any = figure("Runs beside each other")
    made.set_subplots(rows=1, cols=2, shared_yaxes=True, column_widths=[0.6, 0.4], horizontal_spacing=0.04)
    drawn: list[float] = []
    for place, (each, run) in enumerate(zip((table, *others), found["run"], strict=True)):
        colour, name = COLOURS[place % len(COLOURS)], as_text(run)
        course = each.history()
        scores = natural(each.objective, 1.0) * each.contenders["score"]
        drawn += [*course["best"], *scores]
        line = {"shape": "hv", "color": colour}
        shared = {"name": name, "legendgroup": name}
        scatter = graph_objects().Scatter(
            x=course["device_seconds"], y=course["best"], mode="lines", line=line, **shared
        )
        made.add_trace(scatter, row=1, col=1)
        points = "all" if len(scores) <= MOST_POINTS else "outliers"
        texts = [f"trial {trial}" for trial in each.contenders["trial"]]
        shared |= {"marker": {"color": colour}, "boxpoints": points, "text": texts, "showlegend": False}
        made.add_trace(graph_objects().Box(y=scores, **shared), row=1, col=2)
    made.add_hline(y=target, line={"dash": "dot", "color": OTHER}, row=1, col=1)
    made.update_xaxes(title_text="device-seconds", row=1, col=1)
    made.update_xaxes(title_text="trials at their best rungs", showticklabels=False, row=1, col=2)
    made.update_yaxes(type=axis_type(drawn))
    made.update_yaxes(title_text=f"best {directed([table.objective])}", row=1, col=1)
    return made
