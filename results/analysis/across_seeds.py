"""Finalists trained again from other seeds: every replicate, and what they say of each finalist together."""

from typing import Any

import numpy as np
import pandas as pd

from results.confirmation import chance_of_order, replicate_scores
from results.limits import violations
from results.objectives import higher_is_better, natural
from results.rows import DEAD, Outcome
from results.trial_table import TrialTable

CONFIDENCE = 0.95
RESAMPLES = 9_999  # of the bootstrap, which is scipy's default
SEED = 0  # of the bootstrap
TRIMMED = 0.25  # of the scores at each end, which the interquartile mean leaves out
FAILED = 1e150  # stands for an infinite score, of which scipy could not compute the standard error
INFINITE_FROM = 1e100  # a mean of scores one of which is FAILED


def replicates(table: TrialTable) -> pd.DataFrame:
    """See `ResultsTable.replicates`."""
    rows = table.frame.loc[table.frame["replicate"] > 0].sort_values(["trial", "replicate", "rung"])
    runs = rows.groupby(["trial", "replicate"])
    found: Any = runs[["outcome", "reason", "images_seen"]].last()
    kept = violations(rows, table.objectives[:1]) == 0
    finite = rows["score"].where(kept & np.isfinite(rows["score"]))
    found.insert(0, "score", finite.groupby([rows["trial"], rows["replicate"]]).min())
    found["seconds"] = runs["seconds"].sum()
    ended = found["outcome"] != Outcome.RUNNING
    found["failed"] = found["outcome"].isin(DEAD) | (ended & found["score"].isna())
    found["score"] = found["score"].mask(found["failed"], np.inf) * natural(table.objective, 1.0)
    order = {trial: place for place, trial in enumerate(table.confirmed["trial"])}
    found = found.reset_index()
    return found.sort_values("trial", key=lambda each: each.map(order), kind="stable").reset_index(drop=True)


def finalists(table: TrialTable) -> pd.DataFrame:
    """See `ResultsTable.finalists`."""
    confirmed = table.confirmed
    scores = replicate_scores(table.frame)
    groups = [scores[trial] for trial in confirmed["trial"]]
    means = np.array([interquartile_mean(group) for group in groups])
    intervals = np.array([bootstrap_interval(group) for group in groups]).reshape(-1, 2)
    others = groups[1:]
    compared = {
        "probability_of_improvement": [np.nan, *(probability_of_improvement(groups[0], each) for each in others)],
        "chance_of_order": [np.nan, *(chance_of_order(groups[0], each) for each in others)],
    }
    if higher_is_better(table.objective):
        means, intervals = -means, -intervals[:, ::-1]
    found = confirmed.assign(interquartile_mean=means, low=intervals[:, 0], high=intervals[:, 1])
    return found.assign(**{name: values[: len(groups)] for name, values in compared.items()})


def interquartile_mean(scores: np.ndarray) -> float:
    """The mean of scores [n] without a quarter of them, rounded down, at each end; +inf if one of the rest is."""
    from scipy.stats import trim_mean

    return float(trim_mean(scores, TRIMMED))


def bootstrap_interval(scores: np.ndarray) -> tuple[float, float]:
    """The interval of the interquartile mean of scores [n], +inf for failed ones: NaN for less than two scores."""
    from scipy.stats import bootstrap, trim_mean

    if len(scores) < 2:
        return np.nan, np.nan
    found = bootstrap(
        (np.where(np.isinf(scores), FAILED, scores),),
        lambda drawn, axis: trim_mean(drawn, TRIMMED, axis=axis),
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    low, high = (np.inf if end > INFINITE_FROM else float(end) for end in found)
    return low, high


def probability_of_improvement(first: np.ndarray, second: np.ndarray) -> float:
    """The probability that a score of the first group is lower than one of the second, where half of the equal ones
    count: the statistic of Mann and Whitney as a share of all pairs. The scores have no NaN.
    """
    ordered = np.sort(second)
    at_most = [np.searchsorted(ordered, first, side=side) for side in ("left", "right")]  # without and with equal ones
    return float(1 - np.mean(at_most) / len(second))
