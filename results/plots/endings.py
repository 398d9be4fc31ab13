"""Figures of how trials ended: in which regions of the space, and after which signs of trouble."""

from typing import TYPE_CHECKING

from results.plots.style import BEST, COLOURS, DEAD, OTHER, as_text, figure, graph_objects
from results.rows import Outcome, short
from results.store import ResultsError
from results.table import ResultsTable

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

OUTCOMES = {
    Outcome.COMPLETED: BEST,
    Outcome.RUNNING: COLOURS[4],
    Outcome.PRUNED: OTHER,
    Outcome.DIVERGED: DEAD,
    Outcome.COLLAPSED: COLOURS[1],
    Outcome.OUT_OF_MEMORY: COLOURS[3],
    Outcome.FAILED: "#000000",
}
REGION_PIXELS = 22  # the height of a region


def outcomes(table: ResultsTable, bins: int = 5) -> "Figure":
    """Draws the shares of the outcomes in each region of each parameter, with the number of its trials. Raises
    ResultsError as `ResultsTable.outcomes` does, and if all trials have the same configuration.
    """
    found = table.outcomes(bins)
    if found.empty:
        raise ResultsError("nothing differs between the trials of this run")
    totals = found.groupby(["parameter", "region"])["trials"].transform("sum")
    labels = [f"{as_text(region)} ({total})" for region, total in zip(found["region"], totals, strict=True)]
    found = found.assign(name=found["parameter"].map(short), label=labels)
    height = 150 + REGION_PIXELS * len(found[["name", "label"]].drop_duplicates())
    made = figure("How trials ended", "share of the trials of a region", barmode="stack", height=height)
    for outcome, colour in OUTCOMES.items():
        rows = found[found["outcome"] == outcome]
        if rows.empty:
            continue
        y = [rows["name"].tolist(), rows["label"].tolist()]
        texts = [f"{trials} {outcome}" for trials in rows["trials"]]
        shared = {"name": str(outcome), "marker": {"color": colour}, "hovertext": texts, "orientation": "h"}
        made.add_trace(graph_objects().Bar(x=rows["share"], y=y, **shared))
    made.update_xaxes(range=[0, 1], tickformat=".0%")
    made.update_yaxes(autorange="reversed")
    return made


def signs_before_death(table: ResultsTable, between_rungs: bool = True) -> "Figure":
    """Draws for each sign of trouble the share of the dead trials that had it before they died, and of the survivors.
    Raises ResultsError if no trial had a sign.
    """
    found = table.signs_before_death(between_rungs)
    if found.empty:
        raise ResultsError("no trial of this run showed a sign of trouble before its end")
    made = figure("Signs of trouble before a death", "", "share of the trials", barmode="group")
    dead = [
        f"{row['dead']} of {row['of_dead']}, {row['median_images_before_death']:,.0f} images before"
        for row in found.to_dict("records")
    ]
    alive = [f"{row['survivors']} of {row['of_survivors']}" for row in found.to_dict("records")]
    of = {name: int(found[f"of_{name}"].iloc[0]) for name in ("dead", "survivors")}
    parts = (
        (f"{of['dead']:,} dead trials, before they died", DEAD, "dead_share", dead),
        (f"{of['survivors']:,} survivors", BEST, "survivors_share", alive),
    )
    for name, colour, column, texts in parts:
        shared = {"name": name, "marker": {"color": colour}, "hovertext": texts}
        made.add_trace(graph_objects().Bar(x=[as_text(sign) for sign in found["sign"]], y=found[column], **shared))
    made.update_yaxes(range=[0, 1], tickformat=".0%")
    return made
