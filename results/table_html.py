"""What a notebook shows of a table: the best trials in the columns that matter most, and how to go on."""

from html import escape
from typing import Any

from results.objectives import directed, natural, score_name
from results.printable import printable
from results.screen import Column, fitting
from results.trial_columns import trial_columns
from results.trial_table import TrialTable

MOST_TRIALS = 10
WIDTH = 110  # characters of a row
NO_ANALYSES = ("select",)  # methods of the table that are no analysis


def table_html(table: TrialTable) -> str:
    """HTML without any script or style sheet, in which every text of the run is escaped."""
    rows = table.trials.head(MOST_TRIALS)
    columns = fitting(trial_columns(table, rows, reasons=False), WIDTH)
    heads = "".join(f"<th{_side(each)}>{escape(each.name)}</th>" for each in columns)
    lines = zip(*([f"<td{_side(each)}>{escape(cell)}</td>" for cell in each.cells] for each in columns), strict=True)
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in lines)
    return (
        f"<p>{escape(printable(_summary(table)))}</p>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
        f"<p>{escape(printable(_next(table, len(rows))))}</p>"
    )


def _side(each: Column) -> str:
    return f' style="text-align: {"left" if each.left else "right"}; white-space: nowrap"'


def _summary(table: TrialTable) -> str:
    """One line: which run, how its trials ended, the best one and the defaults."""
    run = "A run" if table.folder is None else table.folder.shown
    count = len(table.trials)
    said = f"{run}: {count} trial{'s' * (count != 1)} ({table.endings}), by {directed(table.objectives)}"
    base: Any = table.baseline()
    if table.contenders.empty:
        return f"{said}; none has a score"
    best: Any = table.best()
    name = score_name(table.objective)
    said += f"; best: trial {best['trial']}, {name} {natural(table.objective, best['score']):.4g}"
    if base is None or table.is_baseline(best):
        return said
    return f"{said}; the defaults (trial 0): {natural(table.objective, base['score']):.4g}"


def _next(table: TrialTable, shown: int) -> str:
    """Where the rest is, and what the table can be asked."""
    left = len(table.trials) - shown
    rest = f"{left} more trial{'s' * (left != 1)} and all columns" if left else "All columns"
    methods = [name for name, value in vars(type(table)).items() if callable(value) and name not in NO_ANALYSES]
    analyses = [f"{name}()" for name in methods if not name.startswith("_")]
    said = f"{rest}: .trials, .frame (each rung), .select(where=...)."
    return f"{said} Analyses: {', '.join(analyses)}; figures: results.plots." if analyses else said
