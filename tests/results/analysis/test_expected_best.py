"""The best of k random trials is counted over all subsets, and only where the trials were random."""

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from searches import BREAKING, limits, run_of
from table_rows import row

from results.rows import Outcome
from results.store import ResultsError
from results.table import ResultsTable

SCORES = [5.0, math.inf, 3.0, 8.0, 3.5, math.inf, 2.0]


def table_of(path, scores: list[float] = SCORES, sampler: object = "random", sign: float = 1.0, **spec: object):
    rows = [row(0, 0, sign * 0.5, Outcome.COMPLETED, seconds=100.0)]
    for number, score in enumerate(scores, 1):
        died = math.isinf(score)
        values = {"seconds": 2.0, "objective": "-coverage" if sign < 0 else "fidelity"}
        rows.append(
            row(number, 0, math.nan if died else sign * score, Outcome.DIVERGED if died else Outcome.PRUNED, **values)
        )
    rows[0]["objective"] = rows[1]["objective"]
    return run_of(path, rows, sampler=sampler, **spec)


def test_the_expectation_is_that_over_all_subsets(tmp_path):
    found: Any = table_of(tmp_path).expected_best().set_index("trials")
    assert set(found["kind"]) == {"best of k random trials"}
    assert found.index.tolist() == [1, 2, 3, 4, 5, 6, 7]
    for k in found.index:
        minima = np.array([min(each) for each in combinations(SCORES, k)])
        finite = minima[np.isfinite(minima)]
        assert found["expected"][k] == pytest.approx(minima.mean())
        assert found["expected_if_any"][k] == pytest.approx(finite.mean())
        assert found["chance_of_score"][k] == pytest.approx(len(finite) / len(minima))
        for column, share in (("low", 0.05), ("best", 0.5), ("high", 0.95)):
            assert found[column][k] == np.quantile(minima, share, method="inverted_cdf")
    assert found["expected"][2] == math.inf  # both may be the two that died
    assert found["expected"][3] < 5


def test_trials_cost_what_they_cost_on_average_without_the_default(tmp_path):
    found: Any = table_of(tmp_path).expected_best()
    assert found["device_seconds"].tolist() == pytest.approx([2.0 * k for k in range(1, 8)])
    assert found["images"].tolist() == pytest.approx([100.0 * k for k in range(1, 8)])


def test_where_more_is_better_all_is_turned_round(tmp_path):
    found: Any = table_of(tmp_path, [0.2, math.inf, 0.6], sign=-1.0).expected_best()
    assert found["expected"].tolist() == pytest.approx([-math.inf, (0.2 + 0.6 + 0.6) / 3, 0.6])
    assert found["best"].tolist() == [0.2, 0.6, 0.6]
    assert found["low"].tolist() == [-math.inf, 0.2, 0.6]
    assert found["high"].tolist() == [0.6, 0.6, 0.6]


def test_points_that_a_person_gave_were_not_drawn(tmp_path):
    found: Any = table_of(tmp_path, enqueue=[{"lane.beta1": 0.5}]).expected_best()
    assert len(found) == 6
    assert found["expected"].iloc[-1] == 2.0
    assert found["expected_if_any"].iloc[0] == pytest.approx((3 + 8 + 3.5 + 2) / 4)


@pytest.mark.parametrize("sampler", ["tpe", {"name": "gp", "n_startup_trials": 3}])
def test_where_trials_depend_on_each_other_it_is_the_best_so_far(tmp_path, sampler):
    found: Any = table_of(tmp_path, sampler=sampler).expected_best()
    assert set(found["kind"]) == {"best so far"}
    assert found["trials"].tolist() == list(range(1, 9))
    assert found["best"].tolist() == [0.5] * 8
    assert found["device_seconds"].tolist() == [100.0 + 2 * n for n in range(8)]
    assert found[["low", "high", "expected", "expected_if_any", "chance_of_score"]].isna().to_numpy().all()


def test_qmc_is_independent_and_a_population_is_not(tmp_path):
    qmc = table_of(tmp_path, sampler={"name": "qmc", "qmc_type": "halton"})
    assert qmc.expected_best()["kind"].iloc[0] == "best of k random trials"
    population = table_of(tmp_path / "b", population={"members": 4})
    assert population.expected_best()["kind"].iloc[0] == "best so far"
    assert ResultsTable(qmc.frame).expected_best()["kind"].iloc[0] == "best so far"  # it may have been any sampler


def test_a_budget_is_a_number_of_trials(tmp_path):
    table = table_of(tmp_path)
    assert table.expected_best(3)["trials"].tolist() == [1, 2, 3]
    budgets: tuple[Any, ...] = (0, 8, True, 2.5, "all")
    for budget in budgets:
        with pytest.raises(ResultsError, match=r"budget must be a number of trials from 1 to 7, .*; got "):
            table.expected_best(budget)


def test_of_thousands_of_budgets_at_most_two_hundred_are_taken(tmp_path):
    rows = [row(n, 0, float(n), Outcome.COMPLETED) for n in range(1, 3001)]
    found: Any = run_of(tmp_path, rows, sampler="random").expected_best()
    assert 100 < len(found) <= 200
    assert found["trials"].iloc[[0, -1]].tolist() == [1, 3000]
    k = found["trials"].to_numpy()
    assert found["expected"].to_numpy() == pytest.approx(3001 / (k + 1))  # of the least of k of 1 .. n


def test_without_a_score_there_is_nothing_to_expect(tmp_path):
    with pytest.raises(ResultsError, match="none of the 2 trials that were drawn and ended has a score"):
        table_of(tmp_path, [math.inf, math.inf]).expected_best()


def test_what_breaks_limits_is_as_bad_as_what_died(tmp_path):
    rows = [row(n, 0, score, Outcome.COMPLETED, **limits(off)) for n, (score, off) in enumerate(BREAKING, 1)]
    found: Any = run_of(tmp_path, rows, sampler="random").expected_best()
    assert found["chance_of_score"].tolist() == pytest.approx([1 / 2, 5 / 6, 1.0, 1.0])
    # of the 5 pairs with one of 5.0 and 6.0 that keep the limits, 3 have 5.0; of the 4 triples, 3 do
    assert found["expected_if_any"].tolist() == pytest.approx([5.5, (3 * 5 + 2 * 6) / 5, (3 * 5 + 6) / 4, 5.0])
    assert found["expected"].tolist() == pytest.approx([math.inf, math.inf, 5.25, 5.0])
