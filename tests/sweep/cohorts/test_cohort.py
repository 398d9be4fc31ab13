"""A cohort's way up the ladder, and what is left of it when its process is killed anywhere on the way."""

import math
import os
import random
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from curve_array import CurveArray, climbing, curve_level, curve_spec, opened, run_cohorts, run_folder, runs
from PIL import Image
from sabotage import BOUNDARIES, Facts, Killed, Saboteur, facts, killed_and_resumed

from gan_core.config.reports import Death
from results.store import JsonLines, RunFolder
from results.table import ResultsTable
from results.trial_run import TrialRun
from sweep.cohorts.cohort import CohortRun
from sweep.ledger.cohort_record import Cohort
from sweep.proposals.journal import Journal

pytestmark = pytest.mark.usefixtures("unsynced")
ROOT = Path(__file__).parents[3]
LADDER = {"rungs_images": [100, 300, 900], "keep_fraction": 0.5}
SPEC = curve_spec()
CLIFF = {"cliff_lr": 5e-4, "cliff_beta1": 0.49, "cliff_images": 200}  # between the rungs at 100 and 300


def build(configs, _=()) -> CurveArray:
    return CurveArray(configs, **CLIFF)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Facts:
    folder = run_folder(SPEC, tmp_path_factory.mktemp("undisturbed") / "run")
    run_cohorts(SPEC, folder, build)
    return facts(folder, SPEC)


def test_the_undisturbed_sweep_has_what_a_kill_could_spoil(undisturbed):
    outcomes = {row["outcome"] for row in undisturbed.rows}
    assert outcomes == {"running", "completed", "pruned", "diverged", "collapsed"}
    dead = [row for row in undisturbed.rows if row["outcome"] in ("diverged", "collapsed")]
    assert [(row["rung"], row["images_seen"]) for row in dead] == [(1, 256)] * len(dead)  # between 128 and 320
    assert any(row["signs"] for row in undisturbed.rows)
    assert {row["cohort"] for row in undisturbed.rows} == {0, 1}
    assert len(undisturbed.curves) == 2 * len(undisturbed.rows)
    assert {row["structure.generator_width"] for row in undisturbed.rows} == {16, 32}
    assert [row["trial"] for row in undisturbed.rows if row["rung"] == 1 and (row["score"] or 0) > row["best_score"]]
    assert len(undisturbed.pictures) >= 4
    assert undisturbed.warned == []


# ---- killed at every boundary


def all_kills(path: Path) -> Iterator[Facts]:
    census = Saboteur()
    killed_and_resumed(SPEC, path / "census", census.install, build)
    for kill_at in range(1, len(census.passed) + 1):
        yield killed_and_resumed(SPEC, path / str(kill_at), Saboteur(kill_at).install, build)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory) -> list[Facts]:
    """What is left after a kill at each boundary in turn, once the sweep was resumed to its end."""
    return list(all_kills(tmp_path_factory.mktemp("killed")))


def check_same(found: list[Facts], undisturbed: Facts, part: str) -> None:
    assert [f.killed for f in found if getattr(f, part) != getattr(undisturbed, part)] == []


def check_same_but_warnings(found: list[Facts], undisturbed: Facts) -> None:
    for part in ("rows", "curves", "told", "pictures", "paths"):
        check_same(found, undisturbed, part)


def test_every_boundary_kills_once(resumed):
    kinds = {f.killed for f in resumed}
    every = {f"{when} {name}" for when in ("before", "after") for _, name in BOUNDARIES}
    assert kinds == every - {"after append_logs"}
    assert len(resumed) > 100


@pytest.mark.parametrize("part", ["rows", "curves", "told", "pictures", "paths", "warned"])
def test_killed_anywhere_and_resumed_a_sweep_leaves_what_it_leaves_undisturbed(resumed, undisturbed, part):
    check_same(resumed, undisturbed, part)


# ---- killed in the middle of a write


@dataclass
class Tearer:
    """Lets only a part of the n-th append reach the disk, then raises Killed."""

    owner: type
    method: str
    tear_at: float
    part: Callable[[bytes], int]
    written: list[bytes] = field(default_factory=list)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        append = getattr(self.owner, self.method)

        def torn(file: Any, records: Any) -> None:
            path = file.path
            before = path.stat().st_size if path.exists() else 0
            append(file, records)
            self.written.append(path.read_bytes()[before:])
            if len(self.written) == self.tear_at:
                kept = self.part(self.written[-1])
                os.truncate(path, before + kept)
                raise Killed(f"{kept} of {len(self.written[-1])} bytes of append {len(self.written)} of {path.name}")

        patch.setattr(self.owner, self.method, torn)


