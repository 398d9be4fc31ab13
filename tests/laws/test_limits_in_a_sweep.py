"""Limits of scores in a whole sweep: what breaks them ranks behind what keeps them, wherever results are ranked."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from curve_array import CurveArray, curve_rows, curve_spec, opened, optunas_study, run_cohorts, run_folder
from optuna.trial import TrialState

from gan_core.config.gan import GanConfig
from gan_core.config.reports import LaneReport
from results.export import export_trial
from results.rows import DEAD
from results.store import JsonLines, RunFolder
from results.table import ResultsTable
from results.text import trials_text
from results.trial_run import TrialRun
from sweep.proposals.warm_start import best_points

LADDER = {"rungs_images": [100, 300, 900], "keep_fraction": 0.5}
SWEEP: Mapping[str, Any] = {"trials": 24, "lanes_per_cohort": 6, "ladder": LADDER}


class LimitedArray(CurveArray):
    """A `CurveArray` whose lanes draw too few classes after 100 images and, where beta1 is below 0.5, always: they
    break a limit by more, the further beta1 is from 0.5, and score better than all others.
    """

    def _report(self, config: GanConfig) -> LaneReport:
        found = super()._report(config)
        off = max(0.0, 0.6 - config.lane.beta1) if config.lane.beta1 < 0.5 else 0.05 * (self.images < 300)
        if math.isnan(found.fidelity.values["fidelity"]):
            return found
        score = found.fidelity.values["fidelity"] - 10 * (off > 0)
        classes = {"classes": 10.0, "classes_covered": 10.0 - round(10 * off), "class_balance_violation": off}
        values = {**found.fidelity.values, **classes, "fidelity": score, "violation": off}
        return replace(found, fidelity=replace(found.fidelity, values=values))


class BrokenArray(LimitedArray):
    """All lanes break the limit, with the same score."""

    def _report(self, config: GanConfig) -> LaneReport:
        found = super()._report(config)
        values = {**found.fidelity.values, "fidelity": 1.0, "violation": 0.1 + config.lane.beta1}
        values["class_balance_violation"] = values["violation"]
        return replace(found, fidelity=replace(found.fidelity, values=values))


def off(row: Mapping[str, Any]) -> float:
    return row.get("fidelity.violation") or 0.0


def place(row: Mapping[str, Any]) -> tuple[float, float]:
    return (math.inf, math.inf) if row["score"] is None else (off(row), row["score"])


def courses(rows: Sequence[Mapping[str, Any]]) -> dict[int, list[Mapping[str, Any]]]:
    found: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        if not row["replicate"]:
            found.setdefault(row["trial"], []).append(row)
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    spec = curve_spec(**SWEEP, confirm={"top": 3, "seeds": 2})
    folder = run_folder(spec, tmp_path_factory.mktemp("limits"))
    run_cohorts(spec, folder, LimitedArray)
    return folder


@pytest.fixture(scope="module")
def rows(run) -> list[dict[str, Any]]:
    return JsonLines(run.rows).read()


def test_the_sweep_has_results_that_keep_limits_and_better_ones_that_do_not(rows):
    kept, broken = [r for r in rows if not off(r)], [r for r in rows if off(r)]
    assert min(len(kept), len(broken)) > 10
    assert max(row["score"] for row in broken) < min(row["score"] for row in kept)
    assert {row["limits_broken"] for row in broken} == {"class_balance"}
    assert {row["limits_broken"] for row in kept} == {""}


def test_the_best_score_of_a_trial_is_that_of_its_best_rung(rows):
    for course in courses(rows).values():
        for count, row in enumerate(course, 1):
            assert row["best_score"] == min(course[:count], key=place)["score"]


def test_the_generator_that_is_kept_is_that_of_the_best_rung(run, rows):
    kept = 0
    for trial, course in courses(rows).items():
        file = run.best_generator(TrialRun(trial))
        if file.exists():
            kept += 1
            assert json.loads(file.read_text())[0] == min(course, key=place)["images_seen"]
    assert kept > 1


def test_the_ladder_lets_those_go_on_that_keep_the_limits_and_then_those_that_are_least_off(run, rows):
    """Of each verdict, whether as many as it says had a better place by then."""
    seen: dict[int, list[tuple[float, float]]] = {}
    for cohort in sorted({row["cohort"] for row in rows if not row["replicate"]}):
        for rung in range(3):
            there = [c for c in courses(rows).values() if len(c) > rung and c[rung]["cohort"] == cohort]
            seen.setdefault(rung, []).extend(min(map(place, c[: rung + 1])) for c in there)
            for course in there:
                own = min(map(place, course[: rung + 1]))
                rank = 1 + sum(other < own for other in seen[rung])
                assert f"rank {rank} of {len(seen[rung])}" in course[rung]["reason"]


def test_the_table_the_study_the_export_and_the_warm_start_rank_alike(run, rows):
    table = ResultsTable.load(run.path)
    ends = {trial: min(map(place, course)) for trial, course in courses(rows).items()}
    assert not [course for course in courses(rows).values() if course[-1]["outcome"] in DEAD]
    expected = sorted(ends, key=lambda trial: (ends[trial], trial))
    assert table.trials["trial"].tolist() == table.contenders["trial"].tolist() == expected
    with opened(curve_spec(**SWEEP, confirm={"top": 3, "seeds": 2}), run) as study:
        snapshot = study.snapshot()
    assert (snapshot.best_trial, snapshot.best_breaks) == (expected[0], "")
    assert snapshot.best_score == ends[expected[0]][1] == table.best()["score"]
    assert table.breaks(table.best()) == ""
    last: Any = table.trials.iloc[-1]
    assert table.breaks(last).startswith("class balance: ")
    assert "limits_broken" in trials_text(table, table.trials, reasons=False)
    assert "It breaks" not in export_trial(run.path)
    head = export_trial(run.path, int(last["trial"])).splitlines()[:5]
    assert f"# It breaks {table.breaks(last)}; every trial that keeps the limits ranks before it." in head
    first = best_points(run.path, curve_spec().space)[0]
    assert first["lane.beta1"] == table.best()["lane.beta1"]


def test_finalists_keep_the_limits_and_a_replicate_that_breaks_them_counts_as_failed(run):
    table = ResultsTable.load(run.path)
    confirmed: Any = table.confirmed
    assert confirmed["trial"].isin(table.trials.head(3)["trial"]).all()
    assert (confirmed["failed"] == 0).all()
    frame = table.frame.copy()
    mine = (frame["trial"] == confirmed["trial"][0]) & (frame["replicate"] == 1)
    frame.loc[mine, "fidelity.violation"] = 0.3
    again = ResultsTable(frame).confirmed.set_index("trial")
    assert again.loc[confirmed["trial"][0], "failed"] == 1
    assert again.index[-1] == confirmed["trial"][0]


def test_optuna_is_told_by_how_much_a_trial_that_ended_breaks_limits(run, rows):
    told = optunas_study(run).get_trials()
    assert {trial.state for trial in told} == {TrialState.COMPLETE, TrialState.PRUNED}
    for number, course in courses(rows).items():
        if course[0]["trial"] == 0:
            continue
        best = min(course, key=place)
        assert told[number].constraints == ({"limits": off(best)} if off(best) else {})
        assert told[number].values[0] == best["score"]
        for count, row in enumerate(course, 1):
            so_far = min(course[:count], key=place)
            images = LADDER["rungs_images"][row["rung"]]
            assert told[number].intermediate_values[images] == so_far["score"]
            assert told[number].user_attrs.get(f"violation:{images}", 0.0) == off(so_far)


def test_a_sweep_in_which_nothing_keeps_the_limits_says_what_is_nearest(tmp_path):
    spec = curve_spec(trials=6, budget={"score": 2.0}, confirm={"top": 2, "seeds": 2})
    folder = run_folder(spec, tmp_path)
    run_cohorts(spec, folder, BrokenArray)
    rows = JsonLines(folder.rows).read()
    assert len(courses(rows)) == 6, "a score that breaks limits does not reach budget.score"
    assert not [row for row in rows if row["replicate"]], "what breaks limits is no finalist"
    table = ResultsTable.load(folder.path)
    best: Any = table.best()
    assert best["fidelity.violation"] == min(map(off, rows))
    with opened(spec, folder) as study:
        snapshot = study.snapshot()
    assert (snapshot.best_trial, snapshot.best_breaks) == (best["trial"], table.breaks(best))
    assert snapshot.best_breaks.startswith("class balance: ")


def test_other_objectives_have_no_limits(tmp_path):
    spec = curve_spec(**SWEEP, objective="fid")
    rows = curve_rows(spec, tmp_path, LimitedArray)
    table = ResultsTable.load(tmp_path)
    assert table.best()["score"] == min(row["score"] for row in rows)
    assert table.breaks(table.trials.iloc[0]) == table.breaks(table.trials.iloc[-1]) == ""
    assert not any(trial.constraints for trial in optunas_study(RunFolder(tmp_path)).get_trials())


def test_with_several_objectives_no_front_mixes_what_keeps_and_what_breaks_the_limits(tmp_path):
    spec = curve_spec(**SWEEP, objective=["fidelity", "class_kl"])
    curve_rows(spec, tmp_path, LimitedArray)
    table = ResultsTable.load(tmp_path)
    trials: Any = table.trials
    broken = trials["fidelity.violation"] > 0
    assert 3 < broken.sum() < len(trials) - 3
    assert trials.loc[~broken, "pareto_rank"].max() < trials.loc[broken, "pareto_rank"].min()
    assert trials.loc[broken, "fidelity.violation"].is_monotonic_increasing
    with opened(spec, RunFolder(tmp_path)) as study:
        assert study.snapshot().best_trial == trials["trial"][0]


def test_a_population_copies_from_members_that_keep_the_limits(tmp_path: Path):
    spec = curve_spec(trials=12, lanes_per_cohort=12, ladder=LADDER, population={"exploit_fraction": 0.25})
    rows = curve_rows(spec, tmp_path, LimitedArray)
    at = {(row["trial"], row["rung"]): row for row in rows}
    copied = [(row, at[row["parent"], row["rung"]]) for row in rows if row["parent"] is not None]
    assert all(place(source) < place(row) for row, source in copied)
    better = [row["score"] < source["score"] for row, source in copied if off(row) and not off(source)]
    assert better
    assert all(better)
