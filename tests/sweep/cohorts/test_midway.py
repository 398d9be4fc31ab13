"""A cohort whose process is lost on the way to a rung goes on from where it last saved itself, to the same results."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from curve_array import CurveArray, climbing, curve_spec, opened, run_cohorts, run_folder
from sabotage import Killed, facts

from gan_core.config.input_error import DamagedFile, InputError
from gan_core.config.reports import OutOfMemory
from results.store import RunFolder
from sweep.cohorts.cohort import Leaving
from sweep.cohorts.midway import STATE, MidwayNote, Pace
from sweep.spec.sweep_spec import SweepSpec

pytestmark = pytest.mark.usefixtures("unsynced")
AT_EVERY_STEP = 1e-9  # minutes
LADDER = {"rungs_images": [200, 600], "keep_fraction": 0.5}


def spec(**values) -> SweepSpec:
    return curve_spec(**{"ladder": LADDER, "checkpoint_minutes": AT_EVERY_STEP, **values})


class Steps:
    """Counts the steps of all arrays that it builds, and raises Killed after one of them, once it is saved."""

    def __init__(self, kill_after: int = 0, lanes_that_fit: int = 99) -> None:
        self.count, self.kill_after, self.lanes_that_fit = 0, kill_after, lanes_that_fit

    def build(self, configs, averages_images=()) -> CurveArray:
        steps = self

        class Counted(CurveArray):
            def train_to(self, images: int, on_step: Callable[[int], None] | None = None):
                if len(self.configs) > steps.lanes_that_fit:
                    raise OutOfMemory("it does not fit")

                def counted(seen: int) -> None:
                    assert on_step is not None
                    on_step(seen)
                    steps.count += 1
                    if steps.count == steps.kill_after:
                        raise Killed

                return super().train_to(images, counted)

        return Counted(configs, averages_images)


@pytest.mark.parametrize("lanes_that_fit", [99, 1], ids=["whole", "split"])
def test_killed_after_any_step_at_most_that_step_is_trained_again_and_the_results_are_the_same(
    tmp_path, lanes_that_fit
):
    whole = spec(trials=4, lanes_per_cohort=4)
    undisturbed, steps = run_folder(whole, tmp_path / "undisturbed"), Steps(lanes_that_fit=lanes_that_fit)
    run_cohorts(whole, undisturbed, steps.build)
    expected = facts(undisturbed, whole)
    for kill_after in range(1, steps.count + 1):
        folder, first = run_folder(whole, tmp_path / str(kill_after)), Steps(kill_after, lanes_that_fit)
        with pytest.raises(Killed):
            run_cohorts(whole, folder, first.build)
        second = Steps(lanes_that_fit=lanes_that_fit)
        run_cohorts(whole, folder, second.build)
        assert facts(folder, whole) == expected
        assert first.count + second.count <= steps.count + 1


def test_without_minutes_the_whole_way_from_the_rung_is_trained_again(tmp_path):
    whole, kill_after = spec(checkpoint_minutes=0, trials=1), 9
    steps, first, second = Steps(), Steps(kill_after), Steps()
    run_cohorts(whole, run_folder(whole, tmp_path / "undisturbed"), steps.build)
    folder = run_folder(whole, tmp_path / "run")
    with pytest.raises(Killed):
        run_cohorts(whole, folder, first.build)
    assert not list(folder.checkpoints.glob("cohort-*/*.midway"))
    run_cohorts(whole, folder, second.build)
    to_the_first_rung = 4  # batches of 64
    assert second.count == steps.count - to_the_first_rung


@pytest.mark.parametrize("lanes_that_fit", [99, 1], ids=["whole", "split"])
def test_told_to_leave_after_any_step_no_step_is_trained_again_also_where_no_checkpoint_is_ever_due(
    tmp_path, lanes_that_fit
):
    whole = spec(trials=4, lanes_per_cohort=4, checkpoint_minutes=0)
    undisturbed, steps = run_folder(whole, tmp_path / "undisturbed"), Steps(lanes_that_fit=lanes_that_fit)
    run_cohorts(whole, undisturbed, steps.build)
    expected = facts(undisturbed, whole)
    for leave_after in range(steps.count):
        folder = run_folder(whole, tmp_path / str(leave_after))
        first, second = (Steps(lanes_that_fit=lanes_that_fit) for _ in range(2))
        with opened(whole, folder) as study:
            cohort = study.open_cohort(4)
            assert cohort is not None
            run = climbing(
                cohort, study, first.build, must_leave=lambda first=first, after=leave_after: first.count >= after
            )
            with suppress(Leaving):  # none, where only the last step of the last rung follows
                while not run.done:
                    run.advance()
        run_cohorts(whole, folder, second.build)
        assert facts(folder, whole) == expected
        assert first.count + second.count in (steps.count - 1, steps.count)  # one is trained, and not counted


@pytest.mark.parametrize(("minutes", "again"), [(AT_EVERY_STEP, 0), (0, 2 * 64)], ids=["saved", "not saved"])
@pytest.mark.parametrize("how", ["died", "lost"])
def test_the_line_about_a_lost_process_says_what_is_trained_again(tmp_path, minutes, again, how):
    whole = spec(checkpoint_minutes=minutes, trials=1)
    folder = run_folder(whole, tmp_path / "run")
    with opened(whole, folder) as study:
        cohort = study.open_cohort(1)
        assert cohort is not None
        run = climbing(cohort, study, Steps(kill_after=6).build)
        run.advance()
        with pytest.raises(Killed):
            run.advance()
        end = {"died": lambda: study.note_death(cohort.owner, 3), "lost": lambda: study.give_back(cohort.owner, "lost")}
        end[how]()
        before, where = {
            "died": ("cohort 0: its process was killed; it", ""),
            "lost": ("lost; cohort 0", " elsewhere"),
        }[how]
        line = f"{before} starts again{where} from its last checkpoint, {again} images are trained again"
        assert study.snapshot().notes == (line,)
        nothing_since = study.open_cohort(1)
        assert nothing_since is not None
        study.give_back(nothing_since.owner, "lost again")
        assert study.snapshot().notes[-1].endswith(", 0 images are trained again")


def broken_off(tmp_path: Path) -> tuple[SweepSpec, RunFolder, Path]:
    """A sweep that was killed on its way to the second rung, and the folder of that way."""
    whole = spec(trials=1)
    folder = run_folder(whole, tmp_path / "run")
    with pytest.raises(Killed):
        run_cohorts(whole, folder, Steps(kill_after=6).build)
    return whole, folder, folder.checkpoint(0) / "rung-1.midway"


@pytest.mark.parametrize("name", [STATE, "midway.json"])
def test_of_a_damaged_way_the_cohort_is_trained_again_from_the_start_and_says_so(tmp_path, name):
    whole, folder, way = broken_off(tmp_path)
    (way / name).write_text("torn")
    with opened(whole, folder) as study:
        cohort = study.open_cohort(1)
        assert cohort is not None
        run = climbing(cohort, study)
        while not run.done:
            run.advance()
        assert study.snapshot().notes[0].startswith("cohort 0 is trained again from the start, 1 trial: ")
    undisturbed = run_folder(whole, tmp_path / "undisturbed")
    run_cohorts(whole, undisturbed)
    assert facts(folder, whole).rows == facts(undisturbed, whole).rows


def test_a_note_of_other_runs_is_left_alone(tmp_path):
    whole, folder, way = broken_off(tmp_path)
    note = MidwayNote.read(way)
    assert note.runs == set(note.training)
    MidwayNote(1, [], [run._replace(trial=7) for run in note.training], note.midway, [], {}).write(way)
    second = Steps()
    run_cohorts(whole, folder, second.build)
    assert second.count == 6  # from the rung: 600 images after 256
    assert not way.exists()


def test_a_note_that_was_edited_is_no_note(tmp_path):
    _, _, way = broken_off(tmp_path)
    path = way / "midway.json"
    path.write_text(path.read_text().replace('"rung": 1', '"rung": 2'))
    with pytest.raises(DamagedFile, match=r"midway\.json is not as it was written"):
        MidwayNote.read(way)


def test_a_checkpoint_is_due_when_its_time_has_come_and_never_where_there_are_none():
    always, never = Pace(1e-12), Pace(0)
    assert always.due()
    always.note()
    assert always.due()
    assert not Pace(1e6).due()
    assert not never.due()


@pytest.mark.parametrize("minutes", [-1, 2e6, "ten", True])
def test_minutes_that_are_none_are_refused(minutes):
    with pytest.raises(
        InputError, match=r"checkpoint_minutes must be a number from 0 \(none between rungs\) to 1e\+06"
    ):
        spec(checkpoint_minutes=minutes)
