"""LaneStudy: what is proposed, what is answered, and what Optuna is told."""

import json
import math
import os
from dataclasses import replace

import pytest
from curve_array import (
    CURVE_SPACE,
    CurveArray,
    climbing,
    curve_death,
    curve_rows,
    curve_score,
    curve_spec,
    last_rows,
    opened,
    optunas_study,
    run_cohorts,
    run_folder,
    runs,
)
from optuna.trial import TrialState

from gan_core.config.arithmetic import Arithmetic
from gan_core.config.gan import HYPERPARAMETERS, GanConfig
from gan_core.config.reports import Death, FidelityReport, LaneReport
from gan_core.config.version import code_version
from results.rows import MADE_BY, Outcome
from results.store import JsonLines, ResultsError
from results.table import ResultsTable
from sweep.ledger.cohort_record import read_rows
from sweep.ledger.standings import Standings
from sweep.ledger.study import LaneStudy
from sweep.proposals.journal import Journal
from sweep.proposals.seeds import derived_seed
from sweep.spec.sweep_spec import SweepSpec

pytestmark = pytest.mark.usefixtures("unsynced")
LARGE = {"trials": 24, "lanes_per_cohort": 6, "ladder": {"rungs_images": [100, 300, 900], "keep_fraction": 0.5}}
CLIFF_LR, CLIFF_BETA1 = 3e-3, 0.7
DEAD = ("diverged", "collapsed")


def cliff(configs, _=()) -> CurveArray:
    return CurveArray(configs, cliff_lr=CLIFF_LR, cliff_beta1=CLIFF_BETA1, cliff_images=150)


def late_cliff(configs, _=()) -> CurveArray:
    """Many lanes diverge, the base among them, but none before its second rung."""
    return CurveArray(configs, cliff_lr=1e-4, cliff_images=300)


def report(score: float, images: int = 128, death: Death | None = None) -> LaneReport:
    fidelity = FidelityReport({"fidelity": score, "class_kl": 0.0}, "p", "d")
    return LaneReport(images, 1.0, 0.5, fidelity, {"d_gradient": 2.5}, ("oscillation",), death, 0.1, "cpu")


DIVERGED, COLLAPSED = Death("diverged", "dead"), Death("collapsed", "still")