PARTS: dict[str, Callable[[bytes], int]] = {
    "first byte": lambda written: 1,
    "half": lambda written: len(written) // 2,
    "all but the line's end": lambda written: len(written) - 1,
    "first line": lambda written: written.index(b"\n") + 1,
    "first line and a bit": lambda written: min(written.index(b"\n") + 9, len(written)),
    "all lines but the last": lambda written: written[:-1].rfind(b"\n") + 1,
}


def all_tears(path: Path, owner: type, method: str, part: str) -> Iterator[Facts]:
    census = Tearer(owner, method, math.inf, PARTS[part])
    killed_and_resumed(SPEC, path / "census", census.install, build)
    for tear_at in range(1, len(census.written) + 1):
        yield killed_and_resumed(SPEC, path / str(tear_at), Tearer(owner, method, tear_at, PARTS[part]).install, build)


@pytest.mark.parametrize("part", PARTS)
def test_rows_and_cohorts_torn_in_the_middle_of_a_write_lead_to_the_same_end(tmp_path, undisturbed, part):
    found = list(all_tears(tmp_path, JsonLines, "append", part))
    assert len(found) >= 6
    check_same_but_warnings(found, undisturbed)


@pytest.mark.parametrize("part", ["half", "all but the line's end"])
def test_a_torn_journal_leads_to_the_same_end(tmp_path, undisturbed, part):
    found = list(all_tears(tmp_path, Journal, "append_logs", part))
    assert len(found) > 15
    check_same_but_warnings(found, undisturbed)


@pytest.mark.parametrize(("owner", "method"), [(JsonLines, "append"), (Journal, "append_logs")])
def test_a_torn_line_is_the_only_thing_warned_of_and_is_named(tmp_path, owner, method):
    found = killed_and_resumed(SPEC, tmp_path, Tearer(owner, method, 3, PARTS["half"]).install, build)
    name = found.killed.split()[-1]
    assert len(found.warned) == 1
    assert f"{name}: the last line is torn" in found.warned[0]


# ---- killed again and again


@pytest.mark.parametrize("calls", [45, 60])
def test_killed_again_and_again_a_sweep_still_ends_where_it_would_have(tmp_path, undisturbed, calls):
    folder = run_folder(SPEC, tmp_path)
    deaths = 0
    for _ in range(50):
        with pytest.MonkeyPatch.context() as patch:
            Saboteur(calls).install(patch)
            try:
                run_cohorts(SPEC, folder, build)
                break
            except Killed:
                deaths += 1
    assert 2 <= deaths < 50
    found = facts(folder, SPEC)
    assert (found.rows, found.told, found.pictures) == (undisturbed.rows, undisturbed.told, undisturbed.pictures)
    assert found.curves == undisturbed.curves


KILLED_SWEEP = """
import itertools, os, signal, sys
import sweep.ledger.study  # before the tests' folder is on the path: it has a folder named as our package
sys.path.append(sys.argv[1])
from curve_array import CurveArray, run_cohorts
from results.store import RunFolder
from sweep.proposals.journal import Journal
from sweep.spec.sweep_spec import SweepSpec
folder, rungs, calls = RunFolder(sys.argv[2]), itertools.count(1), itertools.count(int(sys.argv[4]), -1)

class KilledArray(CurveArray):
    def train_to(self, *given):
        if next(rungs) == int(sys.argv[3]):
            sys.setprofile(lambda *_: next(calls) or os.kill(os.getpid(), signal.SIGKILL))
        return super().train_to(*given)

build = lambda configs, _=(): KilledArray(configs, cliff_lr=5e-4, cliff_beta1=0.49, cliff_images=200)
run_cohorts(SweepSpec.from_yaml(folder.spec), folder, build)
"""


def kill_after(folder: RunFolder, rungs: int, calls: int) -> int:
    """Runs the sweep in another process, which dies of SIGKILL so many calls and returns of functions after it has
    begun to train so many rungs.
    """
    arguments = (ROOT / "tests", folder.path, str(rungs), str(calls))
    return subprocess.run([sys.executable, "-c", KILLED_SWEEP, *arguments], cwd=ROOT, check=False).returncode


