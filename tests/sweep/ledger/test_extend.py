"""A finished sweep that is given more: trials, rungs, confirmations. What was trained is not trained again."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from curve_array import (
    CurveArray,
    climbing,
    curve_level,
    curve_rows,
    curve_score,
    curve_spec,
    opened,
    optunas_study,
    rows_of,
    run_cohorts,
    run_folder,
    runs,
)
from optuna.trial import TrialState
from PIL import Image
from sabotage import Killed, Saboteur
from tiny_runs import TINY

from gan_core.config.input_error import InputError
from results.store import JsonLines, RunFolder
from results.table import ResultsTable
from results.trial_run import TrialRun
from sweep.run import run_sweep
from sweep.spec.sweep_spec import SweepSpec

pytestmark = pytest.mark.usefixtures("unsynced")
SHORT, LONG = [100, 300], [100, 300, 900]
MEASURED = ("images_seen", "score", "d_loss", "g_loss", "seconds", "best_score", "seed", "lane.generator_lr")


def spec_of(rungs: list[int], **values: Any) -> SweepSpec:
    """Ten trials of which all are kept, unless values say else. With this seed some survivors' scores rise."""
    ladder = {"rungs_images": rungs, "keep_fraction": 0.5}
    given = {"trials": 10, "lanes_per_cohort": 4, "ladder": ladder, "keep_checkpoints": 99, "seed": 4, **values}
    return curve_spec(**given)


class Recording(CurveArray):
    """Notes (seed, from, to) of all that is trained."""

    trained: list[tuple[int, int, int]] = []

    def train_to(self, images, on_step=None):
        before = self.images
        reports = super().train_to(images, on_step)
        self.trained += [(config.seed, before, self.images) for config in self.configs]
        return reports


def recording_class() -> type[Recording]:
    """One with notes of its own."""

    class Fresh(Recording):
        trained = []

    return Fresh


@pytest.fixture
def recording() -> type[Recording]:
    return recording_class()


def by_place(rows: list[dict[str, Any]]) -> dict[tuple[int, int, int], tuple]:
    """(trial, replicate, rung) -> what was measured there."""
    return {(r["trial"], r["replicate"], r["rung"]): tuple(r[name] for name in MEASURED) for r in rows}


def last_outcomes(rows: list[dict[str, Any]]) -> dict[int, str]:
    return {row["trial"]: row["outcome"] for row in rows if row["replicate"] == 0}


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> tuple[RunFolder, list[dict[str, Any]]]:
    """A sweep of two rungs, then extended by a third; and its rows before."""
    folder = run_folder(spec_of(SHORT), tmp_path_factory.mktemp("extended") / "run")
    run_cohorts(spec_of(SHORT), folder)
    before = rows_of(folder)
    run_cohorts(spec_of(LONG), folder)
    return folder, before


def continued(extended) -> list[dict[str, Any]]:
    folder, before = extended
    return rows_of(folder)[len(before) :]


def test_what_was_recorded_stays_and_survivors_have_a_row_more(extended):
    folder, before = extended
    assert rows_of(folder)[: len(before)] == before
    assert {row["rung"] for row in continued(extended)} == {2}
    assert {row["outcome"] for row in continued(extended)} == {"completed"}
    assert len(continued(extended)) >= 3


