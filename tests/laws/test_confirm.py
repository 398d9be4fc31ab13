"""Confirmation inside a sweep: the finalists run again from other seeds, whatever happens on the way."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from curve_array import (
    CurveArray,
    climbing,
    curve_rows,
    curve_spec,
    opened,
    optunas_study,
    run_cohorts,
    run_folder,
    runs,
)
from events import Clock
from sabotage import Facts, Killed, Saboteur, facts, killed_and_resumed

from gan_core.config.gan import HYPERPARAMETERS
from gan_core.config.input_error import InputError
from gan_core.config.reports import Death, FidelityReport, LaneReport
from results.export import export_trial
from results.store import JsonLines, RunFolder
from results.table import ResultsTable
from results.trial_run import TrialRun
from sweep.cohorts.checkpoints import Checkpoints, RungNote
from sweep.spec.sweep_spec import SweepSpec

pytestmark = pytest.mark.usefixtures("unsynced")
LADDER = {"rungs_images": [100, 300, 900], "keep_fraction": 0.5}
SPEC = curve_spec(trials=8, lanes_per_cohort=4, ladder=LADDER, confirm={"top": 3, "seeds": 4})
SMALL = curve_spec(trials=4, confirm={"top": 2, "seeds": 2})


def unlucky(configs, _=()) -> CurveArray:
    """Lanes whose seed is even diverge after the first rung, but for the base."""

    class Unlucky(CurveArray):
        def _report(self, config):
            found = super()._report(config)
            if config.seed % 2 or config.lane.beta1 == 0.5 or self.images <= 128:
                return found
            unscored = replace(found.fidelity, values={})
            return replace(found, d_loss=math.nan, fidelity=unscored, death=Death("diverged", "loss is nan"))

    return Unlucky(configs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> RunFolder:
    folder = run_folder(SPEC, tmp_path_factory.mktemp("confirm") / "run")
    run_cohorts(SPEC, folder)
    return folder


@pytest.fixture(scope="module")
def rows(folder) -> list[dict[str, Any]]:
    return JsonLines(folder.rows).read()


def searched(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["replicate"] == 0]


def replicated(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["replicate"] > 0]


def best_scores(rows: list[dict[str, Any]]) -> dict[int, float]:
    """Trial -> its lowest score in the search, best first; without the dead."""
    last = {row["trial"]: row for row in searched(rows)}
    found = {t: row["best_score"] for t, row in last.items() if row["outcome"] in ("completed", "pruned")}
    return dict(sorted(found.items(), key=lambda pair: pair[1]))


def test_without_confirm_nothing_runs_again(tmp_path):
    assert {row["replicate"] for row in curve_rows(curve_spec(), tmp_path)} == {0}


def test_the_finalists_are_the_best_by_score_and_each_runs_again_so_often(rows):
    best = list(best_scores(rows))[:3]
    pairs = {(row["trial"], row["replicate"]) for row in replicated(rows)}
    assert pairs == {(trial, replicate) for trial in best for replicate in range(1, 5)}
    assert len(best_scores(rows)) > 3


def test_replicates_start_when_the_search_has_ended_and_the_search_is_as_it_is_without_them(rows, tmp_path):
    first = next(i for i, row in enumerate(rows) if row["replicate"])
    assert all(row["replicate"] for row in rows[first:])
    alone = curve_rows(curve_spec(trials=8, lanes_per_cohort=4, ladder=LADDER), tmp_path)
    assert alone == rows[:first]


def test_a_replicate_differs_from_its_trial_in_its_seed_alone(rows):
    trials = {row["trial"]: row for row in searched(rows)}
    seeds = {row["seed"] for row in trials.values()}
    for row in replicated(rows):
        differing = [name for name in HYPERPARAMETERS if row[name] != trials[row["trial"]][name]]
        assert differing == ["seed"]
        seeds.add(row["seed"])
    assert len(seeds) == len(trials) + 12


def test_replicates_climb_to_the_last_rung_whatever_their_rank(rows):
    climbs = [[r["rung"] for r in rows if (r["trial"], r["replicate"]) == p] for p in {(t, 1) for t in range(8)}]
    assert [climb for climb in climbs if climb] == [[0, 1, 2]] * 3
    assert {row["outcome"] for row in replicated(rows) if row["rung"] == 2} == {"completed"}
    assert {row["outcome"] for row in replicated(rows) if row["rung"] < 2} == {"running"}
    assert {row["reason"] for row in replicated(rows) if row["trial"] == list(best_scores(rows))[0]} == {
        f"confirmation {replicate} of trial {list(best_scores(rows))[0]}" for replicate in range(1, 5)
    }


def test_optuna_hears_nothing_of_replicates(folder):
    with opened(SPEC, folder) as study:
        found = optunas_study(folder).get_trials()
        assert [t._trial_id for t in found] == [study.identities[number] for number in range(8)]


def test_the_median_of_other_seeds_decides_who_wins(folder, rows):
    table = ResultsTable.load(folder.path)
    medians = {}
    for trial in list(best_scores(rows))[:3]:
        scores = [min(r["score"] for r in rows if (r["trial"], r["replicate"]) == (trial, k)) for k in range(1, 5)]
        medians[trial] = (sorted(scores)[1] + sorted(scores)[2]) / 2
    winner: Any = table.winner()
    assert winner["trial"] == min(medians, key=medians.__getitem__)
    assert winner["median"] == pytest.approx(min(medians.values()), rel=1e-15)
    assert table.confirmed["trial"].tolist() == sorted(medians, key=medians.__getitem__)
    exported = yaml.safe_load(export_trial(folder.path))
    assert exported["source"]["trial"] == winner["trial"]
    assert exported["source"]["confirmed"]["seeds"] == 4
    assert exported["configuration"]["seed"] == next(r["seed"] for r in rows if r["trial"] == winner["trial"])


def test_more_finalists_than_trials_that_live_are_those_that_live(tmp_path):
    spec = curve_spec(trials=4, confirm={"top": 9, "seeds": 2})
    rows = curve_rows(spec, tmp_path, lambda configs, _=(): CurveArray(configs, cliff_lr=3e-4, cliff_images=200))
    alive = set(best_scores(rows))
    assert 0 < len(alive) < 4
    assert {row["trial"] for row in replicated(rows)} == alive


def test_where_every_trial_died_nothing_is_confirmed_and_the_sweep_has_ended(tmp_path):
    spec = curve_spec(trials=3, confirm={"top": 2, "seeds": 2})
    folder = run_folder(spec, tmp_path)
    run_cohorts(spec, folder, lambda configs, _=(): CurveArray(configs, cliff_lr=0.0))
    assert [row["replicate"] for row in JsonLines(folder.rows).read()] == [0, 0, 0]
    with opened(spec, folder) as study:
        assert study.finished
        assert not study.is_waiting()


def test_replicates_that_die_count_as_failed_and_are_not_run_again(tmp_path):
    folder = run_folder(SPEC, tmp_path)
    run_cohorts(SPEC, folder, unlucky)
    rows = JsonLines(folder.rows).read()
    last = {(r["trial"], r["replicate"]): r for r in replicated(rows)}
    died = [pair for pair, row in last.items() if row["outcome"] == "diverged"]
    assert 0 < len(died) < len(last) == 12
    confirmed = ResultsTable.load(folder.path).confirmed.set_index("trial")
    for trial in confirmed.index.tolist():
        assert confirmed.loc[trial, "failed"] == sum(pair[0] == trial for pair in died)
    with opened(SPEC, folder) as study:
        assert study.open_cohort(9) is None
        assert study.finished
        assert study.snapshot().confirmed == study.snapshot().confirmations == 12


# ---- while the last trials train


def report(score: float, images: int = 128) -> LaneReport:
    return LaneReport(images, 1.0, 0.5, FidelityReport({"fidelity": score}, "p", "d"), {}, (), None, 0.1, "cpu")


def test_while_the_last_trials_train_there_is_nothing_to_do_yet_and_then_the_confirmations(tmp_path):
    """What Ray's idle workers ask: `open_cohort` has nothing for them, `is_waiting` says that something may come."""
    with opened(SMALL, run_folder(SMALL, tmp_path)) as study:
        assert not study.is_waiting()
        first, last = study.open_cohort(3), study.open_cohort(3)
        assert first is not None
        assert last is not None
        study.judge(0, 0, runs(0, 1, 2), [report(3.0), report(1.0), report(2.0)])
        study.judge(0, 1, runs(0, 1), [report(3.0, 320), report(1.0, 320)])
        assert (study.open_cohort(3), study.is_waiting(), study.finished) == (None, True, False)
        study.judge(1, 0, runs(3), [report(1.5)])
        assert (study.open_cohort(3), study.is_waiting(), study.finished) == (None, True, False)
        study.judge(1, 1, runs(3), [report(1.25, 320)])
        assert (study.is_waiting(), study.finished) == (False, False)
        found = [study.open_cohort(3), study.open_cohort(3), study.open_cohort(3)]
        assert [None if c is None else c.runs for c in found] == [
            tuple(TrialRun(trial, replicate) for trial, replicate in ((1, 1), (1, 2), (3, 1))),
            (TrialRun(3, 2),),
            None,
        ]
        assert (study.is_waiting(), study.finished) == (True, False)  # they train, and may die


