"""What the best of k trials reaches, and so what a larger or smaller search would have bought."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import gammaln

from gan_core.config.input_error import shown
from results.analysis.history import history
from results.analysis.rung_rows import is_scored
from results.limits import violations
from results.objectives import higher_is_better
from results.rows import Outcome
from results.store import ResultsError
from results.trial_table import TrialTable

INDEPENDENT = ("random", "qmc")  # samplers whose proposals do not depend on results
RANDOM_TRIALS, SO_FAR = "best of k random trials", "best so far"
BAND = (0.05, 0.95)
MOST_BUDGETS = 200  # of more, at most so many are taken, evenly on a log scale
ROUNDING = 1e-9


def expected_best(table: TrialTable, budget: int | None = None) -> pd.DataFrame:
    """`ResultsTable.expected_best` says what it is."""
    spec = table.spec
    if not _is_independent(spec):
        return _so_far(table, budget)
    trials = table.trials
    drawn = trials["trial"] > len(spec.get("enqueue") or [])
    return _of_random(table, trials.loc[drawn & (trials["outcome"] != Outcome.RUNNING)], budget)


def _is_independent(spec: Mapping[str, Any]) -> bool:
    sampler = spec.get("sampler")
    name = sampler.get("name") if isinstance(sampler, Mapping) else sampler
    return name in INDEPENDENT and not spec.get("population")


def _of_random(table: TrialTable, trials: pd.DataFrame, budget: int | None) -> pd.DataFrame:
    count, scored = len(trials), is_scored(trials) & (violations(trials, table.objectives) == 0)
    failed = count - int(scored.sum())
    if count == failed:
        broken = int((is_scored(trials) & (violations(trials, table.objectives) > 0)).sum())
        raise ResultsError(
            f"none of the {count} trials that were drawn and ended has a score that counts; {broken} break limits"
        )
    scores = np.append(np.sort(trials["score"].to_numpy(float)[scored]), np.full(failed, np.inf))
    k = _budgets(count, budget)
    none_of = _chance_of_none_of_the_best(count, k)
    shares = none_of[:, :-1] - none_of[:, 1:]  # [k, n], how often the i-th best trial is the best of k
    any_scored = 1 - none_of[:, count - failed]
    if_any = shares[:, : count - failed] @ scores[: count - failed] / any_scored
    low, best, high = (scores[_first_reaching(none_of, share)] for share in (BAND[0], 0.5, BAND[1]))
    expected = np.where(k > failed, if_any, np.inf)
    if higher_is_better(table.objective):
        low, best, high, expected, if_any = -high, -best, -low, -expected, -if_any
    return pd.DataFrame(
        {
            "kind": RANDOM_TRIALS,
            "trials": k,
            "device_seconds": k * trials["seconds"].sum() / count,
            "images": k * trials["images_trained"].sum() / count,
            "best": best,
            "low": low,
            "high": high,
            "expected": expected,
            "expected_if_any": if_any,
            "chance_of_score": np.where(k > failed, 1.0, any_scored),
        }
    )


def _chance_of_none_of_the_best(count: int, k: np.ndarray) -> np.ndarray:
    """The share of the subsets of k of n trials that have none of the i best: C(n - i, k) / C(n, k), for each k and i
    from 0 to n, float [k, n + 1].
    """
    left = count - np.arange(count + 1)
    k = k[:, None]
    log = gammaln(left + 1) - gammaln(np.maximum(left - k, 0) + 1) - gammaln(count + 1) + gammaln(count - k + 1)
    return np.where(left >= k, np.exp(np.minimum(log, 0.0)), 0.0)


def _first_reaching(none_of: np.ndarray, share: float) -> np.ndarray:
    """The place, from 0, of the best trial such that at least this share of subsets are as good, int [k]."""
    return (1 - none_of[:, 1:] >= share - ROUNDING).argmax(axis=1)


def _so_far(table: TrialTable, budget: int | None) -> pd.DataFrame:
    by_trials = history(table).groupby("trials").last()
    found = by_trials.loc[_budgets(len(by_trials), budget)].reset_index()
    frame = found.reindex(columns=["trials", "device_seconds", "images", "best"])
    unknown = dict.fromkeys(("low", "high", "expected", "expected_if_any", "chance_of_score"), np.nan)
    return frame.assign(kind=SO_FAR, **unknown)[["kind", *frame.columns, *unknown]]


def _budgets(count: int, budget: int | None) -> np.ndarray:
    """The numbers of trials k, int64. Raises ResultsError for a budget that is not from 1 to the number of trials."""
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int) or not 1 <= budget <= count):
        raise ResultsError(
            f"budget must be a number of trials from 1 to {count}, as many as count; got {shown(budget)}"
        )
    most = budget or count
    return (
        np.unique(np.geomspace(1, most, min(most, MOST_BUDGETS)).round().astype(int))
        if most > MOST_BUDGETS
        else np.arange(1, most + 1)
    )
