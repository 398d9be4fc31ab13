"""The Optuna study that is rebuilt from a table has the trials, ranges, states and values of the run."""

import math
import time
from collections import Counter
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState
from searches import BREAKING, drawn, formula_search, limits, run_of
from table_rows import row

from results.rows import Outcome
from results.store import ResultsError
from results.table import ResultsTable


def test_at_best_rungs_states_are_the_outcomes(tmp_path):
    study = formula_search(tmp_path).search_study()
    assert [trial.number for trial in study.trials] == list(range(60))
    assert Counter(trial.state for trial in study.trials) == {
        TrialState.COMPLETE: 36,
        TrialState.PRUNED: 18,
        TrialState.FAIL: 6,
    }
    trial = study.trials[3]
    score = abs(math.log10(trial.params["lane.generator_lr"]) + 3)
    assert trial.value == pytest.approx(score)
    assert trial.intermediate_values == pytest.approx({100: score + 1, 200: score})
    assert study.trials[2].value == pytest.approx(abs(math.log10(study.trials[2].params["lane.generator_lr"]) + 3) + 1)
    assert study.trials[59].value is None
    assert study.trials[59].user_attrs == {"outcome": "diverged"}


@pytest.mark.parametrize("rung", ["first", 0])
def test_at_the_first_rung_all_with_a_score_are_complete(tmp_path, rung):
    study = formula_search(tmp_path).search_study(rung)
    assert Counter(trial.state for trial in study.trials) == {TrialState.COMPLETE: 54, TrialState.FAIL: 6}
    assert all(trial.values[0] >= 1 for trial in study.trials[:54])


def test_at_the_last_rung_trials_that_ended_before_have_no_value(tmp_path):
    study = formula_search(tmp_path).search_study("last")
    states = {TrialState.COMPLETE: 36, TrialState.PRUNED: 18, TrialState.FAIL: 6}
    assert Counter(trial.state for trial in study.trials) == states
    assert study.trials[2].value is None


def test_distributions_are_the_ranges_of_the_space_and_idle_parameters_are_absent(tmp_path):
    study = formula_search(tmp_path).search_study()
    known = {
        "lane.generator_lr": FloatDistribution(1e-5, 1e-1, log=True),
        "lane.beta1": FloatDistribution(0.0, 0.9),
        "lane.discriminator_lr.ratio": FloatDistribution(0.5, 2.0, log=True),
        "lane.discriminator_steps": IntDistribution(1, 3),
        "structure.loss": CategoricalDistribution(["hinge", "wasserstein_gp"]),
    }
    penalty = {"lane.penalty_weight": FloatDistribution(0.1, 10.0, log=True)}
    for trial in study.trials:
        with_penalty = trial.params["structure.loss"] == "wasserstein_gp"
        assert trial.distributions == (known | penalty if with_penalty else known)
    assert {"lane.penalty_weight" in trial.params for trial in study.trials} == {True, False}


def test_a_condition_holds_where_the_base_value_is_not_idle(tmp_path):
    space = {"ranges": {"lane.beta1": {"low": 0, "high": 1, "when": {"structure.loss": ["hinge"]}}}}
    rows = [
        row(0, 0, 1.0, **{"structure.loss": "hinge", "lane.beta1": 0.5}),
        row(1, 0, 1.0, **{"structure.loss": "minimax", "lane.beta1": 0.9}),
        row(2, 0, 1.0, **{"structure.loss": "hinge", "lane.beta1": 1.5}),
    ]
    study = run_of(tmp_path, rows, space=space).search_study()
    assert [trial.params for trial in study.trials] == [{"lane.beta1": 0.5}, {}, {"lane.beta1": 1.5}]
    assert study.trials[0].distributions["lane.beta1"] == FloatDistribution(
        0.0, 1.5
    )  # widened to what a population did


def test_a_choice_is_the_one_of_the_space_where_the_column_made_it_a_float(tmp_path):
    space = {"ranges": {"structure.categorical_codes": {"choices": [0, 10]}}}
    codes: dict[str, Any] = {"structure.categorical_codes": 10}
    rows = [row(0, 0, 1.0, **codes), row(1, 0, 2.0)]
    table = run_of(tmp_path, rows, space=space)
    assert table.frame["structure.categorical_codes"].dtype == float
    values = [trial.params for trial in table.search_study().trials]
    assert values == [{"structure.categorical_codes": 10}, {}]
    assert isinstance(values[0]["structure.categorical_codes"], int)


def test_without_a_spec_the_values_that_were_seen_are_the_space(tmp_path):
    table = ResultsTable(formula_search(tmp_path).frame)
    found: Any = table.search_study().trials[0].distributions
    seen: Any = table.trials["lane.generator_lr"]
    assert found["lane.generator_lr"] == FloatDistribution(seen.min(), seen.max(), log=True)
    assert "log=False" in str(found["lane.beta1"])
    assert found["lane.discriminator_steps"] == IntDistribution(1, 3)
    assert found["structure.loss"] == CategoricalDistribution(["hinge", "wasserstein_gp"])
    assert "lane.discriminator_lr.ratio" in found
    assert "lane.discriminator_lr" not in found


def test_several_objectives_have_their_own_values_and_directions(tmp_path):
    values: dict[str, Any] = {"objective": "-coverage, fid, seconds", "fidelity.coverage": 0.4, "fidelity.fid": 7.0}
    rows = [
        row(0, 0, -0.4, **values, seconds=2.0),
        row(0, 1, -0.5, Outcome.COMPLETED, **values, seconds=3.0),
        row(2, 0, math.nan, Outcome.FAILED, **values, seconds=1.0),
    ]
    study = run_of(tmp_path, rows).search_study("last")
    assert study.directions == [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE, StudyDirection.MINIMIZE]
    assert study.trials[0].values == [0.5, 7.0, 5.0]
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.RUNNING, TrialState.FAIL]


@pytest.mark.parametrize("rung", [2, -1, True, "middle"])
def test_a_rung_that_no_trial_reached_is_refused(tmp_path, rung):
    with pytest.raises(ResultsError, match=r"no trial reached rung .*; give 'first', 'last' or a number: 0, 1"):
        formula_search(tmp_path, 10).search_study(rung)


def test_a_completed_trial_without_a_score_failed(tmp_path):
    rows = [row(0, 0, math.nan, Outcome.COMPLETED), row(1, 0, 1.0, Outcome.COMPLETED)]
    study = run_of(tmp_path, rows).search_study()
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]


@pytest.mark.slow
def test_ten_thousand_trials_take_less_than_two_seconds(tmp_path):
    rows = [row(number, 0, 1.0, **values) for number, values in enumerate(drawn(10_000))]
    table = run_of(tmp_path, rows)
    begun = time.process_time()
    assert len(table.search_study().trials) == 10_000
    assert time.process_time() - begun < 2.0


def test_broken_limits_are_a_constraint(tmp_path):
    rows = [row(n, 0, score, Outcome.COMPLETED, **limits(off)) for n, (score, off) in enumerate(BREAKING)]
    study = run_of(tmp_path, rows).search_study()
    assert [trial.constraints for trial in study.trials] == [{"limits": off} for _, off in BREAKING]
    assert study.best_trial.number == 1
