"""The table of results, and which trial is best."""

import math
import subprocess
import sys
from typing import Any

import pandas as pd
import pytest
import yaml
from curve_array import CurveArray, curve_spec, opened, optunas_study, run_cohorts, run_folder
from table_rows import replicates, row, stored

from results.export import export_trial
from results.rows import MADE_BY, Outcome
from results.store import ResultsError, RunFolder
from results.table import ResultsTable

ROWS = [
    row(0, 0, 9.0),
    row(1, 0, 4.0),
    row(2, 0, 0.5),
    row(3, 0, math.nan, Outcome.DIVERGED),
    row(4, 0, 6.0, Outcome.PRUNED),
    row(5, 0, 0.25),
    row(0, 1, 8.0, Outcome.COMPLETED),
    row(1, 1, 7.0, Outcome.COMPLETED),
    row(2, 1, math.nan, Outcome.DIVERGED),
    row(5, 1, math.nan, Outcome.FAILED, protocol="", device=""),
    row(6, 0, 0.125),
    row(6, 1, math.nan, Outcome.COLLAPSED),
]


@pytest.fixture
def table(tmp_path) -> ResultsTable:
    return ResultsTable.load(stored(tmp_path, ROWS))


def test_the_frame_has_a_row_for_each_trial_at_each_rung_as_recorded(table):
    assert table.frame[["trial", "rung"]].values.tolist() == [[r["trial"], r["rung"]] for r in ROWS]
    assert table.frame["score"].dtype == float
    assert table.frame["score"].isna().sum() == 4
    assert table.objective == "fidelity"


def test_trials_stand_best_first_at_their_best_rung_and_the_dead_last(table):
    trials = table.trials
    assert trials["trial"].tolist() == [1, 4, 0, 6, 5, 2, 3]
    assert trials.set_index("trial").loc[1, ["rung", "score", "images_seen"]].tolist() == [0, 4.0, 100]


def test_a_trial_has_the_outcome_of_its_last_rung_and_what_it_cost_in_all(table):
    first: Any = table.trial(1)
    assert (first["outcome"], first["reason"]) == ("completed", "completed at 1")
    assert (first["images_trained"], first["seconds"]) == (200, 1.0)


def test_the_best_is_the_lowest_at_its_best_rung_and_never_a_dead_one(table):
    best: Any = table.best()
    assert (best["trial"], best["score"], best["rung"]) == (1, 4.0, 0)
    assert set(table.contenders["trial"]) == {0, 1, 4}
    assert {0.125, 0.25, 0.5} <= set(table.frame["score"])  # the dead trials scored lower once


def test_signs_and_health_are_those_of_a_trials_best_rung(table):
    trials = table.trials.set_index("trial")
    assert trials["signs"].to_dict() == {t: "oscillation" if t == 1 else "" for t in range(7)}
    assert trials["health.d_gradient"].to_dict() == {t: 10.0 * t for t in range(7)}
    assert table.frame["health.d_gradient"].dtype == float


def test_ties_go_to_the_earlier_trial(tmp_path):
    rows = [row(trial, 0, 1.0, Outcome.COMPLETED) for trial in (2, 0, 1)]
    best: Any = ResultsTable.load(stored(tmp_path, rows)).best()
    assert best["trial"] == 0


def test_the_order_of_rows_decides_nothing(tmp_path, table):
    shuffled = ResultsTable.load(stored(tmp_path / "shuffled", ROWS[::-1]))
    assert shuffled.trials.equals(table.trials)


def test_the_baseline_is_trial_0_once_it_has_a_score(tmp_path, table):
    baseline = table.baseline()
    assert (baseline["trial"], baseline["score"]) == (0, 8.0)
    assert ResultsTable.load(stored(tmp_path / "b", ROWS[1:6])).baseline() is None


def test_the_baseline_of_a_population_ends_where_trial_0_takes_over_another_state(tmp_path):
    rows = [row(0, 0, 9.0), row(1, 0, 8.0), row(0, 1, 7.0, parent=1), row(1, 1, 6.0)]
    before = ResultsTable.load(stored(tmp_path / "a", rows))
    assert before.is_baseline(before.trial(0))
    after = ResultsTable.load(stored(tmp_path / "b", [*rows, row(0, 2, 1.0), row(1, 2, 5.0)]))
    baseline: Any = after.baseline()
    assert (baseline["trial"], baseline["rung"], baseline["score"]) == (0, 1, 7.0)
    assert after.trials["trial"].tolist()[0] == 0
    assert not after.is_baseline(after.best())


