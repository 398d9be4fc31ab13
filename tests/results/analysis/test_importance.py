"""Importances are Optuna's, with a noise level that shuffled scores rarely pass."""

import warnings
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from searches import drawn, formula_search, limits, run_of
from table_rows import row

from results.rows import Outcome
from results.store import ResultsError


@pytest.fixture(autouse=True)
def _few_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least that are taken of many trials; 50 take half a second."""
    monkeypatch.setattr("results.analysis.importance.MOST_PERMUTATIONS", 20)


def test_the_parameter_that_decides_stands_out_of_the_noise(tmp_path, monkeypatch):
    monkeypatch.setattr("results.analysis.importance.MOST_PERMUTATIONS", 50)
    found: Any = formula_search(tmp_path).importance()
    assert found["parameter"].iloc[0] == "lane.generator_lr"
    assert found["above_noise"].tolist()[0]
    assert found["importance"].sum() == pytest.approx(1.0)
    assert found["importance"].iloc[0] > 0.5
    assert found["above_noise"].sum() <= 2  # of six, at a level that one in twenty passes by chance
    assert (found["trials"] == 60).all()
    assert (found["top_trials"] == 6).all()
    assert (found["rung"] == 0).all()
    assert "lane.penalty_weight" in found["parameter"].tolist()


def test_importances_are_those_of_optuna_where_no_trial_died(tmp_path):
    rows = [
        row(number, 0, (values["lane.beta1"] - 0.3) ** 2, Outcome.COMPLETED, **values)
        for number, values in enumerate(drawn(50))
    ]
    table = run_of(tmp_path, rows)
    found: Any = table.importance().set_index("parameter")["importance"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = get_param_importances(table.search_study(), evaluator=PedAnovaImportanceEvaluator())
    assert found.to_dict() == pytest.approx(theirs)


def test_what_decides_over_life_and_death_is_important(tmp_path):
    """Every trial with beta1 above 0.45 dies, and of the others beta1 decides nothing."""
    random = np.random.default_rng(0)
    rows = []
    for number, values in enumerate(drawn(60)):
        dies = values["lane.beta1"] > 0.45
        score = float("nan") if dies else float(random.random())
        rows.append(row(number, 0, score, Outcome.COLLAPSED if dies else Outcome.COMPLETED, **values))
    found: Any = run_of(tmp_path, rows).importance().set_index("parameter")
    assert found["above_noise"]["lane.beta1"]
    assert found["importance"].idxmax() == "lane.beta1"


def test_both_rungs_say_on_how_many_trials_they_rest(tmp_path):
    found: Any = formula_search(tmp_path).importance("both")
    assert found.groupby("rung")["trials"].unique().map(list).to_dict() == {0: [60], 1: [36]}
    assert found.groupby("rung")["importance"].sum().tolist() == pytest.approx([1.0, 1.0])


def test_importance_is_the_same_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr("results.analysis.importance.MOST_PERMUTATIONS", 5)
    table = formula_search(tmp_path, 20)
    assert table.importance().equals(table.importance())


def test_of_many_trials_some_are_drawn_and_scores_are_shuffled_less_often(tmp_path, monkeypatch):
    monkeypatch.setattr("results.analysis.importance.MOST_PERMUTATIONS", 50)
    monkeypatch.setattr("results.analysis.importance.MOST_TRIALS", 40)
    monkeypatch.setattr("results.analysis.importance.EVALUATED_TRIALS", 40 * 25)
    found: Any = formula_search(tmp_path).importance()
    assert set(found["trials"]) == {40}
    assert set(found["permutations"]) == {25}


def test_too_few_trials_are_refused(tmp_path):
    with pytest.raises(ResultsError, match=r"at least 10 trials at a rung, 5 of them with a score; rung 0 has 9, 9 "):
        formula_search(tmp_path, 9).importance()


def test_trials_that_do_not_differ_are_refused(tmp_path):
    values = drawn(1)[0]
    with pytest.raises(ResultsError, match="no hyperparameter differs between the 12 trials at rung 0"):
        run_of(tmp_path, [row(n, 0, n + 1.0, **values) for n in range(12)], space={"ranges": {}}).importance()


def test_optuna_says_nothing(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("results.analysis.importance.MOST_PERMUTATIONS", 2)
    optuna.logging.set_verbosity(optuna.logging.INFO)
    formula_search(tmp_path, 12).importance()
    assert capfd.readouterr() == ("", "")


def test_what_decides_over_limits_is_important(tmp_path):
    """Every trial with beta1 above 0.45 breaks a limit, with the better score."""
    random = np.random.default_rng(0)
    rows = []
    for number, values in enumerate(drawn(60)):
        off = float(values["lane.beta1"] > 0.45)
        rows.append(row(number, 0, float(random.random()) - off, Outcome.COMPLETED, **values, **limits(off)))
    found: Any = run_of(tmp_path, rows).importance().set_index("parameter")
    assert found["above_noise"]["lane.beta1"]
    assert found["importance"].idxmax() == "lane.beta1"