def test_a_process_killed_twice_at_random_moments_loses_nothing_and_runs_nothing_twice(tmp_path):
    spec = curve_spec(trials=20, lanes_per_cohort=2, ladder=LADDER)
    whole = run_folder(spec, tmp_path / "whole")
    run_cohorts(spec, whole, build)
    folder, draw = run_folder(spec, tmp_path / "killed"), random.Random(7)
    assert kill_after(folder, 2, draw.randrange(10_000)) == -signal.SIGKILL
    before = len(JsonLines(folder.rows).read())
    assert kill_after(folder, 5, draw.randrange(10_000)) == -signal.SIGKILL
    killed_at = len(JsonLines(folder.rows).read())
    with warnings.catch_warnings(record=True):  # a line may be torn, or not
        warnings.simplefilter("always")
        run_cohorts(spec, folder, build)
    mine, theirs = facts(folder, spec), facts(whole, spec)
    assert 0 < before < killed_at < len(theirs.rows)
    assert len({(row["trial"], row["rung"]) for row in mine.rows}) == len(mine.rows)
    assert mine.rows == theirs.rows
    assert mine.told == theirs.told
    assert mine.pictures == theirs.pictures


# ---- one cohort


def test_a_cohort_crosses_to_another_process_as_plain_values(tmp_path):
    with opened(SPEC, run_folder(SPEC, tmp_path)) as study:
        cohort = study.open_cohort(3)
    assert cohort is not None
    assert Cohort.from_plain(cohort.plain()) == cohort
    assert cohort.runs == tuple(runs(0, 1, 2))


@pytest.fixture
def watched_run(tmp_path) -> Iterator[tuple[CohortRun, list[CurveArray]]]:
    """A cohort of eight trials, and the arrays that it built."""
    spec = curve_spec(trials=8, lanes_per_cohort=8, ladder=LADDER)
    arrays: list[CurveArray] = []

    def building(configs, _=()) -> CurveArray:
        arrays.append(CurveArray(configs))
        return arrays[-1]

    folder = run_folder(spec, tmp_path)
    with opened(spec, folder) as study:
        cohort = study.open_cohort(8)
        assert cohort is not None
        yield climbing(cohort, study, building), arrays


def test_lanes_of_one_structure_share_an_array(watched_run):
    run, arrays = watched_run
    assert sorted(run.runs) == runs(*range(8))
    run.advance()
    assert len(arrays) == 2
    assert sorted(array.built_lanes for array in arrays) == sorted(
        [sum(c.structure.generator_width == width for c in run.cohort.configs) for width in (16, 32)]
    )


def test_arrays_become_shorter_by_the_lanes_that_do_not_go_on(watched_run):
    run, arrays = watched_run
    alive = [len(run.runs)]
    while not run.done:
        before = len(run.runs)
        assert len(run.advance()) == before
        alive.append(len(run.runs))
        seeds = {config.seed for array in arrays for config in array.configs}
        configs = dict(zip(run.cohort.runs, run.cohort.configs, strict=True))
        going = {configs[one].seed for one in run.runs}
        assert going <= seeds
    assert alive[0] == 8
    assert 4 <= alive[1] <= 5  # half, and perhaps the baseline
    assert alive[-1] == 0


def test_one_checkpoint_is_kept_of_a_cohort_and_none_when_it_is_done(watched_run, tmp_path):
    run, _ = watched_run
    home = RunFolder(tmp_path).checkpoint(0)
    kept = []
    while not run.done:
        run.advance()
        kept.append(sorted(path.name for path in home.glob("*")))
    assert kept == [["rung-0"], ["rung-1"], []]


def test_a_picture_shows_a_trial_at_its_best_rung(undisturbed, tmp_path):
    folder = run_folder(SPEC, tmp_path)
    run_cohorts(SPEC, folder, build)
    rows = JsonLines(folder.rows).read()
    scored = {row["trial"] for row in rows if row["score"] is not None}
    assert {path.name for path in folder.samples.iterdir()} == {f"trial-{trial:04d}.png" for trial in scored}
    shown, images = {}, {}
    for trial in scored:
        best = min((r for r in rows if r["trial"] == trial and r["score"] is not None), key=lambda r: r["score"])
        level = curve_level(best["seed"], best["images_seen"])
        with Image.open(folder.trial_samples(TrialRun(trial))) as picture:
            shown[trial] = np.asarray(picture)[picture.height // 16, picture.width // 16]
        images[trial] = round(float(level) * 127.5 + 127.5)
    assert shown == images


def test_between_rungs_the_study_hears_how_far_each_trial_is(tmp_path):
    heard: list[tuple[tuple[TrialRun, ...], int]] = []
    spec = curve_spec(trials=3, ladder=LADDER)
    folder = run_folder(spec, tmp_path)
    with opened(spec, folder) as study, pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "note_images", lambda owner, runs, images: heard.append((tuple(runs), images)) is None)
        cohort = study.open_cohort(3)
        assert cohort is not None
        climbing(cohort, study, build).advance()
    assert sorted({run for each, _ in heard for run in each}) == runs(0, 1, 2)
    assert {images for _, images in heard} == {64, 128}


