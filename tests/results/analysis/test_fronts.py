"""The Pareto front of several objectives, and its hypervolume as trials end."""

import math
import warnings
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.exceptions import ExperimentalWarning
from table_rows import row

from results.rows import Outcome
from results.store import ResultsError
from results.table import ResultsTable


def ended(trial: int, fid: float, coverage: float, outcome: Outcome = Outcome.COMPLETED, **values: Any) -> dict:
    """The row of a trial with the objectives `fid` and `-coverage`."""
    scores = {"fidelity.fid": fid, "fidelity.coverage": coverage}
    return row(trial, 0, fid, outcome, objective="fid, -coverage", **scores, **values)


ROWS = [
    ended(0, 4.0, 0.5, elapsed_seconds=10.0),
    ended(1, 2.0, 0.25, elapsed_seconds=20.0),
    ended(2, math.nan, math.nan, Outcome.DIVERGED, elapsed_seconds=30.0),
    ended(3, 3.0, 0.75, elapsed_seconds=40.0),
    ended(4, 6.0, 0.125, elapsed_seconds=50.0),
]


@pytest.fixture
def table() -> ResultsTable:
    return ResultsTable(pd.DataFrame(ROWS))


def test_each_trial_has_its_objectives_with_their_own_values_and_its_rank(table):
    found = table.pareto()
    columns = ["trial", "fid", "coverage", "pareto_rank", "front"]
    assert found[columns].head(4).values.tolist() == [
        [1, 2.0, 0.25, 1, True],
        [3, 3.0, 0.75, 1, True],
        [0, 4.0, 0.5, 2, False],
        [4, 6.0, 0.125, 3, False],
    ]
    dead: Any = found.iloc[4]
    assert (dead["trial"], dead["outcome"], dead["pareto_rank"], dead["front"]) == (2, "diverged", pd.NA, False)
    assert found["images_trained"].tolist() == [100] * 5


def test_the_first_objective_may_be_one_of_which_more_is_better():
    rows = [{**one, "objective": "-coverage, seconds", "score": -one["fidelity.coverage"]} for one in ROWS]
    found = ResultsTable(pd.DataFrame(rows)).pareto()
    assert found["coverage"].tolist()[:4] == [0.75, 0.5, 0.25, 0.125]
    assert found["seconds"].tolist() == [0.5] * 5
    assert found["front"].tolist() == [True, False, False, False, False]


def test_the_volume_grows_as_trials_end_and_the_reference_lies_a_tenth_beyond_the_front(table):
    found = table.hypervolume()
    assert found.filter(like="reference").drop_duplicates().values.tolist() == [[3.1, 0.2]]  # (2, 0.25) and (3, 0.75)
    assert found["hypervolume"].tolist() == pytest.approx([0, 1.1 * 0.05, 0.055, 0.055 + 0.1 * 0.5, 0.105])
    assert found["trial"].tolist() == [0, 1, 2, 3, 4]
    assert found["trials"].tolist() == [1, 2, 3, 4, 5]
    assert found["elapsed_seconds"].tolist() == [10, 20, 30, 40, 50]
    assert found["device_seconds"].tolist() == [0.5, 1.0, 1.5, 2.0, 2.5]
    assert found["images"].tolist() == [100, 200, 300, 400, 500]


def test_a_trial_counts_when_it_has_its_last_row(table):
    first = {**ROWS[0], "outcome": "running"}
    later = {**ROWS[0], "rung": 1, "images_seen": 300, "elapsed_seconds": 60.0, "score": 9.0}
    found = ResultsTable(pd.DataFrame([first, *ROWS[1:], later])).hypervolume({"fid": 8.0, "coverage": 0.0})
    assert found["trial"].tolist() == [1, 2, 3, 4, 0]
    assert found["images"].tolist() == [200, 300, 400, 500, 700]
    assert found["hypervolume"].tolist() == [6 * 0.25, 1.5, 1.5 + 5 * 0.5, 4.0, 4.0]


@pytest.mark.parametrize(("objectives", "worst"), [(2, [1.0, -1.0]), (3, [1.0, -1.0, 0.9])])
def test_the_history_is_optunas(objectives, worst):
    drawn = np.random.default_rng(objectives).normal(size=(30, 2))
    seconds = np.random.default_rng(9).uniform(size=30)
    named = ["fid", "-coverage", "seconds"][:objectives]
    rows = [
        ended(n, *pair, seconds=s) for n, (pair, s) in enumerate(zip(drawn.tolist(), seconds.tolist(), strict=True))
    ]
    table = ResultsTable(pd.DataFrame(rows).assign(objective=", ".join(named)))
    names = ["fid", "coverage", "seconds"][:objectives]
    directions: Any = ["minimize", "maximize", "minimize"]
    study = optuna.create_study(directions=directions[:objectives])
    values = np.column_stack([drawn, seconds])[:, :objectives]
    study.add_trials([optuna.trial.create_trial(values=one.tolist()) for one in values])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        figure: Any = optuna.visualization.plot_hypervolume_history(study, worst)
    found = table.hypervolume(dict(zip(names, worst, strict=True)))["hypervolume"]
    assert found.tolist() == pytest.approx(list(figure.data[0].y))
    assert len(set(found)) > 3


def test_a_trial_that_breaks_limits_is_on_no_front_and_adds_no_volume(table):
    off = [0.0, 0.5, 0.0, 0.0, 0.0]
    limited = {"objective": "fidelity, -coverage", "fidelity.violation": off, "fidelity.coverage_violation": off}
    found = ResultsTable(table.frame.assign(**limited))
    front = found.pareto()
    assert front[front["front"]]["trial"].tolist() == [3]
    assert front[~front["limits_kept"]]["trial"].tolist() == [1]
    assert found.hypervolume({"fidelity": 8.0, "coverage": 0.0})["hypervolume"].tolist() == [2.0, 2.0, 2.0, 3.75, 3.75]
    alone = found.frame.iloc[1:2]
    assert ResultsTable(alone).pareto()["front"].tolist() == [False]
    assert ResultsTable(alone).hypervolume()["hypervolume"].tolist() == [0.0]


def test_one_trial_on_the_front_has_a_reference_too():
    found = ResultsTable(pd.DataFrame(ROWS[:1])).hypervolume()
    assert found[["reference.fid", "reference.coverage"]].values.tolist() == [[4.1, 0.4]]
    assert found["hypervolume"].tolist() == pytest.approx([0.01])


def test_without_a_score_the_volume_is_0():
    found = ResultsTable(pd.DataFrame(ROWS[2:3])).hypervolume()
    assert found["hypervolume"].tolist() == [0.0]
    assert math.isnan(found["reference.fid"].tolist()[0])


def test_one_objective_has_no_front():
    table = ResultsTable(pd.DataFrame([row(0, 0, 1.0)]))
    for analysis in (table.pareto, table.hypervolume):
        with pytest.raises(ResultsError, match="needs several objectives, and this run has one, 'fidelity'"):
            analysis()


@pytest.mark.parametrize(
    "reference", [{}, {"fid": 1.0}, {"fid": 1.0, "coverage": math.inf}, {"fid": 1.0, "-coverage": 1}]
)
def test_a_reference_has_a_value_of_each_objective(table, reference):
    with pytest.raises(ResultsError, match="must have a finite value of each of fid, coverage, got"):
        table.hypervolume(reference)
