"""Which columns a person decides by: what matters most comes first."""

import math

import numpy as np
import pytest
from table_rows import row, stored

from results.rows import Outcome
from results.table import ResultsTable
from results.trial_columns import by_influence, trial_columns

DRAWS = np.random.default_rng(0)


def table(path, rows) -> ResultsTable:
    return ResultsTable.load(stored(path, rows))


def search(path, score, **parameters) -> ResultsTable:
    """A trial for each number of these parameters [n], scored by a function of them."""
    names = list(parameters)
    rows = []
    for trial, values in enumerate(zip(*parameters.values(), strict=True)):
        config = dict(zip(names, values, strict=True))
        found = score(**config)
        outcome = Outcome.COMPLETED if math.isfinite(found) else Outcome.DIVERGED
        hyperparameters = {f"lane.{name}": value for name, value in config.items()}
        rows.append({**row(trial, 0, found, outcome), "lane.beta1": 0.5, **hyperparameters})
    return table(path, rows)


def test_the_hyperparameter_comes_first_that_explains_most_of_the_order(tmp_path):
    """`middle` is best in the middle, where a correlation would see nothing; `kind` decides between two texts."""
    noise, middle = DRAWS.uniform(size=60).tolist(), DRAWS.uniform(size=60).tolist()
    kind = [("hinge", "wasserstein")[number % 2] for number in range(60)]

    def score(noise: float, kind: str, middle: float) -> float:
        return 10 * abs(middle - 0.5) + 2 * (kind == "hinge")

    found = search(tmp_path, score, noise=noise, kind=kind, middle=middle)
    assert found.differing == ["lane.noise", "lane.kind", "lane.middle"]
    assert by_influence(found) == ["lane.middle", "lane.kind", "lane.noise"]


def test_deaths_are_the_worst_rank_and_not_left_out(tmp_path):
    low, high = [0.1] * 10, [0.9] * 10

    def score(other: float, rate: float) -> float:
        return math.nan if rate > 0.5 else other

    found = search(tmp_path, score, other=[(number * 7 % 10) / 10 for number in range(20)], rate=low + high)
    assert by_influence(found) == ["lane.rate", "lane.other"]


def test_too_few_trials_say_nothing_and_keep_the_order_of_the_table(tmp_path):
    found = search(tmp_path, lambda a, b: b, a=[1.0, 2.0, 3.0], b=[3.0, 1.0, 2.0])
    assert by_influence(found) == found.differing == ["lane.a", "lane.b"]


def test_no_trial_differs_where_there_is_one(tmp_path):
    assert by_influence(table(tmp_path, [row(0, 0, 1.0)])) == []


@pytest.mark.parametrize(("name", "cells"), [("fidelity_error", "0.25"), ("fidelity_latent_error", "0.50")])
def test_the_objective_has_its_standard_error_beside_it(tmp_path, name, cells):
    errors = {"fidelity.fidelity_error": 0.25, f"fidelity.{name}": float(cells)}
    found = table(tmp_path, [{**row(0, 0, 1.5), **errors}])
    shown = {each.name: each for each in trial_columns(found, found.trials, reasons=False)}
    assert shown["fidelity"].cells == (f"1.50 ± {cells}",)
    assert shown["fid"].cells == ("2.5",)
    assert (shown["fidelity"].rank, shown["trial"].rank) == (0, 0)
    assert shown["fid"].rank > 0


def test_a_negated_objective_is_shown_as_it_is(tmp_path):
    values = {"objective": "-coverage", "fidelity.coverage": 0.75, "fidelity.coverage_error": 0.01}
    found = table(tmp_path, [{**row(0, 0, -0.75), **values}])
    shown = {each.name: each for each in trial_columns(found, found.trials, reasons=True)}
    assert shown["coverage"].cells == ("0.750 ± 0.010",)
    assert shown["reason"].rank == max(each.rank for each in shown.values())


def test_limits_that_are_broken_are_words_too(tmp_path):
    broken = {"limits_broken": "class_balance coverage", "fidelity.violation": 1.0}
    found = table(tmp_path, [{**row(0, 0, 1.0), "signs": ""}, {**row(2, 0, 2.0), **broken, "signs": ""}])
    shown = {each.name: each for each in trial_columns(found, found.trials, reasons=False)}
    assert shown["limits_broken"].cells == ("", "class_balance coverage")
    assert shown["limits_broken"].brief == ("", "2")


def test_signs_are_words_and_in_brief_how_many(tmp_path):
    found = table(tmp_path, [{**row(0, 0, 1.0), "signs": "oscillation low_coverage"}, {**row(2, 0, 2.0), "signs": ""}])
    shown = {each.name: each for each in trial_columns(found, found.trials, reasons=False)}
    assert shown["signs"].cells == ("oscillation low_coverage", "")
    assert shown["signs"].brief == ("2", "")
    alone = trial_columns(found, found.trials.tail(1), reasons=False)
    assert "signs" not in [each.name for each in alone]
