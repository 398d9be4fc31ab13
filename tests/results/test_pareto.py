"""Pareto ranks."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import optuna
import pytest

from results.pareto import constrained_ranks, dominated_volume, pareto_ranks


def drawn(rows: int, columns: int, *, whole: bool = False) -> np.ndarray:
    generator = np.random.default_rng(rows * 10 + columns)
    values = generator.normal(size=(rows, columns))
    return np.round(values) if whole else values


def front(values: np.ndarray) -> list[int]:
    """By definition: the rows that no other row dominates."""
    return [i for i, one in enumerate(values) if not any(all(other <= one) and any(other < one) for other in values)]


def optunas_front(values: np.ndarray) -> list[int]:
    study = optuna.create_study(directions=["minimize"] * values.shape[1])
    study.add_trials([optuna.trial.create_trial(values=row.tolist()) for row in values])
    return [trial.number for trial in study.best_trials]


def peeled(values: np.ndarray, front: Callable[[np.ndarray], list[int]]) -> list[int]:
    """The ranks: fronts are removed one after the other."""
    ranks, left, rank = np.zeros(len(values), int), np.arange(len(values)), 0
    while len(left):
        rank, first = rank + 1, front(values[left])
        ranks[left[first]] = rank
        left = np.delete(left, first)
    return ranks.tolist()


@pytest.mark.parametrize("whole", [False, True], ids=["all different", "many equal"])
@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (40, 1), (40, 2), (60, 3), (30, 5)])
def test_ranks_are_those_of_the_definition_and_of_optuna(rows, columns, whole):
    values = drawn(rows, columns, whole=whole)
    ranks = pareto_ranks(values)
    assert ranks.tolist() == peeled(values, front)
    assert ranks.tolist() == peeled(values, optunas_front)
    assert rows == 1 or ranks.max() > 1


def test_one_objective_ranks_by_its_distinct_values():
    assert pareto_ranks(np.array([[3.0], [1.0], [2.0], [1.0]])).tolist() == [3, 1, 2, 1]


def test_equal_rows_share_a_rank():
    assert pareto_ranks(np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [2.0, 2.0]])).tolist() == [
        1,
        1,
        1,
        2,
        2,
    ]


def test_rows_with_a_nan_come_last_and_dominate_nobody():
    values = np.array([[np.nan, 0.0], [5.0, 5.0], [6.0, 6.0], [np.nan, np.nan]])
    assert pareto_ranks(values).tolist() == [3, 1, 2, 3]
    assert pareto_ranks(values[[0, 3]]).tolist() == [1, 1]


def test_infinity_is_a_number_that_is_worst():
    assert pareto_ranks(np.array([[1.0, np.inf], [2.0, 1.0], [2.0, np.inf]])).tolist() == [1, 1, 2]


@pytest.mark.parametrize("columns", [1, 2])
def test_nothing_has_no_ranks(columns):
    assert pareto_ranks(np.empty((0, columns))).tolist() == []


def test_the_order_of_rows_and_a_rising_change_of_scale_decide_nothing():
    values = drawn(50, 3)
    order = np.random.default_rng(0).permutation(50)
    assert pareto_ranks(values[order]).tolist() == pareto_ranks(values)[order].tolist()
    assert pareto_ranks(np.exp(values) * [1, 10, 100]).tolist() == pareto_ranks(values).tolist()


def test_memory_grows_with_rows_and_not_with_pairs_of_them():
    values = drawn(3000, 2)
    tracemalloc.start()
    ranks = pareto_ranks(values)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ranks.max() > 50
    assert peak_bytes < 3000 * 3000 / 4  # a table of all pairs has a byte for each


# ---- the dominated volume


def test_the_volume_of_one_point_is_its_box_and_of_none_0():
    assert dominated_volume(np.array([[1.0, 2.0, 4.0]]), np.array([3.0, 3.0, 5.0])) == 2.0
    assert dominated_volume(np.empty((0, 2)), np.ones(2)) == 0.0
    assert dominated_volume(np.empty((0, 3)), np.ones(3)) == 0.0


def test_the_volume_of_two_points_counts_what_both_dominate_once():
    points = np.array([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [1.0, 2.0]])
    assert dominated_volume(points, np.array([3.0, 3.0])) == 2 + 2 - 1


@pytest.mark.parametrize("columns", [2, 3, 4])
def test_the_volume_is_the_share_of_the_unit_cube_that_is_dominated(columns):
    """On a grid of whole numbers the cells are counted."""
    points = np.random.default_rng(columns).integers(0, 6, size=(12, columns))
    cells = np.stack(np.meshgrid(*[np.arange(6)] * columns, indexing="ij"), axis=-1).reshape(-1, columns)
    dominated = (points[:, None] <= cells).all(axis=2).any(axis=0).sum()
    assert dominated_volume(points.astype(float), np.full(columns, 6.0)) == dominated > 0


def test_rows_that_break_limits_rank_behind_all_fronts_by_how_far_they_are_off():
    values = np.array([[1.0, 9.0], [9.0, 1.0], [9.0, 9.0], [0.0, 0.0], [5.0, 5.0], [0.1, 0.1]])
    off = np.array([0.0, 0.0, 0.0, 0.5, 0.2, 0.2])
    assert constrained_ranks(values, off).tolist() == [1, 1, 2, 4, 3, 3]
    assert constrained_ranks(values, np.zeros(6)).tolist() == pareto_ranks(values).tolist()
    assert constrained_ranks(values, np.full(6, 0.1)).tolist() == [1] * 6
