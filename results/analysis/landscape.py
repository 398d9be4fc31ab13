"""The scores of a search against what was drawn: the values that `results.plots` draws of it."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from results.analysis import drawn
from results.analysis.drawn import Parameter, chosen
from results.analysis.rung_rows import Rung, died, is_scored, places, rows_at
from results.limits import violations
from results.objectives import higher_is_better
from results.store import ResultsError
from results.trial_table import TrialTable


def parallel(table: TrialTable, parameters: Sequence[str] | None = None, rung: Rung = None) -> pd.DataFrame:
    """`ResultsTable.parallel` says what it is."""
    rows = rows_at(table, rung)
    return pd.concat([_scores(table, rows), _columns(chosen(drawn.parameters(table, rows), parameters))], axis=1)


def slices(table: TrialTable, parameters: Sequence[str] | None = None, rung: Rung = None) -> pd.DataFrame:
    """`ResultsTable.slices` says what it is."""
    rows = rows_at(table, rung)
    scores = _scores(table, rows)
    parts = [
        scores.loc[each.exists].assign(parameter=each.name, value=each.values[each.exists])
        for each in chosen(drawn.parameters(table, rows), parameters)
    ]
    columns = ["parameter", "value", *scores.columns]
    found: Any = pd.concat(parts, ignore_index=True) if parts else scores.head(0)
    return found.reindex(columns=columns)


def contour(table: TrialTable, a: str, b: str, rung: Rung = None) -> pd.DataFrame:
    """`ResultsTable.contour` says what it is."""
    rows = rows_at(table, rung)
    pair = chosen(drawn.parameters(table, rows), [a, b])
    if a == b:
        raise ResultsError(f"contour needs two different hyperparameters, got {a} twice")
    found = pd.concat([_scores(table, rows), _columns(pair)], axis=1)
    return found.loc[pair[0].exists & pair[1].exists].reset_index(drop=True)


def rank(table: TrialTable, parameters: Sequence[str] | None = None, rung: Rung = None) -> pd.DataFrame:
    """`ResultsTable.rank` says what it is."""
    frame = parallel(table, parameters, rung)
    rows = rows_at(table, rung)
    order = pd.Series(places(table, rows)).where(is_scored(rows)).rank()
    frame.insert(2, "rank", (order - 1) / max(1, order.count() - 1))
    return frame


def _scores(table: TrialTable, rows: pd.DataFrame) -> pd.DataFrame:
    score = rows["score"].to_numpy(float)
    return pd.DataFrame(
        {
            "trial": rows["trial"].to_numpy(),
            "score": -score if higher_is_better(table.objective) else score,
            "outcome": rows["outcome"].to_numpy(),
            "dead": died(rows),
            "breaks_limits": violations(rows, table.objectives) > 0,
        }
    )


def _columns(found: list[Parameter]) -> pd.DataFrame:
    return pd.DataFrame({each.name: pd.Series(each.values).infer_objects() for each in found})
