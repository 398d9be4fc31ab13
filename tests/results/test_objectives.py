"""Scores of which more is better are negated once, everything that follows agrees, and people see the score itself."""

import io
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from curve_array import CurveArray, curve_spec, opened, optunas_study, run_cohorts, run_folder

from gan_core.config.reports import LaneReport, minimised
from gan_core.workshop.scored_array import score_averages
from results.export import ExportedConfiguration, export_trial
from results.objectives import directed, natural, score_name
from results.store import JsonLines, RunFolder
from results.table import ResultsTable
from results.text import confirmation_text, trials_text
from sweep.runners.progress import ProgressDisplay
from sweep.spec.sweep_spec import SweepSpec
from sweep.winner.final_training import conditions_of

pytestmark = pytest.mark.usefixtures("unsynced")
SETTINGS: dict[str, Any] = {"trials": 8, "sampler": "random", "confirm": {"top": 2, "seeds": 2}}


class CoveringArray(CurveArray):
    """An array whose lanes have the lower a coverage the higher their fidelity is."""

    def _report(self, config: Any) -> LaneReport:
        report = super()._report(config)
        values = {**report.fidelity.values, "coverage": 4.0 - report.fidelity.values["fidelity"]}
        return replace(report, fidelity=replace(report.fidelity, values=values))


def finished(path: Path, objective: Any) -> tuple[SweepSpec, RunFolder, ResultsTable]:
    spec = curve_spec(**SETTINGS, objective=objective)
    folder = run_folder(spec, path)
    run_cohorts(spec, folder, CoveringArray)
    return spec, folder, ResultsTable.load(folder.path)


@pytest.fixture(scope="module")
def lower(tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepSpec, RunFolder, ResultsTable]:
    return finished(tmp_path_factory.mktemp("lower") / "run", "fidelity")


@pytest.fixture(scope="module")
def higher(tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepSpec, RunFolder, ResultsTable]:
    return finished(tmp_path_factory.mktemp("higher") / "run", "-coverage")


def test_what_is_minimised_is_the_score_or_its_negative_and_nothing_where_it_is_missing():
    values = {"coverage": 0.75, "fid": 2.0}
    assert (minimised(values, "fid"), minimised(values, "-coverage")) == (2.0, -0.75)
    assert math.isnan(minimised(values, "recall"))
    assert math.isnan(minimised(values, "-recall"))
    assert [natural(name, minimised(values, name)) for name in ("fid", "-coverage")] == [2.0, 0.75]
    assert [score_name(name) for name in ("fid", "-coverage")] == ["fid", "coverage"]


def test_directions_are_said_together_where_they_are_one_and_apart_where_they_differ():
    assert directed(["fid", "seconds"]) == "fid, seconds (lower is better)"
    assert directed(["-recall", "-coverage"]) == "recall, coverage (higher is better)"
    assert directed(["-recall", "fid"]) == "recall (higher is better), fid (lower is better)"


def test_the_same_trials_are_pruned_ranked_and_confirmed_as_by_the_score_that_falls_when_it_rises(lower, higher):
    def course(table: ResultsTable) -> list[Any]:
        columns = ["trial", "replicate", "rung", "outcome", "reason"]
        return [*table.frame[columns].itertuples(index=False), *table.trials["trial"], *table.confirmed["trial"]]

    assert course(lower[2]) == course(higher[2])
    assert "pruned" in set(higher[2].frame["outcome"])
    best = higher[2].trials.iloc[0]
    assert best["fidelity.coverage"] == -best["score"] == higher[2].contenders["fidelity.coverage"].max()


def test_optuna_minimises_the_negative_and_is_told_it(higher):
    spec, folder, table = higher
    with opened(spec, folder) as study:
        told = {t.number: t for t in optunas_study(folder).get_trials()}
        values = {number: told[identity].value for number, identity in study.identities.items()}
        snapshot = study.snapshot()
    rows = [row for row in JsonLines(folder.rows).read() if row["replicate"] == 0]
    ends = {row["trial"]: row["best_score"] for row in rows if row["outcome"] == "completed" and row["trial"]}
    assert {number: values[number] for number in ends} == ends
    assert ends
    assert all(value < 0 for value in ends.values())
    assert snapshot.best_score == table.best()["fidelity.coverage"]
    assert snapshot.baseline_score == max(row["fidelity.coverage"] for row in rows if row["trial"] == 0)