def test_those_who_go_on_are_the_baseline_and_the_best_half_of_all_that_reached_what_was_the_last_rung(extended):
    _, before = extended
    completed = {row["trial"]: row["best_score"] for row in before if row["outcome"] == "completed"}
    best = sorted(completed, key=completed.__getitem__)[: len(completed) // 2]
    assert {row["trial"] for row in continued(extended)} == {0, *best}
    assert len(completed) > len(best) + 1


def test_those_who_do_not_go_on_stay_completed(extended):
    folder, before = extended
    going = {row["trial"] for row in continued(extended)}
    stays = {trial for trial, outcome in last_outcomes(before).items() if outcome == "completed"} - going
    assert stays
    after = last_outcomes(rows_of(folder))
    assert {after[trial] for trial in stays} == {"completed"}
    assert after == {**last_outcomes(before), **dict.fromkeys(going, "completed")}


def test_survivors_measure_what_a_run_with_all_rungs_from_the_start_measures(extended, tmp_path):
    """Losses are means since the rung before, so that they are of one way: d_loss holds where it was read last."""
    folder, _ = extended
    whole = by_place(curve_rows(spec_of(LONG), tmp_path))
    mine = by_place(rows_of(folder))
    top = [place for place in mine if place[2] == 2]
    common = [place for place in top if place in whole]
    assert len(common) >= 3
    assert [mine[place] for place in common] == [whole[place] for place in common]
    assert {place: mine[place] for place in mine if place[2] < 2} == {
        place: whole[place] for place in whole if place[2] < 2
    }


def test_no_rung_is_trained_twice(tmp_path, recording):
    folder = run_folder(spec_of(SHORT), tmp_path)
    run_cohorts(spec_of(SHORT), folder, recording)
    run_cohorts(spec_of(LONG), folder, recording)
    assert len(set(recording.trained)) == len(recording.trained)
    assert {(before, after) for _, before, after in recording.trained} == {(0, 128), (128, 320), (320, 960)}
    assert len(recording.trained) == len(rows_of(folder))


def test_optuna_hears_the_better_score_of_a_trial_that_went_on_and_hears_it_once(extended):
    folder, before = extended
    for _ in range(2):
        with opened(spec_of(LONG), folder) as study:
            found, table = study.proposals.trials, optunas_study(folder).get_trials()
            numbers = {identity: number for number, identity in study.identities.items()}
            more = {numbers[t.user_attrs["extends"]]: t.value for t in found if "extends" in t.user_attrs}
            values = {number: found[identity].values for identity, number in numbers.items()}
        earlier = {row["trial"]: row["best_score"] for row in before}
        better = {
            row["trial"]: row["best_score"] for row in continued(extended) if row["best_score"] < earlier[row["trial"]]
        }
        assert more == better
        assert len(found) == 10 + len(better)
        assert [t.number for t in table] == [t.user_attrs["trial"] for t in table] == list(range(10))
        assert len(better) >= 2
        assert all(values[trial] == [earlier[trial]] for trial in better)


def test_a_baseline_that_was_told_pruned_is_not_told_again_as_completed(tmp_path):
    folder = run_folder(spec_of(SHORT, seed=2), tmp_path)
    run_cohorts(spec_of(SHORT, seed=2), folder)
    run_cohorts(spec_of(LONG, seed=2), folder)
    mine = [row for row in rows_of(folder) if row["trial"] == 0]
    assert mine[0]["reason"].startswith("baseline, never pruned")
    assert mine[2]["best_score"] < mine[0]["best_score"]
    with opened(spec_of(LONG, seed=2), folder) as study:
        found = {t._trial_id: t for t in study.proposals.trials}
        zero = found[study.identities[0]]
        assert (zero.state, zero.value) == (TrialState.PRUNED, mine[0]["best_score"])
        assert zero._trial_id not in [t.user_attrs.get("extends") for t in found.values()]


def test_the_picture_and_the_generator_of_a_survivor_stay_those_of_its_best_rung(extended):
    """Every third seed's score rises as it trains: its best rung is an earlier one."""
    folder, _ = extended
    levels, expected = {}, {}
    for trial in {row["trial"] for row in continued(extended)}:
        mine = [row for row in rows_of(folder) if row["trial"] == trial]
        best = min(mine, key=lambda row: row["score"])
        with Image.open(folder.trial_samples(TrialRun(trial))) as picture:
            levels[trial] = np.asarray(picture)[picture.height // 16, picture.width // 16]
        expected[trial] = round(curve_level(best["seed"], best["images_seen"]) * 127.5 + 127.5), best["rung"]
    assert levels == {trial: level for trial, (level, _) in expected.items()}
    assert {rung for _, rung in expected.values()} >= {0, 2}


@pytest.mark.parametrize("most", [1, 2])
def test_only_those_whose_last_state_is_kept_go_on(tmp_path, most):
    folder = run_folder(spec_of(SHORT), tmp_path)
    run_cohorts(spec_of(SHORT, keep_checkpoints=most), folder)
    before = rows_of(folder)
    kept = {trial for trial in range(10) if folder.last_state(TrialRun(trial)).exists()}
    assert 0 < len(kept) <= most
    run_cohorts(spec_of(LONG, keep_checkpoints=most), folder)
    assert {row["trial"] for row in rows_of(folder)[len(before) :]} <= kept
    assert rows_of(folder)[len(before) :]
    with opened(spec_of(LONG, keep_checkpoints=most), folder) as study:
        assert study.finished


def test_a_survivor_that_was_handed_out_keeps_its_last_state_though_others_end_better(tmp_path):
    """Killed before its first rung, it must find the state again, however many ended better meanwhile."""
    spec = spec_of(LONG, trials=14, keep_checkpoints=1)
    folder = run_folder(spec_of(SHORT), tmp_path)
    run_cohorts(spec_of(SHORT, keep_checkpoints=1), folder, lambda configs, _=(): Worse(configs))
    with opened(spec, folder) as study:
        cohort = study.open_cohort(4)
        assert cohort is not None
        assert cohort.from_rung == 2
        other = study.open_cohort(4)
        assert other is not None
        assert other.runs == tuple(runs(10, 11, 12, 13))
        run = climbing(other, study, CurveArray)
        while not run.done:
            run.advance()
        assert [folder.last_state(one).exists() for one in cohort.runs] == [True] * len(cohort.runs)
    run_cohorts(spec, folder, Worse)
    survivors = {one.trial for one in cohort.runs}
    ends = {row["outcome"] for row in rows_of(folder) if row["trial"] in survivors and row["rung"] == 2}
    assert ends == {"completed"}


class Worse(CurveArray):
    """Scores that any other array beats."""

    def _report(self, config):
        found = super()._report(config)
        score = curve_score(config, self.images) + 1000
        return replace(found, fidelity=replace(found.fidelity, values={"fidelity": score}))


# ---- more trials


def test_more_trials_are_those_that_a_sweep_of_so_many_has(tmp_path):
    folder = run_folder(spec_of(SHORT, trials=8), tmp_path / "extended")
    run_cohorts(spec_of(SHORT, trials=8), folder)
    run_cohorts(spec_of(SHORT, trials=16), folder)
    assert rows_of(folder) == curve_rows(spec_of(SHORT, trials=16), tmp_path / "whole")
    assert len(last_outcomes(rows_of(folder))) == 16


def test_more_trials_and_rungs_at_once_let_survivors_go_on_first(tmp_path):
    folder = run_folder(spec_of(SHORT), tmp_path)
    run_cohorts(spec_of(SHORT), folder)
    before = len(rows_of(folder))
    run_cohorts(spec_of(LONG, trials=14), folder)
    cohorts = JsonLines(folder.cohorts).read()
    first = next(record for record in cohorts if record["from_rung"])
    assert [record["trials"][0] for record in cohorts if record["cohort"] > first["cohort"]][-1] == 10
    assert len(last_outcomes(rows_of(folder))) == 14
    assert any(row["trial"] >= 10 and row["rung"] == 2 for row in rows_of(folder)[before:])


def test_confirmations_go_on_up_the_longer_ladder_and_new_finalists_have_theirs(tmp_path, recording):
    confirm = {"top": 2, "seeds": 2}
    folder = run_folder(spec_of(SHORT, confirm=confirm), tmp_path)
    run_cohorts(spec_of(SHORT, confirm=confirm), folder, recording)
    earlier = {row["trial"] for row in rows_of(folder) if row["replicate"]}
    run_cohorts(spec_of(LONG, confirm=confirm), folder, recording)
    rows = rows_of(folder)
    climbs = {(r["trial"], r["replicate"]): [] for r in rows if r["replicate"]}
    for row in rows:
        if row["replicate"]:
            climbs[row["trial"], row["replicate"]].append((row["rung"], row["images_seen"]))
    whole = [(0, 128), (1, 320), (2, 960)]
    assert climbs == {(trial, replicate): whole for trial, _ in climbs for replicate in (1, 2)}
    best = ResultsTable.load(folder.path).trials["trial"].head(2).tolist()
    assert {trial for trial, _ in climbs} == earlier | set(best)
    assert len(set(recording.trained)) == len(recording.trained)


def test_confirmations_asked_for_afterwards_are_those_of_a_sweep_that_asked_at_once(tmp_path):
    confirm = {"top": 2, "seeds": 3}
    folder = run_folder(spec_of(SHORT), tmp_path / "later")
    run_cohorts(spec_of(SHORT), folder)
    run_cohorts(spec_of(SHORT, confirm=confirm), folder)
    assert rows_of(folder) == curve_rows(spec_of(SHORT, confirm=confirm), tmp_path / "at-once")
    assert sum(row["replicate"] == 3 and row["outcome"] == "completed" for row in rows_of(folder)) == 2


# ---- interrupted


def extended_and_killed(tmp_path: Path, start: RunFolder, kill_at: float, later: SweepSpec) -> tuple[str, Any, int]:
    """A finished run is copied, extended, killed at a boundary, and goes on: where, what is left, boundaries passed."""
    folder = RunFolder(tmp_path / str(kill_at))
    shutil.copytree(start.path, folder.path)
    saboteur, where, arrays = Saboteur(kill_at), "", recording_class()
    with pytest.MonkeyPatch.context() as patch:
        saboteur.install(patch)
        try:
            run_cohorts(later, folder, arrays)
        except Killed as killed:
            where = str(killed)
    run_cohorts(later, folder, arrays)
    assert len(arrays.trained) - len(set(arrays.trained)) <= 4  # one rung of one cohort
    with opened(later, folder) as study:
        assert study.finished
    kept = {str(path.relative_to(folder.path)): path.read_text() for path in folder.checkpoints.rglob("*.safetensors")}
    return where, (rows_of(folder), kept), len(saboteur.passed)


def test_killed_anywhere_while_it_is_extended_the_same_rows_and_states_come_out(tmp_path):
    start = run_folder(spec_of(SHORT), tmp_path / "start")
    run_cohorts(spec_of(SHORT), start)
    later = spec_of(LONG, trials=12)
    _, whole, boundaries = extended_and_killed(tmp_path, start, float("inf"), later)
    found = [extended_and_killed(tmp_path, start, at, later) for at in range(1, boundaries, 12)]
    assert len(found) > 13
    assert len(whole[1]) > 10
    assert {"after finish", "after rename"} & {where for where, _, _ in found}
    assert [where for where, left, _ in found if left != whole] == []


def interrupted_runs(path: Path) -> Iterator[RunFolder]:
    """Sweeps of two rungs, each killed at another boundary."""
    census = Saboteur()
    with pytest.MonkeyPatch.context() as patch:
        census.install(patch)
        run_cohorts(spec_of(SHORT, trials=4), run_folder(spec_of(SHORT, trials=4), path / "census"))
    for kill_at in range(1, len(census.passed), 10):
        folder = run_folder(spec_of(SHORT, trials=4), path / str(kill_at))
        with pytest.MonkeyPatch.context() as patch:
            Saboteur(kill_at).install(patch)
            with pytest.raises(Killed):
                run_cohorts(spec_of(SHORT, trials=4), folder)
        yield folder


def test_an_interrupted_sweep_that_is_extended_ends_with_every_trial_ended_and_nothing_trained_twice(tmp_path):
    whole = by_place(curve_rows(spec_of(LONG, trials=6), tmp_path / "whole"))
    ends = []
    for folder in interrupted_runs(tmp_path):
        later = spec_of(LONG, trials=6)
        run_cohorts(later, folder)
        rows = rows_of(folder)
        places = by_place(rows)
        assert len(places) == len(rows)
        common = set(places) & set(whole)
        assert {place: places[place] for place in common} == {place: whole[place] for place in common}
        ends.append(set(last_outcomes(rows).values()))
        with opened(later, folder) as study:
            assert study.finished
    assert len(ends) > 5
    assert all(end <= {"completed", "pruned"} for end in ends)


# ---- what is refused


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"trials": 9}, "trials (fewer)"),
        ({"ladder": {"rungs_images": [100, 400], "keep_fraction": 0.5}}, "rungs may only be added at its end"),
        ({"ladder": {"rungs_images": [100], "keep_fraction": 0.5}}, "rungs may only be added at its end"),
        ({"ladder": {"rungs_images": LONG, "keep_fraction": 0.25}}, "ladder.keep_fraction"),
        ({"seed": 1}, "seed"),
        ({"lanes_per_cohort": 2}, "lanes_per_cohort"),
        ({"sampler": "random"}, "sampler"),
    ],
)
def test_whatever_would_change_what_is_there_is_refused_in_one_line_and_changes_nothing(tmp_path, change, says):
    folder = run_folder(spec_of(SHORT), tmp_path)
    before = folder.spec.read_bytes()
    with pytest.raises(InputError) as refused:
        run_sweep(spec_of(SHORT, **change), folder.path, local=True, extend=True)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert folder.spec.read_bytes() == before