def told(study: LaneStudy) -> dict[int, tuple]:
    """Our trial number -> state, value and constraints in Optuna's own memory."""
    trials = {t._trial_id: t for t in optunas_study(study.folder).get_trials()}
    ours = {number: trials[identity] for number, identity in study.identities.items()}
    return {number: (t.state, t.value, t.constraints) for number, t in ours.items()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a sweep of 24 trials over three rungs, in which some diverged and some collapsed."""
    folder = run_folder(curve_spec(**LARGE), tmp_path_factory.mktemp("study") / "run")
    run_cohorts(curve_spec(**LARGE), folder, cliff)
    return folder


@pytest.fixture(scope="module")
def rows(finished) -> list[dict]:
    return JsonLines(finished.rows).read()


def test_every_trial_ends_with_an_outcome_and_climbs_without_a_gap(rows):
    ends = last_rows(rows)
    assert sorted(ends) == list(range(24))
    assert {row["outcome"] for row in ends.values()} == {"completed", "pruned", "diverged", "collapsed"}
    for trial in ends:
        mine = [row for row in rows if row["trial"] == trial]
        assert [row["rung"] for row in mine] == list(range(len(mine)))
        assert [row["outcome"] for row in mine[:-1]] == ["running"] * (len(mine) - 1)
        images = [128, 320, 960][: len(mine)]  # whole batches of 64
        if mine[-1]["outcome"] in DEAD:
            images[-1] = 192  # the cliff at 150, on the way to the second rung
        assert [row["images_seen"] for row in mine] == images


def test_a_lane_that_died_on_the_way_has_a_row_of_its_reason_without_a_score_at_the_images_where_it_died(rows):
    dead = [row for row in rows if row["outcome"] in DEAD]
    assert {row["outcome"] for row in dead} == set(DEAD)
    reasons = {"diverged": "discriminator loss is nan", "collapsed": "G ignores its latent"}
    for row in dead:
        assert (row["rung"], row["images_seen"], row["reason"]) == (1, 192, reasons[row["outcome"]])
        assert (row["score"], row["fidelity.fidelity"], row["d_loss"], row["signs"]) == (None, None, None, "")


def test_health_and_signs_are_recorded_as_they_were_reported(rows):
    alive = [row for row in rows if row["outcome"] not in DEAD]
    assert all(row["health.d_gradient"] == row["score"] and row["health.sample_deviation"] == 0.5 for row in alive)
    assert all(row["signs"] == ("oscillation low_coverage" if row["seed"] % 3 == 0 else "") for row in alive)
    assert {row["signs"] for row in alive} == {"", "oscillation low_coverage"}


def test_rows_hold_the_formulas_numbers_and_the_best_so_far(rows):
    for row in rows:
        names = [name for name in row if name.startswith(("structure.", "lane.")) or name in ("seed", "data_seed")]
        config = GanConfig.unflatten({name: row[name] for name in names})
        expected = None if row["outcome"] in DEAD else curve_score(config, row["images_seen"])
        assert (curve_death(config, CLIFF_LR, CLIFF_BETA1) is None) or row["rung"] == 0 or row["outcome"] in DEAD
        assert row["score"] == row["fidelity.fidelity"] == expected
        so_far = [r["score"] for r in rows if r["trial"] == row["trial"] and r["rung"] <= row["rung"]]
        assert row["best_score"] == min((score for score in so_far if score is not None), default=None)


def test_each_rung_is_judged_by_rank_among_all_that_reached_it_alive(rows):
    for number, row in enumerate(rows):
        if row["outcome"] in DEAD:
            continue
        together = {r["trial"] for r in rows if (r["cohort"], r["rung"]) == (row["cohort"], row["rung"])}
        came = [r for i, r in enumerate(rows) if r["rung"] == row["rung"] and (i <= number or r["trial"] in together)]
        alive = [r["best_score"] for r in came if r["outcome"] not in DEAD]
        rank = 1 + sum(score < row["best_score"] for score in alive)
        assert f"rank {rank} of {len(alive)}" in row["reason"]


def test_trial_0_is_the_base_and_is_never_pruned(rows):
    spec = curve_spec(**LARGE)
    mine = [row for row in rows if row["trial"] == 0]
    base = spec.space.base.flatten()
    assert {name: mine[0][name] for name in base if name != "seed"} == {k: v for k, v in base.items() if k != "seed"}
    assert [row["outcome"] for row in mine] == ["running", "running", "completed"]


def test_a_baseline_without_a_place_says_that_it_is_kept_as_the_baseline(tmp_path):
    spec = curve_spec(trials=3)
    folder = run_folder(spec, tmp_path)
    with opened(spec, folder) as study:
        assert study.open_cohort(3) is not None
        verdicts = study.judge(0, 0, runs(0, 1, 2), [report(9.0), report(1.0), report(2.0)])
    assert [verdict.goes_on for verdict in verdicts] == [True, True, False]
    assert [verdict.overruled for verdict in verdicts] == [True, False, False]
    assert [row.overruled for row in read_rows(folder)] == [True, False, False]
    records = JsonLines(folder.rows).read()
    assert [record.get("overruled") for record in records] == [True, None, None]
    assert "overruled" not in ResultsTable.load(folder.path).frame
    JsonLines(folder.path / "edited").append({**record, "reason": "my words"} for record in records)
    (folder.path / "edited").rename(folder.rows)
    assert [row.overruled for row in read_rows(folder)] == [True, False, False]
    assert verdicts[0].reason.startswith("baseline, never pruned; rank 3 of 3")


def test_a_row_says_what_its_trainer_was_and_not_what_the_study_is(tmp_path):
    """The study may live on another machine of a cluster. A row of a trial that nobody trained has its code alone."""
    made = Arithmetic(
        execution="replayed", processor="a CPU, AVX2", code_version="0.1.0+other", versions="torch 2.13.0"
    )
    spec, folder = curve_spec(trials=2), run_folder(curve_spec(trials=2), tmp_path)
    with opened(spec, folder) as study:
        study.open_cohort(2)
        study.judge(0, 0, runs(0), [replace(report(1.0), arithmetic=made)])
        study.note_failure(0, "killed")
        study.note_death(0, 1)
    trained, failed = (next(r for r in JsonLines(folder.rows).read() if r["trial"] == trial) for trial in (0, 1))
    assert {name: trained[name] for name in MADE_BY if trained[name]} == {"device": "cpu", **made.known()}
    assert {name: failed[name] for name in MADE_BY if failed[name]} == {"code_version": code_version()}


@pytest.mark.parametrize("death", [DIVERGED, COLLAPSED], ids=lambda death: death.outcome)
def test_a_dead_baseline_ends(tmp_path, death):
    spec = curve_spec(trials=3)
    with opened(spec, run_folder(spec, tmp_path)) as study:
        study.open_cohort(3)
        verdicts = study.judge(0, 0, runs(0, 1, 2), [report(math.nan, death=death), report(1.0), report(2.0)])
    assert (verdicts[0].outcome, verdicts[0].reason) == (Outcome(death.outcome), death.reason)
    assert not verdicts[0].goes_on


def test_a_dead_lane_takes_no_place_from_the_living(tmp_path):
    """Of four that come to a rung, half go on: two of four alive, one of three where one is dead."""
    spec = curve_spec(trials=4, lanes_per_cohort=4, ladder=LARGE["ladder"])
    found = []
    for death in (None, COLLAPSED):
        with opened(spec, run_folder(spec, tmp_path / str(death is None))) as study:
            study.open_cohort(4)
            reports = [report(9.0), report(1.0), report(2.0), report(math.nan if death else 3.0, death=death)]
            found.append([verdict.reason for verdict in study.judge(0, 0, runs(0, 1, 2, 3), reports)])
    assert found[0][1:3] == ["rank 1 of 4", "rank 2 of 4"]
    assert found[1][1:3] == ["rank 1 of 3", "rank 2 of 3 at rung 0, the best 1 go on"]


def test_a_cohort_of_the_dead_alone_is_told_and_the_study_goes_on(tmp_path):
    spec = curve_spec(trials=4)
    with opened(spec, run_folder(spec, tmp_path)) as study:
        study.open_cohort(3)
        dead = [report(math.nan, images=64, death=death) for death in (DIVERGED, COLLAPSED, DIVERGED)]
        assert not any(verdict.goes_on for verdict in study.judge(0, 0, runs(0, 1, 2), dead))
        assert (study.snapshot().best_trial, study.snapshot().done) == (None, 3)
        assert study.open_cohort(3) is not None
        assert study.judge(1, 0, runs(3), [report(5.0)])[0].goes_on
        assert study.snapshot().best_trial == 3


def test_optuna_is_told_the_best_score_of_the_completed_and_an_infeasible_pruning_of_the_dead(finished, rows):
    with opened(curve_spec(**LARGE), finished) as study:
        found = told(study)
    for trial, row in last_rows(rows).items():
        state, value, constraints = found[trial]
        if trial == 0:  # it went on although its rank was too low, which is what Optuna heard
            overruled = next(r for r in rows if r["trial"] == 0 and r["reason"].startswith("baseline, never pruned"))
            assert (state, value) == (TrialState.PRUNED, overruled["best_score"])
            continue
        assert state is {"completed": TrialState.COMPLETE}.get(row["outcome"], TrialState.PRUNED)
        assert constraints == ({row["outcome"]: 11.0} if row["outcome"] in DEAD else {})
        if row["outcome"] == "completed":
            assert value == row["best_score"]


def test_optuna_has_heard_the_best_so_far_at_every_rung_a_trial_reached_alive(finished, rows):
    with opened(curve_spec(**LARGE), finished) as study:
        trials = {t._trial_id: t for t in optunas_study(study.folder).get_trials()}
        heard = {number: trials[identity].intermediate_values for number, identity in study.identities.items()}
    for trial in range(24):
        mine = [r for r in rows if r["trial"] == trial and r["best_score"] is not None]
        mine = mine[:2] if trial == 0 else mine
        rungs = curve_spec(**LARGE).ladder.rungs_images
        assert heard[trial] == {min(r["images_seen"], rungs[r["rung"]]): r["best_score"] for r in mine}
    assert any(row["best_score"] is not None for row in rows if row["outcome"] in DEAD)


def test_a_lane_that_diverges_after_good_rungs_is_infeasible_and_keeps_its_report(tmp_path):
    spec = curve_spec(trials=8, lanes_per_cohort=8)
    folder = run_folder(spec, tmp_path)
    run_cohorts(spec, folder, late_cliff)
    ends = last_rows(JsonLines(folder.rows).read())
    late = [trial for trial, row in ends.items() if row["outcome"] == "diverged" and row["rung"] == 1]
    assert late
    with opened(spec, folder) as study:
        for trial in late:
            assert told(study)[trial] == (TrialState.PRUNED, ends[trial]["best_score"], {"diverged": 11.0})
            assert study.snapshot().best_trial != trial


def test_a_failed_trial_is_told_as_failed_and_keeps_what_it_had(tmp_path):
    spec = curve_spec(trials=3)
    folder = run_folder(spec, tmp_path)
    with opened(spec, folder) as study:
        study.open_cohort(3)
        study.judge(0, 0, runs(0, 1, 2), [report(1.0), report(1.0), report(2.0)])
        study.note_failure(0, "OSError: one\n  thing")
        study.note_failure(0, "OSError: another\n  thing")
        study.note_death(0, 1)
        states = {trial: state for trial, (state, _, _) in told(study).items()}
        assert states == {0: TrialState.FAIL, 1: TrialState.FAIL, 2: TrialState.PRUNED}
        assert study.finished
    rows = JsonLines(folder.rows).read()
    failed = [(r["trial"], r["rung"], r["score"], r["best_score"], r["images_seen"]) for r in rows[3:]]
    assert failed == [(0, 1, None, 1.0, 128), (1, 1, None, 1.0, 128)]
    assert {r["reason"] for r in rows[3:]} == {"died 1 times: OSError: another thing"}


def test_a_cohort_that_dies_is_handed_out_again_and_has_rows_when_it_is_given_up(tmp_path):
    spec = curve_spec(trials=3)
    folder = run_folder(spec, tmp_path)
    with opened(spec, folder) as study:
        cohort = study.open_cohort(3)
        for owner in range(2):
            assert (study.open_cohort(3), study.is_waiting()) == (None, True)
            assert study.note_images(owner, runs(0, 1, 2), 64)
            study.note_death(owner, 3)
            assert study.open_cohort(3) == cohort
        study.note_death(2, 3)
        assert (study.open_cohort(3), study.is_waiting()) == (None, False)
        snapshot = study.snapshot()
    assert (snapshot.done, snapshot.outcomes["failed"], snapshot.best_trial) == (3, 3, None)
    rows = JsonLines(folder.rows).read()
    assert [(r["rung"], r["images_seen"], r["outcome"]) for r in rows] == [(0, 64, "failed")] * 3
    assert {r["reason"] for r in rows} == {"died 3 times: its process was killed"}


def test_judged_again_a_rung_gives_the_same_verdicts_and_writes_nothing(tmp_path):
    spec = curve_spec(trials=3)
    folder = run_folder(spec, tmp_path)
    reports = [report(3.0), report(math.nan, death=DIVERGED), report(2.0)]
    with opened(spec, folder) as study:
        study.open_cohort(3)
        first = study.judge(0, 0, runs(0, 1, 2), reports)
        before = folder.rows.read_bytes(), folder.journal.read_bytes()
        assert study.judge(0, 0, runs(0, 1, 2), reports) == first
        assert (folder.rows.read_bytes(), folder.journal.read_bytes()) == before
    with opened(spec, folder) as study:
        study.open_cohort(3)
        assert study.judge(0, 0, runs(0, 1, 2), [report(99.0)] * 3) == first  # what was recorded is the truth
    assert folder.rows.read_bytes() == before[0]
    assert len({verdict.outcome for verdict in first}) > 1


@pytest.mark.parametrize("recorded", [1, 2])
def test_a_rung_whose_rows_were_written_in_part_is_judged_to_the_same_rows(tmp_path, recorded):
    spec = curve_spec(trials=3)
    reports = [report(3.0), report(1.0), report(2.0)]
    whole = run_folder(spec, tmp_path / "whole")
    with opened(spec, whole) as study:
        study.open_cohort(3)
        verdicts = study.judge(0, 0, runs(0, 1, 2), reports)
    torn = run_folder(spec, tmp_path / "torn")
    for name in ("optuna.jsonl", "cohorts.jsonl"):
        (torn.path / name).write_bytes((whole.path / name).read_bytes())
    torn.rows.write_bytes(b"".join(whole.rows.read_bytes().splitlines(keepends=True)[:recorded]))
    with opened(spec, torn) as study:
        study.open_cohort(3)
        assert study.judge(0, 0, runs(0, 1, 2), reports) == verdicts
    assert torn.rows.read_bytes() == whole.rows.read_bytes()


def test_the_order_of_lanes_changes_no_verdict(tmp_path):
    spec = curve_spec(trials=5, lanes_per_cohort=5)
    found = []
    for order in ([0, 1, 2, 3, 4], [4, 2, 0, 3, 1]):
        with opened(spec, run_folder(spec, tmp_path / str(order))) as study:
            study.open_cohort(5)
            verdicts = study.judge(0, 0, runs(*order), [report([9.0, 1.0, 2.0, 3.0, 4.0][trial]) for trial in order])
            found.append(dict(zip(order, verdicts, strict=True)))
    assert found[0] == found[1]
    assert [trial for trial, verdict in sorted(found[0].items()) if verdict.goes_on] == [0, 1, 2]


def test_the_same_spec_and_seed_give_the_same_table(tmp_path, rows):
    assert curve_rows(curve_spec(**LARGE), tmp_path / "again", cliff) == rows


def test_another_seed_gives_other_proposals_and_other_seeds_of_trials(tmp_path, rows):
    other = last_rows(curve_rows(curve_spec(**LARGE, seed=1), tmp_path / "other", cliff))
    mine = last_rows(rows)
    assert all(other[t]["lane.beta1"] != mine[t]["lane.beta1"] for t in range(1, 24))
    assert all(other[t]["seed"] != mine[t]["seed"] for t in range(24))
    assert other[0]["lane.beta1"] == mine[0]["lane.beta1"]


def test_the_random_sampler_proposes_without_looking_at_scores(tmp_path):
    spec = curve_spec(**LARGE, sampler="random")
    found = [
        {t: row["lane.beta1"] for t, row in last_rows(curve_rows(spec, tmp_path / name, build)).items()}
        for name, build in (("a", CurveArray), ("b", late_cliff))
    ]
    assert found[0] == found[1]


def test_the_tpe_sampler_does_look_at_scores(tmp_path, rows):
    other = last_rows(curve_rows(curve_spec(**LARGE), tmp_path / "other", late_cliff))
    mine = last_rows(rows)
    assert [t for t in range(24) if other[t]["lane.beta1"] != mine[t]["lane.beta1"]]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_reopening_the_study_between_cohorts_and_rungs_changes_nothing(tmp_path, rows, sampler):
    spec = curve_spec(**LARGE, sampler=sampler)
    expected = rows if sampler == "tpe" else curve_rows(spec, tmp_path / "whole", cliff)
    folder = run_folder(spec, tmp_path / "reopened")
    for _ in range(100):
        with opened(spec, folder) as study:
            cohort = study.open_cohort(6)
            if cohort is None:
                break
            climbing(cohort, study, cliff).advance()
    assert JsonLines(folder.rows).read() == expected


def test_reopening_the_study_between_two_asks_changes_nothing(tmp_path):
    """Cohorts of one: every ask sees all that was told before it."""
    spec = curve_spec(trials=16, lanes_per_cohort=1)
    expected = curve_rows(spec, tmp_path / "whole", cliff)
    folder = run_folder(spec, tmp_path / "reopened")
    for _ in range(16):
        with opened(spec, folder) as study:
            cohort = study.open_cohort(1)
            assert cohort is not None
            run = climbing(cohort, study, cliff)
            while not run.done:
                run.advance()
    assert JsonLines(folder.rows).read() == expected


def test_an_interrupted_cohort_is_handed_out_again_before_a_new_one(tmp_path):
    spec = curve_spec(trials=5)
    folder = run_folder(spec, tmp_path)
    with opened(spec, folder) as study:
        first = study.open_cohort(3)
        second = study.open_cohort(3)
        assert study.open_cohort(3) is None
    with opened(spec, folder) as study:
        assert [study.open_cohort(1), study.open_cohort(1), study.open_cohort(1)] == [first, second, None]
    assert first is not None
    assert second is not None
    assert (first.runs, second.runs) == (tuple(runs(0, 1, 2)), tuple(runs(3, 4)))


def test_a_trials_seed_depends_on_the_sweeps_seed_and_its_number_alone():
    seeds = {(seed, number): derived_seed(seed, "trial", number) for seed in range(20) for number in range(50)}
    assert len(set(seeds.values())) == 1000
    assert all(0 <= value < 2**31 for value in seeds.values())
    assert derived_seed(0, "trial", 3) == seeds[0, 3] != derived_seed(0, "sampler", 3)


def test_in_memory_a_trials_rows_share_what_does_not_change_and_all_rows_the_names(finished):
    """Live and read back: else a row has forty names and values of its own, and a long sweep's study grows by them."""
    rows = Standings.load(curve_spec(**LARGE), finished).rows
    assert {len({id(row.hyperparameters) for row in run}) for run in rows.values()} == {1}
    assert len({id(name) for run in rows.values() for row in run for name in row.hyperparameters}) == len(
        HYPERPARAMETERS
    )
    other = GanConfig(seed=3).flatten()
    assert {id(name) for name in other} == {id(name) for name in HYPERPARAMETERS}


def test_a_snapshot_counts_trials_images_and_the_best(tmp_path):
    spec = curve_spec(trials=5)
    with opened(spec, run_folder(spec, tmp_path)) as study:
        assert (study.snapshot().done, study.snapshot().running, study.snapshot().images) == (0, 0, 0)
        assert math.isnan(study.snapshot().best_score)
        study.open_cohort(3)
        study.note_images(0, runs(0, 1), 64)
        assert (study.snapshot().running, study.snapshot().images) == (3, 128)
        study.judge(0, 0, runs(0, 1, 2), [report(3.0), report(math.nan, death=DIVERGED), report(2.0)])
        snapshot = study.snapshot()
    assert (snapshot.trials, snapshot.done, snapshot.running, snapshot.images) == (5, 1, 2, 3 * 128)
    assert (snapshot.best_trial, snapshot.best_score, snapshot.baseline_score) == (2, 2.0, 3.0)
    assert snapshot.outcomes == {"completed": 0, "pruned": 0, "diverged": 1, "collapsed": 0} | {
        "failed": 0,
        "out_of_memory": 0,
    }
    assert snapshot.best_config["seed"] == derived_seed(0, "trial", 2)


def test_a_snapshot_says_what_cohorts_do_until_they_tell_of_images_or_are_judged(tmp_path):
    spec = curve_spec(trials=4)
    with opened(spec, run_folder(spec, tmp_path)) as study:
        for _ in range(2):
            study.open_cohort(2)
        assert study.snapshot().phase == ""
        study.note_phase(1, "loading digits")
        study.note_phase(0, "compiling the steps of mlp")
        assert study.snapshot().phase == "compiling the steps of mlp, loading digits"
        study.note_phase(1, "compiling the steps of mlp")
        assert study.snapshot().phase == "compiling the steps of mlp"
        study.note_images(0, runs(0, 1), 64)
        study.note_phase(1, "scoring samples")
        assert study.snapshot().phase == "scoring samples"
        study.judge(1, 0, runs(2, 3), [report(3.0), report(2.0)])
        assert study.snapshot().phase == ""


def test_a_second_owner_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("sweep.ledger.study.OLD_OWNER_SECONDS", 0.0)
    spec = curve_spec()
    folder = run_folder(spec, tmp_path)
    with opened(spec, folder), pytest.raises(ResultsError, match="another process is at work"):
        LaneStudy(spec, folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rung": 5}, r"line 6: trial \d+ has no place for rung 5"),
        ({"trial": 99}, "line 6: cohorts.jsonl beside it has no trial 99"),
    ],
)
def test_rows_that_have_no_place_are_refused(tmp_path, change, says):
    spec = curve_spec(trials=3)
    folder = run_folder(spec, tmp_path)
    run_cohorts(spec, folder)
    row = JsonLines(folder.rows).read()[-1]
    JsonLines(folder.rows).append([{**row, **change}])
    with pytest.raises(ResultsError, match=says):
        LaneStudy(spec, folder)


