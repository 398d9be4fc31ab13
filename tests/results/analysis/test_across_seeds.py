"""What replicates say of finalists."""

import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap, mannwhitneyu, trim_mean
from table_rows import replicates, row

from results.analysis.across_seeds import bootstrap_interval, interquartile_mean, probability_of_improvement
from results.rows import Outcome
from results.table import ResultsTable

INF = math.inf
FIRST, SECOND = (3.0, 1.0, 2.0, 4.0, 100.0), (5.0, 6.0, 3.5, 7.0, INF)


def table(*rows: dict) -> ResultsTable:
    search = [row(trial, 0, 1.5, Outcome.COMPLETED) for trial in (1, 2, 3)]
    return ResultsTable(pd.DataFrame([*search, *rows]))


@pytest.fixture
def confirmed() -> ResultsTable:
    return table(*replicates(2, *SECOND), *replicates(3, *FIRST))


def test_each_replicate_is_a_row_and_those_of_the_winner_come_first(confirmed):
    found = confirmed.replicates()
    assert found["trial"].tolist() == [3] * 5 + [2] * 5
    assert found["replicate"].tolist() == [1, 2, 3, 4, 5] * 2
    assert found["score"].tolist() == [*FIRST, *SECOND]
    assert found["failed"].tolist() == [False] * 9 + [True]
    assert found["outcome"].tolist() == ["completed"] * 9 + ["failed"]
    assert found["images_seen"].tolist() == [200] * 10
    assert found["seconds"].tolist() == [1.0] * 10


def test_a_replicate_in_training_has_its_best_value_so_far_and_is_no_failure():
    going = [row(3, 0, 2.0, replicate=1), row(1, 0, math.nan, replicate=1)]
    found: Any = table(*going).replicates()
    assert (found["trial"].tolist(), found["failed"].tolist()) == ([1, 3], [False, False])
    assert math.isnan(found["score"][0])
    assert found["score"][1] == 2.0
    assert table(*going).finalists().empty


def test_a_replicate_that_ended_without_a_score_failed_and_a_dead_one_too():
    ended = [
        row(3, 0, math.nan, Outcome.COMPLETED, replicate=1),
        row(3, 0, 0.5, replicate=2),
        row(3, 1, 1.0, Outcome.DIVERGED, replicate=2),
    ]
    found = table(*ended).replicates()
    assert (found["score"].tolist(), found["failed"].tolist()) == ([INF, INF], [True, True])


def test_rungs_that_break_limits_do_not_count_and_a_replicate_without_others_failed():
    rows = [*replicates(2, 5.0, 6.0), *replicates(3, 1.0, 2.0)]
    off = [0.0] * 3 + [0.5, 0.0] * 2 + [0.5, 0.5] + [0.5, 0.0]
    frame = table(*rows).frame
    limited = {"fidelity.violation": off[: len(frame)], "fidelity.coverage_violation": off[: len(frame)]}
    found = ResultsTable(frame.assign(**limited))
    assert found.replicates()["score"].tolist() == [6.0, 7.0, INF, 3.0]
    assert found.replicates()["failed"].tolist() == [False, False, True, False]
    assert found.finalists()["median"].tolist() == [6.5, INF]


def test_a_search_without_confirmation_has_none():
    assert table().replicates().empty
    found = table().finalists()
    assert found.empty
    assert {"median", "interquartile_mean", "low", "high", "chance_of_order"} <= set(found.columns)


def test_finalists_have_the_numbers_of_scipy(confirmed):
    first, second = confirmed.finalists().to_dict("records")
    assert (first["trial"], second["trial"]) == (3, 2)
    assert (first["median"], second["median"], second["failed"]) == (3.0, 6.0, 1)
    assert first["interquartile_mean"] == 3.0  # of 2, 3 and 4
    assert second["interquartile_mean"] == 6.0  # of 5, 6 and 7
    test = mannwhitneyu(SECOND, FIRST, method="exact")
    assert second["probability_of_improvement"] == test.statistic / 25 == 20 / 25
    assert second["chance_of_order"] == pytest.approx(test.pvalue)
    assert math.isnan(first["probability_of_improvement"])
    assert math.isnan(first["chance_of_order"])


def test_the_interval_is_scipys_bootstrap_of_the_interquartile_mean(confirmed):
    first = confirmed.finalists().iloc[0]
    generator = np.random.default_rng(0)
    drawn = bootstrap((FIRST,), lambda x, axis: trim_mean(x, 0.25, axis=axis), method="percentile", rng=generator)
    assert (first["low"], first["high"]) == tuple(drawn.confidence_interval)
    assert 1.0 <= first["low"] < 3.0 < first["high"] <= 100.0


def test_where_more_is_better_values_and_intervals_are_not_negated():
    rows = [*replicates(2, *(-score for score in (0.5, 0.6, 0.7))), *replicates(3, -0.9, -0.8, INF)]
    found = ResultsTable(table(*rows).frame.assign(objective="-coverage"))
    assert found.replicates()["score"].tolist() == [0.9, 0.8, -INF, 0.5, 0.6, 0.7]
    first, second = found.finalists().to_dict("records")
    assert (first["median"], first["interquartile_mean"], first["low"]) == (0.8, -INF, -INF)
    assert second["interquartile_mean"] == pytest.approx(0.6)
    assert 0.5 <= second["low"] < 0.6 < second["high"] <= 0.7
    assert second["probability_of_improvement"] == pytest.approx(6 / 9)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([2.0], (math.nan, math.nan)),
        ([2.0, 2.0, 2.0], (2.0, 2.0)),
        ([INF, INF], (INF, INF)),
        ([-1.0, -2.0, -3.0, INF, INF, INF], None),
    ],
)
def test_an_interval_counts_failures_as_worst_without_a_warning(scores, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        low, high = bootstrap_interval(np.array(scores))
    if expected is None:
        assert -3 <= low < -1
        assert high == INF
    else:
        np.testing.assert_equal((low, high), expected)


def test_a_quarter_at_each_end_is_left_out_of_the_mean():
    assert interquartile_mean(np.array([8.0, 1.0, 2.0, 3.0, 100.0, 4.0, 5.0, INF])) == (3 + 4 + 5 + 8) / 4
    assert interquartile_mean(np.array([1.0, INF])) == INF


def test_equal_scores_and_failures_improve_upon_each_other_by_half():
    assert probability_of_improvement(np.array([1.0, INF]), np.array([1.0, INF])) == (0.5 + 1 + 0 + 0.5) / 4
    assert probability_of_improvement(np.array([1.0]), np.array([2.0, 3.0])) == 1.0