def test_extend_needs_a_run(tmp_path):
    with pytest.raises(InputError, match="holds no run that could be extended; leave --extend out"):
        run_sweep(spec_of(SHORT), tmp_path / "none", local=True, extend=True)
    assert not (tmp_path / "none").exists()


def test_without_the_flag_more_is_refused_and_the_flag_is_named(tmp_path):
    folder = run_folder(spec_of(SHORT), tmp_path)
    with pytest.raises(InputError, match="these keys differ: ladder.rungs_images; add --extend to go on with it so"):
        run_sweep(spec_of(LONG), folder.path, local=True)


def test_a_populations_rungs_cannot_be_added_to_for_its_members_would_have_moved_there(tmp_path):
    folder = run_folder(spec_of(SHORT, population={}), tmp_path)
    with pytest.raises(InputError, match="a population's rungs cannot be extended"):
        run_sweep(spec_of(LONG, population={}), folder.path, local=True, extend=True)


# ---- with real training


def test_a_real_sweep_extended_by_a_rung_is_bit_for_bit_one_that_had_it_from_the_start(tmp_path):
    def run(rungs: str, out: Path, extend: bool = False) -> Any:
        given = [a for a in TINY if not a.startswith("ladder")]
        spec = SweepSpec.from_mapping({}, [*given, f"ladder.rungs_images={rungs}", "ladder.keep_fraction=1.0"])
        return run_sweep(spec, out, local=True, extend=extend).frame

    run("[128, 256]", tmp_path / "extended")
    extended = run("[128, 256, 512]", tmp_path / "extended", extend=True)
    whole = run("[128, 256, 512]", tmp_path / "whole")
    keys = ["trial", "rung"]
    measured = [name for name in whole.columns if name.startswith("fidelity.")]
    measured += ["score", "best_score", "d_loss", "g_loss", "images_seen", "seed", "health.d_gradient"]
    mine, theirs = (frame.sort_values(keys).set_index(keys)[measured] for frame in (extended, whole))
    assert len(mine) == 4 * 3
    assert mine.to_numpy().tobytes() == theirs.to_numpy().tobytes()