@pytest.mark.parametrize("lost", ["outcome", "score", "cohort"])
def test_a_row_without_one_of_its_columns_is_refused(tmp_path, lost):
    spec = curve_spec(trials=3)
    folder = run_folder(spec, tmp_path)
    run_cohorts(spec, folder)
    records = JsonLines(folder.rows).read()
    del records[-1][lost]
    folder.rows.unlink()
    JsonLines(folder.rows).append(records)
    with pytest.raises(ResultsError, match=f"rows.jsonl.*{lost}"):
        LaneStudy(spec, folder)


def test_the_journal_is_lines_of_json_and_holds_no_pickle(finished):
    assert len(JsonLines(finished.journal).read()) > 24
    assert not [p for p in finished.path.rglob("*") if p.suffix in (".pkl", ".pickle", ".db")]


RATES = {"low": 1e-5, "high": 1e-1, "log": True}
WIDE = {
    **CURVE_SPACE,
    "ranges": {**CURVE_SPACE["ranges"], "lane.generator_lr": RATES, "lane.discriminator_lr": RATES},
}


def share_beyond_the_cliff(tmp_path, sampler: str, seed: int) -> float:
    """Of the last 40 of 60 proposals; half of the range of generator_lr lies beyond the cliff at 1e-3."""
    ladder = {"rungs_images": [100, 300], "keep_fraction": 0.5}
    spec = SweepSpec.from_mapping(
        {"space": WIDE, "trials": 60, "lanes_per_cohort": 4, "ladder": ladder, "sampler": sampler, "seed": seed}
    )
    rows = curve_rows(spec, tmp_path / f"{sampler}{seed}", lambda configs, _=(): CurveArray(configs, cliff_lr=1e-3))
    late = [row for trial, row in last_rows(rows).items() if trial >= 20]
    return sum(row["outcome"] == "diverged" for row in late) / len(late)