def test_a_table_without_any_living_trial_has_no_best(tmp_path):
    rows = [row(0, 0, math.nan, Outcome.DIVERGED), row(1, 0, 3.0, Outcome.FAILED), row(2, 0, 1.0, Outcome.COLLAPSED)]
    table = ResultsTable.load(stored(tmp_path, rows))
    assert len(table.trials) == 3
    with pytest.raises(
        ResultsError,
        match="has a score: (1 (diverged|failed|collapsed)(, )?){3}$",
    ):
        table.best()


def test_a_trial_that_there_is_not_is_refused_with_those_that_there_are(table):
    with pytest.raises(ResultsError, match=r"no trial 9 in this run; trials with results: 0 to 6"):
        table.trial(9)


def test_a_trial_twice_at_a_rung_is_refused(tmp_path):
    with pytest.raises(ResultsError, match="trial 1 stands twice at rung 0"):
        ResultsTable.load(stored(tmp_path, [*ROWS[:2], ROWS[1]]))


def test_rows_of_two_protocols_are_refused(tmp_path):
    path = stored(tmp_path, [ROWS[0], {**ROWS[1], "protocol": "other"}])
    with pytest.raises(ResultsError, match="different protocols cannot be compared: other, p"):
        ResultsTable.load(path)
    with pytest.raises(ResultsError, match="different protocols cannot be compared: other, p"):
        export_trial(path, 0)


@pytest.mark.parametrize("column", ["score", "d_loss", "protocol", "objective", "seconds", "best_score", "trial"])
def test_a_table_without_one_of_its_columns_is_refused_by_its_name(tmp_path, column):
    rows = [{k: v for k, v in record.items() if k != column} for record in ROWS]
    with pytest.raises(ResultsError, match=column):
        ResultsTable.load(stored(tmp_path, rows))


@pytest.mark.parametrize("column", ["score", "fidelity.fid", "health.d_gradient", "seconds"])
def test_a_number_that_is_text_is_refused(tmp_path, column):
    with pytest.raises(ResultsError, match=column):
        ResultsTable.load(stored(tmp_path, [ROWS[0], {**ROWS[1], column: "good"}]))


def test_a_run_without_rows_says_so(tmp_path):
    with pytest.raises(ResultsError, match=r"has no results yet; no trial has reached its first rung"):
        ResultsTable.load(stored(tmp_path, []))


def several(*vectors: tuple[int, float, float, float]) -> list[dict[str, Any]]:
    """Rows (trial, fidelity, class_kl, seconds), each of a trial that completed at rung 0."""
    rows = [
        row(trial, 0, score, Outcome.COMPLETED, **{"fidelity.class_kl": kl, "seconds": seconds})
        for trial, score, kl, seconds in vectors
    ]
    return [{**record, "objective": "fidelity, class_kl, seconds"} for record in rows]


SEVERAL = several(
    (0, 1.0, 0.5, 10.0),  # lowest first objective
    (1, 2.0, 0.1, 10.0),
    (2, 2.0, 0.6, 10.0),  # behind 0 and 1
    (3, 3.0, 0.7, 10.0),  # behind 2
    (4, 9.0, 0.9, 1.0),  # the cheapest
    (5, 0.5, math.nan, 1.0),  # not to be compared
)


def test_of_several_objectives_the_front_stands_first_and_its_lowest_first_objective_is_best(tmp_path):
    dead = row(6, 0, 0.1, Outcome.COLLAPSED, objective="fidelity, class_kl, seconds")
    table = ResultsTable.load(stored(tmp_path, [*SEVERAL, dead]))
    assert (table.objective, table.objectives) == ("fidelity", ("fidelity", "class_kl", "seconds"))
    trials = table.trials
    assert trials["trial"].tolist() == [0, 1, 4, 2, 3, 5, 6]
    assert trials["pareto_rank"].tolist()[:6] == [1, 1, 1, 2, 3, 4]
    assert trials["pareto_rank"].isna().tolist() == [False] * 6 + [True]
    best: Any = table.best()
    assert (best["trial"], best["score"]) == (0, 1.0)


def test_of_two_trials_with_the_same_first_objective_the_one_on_the_front_is_best(tmp_path):
    best: Any = ResultsTable.load(stored(tmp_path, several((0, 1.0, 0.5, 2.0), (1, 1.0, 0.4, 2.0)))).best()
    assert best["trial"] == 1