def test_before_samples_are_scored_the_study_hears_of_it(tmp_path):
    heard: list[tuple[int, int | str]] = []
    several = curve_spec(trials=2, ladder=LADDER)
    spec = replace(several, space=several.space.fix({"structure.generator_width": 16}))  # one array
    folder = run_folder(spec, tmp_path)
    with opened(spec, folder) as study, pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "note_images", lambda owner, runs, images: heard.append((0, images)) is None)
        patch.setattr(study, "note_phase", lambda cohort, phase: heard.append((cohort, phase)))
        cohort = study.open_cohort(2)
        assert cohort is not None
        climbing(cohort, study, build).advance()
    assert heard == [(0, 64), (0, 128), (0, "scoring samples")]


def test_a_run_whose_process_died_trains_at_most_one_rung_again(tmp_path):
    trained: list[int] = []

    class Counting(CurveArray):
        def train_to(self, images, on_step=None):
            trained.append(images)
            return super().train_to(images, on_step)

    spec = curve_spec(trials=1, ladder=LADDER)
    folder = run_folder(spec, tmp_path)
    for _ in range(4):  # each process judges one rung more; the last finds nothing to do
        with opened(spec, folder) as study:
            cohort = study.open_cohort(1)
            if cohort is not None:
                climbing(cohort, study, Counting).advance()
    assert trained == [100, 300, 900]
    assert [row["rung"] for row in JsonLines(folder.rows).read()] == [0, 1, 2]


def test_a_cohort_whose_lanes_all_die_is_done_and_the_next_one_is_opened(tmp_path):
    spec = curve_spec(trials=5, ladder=LADDER)
    folder = run_folder(spec, tmp_path)
    with opened(spec, folder) as study:
        cohort = study.open_cohort(3)
        assert cohort is not None
        run = climbing(cohort, study, lambda c, _: CurveArray(c, cliff_lr=0.0))
        reports = run.advance()
        assert run.done
        assert [report.death is not None for report in reports] == [True] * 3
        assert not list(folder.checkpoints.glob("*"))
        assert not folder.samples.exists()
        second = study.open_cohort(3)
        assert second is not None
        assert second.runs == tuple(runs(3, 4))
        assert math.isnan(study.snapshot().best_score)
    rows = JsonLines(folder.rows).read()
    assert [(row["trial"], row["rung"], row["images_seen"], row["outcome"]) for row in rows] == [
        (trial, 0, 64, "diverged") for trial in range(3)
    ]


def test_a_dead_lane_is_not_trained_again_when_its_cohort_is_resumed_before_it_was_judged(tmp_path):
    """Killed after its checkpoint was written and before the study heard of it: the death is told from the file."""
    spec = curve_spec(trials=3, ladder=LADDER)
    whole, folder = run_folder(spec, tmp_path / "whole"), run_folder(spec, tmp_path / "killed")
    run_cohorts(spec, whole, build)
    trained: list[int] = []

    class Counting(CurveArray):
        def train_to(self, images, on_step=None):
            trained.append(images)
            return super().train_to(images, on_step)

    with pytest.MonkeyPatch.context() as patch:
        saboteur = Saboteur()
        patch.setattr(CohortRun, "_settle", saboteur.wrapped(CohortRun._settle, "settle"))
        saboteur.kill_at = 3  # before and after the first rung's, before the second's
        with pytest.raises(Killed):
            run_cohorts(spec, folder, build)
    assert {row["outcome"] for row in JsonLines(folder.rows).read()} <= {"running", "pruned"}
    run_cohorts(spec, folder, lambda configs, _=(): Counting(configs, **CLIFF))
    assert JsonLines(folder.rows).read() == JsonLines(whole.rows).read()
    assert {"diverged", "collapsed"} & {row["outcome"] for row in JsonLines(folder.rows).read()}
    assert set(trained) <= {900}


def test_a_lane_that_dies_with_a_score_has_its_row_and_no_picture(tmp_path):
    """As one whose weights are lost after its last good samples."""

    class Poisoned(CurveArray):
        def train_to(self, images, on_step=None):
            reports = super().train_to(images, on_step)
            return [replace(reports[0], death=Death("diverged", "weights are not finite")), *reports[1:]]

    spec = curve_spec(trials=2, lanes_per_cohort=1)
    folder = run_folder(spec, tmp_path)
    run_cohorts(spec, folder, Poisoned)
    rows = JsonLines(folder.rows).read()
    assert [(row["outcome"], row["reason"]) for row in rows] == [("diverged", "weights are not finite")] * 2
    assert all(math.isfinite(row["score"]) for row in rows)
    assert not folder.samples.exists()
    assert ResultsTable.load(folder.path).contenders.empty
    with opened(spec, folder) as study:
        assert study.snapshot().best_trial is None