def test_the_sampler_learns_to_stay_out_of_a_diverging_region(tmp_path):
    """The best rate lies right at the cliff. Random sampling falls over it half of the time; measured over six seeds,
    0.52 of random proposals, 0.30 of TPE's, and 0.71 of TPE's when a diverged trial is told FAIL.
    """
    random, tpe = (
        [share_beyond_the_cliff(tmp_path, sampler, seed) for seed in range(3)] for sampler in ("random", "tpe")
    )
    assert 0.4 < sum(random) / 3 < 0.6
    assert sum(tpe) / 3 < 0.7 * sum(random) / 3
    assert all(learnt < guessed for learnt, guessed in zip(tpe, random, strict=True))


def test_a_cohort_and_a_rung_wait_for_the_disk_as_often_however_many_trials_they_have(tmp_path, monkeypatch):
    """And a rung's verdicts, rows and what Optuna is told are on it when they are given."""
    waits: dict[int, list[int]] = {}
    for trials in (2, 6):
        spec = curve_spec(trials=trials, lanes_per_cohort=trials)
        synced: list[int] = []
        with opened(spec, run_folder(spec, tmp_path / str(trials))) as study, monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda file, synced=synced: synced.append(os.fstat(file).st_size))
            cohort = study.open_cohort(trials)
            assert cohort is not None
            assert study.folder.journal.stat().st_size in synced
            opening = len(synced)
            study.judge(0, 0, list(cohort.runs), [report(1.0)] * trials)
            assert {study.folder.journal.stat().st_size, study.folder.rows.stat().st_size} <= set(synced)
            waits[trials] = [opening, len(synced) - opening]
    assert waits[2] == waits[6] == [2, 2]


