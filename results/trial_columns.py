"""Which columns of a table a person decides by, and which of them matter most."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from results.objectives import score_name
from results.printable import printable
from results.rows import MAY_BE_NULL, short
from results.screen import MISSING, Column, column, measured_cells
from results.trial_table import TrialTable

SHOWN_SCORES = (  # shown if the table has them
    *("fidelity", "fid", "kid", "precision", "recall", "coverage", "class_kl", "classes_covered"),
    *("class_accuracy", "code_agreement", "triangle_precision", "triangle_recall", "memorisation"),
    *("wasserstein", "energy", "mean_error", "deviation_error", "modes_covered", "high_quality_share"),
)
TROUBLES = ("limits_broken", "signs")  # columns of words about what is wrong with a trial, shown where there are any
REPORTED = "report."  # the columns of what a person's own training reported beside its scores and losses
GROUPS = 4  # into which the values of a number are divided to see whether it matters
TROUBLE, HYPERPARAMETER, SCORE, REASON = 1.0, 2.0, 3.0, 4.0  # ranks, below which the columns of a kind have theirs


def trial_columns(table: TrialTable, rows: Any, *, reasons: bool) -> list[Column]:
    """The columns in which rows of `trials`, or of all rungs, are shown: which trial and how it ended, the objectives
    with their standard errors, the hyperparameters that differ between trials, other scores, what a person's own
    training reports beside, signs. Those of rank 0 are always shown; of the hyperparameters, the ones that matter most
    come first. reasons: why each trial ended, too.
    """
    objectives = [score_name(name) for name in table.objectives]
    scores = dict.fromkeys(name for name in (*objectives, *SHOWN_SCORES) if f"fidelity.{name}" in rows.columns)
    others = [name for name in scores if name not in objectives]
    plain = ["trial", *(["replicate"] if rows["replicate"].any() else [])]
    plain += ["rung"] if rows.duplicated(["trial", "replicate"]).any() else []
    plain += ["outcome", *(["pareto_rank"] if "pareto_rank" in rows.columns else []), "images_seen"]
    plain += ["seconds"] if "seconds" in objectives else []
    return [
        *(column(name, rows[name]) for name in plain),
        *(_score(name, rows, 0.0) for name in scores if name in objectives),
        *(_score(name, rows, SCORE + place / 100) for place, name in enumerate(others)),
        *(column(short(name), rows[name], SCORE) for name in rows.columns if name.startswith(REPORTED)),
        *(_hyperparameter(name, rows, place) for place, name in enumerate(by_influence(table))),
        *(_words(name, rows) for name in TROUBLES if name in rows.columns and rows[name].astype(bool).any()),
        *([column("reason", rows["reason"], REASON)] if reasons else []),
    ]


def by_influence(table: TrialTable) -> list[str]:
    """The hyperparameters that differ between trials, the ones first that explain most of the order of the trials.

    What one explains is the share of the variance of the trials' ranks that lies between groups of its values, less
    what chance would put there (epsilon squared, Kelley 1935); 0 if that is negative. Numbers form GROUPS groups by
    their quantiles, and missing values one more. Trials that died or have no score share the last rank.
    """
    trials: Any = table.trials  # the best first, and the dead last
    alive = len(table.contenders)
    ranks = np.where(np.arange(len(trials)) < alive, np.arange(len(trials)), (alive + len(trials) - 1) / 2)
    total = ((ranks - ranks.mean()) ** 2).sum()

    def explained(name: str) -> float:
        groups: Any = pd.Series(ranks).groupby(_groups(trials[name]))
        sizes, means = groups.size().to_numpy(), groups.mean().to_numpy()
        if not total or len(sizes) >= len(ranks):
            return 0.0
        between = (sizes * (means - ranks.mean()) ** 2).sum()
        within = (total - between) / (len(ranks) - len(sizes))
        return max(0.0, float(between - (len(sizes) - 1) * within) / total)

    return sorted(table.differing, key=explained, reverse=True)  # stable: else in the order of the table


def error_column(names: Sequence[str] | pd.Index, score: str) -> str | None:
    """The column with the standard error of a score, or None. Where there are two, the one for other latents."""
    return next((name for name in (f"fidelity.{score}_latent_error", f"fidelity.{score}_error") if name in names), None)


def _groups(values: Any) -> Any:
    """The group of each value, int [n]; -1 for missing ones."""
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > GROUPS:
        found: Any = pd.qcut(values, GROUPS, labels=False, duplicates="drop")
        return found.fillna(-1).to_numpy()
    return pd.factorize(values)[0]


def _score(name: str, rows: pd.DataFrame, rank: float) -> Column:
    values, error = rows[f"fidelity.{name}"], error_column(rows.columns, name)
    if rank or error is None:
        return column(name, values, rank)
    return Column(printable(name), measured_cells(values, rows[error]), rank)


def _hyperparameter(name: str, rows: pd.DataFrame, place: int) -> Column:
    missing = f"as {short(MAY_BE_NULL[name])}" if name in MAY_BE_NULL else MISSING
    return column(short(name), rows[name], HYPERPARAMETER + place / 1_000, missing, digits=3)


def _words(name: str, rows: pd.DataFrame) -> Column:
    """A column of words that are separated by spaces; in brief, how many there are."""
    texts = rows[name].fillna("").map(printable)
    brief = tuple(str(len(text.split())) if text else "" for text in texts)
    return Column(name, tuple(texts), TROUBLE, left=True, brief=brief)
