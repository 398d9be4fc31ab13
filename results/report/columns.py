"""The table of a page: the columns of the trials as compact values for JSON, and the axes of parallel coordinates."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from results.objectives import higher_is_better, score_name
from results.printable import printable
from results.rows import MAY_BE_NULL, short
from results.table import ResultsTable
from results.trial_columns import REPORTED, SHOWN_SCORES

DIGITS = 6  # to which numbers are sent
MOST_AXES = 9  # of hyperparameters in parallel coordinates
MOST_PRINTED = 5  # hyperparameters on paper, which is narrow


def table_columns(table: ResultsTable, important: list[str]) -> list[dict[str, Any]]:
    """The columns of the table of trials, in their order. important: parameters that matter, the most important
    first, whose hyperparameters come before others.

    Each has `name`, `title` (shown), `about` (its full name and what is better), `key` (whether it is printed on
    paper), and `values`, one for each trial, None where missing. Texts are numbers of `words`.
    """
    trials: Any = table.trials
    objective = score_name(table.objective)
    scores = [f"fidelity.{name}" for name in (*map(score_name, table.objectives), *SHOWN_SCORES)]
    limits = [name for name in trials.columns if name.startswith("limits_broken")]
    ranked = ordered(table, important)
    names = ["trial", "outcome", "pareto_rank", "images_seen", *scores[: len(table.objectives)], *limits, *ranked]
    names += [*scores, *(name for name in trials.columns if name.startswith(REPORTED)), "seconds", "signs", "reason"]
    keys = {"trial", "outcome", "pareto_rank", "images_seen", f"fidelity.{objective}", *ranked[:MOST_PRINTED], "signs"}
    return [_column(table, trials[name], name in keys) for name in dict.fromkeys(names) if _is_shown(trials, name)]


def ordered(table: ResultsTable, important: list[str]) -> list[str]:
    """The hyperparameters that differ between trials, those of important parameters first."""
    differing, important = table.differing, [_hyperparameter(name) for name in important]
    return [*(name for name in important if name in differing), *(n for n in differing if n not in important)]


def parallel_axes(table: ResultsTable, columns: list[dict[str, Any]], important: list[str]) -> list[dict[str, Any]]:
    """The axes of parallel coordinates: the most important hyperparameters, then the first objective (`score`). Each is
    the number of its `column`, whether it is a `log` axis, and whether it has `choices`, which stand evenly on it.
    """
    place = {column["name"]: number for number, column in enumerate(columns)}
    ranges: Mapping[str, Any] = (table.spec.get("space") or {}).get("ranges") or {}
    axes = []
    for name in ordered(table, important)[:MOST_AXES]:
        drawn = ranges.get(name) if isinstance(ranges, Mapping) else None
        values = [value for value in columns[place[name]]["values"] if value is not None]
        log = isinstance(drawn, Mapping) and bool(drawn.get("log")) and all(value > 0 for value in values)
        choices = isinstance(drawn, Mapping) and "choices" in drawn
        axes.append({"column": place[name], "log": log, "choices": choices or "words" in columns[place[name]]})
    score = place.get(f"fidelity.{score_name(table.objective)}")
    if score is not None:
        axes.append({"column": score, "log": False, "choices": False, "score": True})
    return axes


def _hyperparameter(parameter: str) -> str:
    """The hyperparameter that a parameter stands for, which may be its ratio to another one or its complement."""
    return parameter.removesuffix(".ratio").removesuffix(".complement")


def _is_shown(trials: pd.DataFrame, name: str) -> bool:
    if name not in trials.columns:
        return False
    return name not in ("signs",) and not name.startswith("limits_broken") or bool(trials[name].astype(bool).any())


def _column(table: ResultsTable, values: Any, key: bool) -> dict[str, Any]:
    name = str(values.name)
    title = short(name) if "." in name else name.replace("_", " ")
    objective = next((each for each in table.objectives if name == f"fidelity.{score_name(each)}"), None)
    better = "" if objective is None else "higher is better" if higher_is_better(objective) else "lower is better"
    follows = f"where it is missing, it is {MAY_BE_NULL[name]}" if name in MAY_BE_NULL else ""
    about = "; ".join(filter(None, [name, better, follows]))
    found = {"name": name, "title": title, "about": about, "key": key}
    if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype):
        return {**found, "values": [_number(value) for value in values.astype(object).where(values.notna(), None)]}
    words: dict[str, int] = {}
    texts = [None if pd.isna(value) else words.setdefault(printable(value), len(words)) for value in values.tolist()]
    return {**found, "values": texts, "words": list(words)}


def _number(value: Any) -> int | float | None:
    """A number for JSON: whole numbers as they are, others to DIGITS digits, None for what is not finite."""
    if value is None or isinstance(value, int):
        return value
    if float(value).is_integer() and abs(value) < 2**53:
        return int(value)
    rounded = float(f"{value:.{DIGITS}g}")
    return rounded if abs(rounded) < float("inf") else None