def test_people_read_the_score_as_it_is_with_its_direction(higher):
    spec, folder, table = higher
    best, winner = table.best(), table.confirmed.iloc[0]
    text = trials_text(table, table.trials, reasons=False)
    assert "best by coverage (higher is better), each trial at its best rung" in text
    assert f"{best['fidelity.coverage']:.4g}" in text
    assert winner["median"] > 0
    assert winner["q25"] <= winner["median"] <= winner["q75"]
    assert winner["search_score"] == table.trial(winner["trial"])["fidelity.coverage"]
    assert table.confirmed["median"].is_monotonic_decreasing
    assert "coverage of each run" in confirmation_text(table)
    shown = ProgressDisplay(spec.ladder, spec.objective, [], io.StringIO())
    with opened(spec, folder) as study:
        assert shown._facts(study.snapshot())["best coverage"].startswith(f"{best['fidelity.coverage']:.4g} ")


def test_a_confirmation_that_failed_is_the_worst_also_where_more_is_better(higher):
    frame = higher[2].frame.copy()
    finalist = higher[2].confirmed["trial"].iloc[0]
    frame.loc[(frame["trial"] == finalist) & (frame["replicate"] > 0), "outcome"] = "diverged"
    table = ResultsTable(frame)
    last = table.confirmed.iloc[-1]
    assert (last["trial"], last["median"], last["failed"]) == (finalist, -math.inf, 2)


def test_an_export_names_the_objective_with_its_direction_and_trains_by_it(higher, tmp_path):
    text = export_trial(higher[1].path)
    path = tmp_path / "best.yaml"
    path.write_text(text)
    exported = ExportedConfiguration.read(path)
    assert exported.objective == "-coverage"
    assert f"coverage {exported.score['coverage']:.4g} at " in text.splitlines()[0]
    config = higher[0].space.base
    assert conditions_of(config, exported, None, False).objective == "-coverage"


def test_the_best_picture_and_generator_are_of_the_rung_that_covers_most(higher):
    rows = [row for row in JsonLines(higher[1].rows).read() if row["replicate"] == 0]
    for trial in {row["trial"] for row in rows}:
        scores = [row["fidelity.coverage"] for row in rows if row["trial"] == trial]
        assert min(row["best_score"] for row in rows if row["trial"] == trial) == -max(scores)


@pytest.mark.parametrize("objective", [["-coverage", "fid"], ["fid", "-coverage", "seconds"]])
def test_on_a_front_more_of_one_and_less_of_another_is_better(tmp_path, objective):
    table = finished(tmp_path, objective)[2]
    contenders = table.contenders
    values = contenders[["fidelity.coverage", "fidelity.fid"]].to_numpy(float) * [-1, 1]
    dominated = [bool((np.all(values <= row, 1) & np.any(values < row, 1)).any()) for row in values]
    front = (contenders["pareto_rank"] == 1).tolist()
    if len(objective) == 2:
        assert front == [not each for each in dominated]
    assert front[0]
    text = trials_text(table, table.trials, reasons=False)
    assert "coverage (higher is better)" in text
    assert ", fid (lower is better)" in text or "of fid (lower is better)" in text


def test_of_several_averages_the_one_that_covers_most_is_chosen():
    class Array:
        lanes, chosen = 1, [0]

        def distinct_averages(self) -> Sequence[int]:
            return [0, 1, 2]

    array: Any = Array()
    base = CoveringArray(curve_spec().space.base and [curve_spec().space.base]).score()[0].fidelity

    def score() -> list[Any]:
        return [replace(base, values={"coverage": (0.25, 0.75, 0.5)[array.chosen[0]]})]

    assert score_averages(array, score, "-coverage")[0].values == {"coverage": 0.75}
    assert array.chosen == [1]
