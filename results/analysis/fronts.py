"""Several objectives: the Pareto front of a run, and the hypervolume that it dominates as trials end."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from gan_core.config.input_error import shown
from results.analysis.history import history
from results.limits import violations
from results.objectives import higher_is_better, natural, score_name
from results.pareto import dominated_volume
from results.store import ResultsError
from results.trial_table import TrialTable

MARGIN = 0.1  # of the extent of the front, by which the reference lies beyond its worst values


def pareto(table: TrialTable) -> pd.DataFrame:
    """See `ResultsTable.pareto`."""
    names = _objectives(table)
    trials = table.trials
    first = natural(table.objective, 1.0) * trials["score"]
    others = {name: trials[name if name == "seconds" else f"fidelity.{name}"] for name in names[1:]}
    values = pd.DataFrame({names[0]: first, **others})
    kept = pd.Series(violations(trials, table.objectives) == 0, trials.index)
    front = (trials["pareto_rank"] == 1).fillna(False).astype(bool) & kept
    ends = trials[["images_trained", "pareto_rank"]].assign(limits_kept=kept, front=front)
    return pd.concat([trials[["trial", "outcome"]], values, ends], axis=1)


def hypervolume(table: TrialTable, reference: Mapping[str, float] | None = None) -> pd.DataFrame:
    """See `ResultsTable.hypervolume`."""
    names, signs = _objectives(table), _signs(table)
    trials = pareto(table).set_index("trial")
    worst = _beyond_the_front(trials[names] * signs, trials) if reference is None else _chosen(reference, names) * signs
    ended = history(table).groupby("trial").tail(1)[["trial", "elapsed_seconds", "device_seconds", "images"]]
    counts = trials["pareto_rank"].notna() & trials["limits_kept"]
    values = (trials[names] * signs).where(counts).loc[ended["trial"]].to_numpy(float)
    ended.insert(0, "trials", np.arange(1, len(ended) + 1))
    points = {f"reference.{name}": value for name, value in zip(names, worst * signs, strict=True)}
    return ended.assign(hypervolume=_volumes(values, worst), **points).reset_index(drop=True)


def _objectives(table: TrialTable) -> list[str]:
    """The scores of the objectives. Raises ResultsError if there is only one."""
    if len(table.objectives) < 2:
        raise ResultsError(f"a Pareto front needs several objectives, and this run has one, {shown(table.objective)}")
    return [score_name(name) for name in table.objectives]


def _signs(table: TrialTable) -> np.ndarray:
    """What each objective is multiplied by to be minimised: 1, or -1 if more is better, [objectives]."""
    return np.array([-1.0 if higher_is_better(name) else 1.0 for name in table.objectives])


def _chosen(reference: Mapping[str, float], names: list[str]) -> np.ndarray:
    """The values of a reference that a person gave, [objectives]."""
    if set(reference) != set(names) or not all(np.isfinite(value) for value in reference.values()):
        given = shown(dict(reference))
        raise ResultsError(f"the reference must have a finite value of each of {', '.join(names)}, got {given}")
    return np.array([reference[name] for name in names], float)


def _beyond_the_front(values: Any, trials: pd.DataFrame) -> np.ndarray:
    """The reference where none is given, for values [trials, objectives] that are minimised; NaN without a front."""
    points = values.to_numpy(float)
    ranked, front = points[trials["pareto_rank"].notna()], points[trials["front"]]
    if not len(front):
        return np.full(len(values.columns), np.nan)
    extent = np.ptp(front, axis=0)
    extent = np.where(extent > 0, extent, np.ptp(ranked, axis=0))
    return front.max(axis=0) + MARGIN * np.where(extent > 0, extent, 1.0)


def _volumes(values: np.ndarray, reference: np.ndarray) -> list[float]:
    """The hypervolume of the first 1, 2, ... rows of values [n, objectives], which are minimised, NaN in rows that do
    not count. A row that is not dominated adds its box to the reference, without what the front dominates of it.
    """
    front, volume, found = values[:0], 0.0, []
    for value in values:
        if (value < reference).all() and not (front <= value).all(axis=1).any():
            volume += np.prod(reference - value) - dominated_volume(np.maximum(front, value), reference)
            front = np.vstack([front[(front < value).any(axis=1)], value])
        found.append(float(volume))
    return found
