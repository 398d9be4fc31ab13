"""Several runs beside each other, at the top of their page."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from results.objectives import natural, score_name
from results.report.figures import Drawn
from results.report.runs import ReportedRun
from results.report.verdict import winner
from results.report.wording import lasting, many, short


@dataclass(frozen=True)
class Compared:
    """lead: what can be said of their order. rows: for each run the cells of a table of them."""

    lead: str
    rows: list[list[str]]
    figures: list[Drawn] = field(default_factory=list)


def compared(runs: Sequence[ReportedRun]) -> Compared:
    """Compares runs as far as their protocols allow it."""
    rows = [_row(run) for run in runs]
    return Compared("", rows, [])


def _row(run: ReportedRun) -> list[str]:
    """Name, best score, score of trial 0, trials, images and time of a run."""
    table: Any = run.table
    if table is None:
        return [run.name, "no trial yet", "", "0", "", ""]
    won, base = winner(table), table.baseline()
    best = (
        "no score"
        if won is None
        else f"{score_name(table.objective)} {short(natural(table.objective, won['score']))} (trial {won['trial']})"
    )
    default = "unknown" if base is None else short(natural(table.objective, base["score"]))
    images = table.frame.groupby(["trial", "replicate"])["images_seen"].max().sum()
    return [run.name, best, default, f"{len(table.trials):,}", many(images), lasting(table.frame["seconds"].sum())]
