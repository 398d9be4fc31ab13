"""The rows of the trials of the search at one rung, and which of them are the better ones."""

from typing import Literal

import numpy as np
import pandas as pd

from gan_core.config.input_error import shown
from results.limits import violations
from results.rows import DEAD
from results.store import ResultsError
from results.trial_table import TrialTable

Rung = int | Literal["first", "last"] | None


def rows_at(table: TrialTable, rung: Rung) -> pd.DataFrame:
    """One row for each trial of the search that reached a rung, by trial number: its number from 0, "first" or "last".
    None: each trial's best rung, with the outcome of its last, as in `TrialTable.trials`.

    Raises ResultsError for a rung that no trial reached.
    """
    if rung is None:
        return table.trials.sort_values("trial").reset_index(drop=True)
    number = rung_number(table, rung)
    search = table.frame.loc[(table.frame["replicate"] == 0) & (table.frame["rung"] == number)]
    return search.sort_values("trial").reset_index(drop=True)


def rung_number(table: TrialTable, rung: int | str) -> int:
    """The number of a rung that is given by its number, or as "first" or "last". Raises ResultsError for a rung that
    no trial reached.
    """
    reached = sorted({int(number) for number in table.frame.loc[table.frame["replicate"] == 0, "rung"]})
    named = {"first": reached[0], "last": reached[-1]} if reached else {}
    if isinstance(rung, str) and rung in named:
        return named[rung]
    if isinstance(rung, bool) or rung not in reached:
        numbers = ", ".join(map(str, reached)) or "none yet"
        raise ResultsError(f"no trial reached rung {shown(rung)}; give 'first', 'last' or a number: {numbers}")
    return int(rung)


def died(rows: pd.DataFrame) -> np.ndarray:
    """Whether the trial of each row was dead after it, bool [n]."""
    return rows["outcome"].isin(DEAD).to_numpy()


def is_scored(rows: pd.DataFrame) -> np.ndarray:
    """Whether each row has a score and its trial was not dead after it, bool [n]."""
    return np.isfinite(rows["score"].to_numpy(float)) & ~died(rows)


def places(table: TrialTable, rows: pd.DataFrame) -> np.ndarray:
    """The place of each row among them, int64 [n]: 1 for the best, in the order of `gan_core.config.limits`. Equal rows
    share a place, and all rows of dead trials and without a score share the last.
    """
    keys = np.stack([violations(rows, table.objectives), rows["score"].to_numpy(float)], axis=1)
    keys[~is_scored(rows)] = np.inf
    return np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1) + 1
