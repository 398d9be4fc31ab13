"""Ranks where several numbers are to be low at once."""

import numpy as np


def pareto_ranks(values: np.ndarray) -> np.ndarray:
    """Non-dominated sorting (Deb et al. 2002, section III.A): values [n, k], lower is better -> ranks int [n].

    Rank 1 is the front: no other row is as low everywhere and lower somewhere. Rank 2 is the front of what is left, and
    so on. Equal rows share a rank; rows with a NaN share the one after the last. Takes n^2 booleans of memory.
    """
    comparable = np.flatnonzero(~np.isnan(values).any(axis=1))
    dominates = _dominates(values[comparable])
    ranks = np.zeros(len(values), np.int64)
    left, rank = np.ones(len(comparable), bool), 0
    while left.any():
        rank += 1
        front = left & ~dominates[left].any(axis=0)
        ranks[comparable[front]] = rank
        left &= ~front
    ranks[ranks == 0] = rank + 1
    return ranks


def _dominates(values: np.ndarray) -> np.ndarray:
    """[n, k] -> bool [n, n]: whether the row is at most the column everywhere, and below it somewhere."""
    at_most = np.ones((len(values), len(values)), bool)
    below = np.zeros_like(at_most)
    for column in values.T:
        at_most &= column[:, None] <= column
        below |= column[:, None] < column
    return at_most & below
