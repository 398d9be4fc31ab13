"""What finalists reach from other seeds, and so how much of their rank in the search was luck. Uses numpy and pandas.

A finalist is a trial of the search that is trained again; a replicate is one such training, numbered from 1.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from results.limits import violations_of_first
from results.rows import DEAD, Outcome

COLUMNS = ("trial", "seeds", "failed", "median", "q25", "q75", "mean", "deviation", "search_score")
READ = ("trial", "replicate", "rung", "score", "outcome")


def replicate_scores(frame: pd.DataFrame) -> dict[int, np.ndarray]:
    """Trial -> the scores of its replicates, [seeds]: the lowest score of each at the rungs where it keeps the limits
    (`gan_core.config.limits`), +inf if it died or has none.

    Only for trials whose replicates have all ended and are as many as those of any other trial.
    """
    runs: dict[int, dict[int, dict[int, tuple[float, str]]]] = {}  # trial -> replicate -> rung
    frame = frame.loc[frame["replicate"] > 0]
    kept = frame["score"].where(violations_of_first(frame) == 0)
    for trial, replicate, rung, score, outcome in frame.assign(score=kept)[list(READ)].itertuples(index=False):
        runs.setdefault(trial, {}).setdefault(replicate, {})[rung] = score, outcome
    seeds = max((len(replicates) for replicates in runs.values()), default=0)
    ended = {
        trial: [replicates[number] for number in sorted(replicates)]
        for trial, replicates in runs.items()
        if len(replicates) == seeds and all(rungs[max(rungs)][1] != Outcome.RUNNING for rungs in replicates.values())
    }
    return {trial: np.array([_score(rungs) for rungs in ended[trial]]) for trial in sorted(ended)}


def _score(rungs: Mapping[int, tuple[float, str]]) -> float:
    """The lowest score of a replicate, or +inf. rungs: rung -> (score, NaN where it breaks limits; outcome)."""
    scores = [score for score, _ in rungs.values() if np.isfinite(score)]
    return np.inf if rungs[max(rungs)][1] in DEAD else min(scores, default=np.inf)


def confirmations(scores: Mapping[int, np.ndarray], search_scores: Mapping[int, float]) -> pd.DataFrame:
    """A row for each finalist, the winner first, sorted by median, then `failed`, then mean, then the number.

    scores: as `replicate_scores` returns them; search_scores: trial -> its score in the search. median, q25 and q75
    count a failed replicate as worse than all others, so they are infinite if most have failed. mean and deviation
    (with n - 1) are those of the replicates that did not fail, NaN if these are too few. seeds: how many replicates
    there are, `failed` ones included, which died, have no score or break limits.
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
    """The probability, in [0, 1], that two equally good finalists differ at least as clearly as these scores do.

    It is the p value of the exact rank sum test (Mann and Whitney 1947), over all splits of the scores into groups of
    these sizes. Equal scores, also several +inf, share their mean rank. The test is two-sided, because the first is
    called so only after it came out lower: the value is twice the share of splits in which the ranks of the first group
    sum to no more than here, and at most 1, which it is if the ranks favour the second. 5 scores against 5 have 252
    splits, so the value is at least 2/252. Raises ValueError for an empty group and for NaN.
    """
    together = np.concatenate([first, second]).astype(float)
    if not len(first) or not len(second) or np.isnan(together).any():
        raise ValueError(f"two groups of scores without NaN are needed, got {list(first)} and {list(second)}")
    doubled = [
        int((together < x).sum() * 2 + (together == x).sum() + 1) for x in together
    ]  # twice the mean rank, which is whole
    ways: list[Counter[int]] = [Counter({0: 1}), *(Counter() for _ in first)]  # size -> sum of ranks -> subsets
    for rank in doubled:
        for size in range(len(first), 0, -1):
            for total, count in list(ways[size - 1].items()):
                ways[size][total + rank] += count
    sums = ways[len(first)]
    observed = sum(doubled[: len(first)])
    return min(1.0, 2 * sum(count for total, count in sums.items() if total <= observed) / sum(sums.values()))


def _quantile(scores: np.ndarray, share: float) -> float:
    """The quantile, linear between neighbours as numpy has it, but +inf between a number and +inf, not NaN."""
    ordered = np.sort(scores)
    place = share * (len(ordered) - 1)
    low = int(place)
    if place == low or np.isinf(ordered[low + 1]):
        return float(ordered[low] if place == low else np.inf)
    return float(ordered[low] + (place - low) * (ordered[low + 1] - ordered[low]))