def test_optunas_own_backend_reads_the_journal(tmp_path):
    spec = curve_spec()
    with opened(spec, run_folder(spec, tmp_path)) as study:
        study.open_cohort(3)
        mine = [trial.params for trial in study.proposals.trials]
    assert [trial.params for trial in optunas_study(study.folder).get_trials()] == mine
    assert len(mine) == 3


def test_a_journal_hands_its_reader_what_was_appended_and_reads_the_file_for_any_other(tmp_path, monkeypatch):
    journal, path = Journal(tmp_path / "optuna.jsonl"), tmp_path / "optuna.jsonl"
    path.write_text('{"op_code":0}\n')
    assert list(journal.read_logs(0)) == [{"op_code": 0}]
    journal.append_logs([{"op_code": 4, "values": (1.5, 2)}, {"op_code": 5}])
    with monkeypatch.context() as patch:
        patch.setattr(JsonLines, "read", None)
        assert list(journal.read_logs(1)) == [{"op_code": 4, "values": [1.5, 2]}, {"op_code": 5}]
        assert list(journal.read_logs(3)) == []
    journal.append_logs([{"op_code": 6}])
    whole = [json.loads(line) for line in path.read_text().splitlines()]
    assert list(journal.read_logs(1)) == whole[1:]
    assert list(journal.read_logs(4)) == []
    assert len(whole) == 4
