"""A checkpoint that is damaged costs the time to train its cohort again, and changes no row."""

import json
import shutil
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from curve_array import CurveArray, climbing, curve_spec, opened, run_cohorts, run_folder
from sabotage import Facts, Killed, facts

from gan_core.config.reports import OutOfMemory
from results.store import JsonLines, RunFolder
from sweep.cohorts.checkpoints import Checkpoints, RungNote
from sweep.spec.sweep_spec import SweepSpec

pytestmark = pytest.mark.usefixtures("unsynced")

RUNGS = {"rungs_images": [100, 300, 900], "keep_fraction": 0.7}
SPECS = {
    "search": curve_spec(trials=6, ladder=RUNGS),
    "population": curve_spec(trials=6, ladder=RUNGS, population={"exploit_fraction": 0.4}),
    "confirmed": curve_spec(trials=3, ladder=RUNGS, confirm={"top": 1, "seeds": 3}),
}


def array(rung: Path) -> Path:
    """One of the files of arrays in a rung's folder."""
    return next(rung.glob("array-*.safetensors"))


def note_with(rung: Path, **values: object) -> None:
    """Changes what a rung's note says."""
    note = rung / "reports.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), **values}))


def of_other_trials(rung: Path) -> None:
    """The note of an earlier version, without a digest, of trials that are not the cohort's."""
    note = json.loads((rung / "reports.json").read_text())
    del note["sha256"]
    (rung / "reports.json").write_text(json.dumps({**note, "groups": [[99 for _ in g] for g in note["groups"]]}))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "array cut short": lambda rung: array(rung).write_bytes(array(rung).read_bytes()[:5]),
    "array lost": lambda rung: array(rung).unlink(),
    "array a folder": lambda rung: [array(rung).unlink(), (rung / "array-0.safetensors").mkdir()],
    "note lost": lambda rung: (rung / "reports.json").unlink(),
    "note cut short": lambda rung: (rung / "reports.json").write_text('{"rung": 1'),
    "note of no record": lambda rung: (rung / "reports.json").write_text("[1]"),
    "note without a key": lambda rung: (rung / "reports.json").write_text('{"rung": 1}'),
    "note that was edited": lambda rung: note_with(rung, best={"0": -1.0}),
    "note of other trials": of_other_trials,
}


def killed_at(spec: SweepSpec, path: Path, rungs_done: int, cohort: int = 0) -> RunFolder:
    """A run whose owner was killed after a cohort had been saved at so many rungs, and before the last was judged."""
    folder, done = run_folder(spec, path), list[int]()
    finish = Checkpoints.finish

    def finishing(self: Checkpoints, note: RungNote, partial: Path) -> None:
        finish(self, note, partial)
        if partial.parent == folder.checkpoint(cohort):
            done.append(note.rung)
            if len(done) == rungs_done:
                raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "finish", finishing)
        with pytest.raises(Killed):
            run_cohorts(spec, folder)
    return folder


def resumed(spec: SweepSpec, folder: RunFolder) -> list[str]:
    """Goes on to the end; what those who watch were warned of."""
    with opened(spec, folder) as study:
        while (cohort := study.open_cohort(spec.cohort_size(1))) is not None:
            run = climbing(cohort, study, CurveArray)
            while not run.done:
                run.advance()
        return list(study.snapshot().notes)


CASES = [
    *(("search", 2, damage) for damage in DAMAGES),
    *((name, 2, damage) for name in ("population", "confirmed") for damage in ("array lost", "note lost")),
    ("search", 1, "array lost"),
    ("search", 3, "note lost"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, unsynced) -> dict[str, Facts]:
    """What sweeps that nobody disturbed left behind."""
    found = {}
    for name, spec in SPECS.items():
        folder = run_folder(spec, tmp_path_factory.mktemp(name) / "run")
        run_cohorts(spec, folder)
        found[name] = facts(folder, spec)
    return found


@pytest.mark.parametrize(("name", "rungs_done", "damage"), CASES)
def test_a_damaged_checkpoint_is_trained_again_to_the_rows_of_a_whole_run(tmp_path, whole, name, rungs_done, damage):
    spec, number = SPECS[name], 1 if name == "confirmed" else 0
    folder = killed_at(spec, tmp_path / "run", rungs_done, number)
    (rung,) = folder.checkpoint(number).iterdir()
    DAMAGES[damage](rung)
    (warning,) = resumed(spec, folder)
    assert warning.startswith(f"cohort {number} is trained again from the start, 3 trials: ")
    assert str(rung) in warning
    assert facts(folder, spec) == whole[name]


def test_a_whole_checkpoint_is_gone_on_from_and_nobody_is_warned(tmp_path):
    folder = killed_at(SPECS["search"], tmp_path / "run", 2)
    assert resumed(SPECS["search"], folder) == []


class Alone(CurveArray):
    """Only one array at a time fits into memory."""

    living: "weakref.WeakSet[Alone]" = weakref.WeakSet()
    refused = 0

    def train_to(self, images, on_step=None):
        self.living.add(self)
        if len(self.living) > 1:
            Alone.refused += 1
            raise OutOfMemory("two arrays do not fit into memory")
        return super().train_to(images, on_step)


def test_what_was_learnt_of_the_memory_outlives_a_damaged_file(tmp_path):
    spec, folder = SPECS["search"], run_folder(SPECS["search"], tmp_path / "run")
    with opened(spec, folder) as study:
        cohort = study.open_cohort(6)
        assert cohort is not None
        run = climbing(cohort, study, Alone)
        run.advance()
        assert Alone.refused == 1
        for path in folder.checkpoint(0).rglob("array-*.safetensors"):
            path.unlink()
        while not run.done:
            run.advance()
        assert len(study.snapshot().notes) == 1
    assert Alone.refused == 1


def last_states(folder: RunFolder) -> list[Path]:
    """Those that are kept of ended trials."""
    return sorted(folder.checkpoints.glob("trial-*/last.safetensors"))


@pytest.mark.parametrize("killed", [False, True], ids=["at once", "killed on the way"])
def test_a_trial_whose_last_state_is_damaged_is_trained_again_before_it_climbs_further_rungs(tmp_path, killed):
    spec = SPECS["search"]
    longer = replace(spec, ladder=replace(spec.ladder, rungs_images=(*spec.ladder.rungs_images, 2700)))
    ended = run_folder(spec, tmp_path / "ended")
    run_cohorts(spec, ended)
    found = []
    for name in ("whole", "damaged"):
        folder = RunFolder(tmp_path / name)
        shutil.copytree(ended.path, folder.path)
        if name == "damaged":
            last_states(folder)[0].write_text("[9")
            if killed:
                killed_at(longer, folder.path, 2, 2)
        warnings = resumed(longer, folder)
        found.append(facts(folder, longer))
    assert [line.partition(":")[0] for line in warnings] == (
        [] if killed else [f"cohort 2 is trained again from the start, {len(last_states(folder))} trials"]
    )
    assert found[0] == found[1]
    assert len(found[0].rows) > len(JsonLines(ended.rows).read())
