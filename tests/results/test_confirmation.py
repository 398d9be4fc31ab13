"""The scores of finalists from other seeds, and the probability that their order is chance."""

import itertools
import math
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu, permutation_test, rankdata

from results.confirmation import COLUMNS, chance_of_order, confirmations, replicate_scores
from results.rows import DEAD

INF = math.inf


def frame(*rows: tuple[int, int, int, float, str]) -> pd.DataFrame:
    """Rows (trial, replicate, rung, score, outcome)."""
    return pd.DataFrame(rows, columns=["trial", "replicate", "rung", "score", "outcome"])


SEARCH = (3, 0, 0, 0.125, "completed")  # luckier than any replicate


# ---- replicates


def test_a_replicates_score_is_its_lowest_rungs_and_the_search_does_not_count():
    rows = frame(
        SEARCH,
        (3, 1, 0, 2.0, "running"),
        (3, 1, 1, 5.0, "completed"),
        (3, 2, 0, 4.0, "running"),
        (3, 2, 1, 3.0, "completed"),
    )
    assert {t: s.tolist() for t, s in replicate_scores(rows).items()} == {3: [2.0, 3.0]}
    assert {t: s.tolist() for t, s in replicate_scores(rows.iloc[::-1]).items()} == {3: [2.0, 3.0]}


@pytest.mark.parametrize("outcome", DEAD)
def test_a_replicate_that_dies_is_infinitely_bad_however_low_it_once_was(outcome):
    rows = frame((3, 1, 0, 0.5, "running"), (3, 1, 1, math.nan, str(outcome)), (3, 2, 0, 1.0, "completed"))
    assert replicate_scores(rows)[3].tolist() == [INF, 1.0]


def test_a_replicate_without_any_score_is_infinitely_bad():
    assert replicate_scores(frame((3, 1, 0, math.nan, "completed")))[3].tolist() == [INF]


def test_a_finalist_counts_once_all_its_replicates_have_ended():
    ended = [(3, 1, 0, 1.0, "completed"), (3, 2, 0, 1.0, "completed"), (4, 1, 0, 1.0, "completed")]
    assert set(replicate_scores(frame(*ended))) == {3}  # the second replicate of 4 has no row yet
    assert set(replicate_scores(frame(*ended, (4, 2, 0, 1.0, "running")))) == {3}
    assert set(replicate_scores(frame(*ended, (4, 2, 0, 1.0, "running"), (4, 2, 1, 2.0, "completed")))) == {3, 4}


def test_a_search_alone_confirms_nothing():
    assert replicate_scores(frame(SEARCH)) == {}
    table = confirmations({}, {})
    assert (len(table), tuple(table.columns)) == (0, COLUMNS)


# ---- the table of finalists


@pytest.mark.parametrize("count", range(1, 9))
def test_median_quartiles_mean_and_deviation_are_numpys_where_none_failed(count):
    scores = np.random.default_rng(count).normal(size=count)
    (row,) = confirmations({7: scores}, {7: 0.25}).to_dict("records")
    assert (row["trial"], row["seeds"], row["failed"], row["search_score"]) == (7, count, 0, 0.25)
    found = [row["q25"], row["median"], row["q75"], row["mean"]]
    assert found == pytest.approx([*np.quantile(scores, [0.25, 0.5, 0.75]), np.mean(scores)], rel=1e-14)
    expected = pd.Series(scores).std(ddof=1)
    assert row["deviation"] == pytest.approx(expected, rel=1e-14, nan_ok=True)
    assert math.isnan(row["deviation"]) == (count == 1)


@pytest.mark.parametrize(
    ("scores", "median", "q25", "q75", "mean", "failed"),
    [
        ([1.0, 2.0, 3.0, 4.0, INF], 3.0, 2.0, 4.0, 2.5, 1),
        ([1.0, 2.0, 3.0, INF, INF], 3.0, 2.0, INF, 2.0, 2),
        ([1.0, 2.0, INF, INF, INF], INF, 2.0, INF, 1.5, 3),
        ([1.0, 2.0, INF, INF], INF, 1.75, INF, 1.5, 2),
        ([1.0, 2.0, 3.0, INF], 2.5, 1.75, INF, 2.0, 1),
        ([INF, INF], INF, INF, INF, math.nan, 2),
    ],
)
def test_failures_count_as_the_worst_in_median_and_quartiles_and_not_in_the_mean(
    scores, median, q25, q75, mean, failed
):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (row,) = confirmations({0: np.array(scores)}, {}).to_dict("records")
    assert [row["median"], row["q25"], row["q75"], row["failed"]] == [median, q25, q75, failed]
    assert row["mean"] == pytest.approx(mean, nan_ok=True)
    assert math.isnan(row["search_score"])