@pytest.mark.parametrize("limit", [{"hours": 1.0}, {"images": 400.0}, {"score": 2.5}])
def test_a_search_that_its_budget_ended_is_confirmed_and_nobody_waits_for_ever(tmp_path, monkeypatch, limit):
    """Also where the budget is spent by the clock and no row says so yet."""
    spec = curve_spec(trials=9, confirm={"top": 1, "seeds": 2}, budget=limit)
    clock = Clock()
    monkeypatch.setattr("sweep.ledger.study.time", clock)
    with opened(spec, run_folder(spec, tmp_path)) as study:
        study.open_cohort(3)
        study.judge(0, 0, runs(0, 1, 2), [report(4.0), report(3.0), report(5.0)])
        study.judge(0, 1, runs(0, 1), [report(2.0, 320), report(3.0, 320)])
        clock.seconds = 3601.0
        cohort = study.open_cohort(3)
        assert cohort is not None
        assert cohort.runs == (TrialRun(0, 1), TrialRun(0, 2))
        study.judge(cohort.owner, 0, list(cohort.runs), [report(4.0), report(3.0)])
        study.judge(cohort.owner, 1, list(cohort.runs), [report(4.0, 320), report(3.0, 320)])
        assert (study.open_cohort(3), study.is_waiting()) == (None, False)