def test_seconds_are_an_objective_in_all_of_a_trials_rungs_and_scores_at_its_best(tmp_path):
    """The best rung of trial 0 is its first, with the worse class_kl; its seconds are the sum over both rungs."""
    rows = several((0, 1.0, 0.5, 2.0), (1, 2.0, 0.6, 3.0))
    rows.append({**several((0, 5.0, 0.1, 2.0))[0], "rung": 1})
    trials = ResultsTable.load(stored(tmp_path, rows)).trials
    assert trials[["trial", "fidelity.class_kl", "seconds", "pareto_rank"]].values.tolist() == [
        [0, 0.5, 4.0, 1],
        [1, 0.6, 3.0, 1],
    ]


def test_one_objective_has_no_front(table):
    assert "pareto_rank" not in table.trials.columns
    assert table.objectives == ("fidelity",)


def test_an_objective_that_is_no_column_is_refused(tmp_path):
    table = ResultsTable.load(stored(tmp_path, [{**record, "objective": "fidelity, kid"} for record in ROWS]))
    with pytest.raises(ResultsError, match=r"objective fidelity\.kid is no column"):
        table.best()


@pytest.mark.parametrize("outcome", ["diverged", "collapsed", "failed", "out_of_memory"])
def test_a_trial_that_ended_so_is_never_best(tmp_path, outcome):
    rows = [row(0, 0, 5.0, Outcome.COMPLETED), row(1, 0, 1.0), row(1, 1, 0.5, Outcome(outcome))]
    best: Any = ResultsTable.load(stored(tmp_path, rows)).best()
    assert best["trial"] == 0


CONFIRMED = [*ROWS, *replicates(1, 4.5, 5.0, 4.25), *replicates(4, 3.0, 6.0, 2.0)]


def test_replicates_stand_in_the_frame_and_nowhere_among_the_trials(tmp_path, table):
    confirmed = ResultsTable.load(stored(tmp_path / "c", CONFIRMED))
    assert len(confirmed.frame) == len(ROWS) + 12
    assert confirmed.trials.equals(table.trials)
    assert confirmed.best().equals(table.best())
    assert confirmed.contenders.equals(table.contenders)
    assert confirmed.trial(4).equals(table.trial(4))


def test_the_winner_is_the_finalist_that_other_seeds_confirm_not_the_luckiest(tmp_path):
    table = ResultsTable.load(stored(tmp_path, CONFIRMED))
    assert table.confirmed[["trial", "median", "search_score"]].values.tolist() == [[4, 3.0, 6.0], [1, 4.5, 4.0]]
    best, winner = table.best(), table.winner()
    assert winner is not None
    assert (best["trial"], winner["trial"]) == (1, 4)
    assert table.chance_of_order() == pytest.approx(2 * 7 / 20)  # of 20 splits, 7 sum to at most 1 + 2 + 6


def test_a_search_that_nobody_confirmed_has_no_winner(table):
    assert table.confirmed.empty
    assert list(table.confirmed.columns[:2]) == ["trial", "seeds"]
    assert (table.winner(), table.chance_of_order()) == (None, None)


def test_finalists_whose_replicates_mostly_fail_have_no_winner(tmp_path):
    table = ResultsTable.load(stored(tmp_path, [*ROWS, *replicates(1, math.inf, math.inf, 1.0)]))
    assert table.confirmed[["trial", "failed", "median", "mean"]].values.tolist() == [[1, 2, math.inf, 1.0]]
    assert (table.winner(), table.chance_of_order()) == (None, None)


def test_a_replicate_twice_at_a_rung_is_refused(tmp_path):
    with pytest.raises(ResultsError, match="trial 1, replicate 1, stands twice at rung 0; the file was changed"):
        ResultsTable.load(stored(tmp_path, [*CONFIRMED, CONFIRMED[len(ROWS)]]))


def test_a_run_of_an_earlier_version_is_read_as_it_was(tmp_path, table):
    later = {"replicate", "parent", "elapsed_seconds"} | (set(MADE_BY) - {"device", "code_version"})
    old = [{k: v for k, v in record.items() if k not in later} for record in ROWS]
    assert set(old[0]) | later == set(ROWS[0])
    earlier = ResultsTable.load(stored(tmp_path / "old", old)).frame
    assert earlier[table.frame.columns].equals(table.frame)
    mixed = ResultsTable.load(stored(tmp_path / "mixed", [*old[:5], *ROWS[5:]])).frame
    assert mixed[table.frame.columns].equals(table.frame)


