"""A cohort has one owner at a time: nothing counts that a process says after its cohort was handed out again."""

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from curve_array import CurveArray, climbing, curve_spec, opened, rows_of, run_cohorts, run_folder

from results.store import RunFolder
from sweep.cohorts.cohort import CohortRun
from sweep.ledger.cohort_record import Cohort
from sweep.ledger.owners import NoLongerOwner, Owners, Taker
from sweep.ledger.study import LaneStudy

pytestmark = pytest.mark.usefixtures("unsynced")
SPEC = curve_spec(
    trials=6,
    lanes_per_cohort=3,
    ladder={"rungs_images": [100, 200, 400], "keep_fraction": 0.7},
    tracking={"tensorboard": False},  # writes from a thread of its own
)


def taken(study: LaneStudy, name: str, process: str = "", node: str = "") -> Cohort:
    cohort = study.open_cohort(3, Taker(name, process, node, node))
    assert cohort is not None
    return cohort


def undisturbed(tmp_path: Any) -> list[dict[str, Any]]:
    folder = run_folder(SPEC, tmp_path / "undisturbed")
    run_cohorts(SPEC, folder)
    return timeless(folder)


def timeless(folder: RunFolder) -> list[dict[str, Any]]:
    rows = [{**row, "elapsed_seconds": 0.0} for row in rows_of(folder)]
    return sorted(rows, key=lambda row: (row["trial"], row["rung"]))


def files_of(folder: RunFolder) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


# ---- the numbers


def test_each_hand_out_has_the_next_number_and_ends_the_one_before_it():
    owners = Owners()
    assert [owners.hand_out(cohort) for cohort in (5, 6, 5)] == [0, 1, 2]
    assert [owners.is_current(owner) for owner in (-1, 0, 1, 2, 3)] == [False, False, True, True, False]
    assert (owners.cohort_of(1), owners.cohort_of(2)) == (6, 5)
    owners.retire(6)
    for owner in (0, 1, 3):
        with pytest.raises(NoLongerOwner, match=f"hand-out {owner} is not the latest"):
            owners.cohort_of(owner)


def test_a_taker_is_known_by_its_name_as_long_as_it_owns_something():
    owners = Owners()
    owners.hand_out(4, Taker("tune-1", "a", "n1"))
    held = owners.held_by("tune-1")
    assert held is not None
    assert held == (0, 4, Taker("tune-1", "a", "n1"))
    owners.hand_out(4, Taker("tune-2", "b", "n2"))
    assert owners.held_by("tune-1") is None
    assert owners.held_by("nobody") is None


# ---- late words


def words(cohort: Cohort, run: CohortRun) -> dict[str, Callable[[LaneStudy], Any]]:
    """All that an owner may say, as it would say it."""
    reports = [CurveArray([config]).train_to(100)[0] for config in cohort.configs]
    owner, runs = cohort.owner, list(cohort.runs)
    return {
        "judge": lambda study: study.judge(owner, 0, runs, reports),
        "cut": lambda study: study.cut(owner, runs, reports),
        "images": lambda study: study.note_images(owner, runs, 64),
        "phase": lambda study: study.note_phase(owner, "loading"),
        "failure": lambda study: study.note_failure(owner, "OSError: late"),
        "check": lambda study: study.check_owner(owner),
        "advance": lambda study: run.advance(),
    }


