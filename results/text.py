"""Formats the table of results as text, for a terminal or a file."""

from pathlib import Path
from typing import Any

import pandas as pd

from results.objectives import directed, score_name
from results.printable import printable
from results.rows import MAY_BE_NULL
from results.store import RunFolder
from results.trial_table import TrialTable

SHOWN_SCORES = (  # shown if the table has them
    *("fidelity", "fid", "kid", "precision", "recall", "coverage", "class_kl", "classes_covered"),
    *("class_accuracy", "code_agreement", "triangle_precision", "triangle_recall", "memorisation"),
    *("wasserstein", "energy", "mean_error", "deviation_error", "modes_covered", "high_quality_share"),
)
UNBOUNDED = 10_000  # characters
FEWEST_TRIALS = 4  # fewer do not give a spread


def trials_text(table: TrialTable, trials: Any, *, reasons: bool, width: int | None = None) -> str:
    """Formats rows of `table.trials`, with the hyperparameters that differ between trials, and a line on their order.

    A hyperparameter without effect in a trial is shown as a dash; one that is null, and so follows another, is shown as
    `as` and the name of the other. reasons: show why each trial ended. width: that of a line, in characters; None: any.
    """
    searched = table.differing
    wanted = dict.fromkeys(f"fidelity.{name}" for name in (*map(score_name, table.objectives), *SHOWN_SCORES))
    scores = [column for column in wanted if column in trials.columns]
    said = ("limits_broken", "signs")
    signs = [name for name in said if name in trials.columns and trials[name].astype(bool).any()]
    front = ["pareto_rank"] if "pareto_rank" in trials.columns else []
    seconds = ["seconds"] if "seconds" in table.objectives else []
    reason = ["reason"] if reasons else []
    shown = trials[["trial", "outcome", *front, "images_seen", *seconds, *scores, *searched, *signs, *reason]]
    absent = {c: f"as {_short(MAY_BE_NULL[c])}" if c in MAY_BE_NULL else "-" for c in searched}
    dashed = shown.assign(**{c: shown[c].astype(object).where(shown[c].notna(), says) for c, says in absent.items()})
    rows = _columns(dashed.rename(columns=_short), width)
    if not front:
        return f"{rows}\nbest by {printable(directed(table.objectives))}, each trial at its best rung"
    first = printable(score_name(table.objective))
    return (
        f"{rows}\nbest by {first} on the front (pareto_rank 1) of {directed(table.objectives)}, each trial at its best "
        f"rung by {first}"
    )


def noise_text(table: TrialTable) -> str:
    """A warning with advice if the standard error of the score exceeds half of the interquartile range of the trials.

    Empty otherwise, with fewer than FEWEST_TRIALS contenders, and if no standard error is known.
    """
    contenders, name = table.contenders, score_name(table.objective)
    columns = (f"fidelity.{name}_latent_error", f"fidelity.{name}_error")
    known = next((column for column in columns if column in contenders.columns), None)
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


def confirmation_text(table: TrialTable, width: int | None = None) -> str:
    """The finalists run again from other seeds, the winner first, and how sure their order is; "" without any."""
    confirmed = table.confirmed
    if confirmed.empty:
        return ""
    objective = printable(score_name(table.objective))
    head = f"finalists from other seeds, {objective} of each run at its best rung; failed runs are the worst"
    return f"{head}\n{_columns(confirmed, width)}\n{order_text(table)}"


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


def _short(column: str) -> str:
    return column.partition(".")[2] or column


def _columns(rows: pd.DataFrame, width: int | None) -> str:
    rows = rows.rename(columns=printable)
    for place, kind in enumerate(rows.dtypes):
        if not pd.api.types.is_numeric_dtype(kind):
            cells = [printable(cell) if isinstance(cell, str) else cell for cell in rows.iloc[:, place]]
            rows.isetitem(place, pd.Series(cells, rows.index, object))
    with pd.option_context("display.float_format", "{:.4g}".format, "display.width", width or UNBOUNDED):
        return rows.to_string(index=False, line_width=width)


def disk_text(folder: RunFolder) -> str:
    """The disk space of a run: `3.1 MB in runs/mnist, 2.4 MB of it checkpoints of 4 trials`."""
    kept = sum(1 for path in folder.checkpoints.glob("trial-*"))
    whole, checkpoints = (_bytes_below(path) / 1e6 for path in (folder.path, folder.checkpoints))
    trials = "1 trial" if kept == 1 else f"{kept} trials"
    return f"{whole:.1f} MB in {printable(folder.path)}, {checkpoints:.1f} MB of it checkpoints of {trials}"


def _bytes_below(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
