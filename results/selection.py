"""Chooses rows and columns of a table."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from gan_core.config.fields import is_whole
from gan_core.config.input_error import InputError, shown
from results.trial_table import TrialTable
from results.where import column_named, meets

CONFIRMED = "confirmed."  # before a column of `TrialTable.confirmed`


def select(
    table: TrialTable,
    *,
    columns: Sequence[str] = (),
    where: str | None = None,
    sort: str | None = None,
    all_rungs: bool = False,
    top: int | None = None,
) -> pd.DataFrame:
    """What `ResultsTable.select` returns, which says what the arguments mean."""
    if isinstance(columns, str):
        raise InputError(f"columns must be a list of names, got {shown(columns)}")
    if top is not None and not is_whole(top, 1):
        raise InputError(f"top must be a whole number of at least 1, got {shown(top)}")
    for name, text in (("where", where), ("sort", sort)):
        if text is not None and not isinstance(text, str):
            raise InputError(f"{name} must be text, got {shown(text)}")
    rows: Any = table.frame if all_rungs else _with_confirmed(table)
    names = list(map(str, rows.columns))
    if where is not None:
        rows = rows[meets(rows, where)]
    if sort:
        by = column_named(sort.removeprefix("-"), names)
        rows = rows.sort_values(by, ascending=not sort.startswith("-"), kind="stable", na_position="last")
    if columns:
        rows = rows[list(dict.fromkeys(column_named(name, names) for name in columns))]
    return rows.head(len(rows) if top is None else top).reset_index(drop=True)


def _with_confirmed(table: TrialTable) -> pd.DataFrame:
    trials, confirmed = table.trials, table.confirmed
    if confirmed.empty:
        return trials
    found = confirmed.drop(columns="search_score").set_index("trial").add_prefix(CONFIRMED)
    return trials.join(found.astype({CONFIRMED + name: "Int64" for name in ("seeds", "failed")}), on="trial")
