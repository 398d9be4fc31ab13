"""The parts of the page that are figures: which there are, what a reader should know of each, and in which order."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pandas as pd

from results.objectives import score_name
from results.report.figures import Drawn, drawn
from results.store import ResultsError
from results.table import ResultsTable

MOST_SLICES = 5


@dataclass(frozen=True)
class Section:
    """key: its name in the page. title, lead: what it is about. figures: in their order."""

    key: str
    title: str
    lead: str
    figures: list[Drawn] = field(default_factory=list)


def important(table: ResultsTable) -> list[str]:
    """The hyperparameters that differ, the most important first; none where importance cannot be told."""
    if not hasattr(table, "importance"):
        return []
    try:
        found: pd.DataFrame = table.importance()
    except ResultsError:
        return []
    names = found.sort_values("importance", ascending=False)["parameter"]
    return [name.removesuffix(".ratio").removesuffix(".complement") for name in names]


def sections(table: ResultsTable, ranked: list[str], key: str) -> list[Section]:
    """The sections of a run that are figures, but for parallel coordinates. ranked: as `important` returns it. key: what
    the keys of its figures begin with.
    """

    def temporary(table):
        from results.plots.style import figure

        f = figure("Best so far", "trials", "fidelity")
        t = table.trials.sort_values("trial")
        f.add_scatter(x=t["trial"], y=t["score"], mode="markers", name="trials", marker={"color": "#999999"})
        f.add_scatter(
            x=t["trial"],
            y=t["score"].cummin(),
            mode="lines",
            name="best so far",
            line={"color": "#0072b2", "shape": "hv"},
        )
        return f

    def one(name: str, title: str, make: Callable[..., Any], *given: Any, note: str = "", **named: Any) -> Drawn:
        return drawn(f"{key}-{name}", title, partial(make, table, *given, **named), note)

    name = score_name(table.objective)
    return [
        Section(
            "history",
            "History",
            "How the best score fell, and what more budget might buy.",
            [
                one("history", "The best so far", temporary),
            ],
        ),
    ]