LATE = ("judge", "cut", "images", "phase", "failure", "check", "advance")
ENDS = {
    "died": lambda study, owner: study.note_death(owner, 3),
    "cut off": lambda study, owner: study.give_back(owner, "lost"),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("seed", range(4))
def test_late_words_in_any_order_and_at_any_moment_change_no_row_and_no_file(tmp_path, end, seed):
    """A trainer is taken for lost in the middle, its cohort goes to another, and it says all it has to say between the
    steps of that one. The rows are those of a sweep in which nothing happened.
    """
    draw = random.Random(seed)
    folder = run_folder(SPEC, tmp_path / "run")
    with opened(SPEC, folder) as study:
        late = taken(study, "lost")
        late_run = climbing(late, study)
        for _ in range(draw.randrange(2)):
            late_run.advance()
        ENDS[end](study, late.owner)
        again = taken(study, "next")
        assert (again.number, again.owner > late.owner) == (late.number, True)
        run, to_say = climbing(again, study), list(draw.choice(list(permutations(LATE))))
        while not run.done:
            for _ in range(draw.randrange(4)):
                if to_say:
                    refused(study, folder, words(late, late_run)[to_say.pop()])
            run.advance()
        for word in to_say:
            refused(study, folder, words(late, late_run)[word])
        assert study.snapshot().phase == ""
        while (cohort := study.open_cohort(3)) is not None:
            run = climbing(cohort, study)
            while not run.done:
                run.advance()
    assert timeless(folder) == undisturbed(tmp_path)


def refused(study: LaneStudy, folder: RunFolder, word: Callable[[LaneStudy], Any]) -> None:
    before = files_of(folder)
    with pytest.raises(NoLongerOwner):
        word(study)
    assert files_of(folder) == before


def test_an_end_of_who_owns_nothing_any_more_takes_the_cohort_from_nobody(tmp_path):
    with opened(SPEC, run_folder(SPEC, tmp_path)) as study:
        late = taken(study, "lost")
        study.give_back(late.owner, "lost")
        again = taken(study, "next")
        study.note_death(late.owner, 1)
        study.give_back(late.owner, "lost")
        study.check_owner(again.owner)
        assert study.is_waiting()


# ---- takers


def test_a_taker_that_is_asked_twice_by_one_process_has_one_cohort_with_one_owner(tmp_path):
    """An answer was lost, and the process asks again."""
    with opened(SPEC, run_folder(SPEC, tmp_path)) as study:
        first = taken(study, "tune-1", "a")
        again = taken(study, "tune-1", "a")
        assert (again, again.owner) == (first, first.owner)
        study.check_owner(first.owner)
        assert len(study.cohorts) == 1


def test_a_preempted_taker_gets_its_own_cohort_again_however_often_and_that_is_no_death(tmp_path):
    """Tune restarts it without a word to anybody. Of what an earlier process still says nothing counts."""
    folder = run_folder(SPEC, tmp_path / "run")
    with opened(SPEC, folder) as study:
        owner, cohort = -1, None
        for process in range(9):
            cohort = taken(study, "tune-1", str(process), f"n{process}")
            assert (cohort.number, cohort.owner > owner) == (0, True)
            if owner >= 0:
                with pytest.raises(NoLongerOwner):
                    study.judge(owner, 0, [], [])
            owner = cohort.owner
            if process == 4:
                climbing(cohort, study).advance()
        for last in (cohort, taken(study, "tune-2")):
            assert last is not None
            run = climbing(last, study)
            while not run.done:
                run.advance()
        assert (study.open_cohort(3), study.is_waiting()) == (None, False)
        assert study.snapshot().outcomes["failed"] == 0
        line = "node n0 was taken away; cohort 0 starts again elsewhere from its last checkpoint, 0 images are trained"
        assert study.snapshot().notes[0] == f"{line} again"
        assert len(study.snapshot().notes) == 8
    assert [{**row, "node": ""} for row in timeless(folder)] == undisturbed(tmp_path)


def test_a_taker_whose_cohort_has_ended_takes_the_next_one(tmp_path):
    with opened(SPEC, run_folder(SPEC, tmp_path)) as study:
        first = taken(study, "tune-1", "a")
        run = climbing(first, study)
        while not run.done:
            run.advance()
        assert taken(study, "tune-1", "b").number == first.number + 1


@pytest.mark.parametrize("losses", [1, 5])
def test_a_cohort_whose_machine_is_lost_is_handed_out_again_and_that_is_no_death(tmp_path, losses):
    with opened(SPEC, run_folder(SPEC, tmp_path)) as study:
        for _ in range(losses):
            cohort = taken(study, "tune")
            assert cohort.number == 0
            study.give_back(cohort.owner, "lost")
        assert study.has_cohort()
        assert study.snapshot().outcomes["failed"] == 0


def test_whether_there_is_a_cohort_to_take_is_what_taking_one_finds(tmp_path):
    """Also where a cohort was given back, and where finalists are confirmed once the search has ended."""
    spec = replace(SPEC, confirm=replace(SPEC.confirm, top=1, seeds=2))
    with opened(spec, run_folder(spec, tmp_path)) as study:

        def asked() -> Cohort | None:
            there, cohort = study.has_cohort(), study.open_cohort(3)
            assert there == (cohort is not None)
            return cohort

        found, first = list[int | None](), asked()
        assert first is not None
        study.give_back(first.owner, "lost")
        for _ in range(2):
            pair = [asked(), asked()]
            assert asked() is None
            for cohort in pair:
                found.append(None if cohort is None else cohort.number)
                run = None if cohort is None else climbing(cohort, study)
                while run is not None and not run.done:
                    run.advance()
        assert (asked(), study.is_waiting(), study.finished) == (None, False, True)
    assert found == [0, 1, 2, None]


def test_a_cohort_that_was_given_back_is_one_line_and_its_rows_name_the_machine_that_trained_them(tmp_path):
    folder = run_folder(SPEC, tmp_path)
    with opened(SPEC, folder) as study:
        first = study.open_cohort(3, Taker("tune-1", "a", "id-1", "w1"))
        assert first is not None
        climbing(first, study).advance()
        study.note_images(first.owner, first.runs, 178)
        going = study.snapshot().running
        study.give_back(first.owner, "node w1 was lost")
        where = "cohort 0 starts again elsewhere from its last checkpoint"
        line = f"node w1 was lost; {where}, {50 * going} images are trained again"
        assert (study.snapshot().notes, going > 0) == ((line,), True)
        second = study.open_cohort(3, Taker("tune-2", "b", "id-2", "w2"))
        assert second is not None
        climbing(second, study).advance()
        study.give_back(second.owner, "node w2 is being drained", saved=True)
        assert study.snapshot().notes[1] == "node w2 is being drained; cohort 0 goes on elsewhere from where it was"
        third = study.open_cohort(3, Taker("tune-3", "c", "id-2", "w2"))
        assert third is not None
        study.note_death(third.owner, 1)
    assert {(row["rung"], row["node"]) for row in rows_of(folder)} == {(0, "w1"), (1, "w2"), (2, "w2")}
