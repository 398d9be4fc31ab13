"""Formats the table of results as text, for a terminal or a file."""

import shlex
from pathlib import Path
from typing import Any

import pandas as pd

from results.objectives import directed, score_name
from results.printable import printable
from results.screen import column, laid_out
from results.store import RunFolder
from results.trial_columns import error_column, trial_columns
from results.trial_table import TrialTable

FEWEST_TRIALS = 4  # fewer do not give a spread


def trials_text(
    table: TrialTable, rows: pd.DataFrame, *, reasons: bool, width: int | None = None, sort: str | None = None
) -> str:
    """Formats rows of `table.trials`, or of all rungs, with the hyperparameters that differ between trials, and lines
    on their order and on what is hidden.

    A hyperparameter without effect in a trial is shown as a dash; one that is null, and so follows another, is shown as
    `as` and the name of the other. reasons: show why each trial ended. width: that of a line, in characters, in which
    the columns are shown that matter most; None: all columns. sort: the column that the rows were sorted by, after a
    minus the largest first; None: they are as in `table.trials`.
    """
    lines, hidden = laid_out(trial_columns(table, rows, reasons=reasons), width)
    said = [lines, _order_of(table, rows, sort)]
    if hidden:
        run = "RUN" if table.folder is None else shlex.quote(table.folder.shown)
        said.append(printable(f"{hidden} more column{'s' * (hidden > 1)}: gan-sweep results {run} --wide"))
    return "\n".join(said)


def rows_text(rows: pd.DataFrame) -> str:
    """Formats chosen columns of rows, all of them, however wide."""
    return laid_out([column(name, rows[name]) for name in rows.columns], None)[0]


def _order_of(table: TrialTable, rows: pd.DataFrame, sort: str | None) -> str:
    """In words, how rows are ordered, and which rung of a trial they are."""
    if sort:
        return printable(f"sorted by {sort.removeprefix('-')}" + (", the largest first" if sort[0] == "-" else ""))
    if rows.duplicated(["trial", "replicate"]).any():
        return "in the order in which they were recorded"
    if "pareto_rank" not in rows.columns:
        return f"best by {printable(directed(table.objectives))}, each trial at its best rung"
    first = printable(score_name(table.objective))
    return (
        f"best by {first} on the front (pareto_rank 1) of {directed(table.objectives)}, each trial at its best rung by "
        f"{first}"
    )


def noise_text(table: TrialTable) -> str:
    """A warning with advice if the standard error of the score exceeds half of the interquartile range of the trials.

    Empty otherwise, with fewer than FEWEST_TRIALS contenders, and if no standard error is known.
    """
    contenders, name = table.contenders, score_name(table.objective)
    known = error_column(contenders.columns, name)
    if known is None or len(contenders) < FEWEST_TRIALS:
        return ""
    low, high = contenders["score"].quantile([0.25, 0.75])
    error, spread = contenders[known].dropna().median(), high - low  # pandas 2 warns of a median of NaN alone
    if not error > spread / 2:
        return ""
    return (
        f"the standard error of {printable(name)}, {error:.3g}, is above half of the spread between trials, "
        f"{spread:.3g} in their middle half: their order is mostly luck; draw more samples (scoring.samples), add "
        "pictures, or confirm finalists from other seeds (confirm)"
    )


def confirmation_text(table: TrialTable) -> str:
    """The finalists run again from other seeds, the winner first, and how sure their order is; "" without any."""
    confirmed = table.confirmed
    if confirmed.empty:
        return ""
    objective = printable(score_name(table.objective))
    head = f"finalists from other seeds, {objective} of each run at its best rung; failed runs are the worst"
    return f"{head}\n{rows_text(confirmed)}\n{order_text(table)}"


def order_text(table: TrialTable) -> str:
    """One line on the first two finalists, with medians, quartiles and the probability of their order by chance."""
    first, *others = table.confirmed.to_dict("records")
    if not others:
        return f"trial {first['trial']}: median {spread_text(first)} over {seeds_text(first)}"
    second, chance = others[0], table.chance_of_order()
    return (
        f"trial {first['trial']} before trial {second['trial']}: median {spread_text(first)} against "
        f"{spread_text(second)} over {seeds_text(first)}; by chance with probability {chance:.2g}"
    )


def spread_text(finalist: Any) -> str:
    """Median and quartiles of a row of `confirmed`: `2.41 (2.30 to 2.55)`, or `2.41 (2.30 to inf, 2 failed)`."""
    median, q25, q75 = (f"{finalist[name]:#.3g}".rstrip(".") for name in ("median", "q25", "q75"))
    failed = f", {finalist['failed']} failed" if finalist["failed"] else ""
    return f"{median} ({q25} to {q75}{failed})"


def seeds_text(finalist: Any) -> str:
    """The number of seeds of a row of `confirmed`: `5 seeds`, or `1 seed`."""
    return f"{finalist['seeds']} seed" + ("s" if finalist["seeds"] > 1 else "")


def disk_text(folder: RunFolder) -> str:
    """The disk space of a run: `3.1 MB in runs/mnist, 2.4 MB of it checkpoints of 4 trials`."""
    kept = sum(1 for path in folder.checkpoints.glob("trial-*"))
    whole, checkpoints = (_bytes_below(path) / 1e6 for path in (folder.path, folder.checkpoints))
    trials = "1 trial" if kept == 1 else f"{kept} trials"
    return f"{whole:.1f} MB in {printable(folder.path)}, {checkpoints:.1f} MB of it checkpoints of {trials}"


def _bytes_below(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
