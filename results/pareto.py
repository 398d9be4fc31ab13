"""Pareto ranks, for objectives that are minimised together."""

import numpy as np


def pareto_ranks(values: np.ndarray) -> np.ndarray:
    """The ranks int64 [n] of values [n, k] by non-dominated sorting (Deb et al. 2002, section III.A); lower is better.

    Rank 1 is the Pareto front: the rows that no other row dominates. Rank 2 is the front of the remaining rows, and so
    on. Equal rows share a rank, and rows with a NaN share the rank after the last. It needs n^2 booleans of memory.
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
    """Whether row i of values [n, k] is nowhere above row j and somewhere below it: bool [n, n]."""
    at_most = np.ones((len(values), len(values)), bool)
    below = np.zeros_like(at_most)
    for column in values.T:
        at_most &= column[:, None] <= column
        below |= column[:, None] < column
    return at_most & below
