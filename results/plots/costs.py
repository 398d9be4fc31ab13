"""Figures of what a run cost, what pruning saved, and of its cohorts as a timeline."""

from typing import TYPE_CHECKING, Any

from results.plots.style import BEST, OTHER, as_text, figure, graph_objects
from results.store import ResultsError
from results.table import ResultsTable

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

BAR_PIXELS, HEAD_PIXELS = 24, 150  # the height of a bar, and of all else in its figure
LONGEST_NAME = 40  # characters, beyond which a name would leave no room for its bar
MOST_PARTS = 12  # of a division that are drawn by name


def cost(table: ResultsTable) -> "Figure":
    """Draws the device-seconds of each part as a bar, in the divisions of `ResultsTable.cost` that have several parts.
    Beyond the 12 largest parts of a division, the others are one bar.
    """
    found = table.cost()
    total = found.loc[found["by"] == "phase", "seconds"].sum()
    made = figure(f"Where {total:,.0f} device-seconds went", "device-seconds", showlegend=False)
    drawn = 0
    for by, rows in found.groupby("by", sort=False):
        bars = _with_others(rows.to_dict("records"))
        if len(bars) > 1 or by == "outcome":
            names = [as_text(_shortened(bar["name"], place)) for place, bar in enumerate(bars, 1)]
            texts = [_bar_text(bar) for bar in bars]
            shared = {"orientation": "h", "marker": {"color": BEST}, "hovertext": texts, "name": str(by)}
            x, y = [bar["seconds"] for bar in bars], [[str(by)] * len(bars), names]
            made.add_trace(graph_objects().Bar(x=x, y=y, **shared))
            drawn += len(bars)
    made.update_yaxes(autorange="reversed")
    return made.update_layout(height=HEAD_PIXELS + BAR_PIXELS * max(drawn, 8))


def savings(table: ResultsTable) -> "Figure":
    """Draws for each rung the device-seconds that the search spent on the way to it, and those that the trials pruned
    there have saved.
    """
    saved = table.savings()
    spent = table.frame.loc[table.frame["replicate"] == 0].groupby("rung")["seconds"].sum()
    title = f"Pruning saved {saved['share'].sum():.0%} of what the search would have cost"
    made = figure(title, "rung", "device-seconds", barmode="group")
    bar = graph_objects().Bar
    made.add_trace(bar(x=spent.index, y=spent, name="spent on the way to it", marker={"color": OTHER}))
    texts = [f"{row['trials']:,} trials pruned, {row['images']:,.0f} images" for row in saved.to_dict("records")]
    shared = {"name": "saved by pruning at it", "marker": {"color": BEST}, "hovertext": texts}
    made.add_trace(bar(x=saved["rung"], y=saved["seconds"], **shared))
    made.update_xaxes(dtick=1)
    return made


def timeline(table: ResultsTable) -> "Figure":
    """Draws when each cohort was trained, in a line for each slot of `ResultsTable.timeline`, a colour for each rung.
    Raises ResultsError if no row has a time, as in tables of early versions.
    """
    found = table.timeline()
    if not max(found["ends_seconds"].tolist()):
        raise ResultsError("the rows of this run have no times: it was made by an early version")
    lines = [f"{as_text(row['node'] or 'this machine')}, slot {row['slot']}" for row in found.to_dict("records")]
    height = HEAD_PIXELS + BAR_PIXELS * max(len(set(lines)), 4)
    made = figure("Cohorts on their machines", "seconds since the sweep began", barmode="overlay", height=height)
    found = found.assign(line=lines, length=found["ends_seconds"] - found["begins_seconds"])
    for rung, rows in found.groupby("rung"):
        texts = [_step_text(row) for row in rows.to_dict("records")]
        shared = {"name": f"to rung {rung}", "hovertext": texts, "hoverinfo": "text", "orientation": "h"}
        trace = graph_objects().Bar(x=rows["length"], y=rows["line"], base=rows["begins_seconds"], **shared)
        made.add_trace(trace)
    made.update_yaxes(categoryorder="array", categoryarray=list(dict.fromkeys(lines))[::-1])
    return made


def _with_others(parts: list[dict[Any, Any]]) -> list[dict[Any, Any]]:
    """The largest parts, and what the others took together."""
    if len(parts) <= MOST_PARTS:
        return parts
    rest = parts[MOST_PARTS:]
    sums = {name: sum(part[name] for part in rest) for name in ("seconds", "images", "trials", "share")}
    return [*parts[:MOST_PARTS], {**sums, "name": f"{len(rest)} others"}]


def _shortened(name: str, place: int) -> str:
    """A name, of which the end is replaced by its place among the others where it is long: no two may be alike."""
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}… ({place})"


def _bar_text(bar: dict[Any, Any]) -> str:
    of = f"{bar['share']:.0%}, {bar['trials']:,} trainings, {bar['images']:,} images"
    return f"{as_text(bar['name'])}<br>{of}"


def _step_text(row: dict[Any, Any]) -> str:
    what = "confirmation" if row["confirmation"] else "search"
    return (
        f"cohort {row['cohort']}, {what}, to rung {row['rung']}: {row['lanes']} lanes<br>"
        f"{row['begins_seconds']:,.0f} to {row['ends_seconds']:,.0f} s<br>{as_text(row['device'])}"
    )