# ---- killed and resumed


@pytest.fixture(scope="module")
def resumed(tmp_path_factory) -> tuple[Facts, list[Facts]]:
    """A small sweep undisturbed, and killed at each thirteenth boundary, in its second half at each sixth."""
    path = tmp_path_factory.mktemp("killed")
    return whole_and_killed(SMALL, path)


def whole_and_killed(spec: SweepSpec, path: Path) -> tuple[Facts, list[Facts]]:
    whole = run_folder(spec, path / "whole")
    run_cohorts(spec, whole)
    census = Saboteur()
    killed_and_resumed(spec, path / "census", census.install)
    return facts(whole, spec), list(kills(spec, path, len(census.passed)))


def kills(spec: SweepSpec, path: Path, boundaries: int) -> Iterator[Facts]:
    for kill_at in [*range(1, boundaries // 2, 13), *range(boundaries // 2, boundaries + 1, 6)]:
        yield killed_and_resumed(spec, path / str(kill_at), Saboteur(kill_at).install)


@pytest.mark.parametrize("part", ["rows", "told", "pictures", "paths", "warned"])
def test_killed_anywhere_and_resumed_the_same_finalists_reach_the_same(resumed, part):
    whole, found = resumed
    assert len(found) > 25
    assert sum(row["replicate"] > 0 for row in whole.rows) == 8
    assert [f.killed for f in found if getattr(f, part) != getattr(whole, part)] == []


def test_reopening_the_study_before_every_rung_changes_nothing(tmp_path, rows):
    folder = run_folder(SPEC, tmp_path)
    for _ in range(100):
        with opened(SPEC, folder) as study:
            cohort = study.open_cohort(4)
            if cohort is None:
                break
            climbing(cohort, study, CurveArray).advance()
    assert JsonLines(folder.rows).read() == rows


def written_as_before(folder: RunFolder) -> None:
    """Rewrites a run as versions wrote it that had one whole number for a replicate."""

    def number(written: int | str) -> int:
        return TrialRun.read(written).number

    records = JsonLines(folder.cohorts).read()
    for record in records:
        record["trials"] = [number(run) for run in record["trials"]]
        record["best"] = {str(number(run)): score for run, score in record["best"].items()}
    folder.cohorts.write_text("".join(json.dumps(record) + "\n" for record in records))
    for note in folder.checkpoints.glob("cohort-*/rung-*/reports.json"):
        values = json.loads(note.read_text())
        del values["sha256"]
        values["groups"] = [[number(run) for run in runs] for runs in values["groups"]]
        values |= {name: {str(number(run)): v for run, v in values[name].items()} for name in ("configs", "best")}
        note.write_text(json.dumps(values))
    for path in folder.checkpoints.glob("cohort-*/rung-*/trial-*"):
        path.rename(path.with_name(f"trial-{number(path.stem)}.safetensors"))


@pytest.mark.parametrize("rung", [0, 1])
def test_a_run_of_an_earlier_version_that_was_killed_while_it_confirmed_goes_on_to_the_same_rows(tmp_path, rung):
    """Also with further rungs afterwards, for which replicates go on from their own last states."""
    longer = replace(SMALL, ladder=replace(SMALL.ladder, rungs_images=(100, 300, 900)))
    whole, old = run_folder(SMALL, tmp_path / "whole"), run_folder(SMALL, tmp_path / "old")
    finish = Checkpoints.finish

    def finishing(self: Checkpoints, note: RungNote, partial: Path) -> None:
        finish(self, note, partial)
        if partial.parent == old.checkpoint(2) and note.rung == rung:
            raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Checkpoints, "finish", finishing)
        run_cohorts(SMALL, old)
    written_as_before(old)
    assert "1000001" in old.cohorts.read_text()
    for spec in (SMALL, longer):
        for folder in (whole, old):
            run_cohorts(spec, folder)
        assert JsonLines(old.rows).read() == JsonLines(whole.rows).read()
        assert {path.name for path in old.samples.iterdir()} == {path.name for path in whole.samples.iterdir()}
        written_as_before(old)
    assert sum(row["replicate"] > 0 and row["rung"] == 2 for row in JsonLines(whole.rows).read()) >= 2


def test_a_replicate_has_a_picture_and_a_generator_of_its_own(folder, rows):
    for row in replicated(rows):
        run = TrialRun(row["trial"], row["replicate"])
        assert folder.trial_samples(run).name == f"trial-{row['trial']:04d}-seed-{row['replicate']}.png"
        assert folder.trial_samples(run).exists()
        assert folder.best_generator(run).exists()
        assert folder.last_state(run).exists()


# ---- several objectives


def test_of_several_objectives_the_finalists_are_the_front_by_its_first_one(tmp_path):
    """fid falls with the score and class_kl with the trial's seed, so that there is a front of several."""

    class TwoFold(CurveArray):
        def _report(self, config):
            found = super()._report(config)
            values = {**found.fidelity.values, "class_kl": config.seed % 1000 / 1000}
            return replace(found, fidelity=replace(found.fidelity, values=values))

    values = {"trials": 12, "lanes_per_cohort": 4, "ladder": {**LADDER, "keep_fraction": 1.0}}
    spec = curve_spec(**values, objective=["fidelity", "class_kl"], confirm={"top": 3, "seeds": 2})
    folder = run_folder(spec, tmp_path)
    run_cohorts(spec, folder, TwoFold)
    table = ResultsTable.load(folder.path)
    trials = table.trials
    assert trials["pareto_rank"].tolist()[:2] == [1, 1]
    assert sorted(table.confirmed["trial"].tolist()) == sorted(trials["trial"].head(3).tolist())
    by_score = trials.sort_values("score")["trial"].head(3).tolist()
    assert sorted(by_score) != sorted(trials["trial"].head(3).tolist())
    winner: Any = table.winner()
    assert winner["median"] == table.confirmed["median"].min()


def test_a_population_has_no_confirm():
    with pytest.raises(InputError, match="a population has one objective and no confirm"):
        curve_spec(population={}, confirm={"top": 1})
