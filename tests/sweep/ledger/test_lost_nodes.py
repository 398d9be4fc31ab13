"""A cohort that makes its nodes die is given up after some, and nodes that die for other reasons fail nobody."""

import random

import pytest
from curve_array import climbing, curve_spec, opened, optunas_study, rows_of, run_folder, runs

from results.store import JsonLines
from sweep.ledger.cohort_record import Cohort
from sweep.ledger.endings import PlaceError
from sweep.ledger.losses import MOST_NODES, Losses
from sweep.ledger.owners import Taker
from sweep.ledger.study import LaneStudy

pytestmark = pytest.mark.usefixtures("unsynced")
SPEC = curve_spec(trials=6, lanes_per_cohort=2)
GIVEN_UP = "died 3 times: its node was lost each time"


def fault(losses: Losses, cohort: int, *nodes: str, images: int = 64) -> list[bool]:
    """Whether a cohort is at fault after each of these nodes was lost under it."""
    return [losses.note_loss(cohort, node, (0, images)) for node in nodes]


def test_the_last_nodes_that_were_lost_in_a_row_under_a_cohort_that_comes_no_further_show_that_it_is_at_fault():
    assert fault(Losses(), 7, "a", "b", "c") == [False, False, True]
    between = Losses()
    assert fault(between, 7, "a", "b") == [False, False]
    assert between.suspects() == {7}
    assert fault(between, 8, "x") == [False]  # a node was lost that did not train it
    assert between.suspects() == set()
    assert fault(between, 7, "c", "d", "e") == [False, False, True]


@pytest.mark.parametrize("further", [(0, 65), (1, 0)])
def test_a_cohort_that_comes_further_than_when_its_node_was_lost_is_no_suspect(further):
    losses = Losses()
    fault(losses, 7, "a", "b")
    losses.note_progress(7, (0, 64))
    assert losses.suspects() == {7}
    losses.note_progress(7, further)
    assert losses.suspects() == set()
    assert fault(losses, 7, "c", "d", "e", images=99) == [False, False, True]


def test_all_cohorts_of_a_node_are_suspects_and_which_of_them_is_at_fault_the_next_loss_shows():
    losses = Losses()
    for node in "ab":
        for cohort in (1, 2, 3):
            losses.note_loss(cohort, node, (0, 64))
    assert losses.suspects() == {1, 2, 3}
    assert fault(losses, 2, "c") == [True]
    assert losses.suspects() == {2}


@pytest.mark.parametrize("seed", range(5))
def test_where_nodes_die_at_random_hardly_a_cohort_is_blamed(seed):
    """Each of four nodes trains cohorts of 3,000 images that are saved every 200 images, and is lost with its cohort,
    which goes on there from where it was saved. A node dies every 400 images on average.
    """
    draw, losses, blamed = random.Random(seed), Losses(), 0
    stands, number = {node: (node, 0.0) for node in range(4)}, 4
    for loss in range(500):
        images = draw.expovariate(1 / 400)
        for node, (cohort, seen) in stands.items():
            losses.note_progress(cohort, (0, int(seen + images)))
            stands[node] = (cohort, seen + images) if seen + images < 3000 else (number, 0.0)
            number += seen + images >= 3000
        cohort, seen = stands[lost := draw.randrange(4)]
        blamed += losses.note_loss(cohort, str(loss), (0, int(seen)))
        stands[lost] = (cohort, seen // 200 * 200)
    assert number > 200  # cohorts
    assert blamed <= 5


# ---- the study


def taken(study: LaneStudy, node: str) -> Cohort:
    cohort = study.open_cohort(2, Taker(f"tune-{node}", node, node, node))
    assert cohort is not None
    return cohort


def test_a_cohort_that_kills_three_nodes_has_failed_with_the_reason_and_the_sampler_is_told(tmp_path):
    folder = run_folder(SPEC, tmp_path)
    with opened(SPEC, folder) as study:
        first = taken(study, "n0")
        climbing(first, study).advance()
        going = [run for run in first.runs if len(rows_of(folder)) and not study._standings.ended(run)]
        for node in range(MOST_NODES):
            cohort = first if node == 0 else taken(study, f"n{node}")
            assert cohort.number == first.number
            study.note_images(cohort.owner, going, 200)
            study.note_loss(cohort.owner, f"node n{node} was lost")
            study.note_loss(cohort.owner, "said twice")
        failed = [row for row in rows_of(folder) if row["outcome"] == "failed"]
        assert [(row["trial"], row["reason"]) for row in failed] == [(run.trial, GIVEN_UP) for run in going]
        assert study.snapshot().notes[-1] == (
            "node n2 was lost; cohort 0 is given up, because 3 nodes in a row died that trained it"
        )
        told = {trial._trial_id: trial.state.name for trial in optunas_study(folder).trials}
        assert {told[study.identities[run.trial]] for run in going if run.trial} == {"FAIL"}  # 0 is told by itself
        assert taken(study, "n9").number == 1


def test_where_no_cohort_has_trained_that_is_the_fault_of_the_place_and_nothing_is_recorded(tmp_path):
    folder = run_folder(SPEC, tmp_path)
    with opened(SPEC, folder) as study:
        for node in range(2 * MOST_NODES):
            cohort = taken(study, f"n{node}")
            assert cohort.number == node // MOST_NODES
            study.note_loss(cohort.owner, "lost")
        with pytest.raises(PlaceError, match=f"training {GIVEN_UP.replace(':', ' before its first step:')}"):
            study.open_cohort(2)
    assert JsonLines(folder.rows).read() == []


def test_of_the_suspects_one_at_a_time_trains_and_those_that_come_further_are_none(tmp_path):
    folder = run_folder(SPEC, tmp_path)
    with opened(SPEC, folder) as study:
        for node in ("n0", "n1"):  # which trains two cohorts, of which the second makes it die
            pair = [taken(study, f"{node}"), study.open_cohort(2, Taker(f"beside-{node}", node, node, node))]
            assert [one.number for one in pair if one] == [0, 1]
            for one in pair:
                assert one is not None
                study.note_images(one.owner, one.runs, 64)
                study.note_loss(one.owner, "lost")
        innocent, fresh = taken(study, "n2"), taken(study, "n3")
        assert (innocent.number, fresh.number) == (0, 2)  # the other suspect waits
        assert (study.has_cohort(), study.is_waiting()) == (False, True)
        study.note_images(innocent.owner, runs(0, 1), 99)
        assert study.has_cohort()
        guilty = taken(study, "n4")
        assert guilty.number == 1
        study.note_images(guilty.owner, guilty.runs, 64)
        study.note_loss(guilty.owner, "lost")
        assert {row["trial"] for row in rows_of(folder) if row["outcome"] == "failed"} == {2, 3}
        study.check_owner(innocent.owner)


@pytest.mark.parametrize("notices", [9])
def test_nodes_that_announce_their_end_are_never_counted(tmp_path, notices):
    folder = run_folder(SPEC, tmp_path)
    with opened(SPEC, folder) as study:
        for node in range(notices):
            cohort = taken(study, f"n{node}")
            assert cohort.number == 0
            study.note_images(cohort.owner, cohort.runs, 64)
            study.give_back(cohort.owner, "drained")
        assert study.snapshot().outcomes["failed"] == 0
