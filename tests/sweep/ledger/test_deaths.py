"""What dies before its first step: a configuration's fault where another trains, else the place's, and no row's."""

import math
import resource

import pytest
from curve_array import curve_spec, opened, run_cohorts, run_folder, runs
from sabotage import facts

from gan_core.config.reports import Death, FidelityReport, LaneReport
from results.store import JsonLines
from sweep.ledger.endings import PlaceError
from sweep.ledger.study import LaneStudy

pytestmark = pytest.mark.usefixtures("unsynced")
TOO_LARGE = Death("out_of_memory", "memory ran out")


def report(score: float, death: Death | None = None) -> LaneReport:
    return LaneReport(128, 1.0, 0.5, FidelityReport({"fidelity": score}, "p", "d"), {}, (), death, 0.1, "cpu")


def dies_early(study: LaneStudy, cohort: int, times: int) -> None:
    """It is handed out so often, and its process dies each time before it has told of any image."""
    for _ in range(times):
        handed_out = study.open_cohort(2)
        assert handed_out is not None
        assert handed_out.number == cohort
        study.note_failure(handed_out.owner, "RuntimeError: no device")
        study.note_death(handed_out.owner, 3)


def test_where_all_that_is_tried_dies_before_its_first_step_the_sweep_ends_and_nothing_is_recorded(tmp_path):
    spec = curve_spec(trials=6, lanes_per_cohort=2)
    folder = run_folder(spec, tmp_path)
    with opened(spec, folder) as study:
        dies_early(study, 0, 3)
        dies_early(study, 1, 2)  # the first may have been its own fault, and one death an accident
        with pytest.raises(PlaceError, match=r"died 3 times before its first step: RuntimeError: no device; no config"):
            study.open_cohort(2)
    assert JsonLines(folder.rows).read() == []
    run_cohorts(spec, folder)  # once it is mended
    assert [record["trials"] for record in JsonLines(folder.cohorts).read()] == [[0, 1], [2, 3], [4, 5]]
    assert {row["outcome"] for row in facts(folder, spec).rows} == {"running", "completed", "pruned"}


def test_the_only_cohort_that_cannot_train_ends_the_sweep_too(tmp_path):
    spec = curve_spec(trials=2)
    with opened(spec, run_folder(spec, tmp_path)) as study:
        dies_early(study, 0, 3)
        assert not study.is_waiting()
        with pytest.raises(PlaceError, match="RuntimeError: no device"):
            study.open_cohort(2)


@pytest.mark.parametrize("trained", ["before", "between", "after"])
def test_what_cannot_train_where_another_does_has_failed(tmp_path, trained):
    spec = curve_spec(trials=4, lanes_per_cohort=2)
    folder = run_folder(spec, tmp_path)
    with opened(spec, folder) as study:
        if trained == "before":
            study.open_cohort(2)
            study.judge(0, 0, runs(0, 1), [report(1.0), report(2.0)])
        doomed, other = (1, 0) if trained == "before" else (0, 1)
        dies_early(study, doomed, 2)
        if trained == "between":
            again, beside = study.open_cohort(2), study.open_cohort(2)
            assert again is not None
            assert beside is not None
            assert study.note_images(beside.owner, runs(2, 3), 64)
            study.note_death(again.owner, 3)
        else:
            dies_early(study, doomed, 1)
            assert JsonLines(folder.rows).read()[2:] == []  # nothing is known of it yet
            going = study.cohorts[0] if trained == "before" else study.open_cohort(2)
            assert going is not None
            assert study.note_images(going.owner, runs(2 * other), 200)
        rows = [row for row in JsonLines(folder.rows).read() if row["cohort"] == doomed]
        assert {row["reason"] for row in rows} == {"died 3 times: RuntimeError: no device"}
        assert [(row["trial"], row["outcome"]) for row in rows] == [(t, "failed") for t in (2 * doomed, 2 * doomed + 1)]


@pytest.mark.parametrize(("limit", "first"), [(2**45, True), (2**45, False), (None, True)])
def test_where_no_lane_of_the_first_cohort_fits_what_the_shell_allows_that_is_too_little(tmp_path, limit, first):
    spec = curve_spec(trials=4, lanes_per_cohort=2)
    folder, dead = run_folder(spec, tmp_path), report(math.nan, TOO_LARGE)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with opened(spec, folder) as study:
        for _ in range(2):
            assert study.open_cohort(2) is not None
        if not first:
            study.judge(1, 0, runs(2, 3), [report(1.0), dead])
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        try:
            if limit is not None and first:
                with pytest.raises(PlaceError, match=r"not one lane .* \(ulimit -v 34359738368\)"):
                    study.judge(0, 0, runs(0, 1), [dead, dead])
                assert JsonLines(folder.rows).read() == []
            else:
                study.judge(0, 0, runs(0, 1), [dead, dead])
                outcomes = [row["outcome"] for row in JsonLines(folder.rows).read() if row["cohort"] == 0]
                assert outcomes == ["out_of_memory"] * 2
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
