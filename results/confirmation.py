"""How much of a finalist's rank is luck: what it reaches from other seeds. numpy and pandas.

A finalist is a trial of the search that was run again; a replicate, one such run, from 1.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from results.rows import DEAD, Outcome

COLUMNS = ("trial", "seeds", "failed", "median", "q25", "q75", "mean", "deviation", "search_score")
READ = ("trial", "replicate", "rung", "score", "outcome")


def replicate_scores(frame: pd.DataFrame) -> dict[int, np.ndarray]:
    """Trial -> the scores [seeds] of its replicates: each the lowest of its rungs; +inf where it died or has none.

    Only trials all of whose replicates have ended, as many as any trial has.
    """
    runs: dict[int, dict[int, dict[int, tuple[float, str]]]] = {}  # trial -> replicate -> rung
    for trial, replicate, rung, score, outcome in frame[list(READ)].itertuples(index=False):
        if replicate > 0:
            runs.setdefault(trial, {}).setdefault(replicate, {})[rung] = score, outcome
    seeds = max((len(replicates) for replicates in runs.values()), default=0)
    ended = {
        trial: [replicates[number] for number in sorted(replicates)]
        for trial, replicates in runs.items()
        if len(replicates) == seeds and all(rungs[max(rungs)][1] != Outcome.RUNNING for rungs in replicates.values())
    }
    return {trial: np.array([_score(rungs) for rungs in ended[trial]]) for trial in sorted(ended)}


def _score(rungs: Mapping[int, tuple[float, str]]) -> float:
    """Rung -> (score, outcome): the lowest score, or +inf."""
    scores = [score for score, _ in rungs.values() if np.isfinite(score)]
    return np.inf if rungs[max(rungs)][1] in DEAD else min(scores, default=np.inf)


def confirmations(scores: Mapping[int, np.ndarray], search_scores: Mapping[int, float]) -> pd.DataFrame:
    """A row for each finalist, the winner first: by median, then by `failed`, then by mean, then by number.

    scores: as `replicate_scores`; search_scores: trial -> its score in the search. median, q25 and q75 take a failed
    replicate for the worst of all, so with most of them failed they are infinite; mean and deviation (of a sample,
    n - 1) are of those that did not fail, NaN where these are too few. seeds: the replicates, `failed` ones included.
    """
    rows = []
    for trial, found in scores.items():
        finite = found[np.isfinite(found)]
        rows.append(
            {
                "trial": trial,
                "seeds": len(found),
                "failed": len(found) - len(finite),
                **{name: _quantile(found, share) for name, share in (("median", 0.5), ("q25", 0.25), ("q75", 0.75))},
                "mean": finite.mean() if len(finite) else np.nan,
                "deviation": finite.std(ddof=1) if len(finite) > 1 else np.nan,
                "search_score": search_scores.get(trial, np.nan),
            }
        )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values(["median", "failed", "mean", "trial"], na_position="last").reset_index(drop=True)


def chance_of_order(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray) -> float:
    """How likely two equally good finalists are to come out, whichever way, at least so clearly apart: in [0, 1].

    The exact permutation test of the sum of ranks (Mann and Whitney 1947), over all splits of the scores into groups of
    these sizes. Equal scores, +inf among them, share their mean rank. Two-sided, for the first is called so because it
    came out lower: twice the share of splits in which its ranks sum to no more, and at most 1, as it is where the ranks
    favour the second. 5 scores against 5 have 252 splits, and no less than 2/252. Raises ValueError for an empty group
    and for NaN.
    """
    together = np.concatenate([first, second]).astype(float)
    if not len(first) or not len(second) or np.isnan(together).any():
        raise ValueError(f"two groups of scores without NaN are needed, got {list(first)} and {list(second)}")
    doubled = [
        int((together < x).sum() * 2 + (together == x).sum() + 1) for x in together
    ]  # twice the mean rank: whole
    ways: list[Counter[int]] = [Counter({0: 1}), *(Counter() for _ in first)]  # size -> sum of ranks -> subsets
    for rank in doubled:
        for size in range(len(first), 0, -1):
            for total, count in list(ways[size - 1].items()):
                ways[size][total + rank] += count
    sums = ways[len(first)]
    observed = sum(doubled[: len(first)])
    return min(1.0, 2 * sum(count for total, count in sums.items() if total <= observed) / sum(sums.values()))


def _quantile(scores: np.ndarray, share: float) -> float:
    """Linear between neighbours, as numpy's, but infinite between a number and infinity, where numpy's is NaN."""
    ordered = np.sort(scores)
    place = share * (len(ordered) - 1)
    low = int(place)
    if place == low or np.isinf(ordered[low + 1]):
        return float(ordered[low] if place == low else np.inf)
    return float(ordered[low] + (place - low) * (ordered[low + 1] - ordered[low]))
