"""Limits of scores in frames of rows: by how much each row breaks them, in the terms of `gan_core.config.limits`."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gan_core.config.limits import LIMITED, LIMITS
from results.rows import OBJECTIVES_JOINED_BY


def violations(rows: pd.DataFrame, objectives: Sequence[str]) -> np.ndarray:
    """By how much each row breaks the limits of any of the objectives, float64 [n]; 0 where it keeps them."""
    if not set(objectives) & set(LIMITED) or "fidelity.violation" not in rows.columns:
        return np.zeros(len(rows))
    found = rows["fidelity.violation"].fillna(0.0).clip(lower=0)
    if not any(f"fidelity.{name}_violation" in rows.columns for name in LIMITS):
        found = (found > 0).astype(float)  # of an earlier version, whose scores count by how much a limit is broken
    return found.to_numpy(float)


def violations_of_first(rows: pd.DataFrame) -> np.ndarray:
    """The same for the first of the objectives that the rows name, which decides which rung of a trial is its best."""
    named = str(rows["objective"].iloc[0]) if len(rows) and "objective" in rows.columns else ""
    return violations(rows, [named.partition(OBJECTIVES_JOINED_BY)[0]])