def test_what_was_proposed_and_who_was_copied_are_read_as_they_were_written(tmp_path):
    proposed = {"proposed.lane.beta2.complement": 1e-3, "proposed.structure.loss": "hinge"}
    frame = ResultsTable.load(stored(tmp_path, [{**row(0, 0, 1.0), **proposed}, {**row(1, 0, 2.0), "parent": 0}])).frame
    assert frame["proposed.structure.loss"].iloc[0] == "hinge"
    assert frame["proposed.lane.beta2.complement"].iloc[0] == 1e-3
    assert frame["parent"].tolist() == [pd.NA, 0]


@pytest.mark.parametrize("column", ["replicate", "parent", "elapsed_seconds"])
def test_a_later_column_that_is_text_or_a_fraction_of_a_trial_is_refused(tmp_path, column):
    bad = ["x"] if column == "elapsed_seconds" else ["x", 0.5]
    for value in bad:
        with pytest.raises(
            ResultsError,
            match=f"rows.jsonl, line 2: {column} must be a .* number .*, got {value!r}; the file was changed",
        ):
            ResultsTable.load(stored(tmp_path / str(value), [ROWS[0], {**ROWS[1], column: value}]))


def test_a_torn_last_row_is_passed_over(tmp_path):
    path = stored(tmp_path, ROWS)
    rows = RunFolder(path).rows
    rows.write_bytes(rows.read_bytes()[:-5])
    assert len(ResultsTable.load(path).frame) == len(ROWS) - 1


@pytest.fixture(scope="module")
def curve_run(tmp_path_factory) -> RunFolder:
    spec = curve_spec(trials=12, lanes_per_cohort=4, ladder={"rungs_images": [100, 300, 900], "keep_fraction": 0.5})
    folder = run_folder(spec, tmp_path_factory.mktemp("curve") / "run")
    run_cohorts(spec, folder, lambda configs, _=(): CurveArray(configs, cliff_lr=3e-3))
    return folder


def test_the_table_the_export_the_sampler_and_the_final_line_agree_on_the_best(curve_run):
    spec = curve_spec(trials=12, lanes_per_cohort=4, ladder={"rungs_images": [100, 300, 900], "keep_fraction": 0.5})
    best = ResultsTable.load(curve_run.path).best()
    with opened(spec, curve_run) as study:
        snapshot = study.snapshot()
        told = optunas_study(curve_run).best_trial
        assert study.identities[snapshot.best_trial or 0] == told._trial_id
    exported = yaml.safe_load(export_trial(curve_run.path))
    scores = [best["score"], snapshot.best_score, told.value, exported["score"]["fidelity"]]
    assert scores == [best["score"]] * 4
    assert [snapshot.best_trial, exported["source"]["trial"]] == [best["trial"]] * 2
    assert snapshot.best_config["lane.beta1"] == best["lane.beta1"] == exported["configuration"]["lane.beta1"]


def test_the_best_of_this_run_is_not_at_its_last_rung_so_that_the_agreement_means_something(curve_run):
    trials: Any = ResultsTable.load(curve_run.path).trials
    completed = trials[trials["outcome"] == "completed"]
    assert (completed["images_seen"] < completed["images_trained"]).any()
    assert (trials["outcome"] == "diverged").any()


def test_a_row_is_understood_alone(curve_run):
    frame: Any = ResultsTable.load(curve_run.path).frame
    columns = [
        *("trial", "cohort", "lane", "rung", "images_seen", "outcome", "reason", "d_loss", "g_loss"),
        *("fidelity.fidelity", "health.d_gradient", "signs"),
        *("seconds", "device", "objective", "protocol", "data_digest", "seed", "code_version"),
        *("structure.loss", "structure.generator_width", "lane.generator_lr", "lane.beta1", "data_seed"),
    ]
    assert set(columns) <= set(frame.columns)
    measured = ["d_loss", "g_loss", "fidelity.fidelity", "health.d_gradient"]
    assert frame[columns].drop(columns=measured).notna().all(axis=None)
    assert (frame["seed"].nunique(), frame["data_seed"].nunique()) == (12, 1)


def test_rows_load_with_pandas_and_nothing_of_ours(curve_run):
    frame = pd.read_json(curve_run.rows, lines=True, precise_float=True)
    ours = ResultsTable.load(curve_run.path).frame
    marks = {"overruled"}  # a key of rows of a baseline that went on although its rank was too low; not a column
    assert [name for name in frame.columns if name not in marks] == list(ours.columns)
    assert frame["score"].equals(ours["score"])
    code = "import sys, pandas; print(len(pandas.read_json(sys.argv[1], lines=True)), 'results' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, curve_run.rows], capture_output=True, text=True)
    assert done.stdout.split() == [str(len(ours)), "False"]
