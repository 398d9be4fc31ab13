"""Pareto ranks, for objectives that are minimised together, and the volume that a front dominates."""

import numpy as np


def constrained_ranks(values: np.ndarray, violations: np.ndarray) -> np.ndarray:
    """The ranks int64 [n] of values [n, k] and violations of limits [n], at least 0, by constrained domination (Deb et
    al. 2002, section VI.A): first `pareto_ranks` of the rows that keep the limits, then the others by violation alone.
    """
    ranks, kept = np.zeros(len(values), np.int64), ~(violations > 0)
    ranks[kept] = pareto_ranks(values[kept])
    ranks[~kept] = ranks.max(initial=0) + 1 + np.unique(violations[~kept], return_inverse=True)[1]
    return ranks


def pareto_ranks(values: np.ndarray) -> np.ndarray:
    """The ranks int64 [n] of values [n, k] by non-dominated sorting (Deb et al. 2002, section III.A); lower is better.

    Rank 1 is the Pareto front: the rows that no other row dominates. Rank 2 is the front of the remaining rows, and so
    on. Equal rows share a rank, and rows with a NaN share the rank after the last. It needs memory for a few times
    `values`, and the time of n^2 k comparisons.

    A rank is the length of the longest chain of rows of which each dominates the next. In lexical order no row is
    dominated by a later one, so one pass finds it (as in Zhang et al. 2015).
    """
    comparable = ~np.isnan(values).any(axis=1)
    distinct, places = np.unique(values[comparable], axis=0, return_inverse=True)
    ranks = np.ones(len(distinct), np.int64)
    others = distinct.T[1:].copy()  # in the first objective no row is above a later one
    for row in range(1, len(distinct)):
        dominating = (others[:, :row] <= others[:, row, None]).all(axis=0)
        ranks[row] = ranks[:row].max(initial=0, where=dominating) + 1
    found = np.full(len(values), ranks.max(initial=0) + 1)
    found[comparable] = ranks[places]
    return found


def dominated_volume(values: np.ndarray, reference: np.ndarray) -> float:
    """The hypervolume of values [n, k], k at least 2: the volume of all points that a row dominates and that dominate
    the reference [k]. No value may be above the reference, and none missing.

    It is exact, by slices along the last objective (HSO, While et al. 2006): the time is n log n for two objectives and
    grows with the number of rows on the front with each further one.
    """
    ordered = values[values[:, -1].argsort()]
    if len(reference) == 2:
        heights = np.diff(np.append(ordered[:, -1], reference[-1]))
        return float(heights @ (reference[0] - np.minimum.accumulate(ordered[:, 0])))
    front = _without_dominated(ordered)
    heights = np.diff(np.append(front[:, -1], reference[-1]))
    below, rest = front[:, :-1], reference[:-1]
    return float(sum(h * dominated_volume(below[:count], rest) for count, h in enumerate(heights, 1) if h > 0))


def _without_dominated(ordered: np.ndarray) -> np.ndarray:
    """Rows [m, k] that dominate all that the rows [n, k] do, in their order. Of rows that are ordered by one objective
    it leaves out all that others dominate, but for some of those that are equal in it.
    """
    kept, left = [ordered[:0]], ordered
    while len(left):
        kept.append(left[:1])
        left = left[(left < left[0]).any(axis=1)]
    return np.concatenate(kept)
