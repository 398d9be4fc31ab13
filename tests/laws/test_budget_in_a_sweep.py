"""Budgets, kept checkpoints and populations in whole sweeps: what ends one, what is left of it, what resuming does."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from curve_array import (
    CurveArray,
    climbing,
    curve_rows,
    curve_score,
    curve_spec,
    opened,
    optunas_study,
    rows_of,
    run_cohorts,
    run_folder,
)
from events import Clock
from sabotage import Facts, Saboteur, facts, killed_and_resumed

from gan_core.config.gan import GanConfig
from gan_core.config.reports import LaneReport, OutOfMemory
from results.export import export_trial
from results.store import RunFolder
from results.table import ResultsTable
from results.trial_run import TrialRun
from sweep.ledger.standings import Standings
from sweep.run import is_finished
from sweep.spec.sweep_spec import SweepSpec

pytestmark = pytest.mark.usefixtures("unsynced")
LADDER = {"rungs_images": [100, 300, 900], "keep_fraction": 0.5}
BATCH_SECONDS = 10.0


def spec_of(budget: dict[str, Any], **values: Any) -> SweepSpec:
    return curve_spec(**{"trials": 40, "lanes_per_cohort": 4, "ladder": LADDER, "budget": budget, **values})


class TrainingClock(Clock):
    """Stands still until an array trains: BATCH_SECONDS a batch."""

    def build(self, configs: Sequence[GanConfig], averages: Sequence[float] = ()) -> CurveArray:
        clock = self

        class Timed(CurveArray):
            def train_to(self, images, on_step=None):
                def step(seen: int) -> None:
                    clock.seconds += BATCH_SECONDS
                    if on_step is not None:
                        on_step(seen)

                return super().train_to(images, step)

        return Timed(configs)


@pytest.fixture
def clock(monkeypatch) -> TrainingClock:
    clock = TrainingClock()
    monkeypatch.setattr("sweep.ledger.study.time", clock)
    return clock


def last_rows(rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    return {row["trial"]: row for row in rows if row["replicate"] == 0}


def images_of(rows: list[dict[str, Any]]) -> int:
    return sum(row["images_seen"] for row in last_rows(rows).values())


LIMITS = [{"hours": 0.1}, {"device_hours": 0.001}, {"images": 5000}, {"score": 0.3}]
each_limit = pytest.mark.parametrize("budget", LIMITS, ids=lambda budget: next(iter(budget)))


# ---- finish


@each_limit
def test_each_limit_ends_the_proposals_and_what_runs_climbs_on(tmp_path, clock, budget):
    spec, endless = spec_of(budget), spec_of({})
    folder = run_folder(spec, tmp_path / "limited")
    run_cohorts(spec, folder, clock.build)
    rows = rows_of(folder)
    cohorts = max(row["cohort"] for row in rows)
    assert 0 < cohorts < 9
    clock.seconds = 0.0
    assert curve_rows(endless, tmp_path / "endless", clock.build)[: len(rows)] == rows
    assert {row["outcome"] for row in last_rows(rows).values()} == {"completed", "pruned"}
    before = [row for row in rows if row["cohort"] < cohorts]
    assert not is_spent(budget, before), "the last cohort began within the budget"
    assert is_spent(budget, rows)


def is_spent(budget: dict[str, float], rows: list[dict[str, Any]]) -> bool:
    name, limit = next(iter(budget.items()))
    return {
        "hours": max(row["elapsed_seconds"] for row in rows) / 3600 >= limit,
        "device_hours": sum(row["seconds"] for row in rows) / 3600 >= limit,
        "images": images_of(rows) >= limit,
        "score": min(row["best_score"] for row in rows) <= limit,
    }[name]


@each_limit
@pytest.mark.parametrize("when_spent", ["finish", "cut"])
def test_a_spent_run_that_is_resumed_does_nothing_more_and_is_finished(tmp_path, clock, budget, when_spent):
    spec = spec_of({**budget, "when_spent": when_spent})
    folder = run_folder(spec, tmp_path)
    run_cohorts(spec, folder, clock.build)
    before = rows_of(folder)
    assert is_finished(spec, folder)
    clock.seconds = 0.0
    run_cohorts(spec, folder, clock.build)
    assert rows_of(folder) == before
    with opened(spec, folder) as study:
        assert study.open_cohort(4) is None
        assert study.finished
        assert study.snapshot().trials == study.snapshot().done == len(last_rows(before))


# ---- cut


@pytest.mark.parametrize(
    ("budget", "reason"),
    [({"hours": 0.102}, "budget.hours of 0.102 is spent"), ({"images": 5000}, "budget.images of 5,000 is spent")],
    ids=["hours", "images"],
)
def test_cut_ends_every_lane_at_once_as_pruned_with_the_reason_scored_as_it_stands(tmp_path, clock, budget, reason):
    """The lanes of the array in training are scored where they are; those of an array that was to follow have nothing
    new.
    """
    spec = spec_of({**budget, "when_spent": "cut"})
    folder = run_folder(spec, tmp_path)
    run_cohorts(spec, folder, clock.build)
    rows = rows_of(folder)
    cut = [row for row in rows if row["reason"] == reason]
    assert cut
    assert {row["cohort"] for row in cut} == {max(row["cohort"] for row in rows)}
    for row in cut:
        earlier = [r for r in rows if r["trial"] == row["trial"] and r["rung"] < row["rung"]]
        before = max((r["images_seen"] for r in earlier), default=0)
        if row["score"] is None:
            assert (row["d_loss"], row["images_seen"]) == (None, before)
        else:
            config = GanConfig.unflatten({name: row[name] for name in GanConfig().flatten()})
            assert row["score"] == curve_score(config, row["images_seen"])
            assert row["images_seen"] > before
            assert row["d_loss"] > 1
        assert row["outcome"] == "pruned"
        assert row["best_score"] == min((r["score"] for r in [*earlier, row] if r["score"] is not None), default=None)
    assert any(row["images_seen"] not in (0, 128, 320, 960) and row["score"] is not None for row in cut)
    if "images" in budget:
        assert 5000 <= images_of(rows) < 5000 + 4 * 64  # a batch of four lanes at most above it
    else:
        assert 0.102 * 3600 <= max(row["elapsed_seconds"] for row in rows) < 0.102 * 3600 + BATCH_SECONDS


def test_what_was_cut_is_told_as_pruned_and_may_be_best_where_it_stood(tmp_path, clock):
    spec = spec_of({"images": 1000, "when_spent": "cut"})
    folder = run_folder(spec, tmp_path)
    run_cohorts(spec, folder, clock.build)
    best: Any = ResultsTable.load(folder.path).best()
    assert best["outcome"] == "pruned"
    assert best["images_seen"] not in (0, 128, 320, 960)
    weights = json.loads(folder.best_generator(TrialRun(best["trial"])).read_text())
    assert weights == [best["images_seen"], best["seed"]]
    states = [trial.state.name for trial in optunas_study(folder).get_trials()]
    assert set(states) == {"PRUNED"}


def test_a_budget_that_is_raised_later_lets_the_sweep_go_on_as_if_it_had_always_been_so(tmp_path, clock):
    small, large = spec_of({"images": 3000}), spec_of({"images": 6000})
    folder = run_folder(small, tmp_path / "raised")
    run_cohorts(small, folder, clock.build)
    before = len(rows_of(folder))
    run_cohorts(large, folder, clock.build)
    clock.seconds = 0.0
    whole = curve_rows(large, tmp_path / "whole", clock.build)
    assert [{**row, "elapsed_seconds": 0} for row in rows_of(folder)] == [{**r, "elapsed_seconds": 0} for r in whole]
    assert before < len(whole)


def test_rungs_that_are_added_wait_for_a_budget(tmp_path):
    """Cut, they would turn from completed to pruned without one more image."""
    budget = {"images": 1500, "when_spent": "cut"}
    short = {"rungs_images": [100, 300], "keep_fraction": 0.5}
    folder = run_folder(spec_of(budget, ladder=short, keep_checkpoints=99), tmp_path)
    run_cohorts(spec_of(budget, ladder=short, keep_checkpoints=99), folder)
    before = rows_of(folder)
    assert any(row["outcome"] == "completed" for row in before)
    longer = spec_of(budget, keep_checkpoints=99)
    run_cohorts(longer, folder)
    assert rows_of(folder) == before
    assert is_finished(longer, folder)
    more = spec_of({**budget, "images": 4000}, keep_checkpoints=99)
    run_cohorts(more, folder)
    assert any(row["rung"] == 2 for row in rows_of(folder)[len(before) :])


def test_confirmations_are_outside_the_budget(tmp_path, clock):
    spec = spec_of({"images": 2000, "when_spent": "cut"}, confirm={"top": 2, "seeds": 2})
    folder = run_folder(spec, tmp_path)
    run_cohorts(spec, folder, clock.build)
    ends = {(r["trial"], r["replicate"]): r["outcome"] for r in rows_of(folder) if r["replicate"]}
    assert len(ends) == 4
    assert set(ends.values()) == {"completed"}


def test_an_array_that_had_come_to_the_rung_when_another_was_cut_is_judged_there(tmp_path, clock):
    """Two structures, trained one after the other: of the first all come to the last rung, completed; the second is cut
    on its way, scored where it stands, and counts for nothing at the rung.
    """
    one_rung = {"rungs_images": [640], "keep_fraction": 0.5}  # of ten batches
    budget = {"hours": 15.5 * BATCH_SECONDS / 3600, "when_spent": "cut"}
    spec = spec_of(budget, ladder=one_rung, keep_checkpoints=99)
    folder = run_folder(spec, tmp_path)
    run_cohorts(spec, folder, clock.build)
    rows = rows_of(folder)
    with opened(spec, folder) as study:
        structures = [config.structure for config in study.cohorts[0].configs]
    reached = Standings.load(spec, folder).reached(0, 0).places
    first = structures.count(structures[0])
    assert 0 < first < 4
    assert [(row["outcome"], row["images_seen"]) for row in rows] == [("completed", 640)] * first + [
        ("pruned", 6 * 64)
    ] * (4 - first)
    assert reached == sorted((0.0, row["score"]) for row in rows[:first])
    assert all(row["score"] is not None for row in rows[first:])
    kept = [folder.last_state(TrialRun(row["trial"])).exists() for row in rows]
    assert kept == [True] * first + [False] * (4 - first)


def test_a_lane_that_is_dead_where_it_is_cut_is_dead_in_the_table(tmp_path):
    """All die at 256 images, on the way to the second rung, and are cut there."""
    spec = spec_of({"images": 700, "when_spent": "cut"})
    folder = run_folder(spec, tmp_path)
    run_cohorts(spec, folder, lambda configs, _=(): CurveArray(configs, cliff_lr=0.0, cliff_images=200))
    late = [row for row in rows_of(folder) if row["images_seen"] > 128]
    assert late
    for row in late:
        assert (row["outcome"], row["score"], row["images_seen"]) == ("diverged", None, 256)
        assert row["reason"] == "discriminator loss is nan"


def test_where_memory_runs_out_for_the_score_a_lane_is_cut_without_one(tmp_path):
    class Crowded(CurveArray):
        def score(self):
            if self.images not in (128, 320, 960):
                raise OutOfMemory
            return super().score()

    spec = spec_of({"images": 1000, "when_spent": "cut"})
    folder = run_folder(spec, tmp_path)
    run_cohorts(spec, folder, Crowded)
    cut = [row for row in rows_of(folder) if row["reason"] == "budget.images of 1,000 is spent"]
    assert cut
    assert all(row["score"] is None for row in cut)


# ---- hours


def test_hours_go_on_after_a_restart_and_pauses_do_not_count(tmp_path, clock):
    spec = spec_of({"hours": 0.1})
    whole = run_folder(spec, tmp_path / "whole")
    run_cohorts(spec, whole, clock.build)
    folder = run_folder(spec, tmp_path / "paused")
    for _ in range(200):
        clock.seconds += 1e6  # a pause, in which no study is open
        with opened(spec, folder) as study:
            cohort = study.open_cohort(4)
            if cohort is None:
                break
            climbing(cohort, study, clock.build).advance()
    assert rows_of(folder) == rows_of(whole)
    elapsed = [row["elapsed_seconds"] for row in rows_of(folder)]
    assert elapsed == sorted(elapsed)
    assert 360 <= elapsed[-1] < 360 + 2 * 15 * BATCH_SECONDS  # two arrays of at most 15 batches


def test_the_elapsed_time_of_a_row_is_that_of_the_clock(tmp_path, clock):
    clock.seconds = 5000.0
    spec = curve_spec(trials=1, lanes_per_cohort=1)
    rows = curve_rows(spec, tmp_path, clock.build)
    assert [row["elapsed_seconds"] for row in rows] == [2 * BATCH_SECONDS, 5 * BATCH_SECONDS]


# ---- checkpoints


def kept_trials(folder: RunFolder) -> set[int]:
    return {trial for trial in range(40) if folder.trial_checkpoint(TrialRun(trial)).exists()}


@pytest.mark.parametrize("most", [0, 1, 4, 99])
def test_so_many_ended_trials_keep_their_checkpoints_the_best_ones_and_no_cohort_does(tmp_path, most):
    spec = spec_of({}, trials=16, keep_checkpoints=most)
    folder = run_folder(spec, tmp_path)
    run_cohorts(spec, folder)
    ends = last_rows(rows_of(folder))
    best = sorted(ends, key=lambda trial: (ends[trial]["best_score"], trial))
    assert kept_trials(folder) == set(best[:most])
    assert all(folder.best_generator(TrialRun(trial)).exists() for trial in kept_trials(folder))
    completed = {trial for trial in best[:most] if ends[trial]["outcome"] == "completed"}
    assert {trial for trial in range(16) if folder.last_state(TrialRun(trial)).exists()} == completed
    assert not list(folder.checkpoints.glob("cohort-*"))
    assert len(list(folder.samples.iterdir())) == 16  # pictures are small, and all stay


@pytest.mark.parametrize("most", [0, 1, 3])
def test_at_no_rung_are_there_more_checkpoints_than_those_kept_and_those_in_training(tmp_path, most):
    spec = spec_of({}, trials=16, keep_checkpoints=most)
    folder, counts = run_folder(spec, tmp_path), []
    with opened(spec, folder) as study:
        while (cohort := study.open_cohort(4)) is not None:
            run = climbing(cohort, study, CurveArray)
            while not run.done:
                run.advance()
                ended = {trial for trial, row in last_rows(rows_of(folder)).items() if row["outcome"] != "running"}
                counts.append(len(kept_trials(folder) & ended))
                assert kept_trials(folder) - ended == {one.trial for one in run.runs}
                if most:
                    assert folder.best_generator(TrialRun(study.snapshot().best_trial or 0)).exists()
    assert max(counts) == most
    assert len(counts) >= 8


def test_confirmations_and_the_dead_are_not_counted_among_the_kept(tmp_path):
    spec = spec_of({}, trials=8, keep_checkpoints=2, confirm={"top": 1, "seeds": 2})
    folder = run_folder(spec, tmp_path)
    run_cohorts(spec, folder, lambda configs, _=(): CurveArray(configs, cliff_lr=3e-4, cliff_images=200))
    ends = last_rows(rows_of(folder))
    dead = {trial for trial, row in ends.items() if row["outcome"] == "diverged"}
    assert dead
    assert len(kept_trials(folder)) == 2
    assert not kept_trials(folder) & dead
    finalist = ResultsTable.load(folder.path).confirmed["trial"].tolist()[0]
    assert [folder.last_state(TrialRun(finalist, replicate)).exists() for replicate in (1, 2)] == [True, True]


# ---- populations

POPULATION = curve_spec(
    trials=8, lanes_per_cohort=8, ladder={"rungs_images": [100, 200, 300, 400], "keep_fraction": 0.5}, population={}
)


@pytest.fixture(scope="module")
def population_folder(tmp_path_factory) -> RunFolder:
    folder = run_folder(POPULATION, tmp_path_factory.mktemp("population") / "run")
    run_cohorts(POPULATION, folder)
    return folder


def test_a_population_prunes_nobody_and_its_worst_take_over_the_best(population_folder):
    rows = rows_of(population_folder)
    assert len(rows) == 8 * 4
    assert {row["outcome"] for row in rows} == {"running", "completed"}
    parents = {(row["trial"], row["rung"]): row["parent"] for row in rows if row["parent"] is not None}
    assert len(parents) >= 3
    by_place = {(row["trial"], row["rung"]): row for row in rows}
    for (trial, rung), parent in parents.items():
        assert rung < 3
        assert by_place[parent, rung]["score"] < by_place[trial, rung]["score"]
        child, source = by_place[trial, rung + 1], by_place[parent, rung]
        assert child["seed"] == source["seed"]
        assert child["structure.generator_width"] == source["structure.generator_width"]
        assert any(child[name] != source[name] for name in ("lane.generator_lr", "lane.discriminator_lr", "lane.beta1"))
    for (trial, rung), row in by_place.items():
        if rung and (trial, rung - 1) not in parents:
            assert row["lane.generator_lr"] == by_place[trial, rung - 1]["lane.generator_lr"]


def test_the_defaults_of_a_population_are_trial_0_until_it_takes_over_another_state(population_folder):
    rows = [row for row in rows_of(population_folder) if row["trial"] == 0]
    taken = next((row["rung"] for row in rows if row["parent"] is not None), 4)
    of_defaults: Any = ResultsTable.load(population_folder.path).baseline()
    assert of_defaults["score"] == min(row["score"] for row in rows if row["rung"] <= taken)
    with opened(POPULATION, population_folder) as study:
        assert study.snapshot().baseline_score == of_defaults["score"]


def test_the_export_of_a_population_is_the_schedule_that_led_to_its_best(population_folder):
    rows = {(row["trial"], row["rung"]): row for row in rows_of(population_folder)}
    exports = [yaml.safe_load(export_trial(population_folder.path, trial)) for trial in range(8)]
    schedules = [exported["schedule"] for exported in exports if "schedule" in exported]
    assert schedules
    for exported in exports:
        line = exported["source"].get("lineage", [exported["source"]["trial"]])
        if "schedule" in exported:
            assert exported["schedule"][0]["from_images"] == 0
            owners = [rows[owner, rung] for rung, owner in enumerate(line)]
            assert owners[0]["lane.generator_lr"] == exported["schedule"][0]["lane.generator_lr"]
            assert {row["seed"] for row in owners} == {exported["configuration"]["seed"]}


def unstable(configs, _=()) -> CurveArray:
    """Of some lanes the score is no number at first, though they live."""

    class Unstable(CurveArray):
        def _report(self, config):
            found = super()._report(config)
            if config.lane.beta1 < 0.3 and self.images <= 128:
                return replace(found, fidelity=replace(found.fidelity, values={"fidelity": math.nan}))
            return found

    return Unstable(configs)


VARIANTS = {
    "plain": (POPULATION, CurveArray),
    "patience": (replace(POPULATION, ladder=replace(POPULATION.ladder, patience_rungs=1)), CurveArray),
    "unscored": (POPULATION, unstable),
    "dying": (POPULATION, lambda configs, _=(): CurveArray(configs, cliff_lr=8e-4, cliff_images=150)),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_population_killed_anywhere_ends_as_it_would_have(tmp_path, variant):
    spec, build = VARIANTS[variant]
    whole = run_folder(spec, tmp_path / "whole")
    run_cohorts(spec, whole, build)
    expected = facts(whole, spec)
    census = Saboteur()
    killed_and_resumed(spec, tmp_path / "census", census.install, build)
    found = list(all_found(spec, tmp_path, len(census.passed), build))
    assert len(found) > 4
    for part in ("rows", "curves", "told", "pictures"):
        assert [f.killed for f in found if getattr(f, part) != getattr(expected, part)] == []


def all_found(spec: SweepSpec, path: Path, boundaries: int, build: Any) -> list[Facts]:
    return [killed_and_resumed(spec, path / str(at), Saboteur(at).install, build) for at in range(3, boundaries, 53)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_population_whose_rows_were_torn_anywhere_ends_as_it_would_have(tmp_path, variant):
    """Some lanes of a rung are recorded and others not: those that are judged again move as they would have."""
    spec, build = VARIANTS[variant]
    whole = run_folder(spec, tmp_path / "whole")
    run_cohorts(spec, whole, build)
    expected = rows_of(whole)
    changed = []
    for rung in range(3):
        for lines in (1, 5):
            folder = run_folder(spec, tmp_path / f"{rung}-{lines}")
            tear_rows(spec, folder, build, rung, lines)
            run_cohorts(spec, folder, build)
            if rows_of(folder) != expected:
                changed.append((rung, lines))
    assert changed == []


def tear_rows(spec: SweepSpec, folder: RunFolder, build: Any, rung: int, lines: int) -> None:
    """Trains to a rung, is killed when so many of its rows are written."""
    with opened(spec, folder) as study:
        cohort = study.open_cohort(8)
        assert cohort is not None
        run = climbing(cohort, study, build)
        for _ in range(rung):
            run.advance()
        journal, before = folder.journal.read_bytes(), len(rows_of(folder))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(study, "judge", lambda *arguments: (_ for _ in ()).throw(InterruptedError))
            with pytest.raises(InterruptedError):
                run.advance()
        reports = run_reports(folder, cohort.number, rung)
        study.judge(cohort.owner, rung, run.runs, reports)
    whole = folder.rows.read_bytes().splitlines(keepends=True)
    folder.rows.write_bytes(b"".join(whole[: before + lines]))
    folder.journal.write_bytes(journal)


def run_reports(folder: RunFolder, cohort: int, rung: int) -> list[LaneReport]:
    """Those that a rung's checkpoint holds."""
    note = json.loads((folder.checkpoint(cohort) / f"rung-{rung}" / "reports.json").read_text())
    return [LaneReport.from_plain(report) for report in note["reports"]]