def test_finalists_stand_by_median_then_failures_then_mean_then_number():
    scores = {
        9: [2.0, 2.0, 2.0],
        8: [1.0, 2.0, INF],
        7: [2.0, 2.0, 3.0],
        6: [2.0, 2.0, 3.0],
        5: [0.5, INF, INF],
        4: [INF, INF, INF],
        3: [0.0, 1.9, 99.0],
        2: [0.25, INF, INF],
    }
    for order in (list(scores), sorted(scores)):
        table = confirmations({trial: np.array(scores[trial]) for trial in order}, {})
        assert table["trial"].tolist() == [3, 9, 6, 7, 8, 2, 5, 4]


# ---- luck


def all_splits(first: list[float], second: list[float]) -> float:
    """By definition: the sum of ranks of every split of the scores."""
    ranks = rankdata([*first, *second])
    sums = [sum(split) for split in itertools.combinations(ranks, len(first))]
    observed = sum(ranks[: len(first)])
    return min(1.0, 2 * sum(total <= observed + 1e-9 for total in sums) / len(sums))


def two_groups(seed: int, first: int, second: int) -> tuple[list[float], list[float]]:
    generator = np.random.default_rng(seed)
    return (generator.normal(size=first) - 0.5).tolist(), generator.normal(size=second).tolist()


@pytest.mark.parametrize("sizes", [(5, 5), (3, 6), (1, 4), (10, 10), (20, 20)], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_without_ties_it_is_the_exact_test_of_mann_and_whitney(seed, sizes):
    first, second = two_groups(seed, *sizes)
    if np.sum(rankdata([*first, *second])[: sizes[0]]) * 2 > sizes[0] * (sum(sizes) + 1):
        first, second = [-x for x in first], [-x for x in second]
    expected = mannwhitneyu(first, second, method="exact", alternative="two-sided").pvalue
    assert chance_of_order(first, second) == pytest.approx(expected, rel=1e-12)
    assert 0 < chance_of_order(first, second) <= 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([1.0, 1.0, 2.0, INF, 0.5], [1.0, 2.0, INF, INF, INF]),
        ([1.0, 2.0, 3.0], [3.0, INF, INF]),
        ([1.0, 1.0], [1.0, 1.0]),
        ([1.0, 2.0, INF], [2.0, 2.0, 2.0, 4.0]),
    ],
)
def test_with_ties_and_failures_it_is_the_permutation_test_of_mean_ranks(first, second):
    assert chance_of_order(first, second) == pytest.approx(all_splits(first, second), rel=1e-12)
    ranks = rankdata([*first, *second])
    groups = ranks[: len(first)], ranks[len(first) :]
    less = permutation_test(groups, lambda a, b: np.sum(a), n_resamples=1000, alternative="less").pvalue
    assert chance_of_order(first, second) == pytest.approx(min(1.0, 2 * less), rel=1e-12)


def test_the_clearest_order_of_five_against_five_is_one_of_252_splits_each_way():
    assert chance_of_order([1, 2, 3, 4, 5], [6, 7, 8, 9, INF]) == pytest.approx(2 / 252)
    assert chance_of_order([6, 7, 8, 9, INF], [1, 2, 3, 4, 5]) == 1.0  # the ranks favour the second


def test_one_seed_each_tells_nothing():
    assert chance_of_order([1.0], [2.0]) == 1.0


def test_equally_good_finalists_are_told_apart_at_5_percent_in_at_most_5_percent_of_cases():
    generator = np.random.default_rng(0)
    draws = generator.normal(size=(2000, 2, 5))
    chances = [min(chance_of_order(a, b), chance_of_order(b, a)) for a, b in draws]
    assert 0.02 < np.mean(np.array(chances) <= 0.05) <= 0.05


@pytest.mark.parametrize(("first", "second"), [([], [1.0]), ([1.0], []), ([math.nan], [1.0])])
def test_groups_that_are_empty_or_hold_a_nan_are_refused(first, second):
    with pytest.raises(ValueError, match="two groups of scores without NaN"):
        chance_of_order(first, second)
