"""Which training of a trial is meant: what is written of it is read again, also as earlier versions wrote it."""

import pytest

from results.trial_run import MOST_TRIALS, TrialRun

RUNS = [TrialRun(0), TrialRun(7), TrialRun(12345), TrialRun(0, 1), TrialRun(7, 12), TrialRun(MOST_TRIALS - 1, 1000)]


@pytest.mark.parametrize("run", RUNS)
def test_what_is_written_of_a_run_is_read_again(run):
    assert [TrialRun.read(written) for written in (run.plain(), str(run.plain()), str(run), run.name)] == [run] * 4


@pytest.mark.parametrize("run", RUNS)
def test_the_whole_number_of_earlier_versions_is_read_in_lists_keys_and_file_names(run):
    assert [TrialRun.read(written) for written in (run.number, str(run.number), f"trial-{run.number}")] == [run] * 3


def test_runs_of_the_search_are_written_as_before_and_files_are_named_as_before():
    assert [run.plain() for run in RUNS] == [0, 7, 12345, "0-seed-1", "7-seed-12", "999999-seed-1000"]
    assert [run.name for run in RUNS[1:5]] == ["trial-0007", "trial-12345", "trial-0000-seed-1", "trial-0007-seed-12"]
    assert len({str(TrialRun(trial, replicate)) for trial in range(50) for replicate in range(20)}) == 1000


@pytest.mark.parametrize(
    "written", ["", "-1", "seed-1", "3-seed-0", "3-seed-", "trial-", "array-0", "3.0", "1000000-seed-2"]
)
def test_other_text_names_no_run(written):
    with pytest.raises(ValueError, match="does not name a trial; it must be such as 3, 3-seed-1"):
        TrialRun.read(written)
