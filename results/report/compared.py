"""Several runs beside each other, at the top of their page."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from results import plots
from results.objectives import higher_is_better, natural, score_name
from results.report.figures import Drawn, drawn, panels
from results.report.runs import ReportedRun
from results.report.verdict import winner
from results.report.wording import lasting, many, short
from results.store import ResultsError
from results.table import ResultsTable

MOST_DIFFERENCES = 60


@dataclass(frozen=True)
class Compared:
    """lead: what can be said of the order of the runs, or why nothing can. rows: for each run the cells of a table.
    differences: settings that differ, each with its value in each run.
    """

    lead: str
    rows: list[list[str]]
    figures: list[Drawn] = field(default_factory=list)
    differences: list[list[str]] = field(default_factory=list)


def distinct_names(runs: Sequence[ReportedRun]) -> list[str]:
    """The names of runs; where two are alike, their places."""
    names = [run.name for run in runs]
    return names if len(set(names)) == len(names) else [f"{run.name} ({run.folder.shown})" for run in runs]


def compared(runs: Sequence[ReportedRun]) -> Compared:
    """Compares runs as far as their protocols allow it."""
    names = distinct_names(runs)
    rows = [_row(run, name) for run, name in zip(runs, names, strict=True)]
    tables: dict[str, ResultsTable] = {
        n: run.table for n, run in zip(names, runs, strict=True) if run.table is not None
    }
    if len(tables) < 2:
        return Compared("Two runs with trials are needed for a comparison.", rows)
    (first, *others), named = tables.values(), list(tables)
    try:
        found = first.compare(*others, names=named)
    except ResultsError as error:
        return Compared(f"{str(error)[:1].upper()}{str(error)[1:]}.", rows)
    figure = drawn("compared-figure", "Runs beside each other", lambda: plots.compare(first, *others, names=named))
    pair = zip(("The best score so far", "All trials at their best rungs"), panels(figure.plain), strict=True)
    figures = [replace(figure, key=f"{figure.key}-{n}", title=t, plain=plain) for n, (t, plain) in enumerate(pair)]
    differing = first.differences(*others, names=named).head(MOST_DIFFERENCES)
    return Compared(
        _lead(first, found), rows, figures, [[_cell(value) for value in row] for row in differing.to_numpy()]
    )


def _lead(table: ResultsTable, found: pd.DataFrame) -> str:
    """Which run reached the best score, and how the first one compares with each of the others."""
    name = score_name(table.objective)
    known: list[Any] = (
        found.dropna(subset="best")
        .sort_values("best", ascending=not higher_is_better(table.objective))
        .to_dict("records")
    )
    sentences = ["No run has a trial that keeps the limits."]
    if known:
        rest = ", ".join(f"{short(row['best'])} of {row['run']}" for row in known[1:])
        best = f"{known[0]['run']} reached the best {name}, {short(known[0]['best'])} (trial {known[0]['best_trial']})"
        sentences = [f"{best}, against {rest}." if rest else f"{best}."]
    mine, *others = found.to_dict("records")
    for row in others:
        if pd.notna(row["chance_of_order"]):
            sentences.append(
                f"{mine['run']} is better than {row['run']} with probability {row['probability_of_improvement']:.2g} "
                f"({row['tested']}); by chance alone they would differ so clearly with probability "
                f"{row['chance_of_order']:.2g}."
            )
    return " ".join(sentences)


def _cell(value: Any) -> str:
    return "–" if value is None or value == "" else str(value)


def _row(run: ReportedRun, name: str) -> list[str]:
    """Name, best score, score of trial 0, trials, images and time of a run."""
    table: Any = run.table
    if table is None:
        return [name, "no trial yet", "", "0", "", ""]
    won, base = winner(table), table.baseline()
    best = "no score"
    if won is not None:
        best = f"{score_name(table.objective)} {short(natural(table.objective, won['score']))} (trial {won['trial']})"
    default = "unknown" if base is None else short(natural(table.objective, base["score"]))
    images = table.frame.groupby(["trial", "replicate"])["images_seen"].max().sum()
    return [name, best, default, f"{len(table.trials):,}", many(images), lasting(table.frame["seconds"].sum())]
