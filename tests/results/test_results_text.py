"""The table of results as text."""

import math

import pytest
from table_rows import replicates, row, stored

from results.rows import Outcome
from results.store import RunFolder
from results.table import ResultsTable
from results.text import confirmation_text, disk_text, noise_text, order_text, rows_text, trials_text
from results.trial_run import TrialRun

SEARCH = [row(trial, 0, score, Outcome.COMPLETED) for trial, score in ((0, 3.0), (3, 2.0), (7, 2.5))]
FIVE = (2.3, 2.41, 2.5, 2.2, 2.55)


def table(path, *rows) -> ResultsTable:
    return ResultsTable.load(stored(path, list(rows)))


def test_the_first_two_finalists_stand_in_one_line_with_the_chance_of_their_order(tmp_path):
    found = table(
        tmp_path, *SEARCH, *replicates(3, 2.6, 2.41, 2.75, 2.35, 2.8), *replicates(7, *FIVE), *replicates(0, *[9.0] * 5)
    )
    chance = found.chance_of_order()
    assert order_text(found) == (
        "trial 7 before trial 3: median 2.41 (2.30 to 2.50) against 2.60 (2.41 to 2.75) over 5 seeds; "
        f"by chance with probability {chance:.2g}"
    )
    lines = confirmation_text(found).splitlines()
    assert lines[1].split() == ["trial", "seeds", "failed", "median", "q25", "q75", "mean", "deviation", "search_score"]
    assert [int(line.split()[0]) for line in lines[2:-1]] == [7, 3, 0]
    assert lines[-1] == order_text(found)


def test_seeds_that_failed_are_counted_in_that_line(tmp_path):
    found = table(tmp_path, *SEARCH, *replicates(3, 100.0, 250.0, math.inf), *replicates(7, math.inf, math.inf, 1.0))
    assert order_text(found).startswith(
        "trial 3 before trial 7: median 250 (175 to inf, 1 failed) against inf (inf to inf, 2 failed) over 3 seeds; "
    )


def test_one_finalist_stands_alone(tmp_path):
    assert (
        order_text(table(tmp_path, *SEARCH, *replicates(3, 2.0))) == "trial 3: median 2.00 (2.00 to 2.00) over 1 seed"
    )


def test_a_search_alone_has_nothing_to_say_of_other_seeds(tmp_path):
    assert confirmation_text(table(tmp_path, *SEARCH)) == ""


def test_trials_say_what_is_best_and_replicates_are_not_among_them(tmp_path):
    found = table(tmp_path, *SEARCH, *replicates(3, 1.0))
    lines = trials_text(found, found.trials, reasons=True).splitlines()
    assert [int(line.split()[0]) for line in lines[1:-1]] == [3, 7, 0]
    assert lines[-1] == "best by fidelity (lower is better), each trial at its best rung"
    assert "reason" in lines[0].split()
    assert not {"pareto_rank", "seconds", "replicate"} & set(lines[0].split())
    assert "reason" not in trials_text(found, found.trials, reasons=False)


def test_of_several_objectives_the_rank_and_each_of_them_are_shown(tmp_path):
    kl = {0: 0.5, 3: 0.75, 7: 0.25}
    several = [
        {**record, "objective": "fidelity, class_kl, seconds", "fidelity.class_kl": kl[record["trial"]]}
        for record in SEARCH
    ]
    found = table(
        tmp_path, *several, {**row(9, 0, math.nan, Outcome.DIVERGED), "objective": "fidelity, class_kl, seconds"}
    )
    lines = trials_text(found, found.trials, reasons=False).splitlines()
    assert lines[0].split()[:5] == ["trial", "outcome", "pareto_rank", "images_seen", "seconds"]
    assert {"fidelity", "class_kl"} <= set(lines[0].split())
    assert [line.split()[:3] for line in lines[1:-1]] == [
        ["3", "completed", "1"],
        ["7", "completed", "1"],
        ["0", "completed", "2"],
        ["9", "diverged", "-"],
    ]
    assert lines[-1] == (
        "best by fidelity on the front (pareto_rank 1) of fidelity, class_kl, seconds (lower is better), "
        "each trial at its best rung by fidelity"
    )


@pytest.mark.parametrize("width", [60, 80, 100, 400])
def test_a_line_is_never_wider_than_the_terminal_and_says_what_is_hidden(tmp_path, width):
    many = {f"lane.parameter_{number}": 0.1 for number in range(9)}
    found = table(tmp_path, *SEARCH, {**row(9, 0, 4.0, Outcome.PRUNED), **many})
    whole = trials_text(found, found.trials, reasons=True).splitlines()
    *lines, order, last = trials_text(found, found.trials, reasons=True, width=width).splitlines()
    if width == 400:
        assert [*lines, order, last] == whole
        return
    assert max(map(len, lines)) <= width
    assert order == "best by fidelity (lower is better), each trial at its best rung"
    shown = len(lines[-1].split()) - 2 * lines[-1].count("±")
    names = len(whole[0].split())
    assert last == f"{names - shown} more columns: gan-sweep results {tmp_path / 'run'} --wide"


def test_rows_of_all_rungs_say_their_rung_and_replicate_and_a_sort_is_named(tmp_path):
    found = table(tmp_path, *SEARCH, *replicates(3, 1.0))
    rows = found.select(all_rungs=True)
    text = trials_text(found, rows, reasons=False).splitlines()
    assert text[0].split()[:5] == ["trial", "replicate", "rung", "outcome", "images_seen"]
    assert text[-1] == "in the order in which they were recorded"
    best = trials_text(found, found.select(sort="-beta1"), reasons=False, sort="-beta1").splitlines()
    assert [int(line.split()[0]) for line in best[1:-1]] == [7, 3, 0]
    assert best[-1] == "sorted by beta1, the largest first"


def test_chosen_columns_are_all_shown(tmp_path):
    found = table(tmp_path, *SEARCH)
    assert rows_text(found.select(columns=["fid", "trial"])) == (
        "fidelity.fid  trial\n         3.0      3\n         3.5      7\n         4.0      0"
    )


def test_what_a_run_takes_of_the_disk_is_said_with_its_checkpoints(tmp_path):
    folder = RunFolder(tmp_path)
    for trial, size in ((0, 300_000), (7, 900_000)):
        folder.trial_checkpoint(TrialRun(trial)).mkdir(parents=True)
        folder.best_generator(TrialRun(trial)).write_bytes(bytes(size))
    folder.rows.write_bytes(bytes(800_000))
    assert disk_text(folder) == f"2.0 MB in {tmp_path}, 1.2 MB of it checkpoints of 2 trials"


def scored(path, scores, **errors) -> ResultsTable:
    found = {f"fidelity.{name}": value for name, value in errors.items()}
    return table(path, *(row(i, 0, score, Outcome.COMPLETED, **found) for i, score in enumerate(scores)))


@pytest.mark.parametrize(
    ("scores", "errors", "noisy"),
    [
        ((1.0, 2.0, 3.0, 4.0), {"fidelity_error": 0.7}, False),  # the middle half is 1.5 wide
        ((1.0, 2.0, 3.0, 4.0), {"fidelity_error": 0.8}, True),
        ((1.0, 2.0, 3.0, 4.0), {"fidelity_error": 0.1, "fidelity_latent_error": 0.8}, True),
        ((1.0, 2.0, 3.0), {"fidelity_error": 9.0}, False),  # too few to have a spread
        ((1.0, 2.0, 3.0, 4.0), {}, False),
        ((1.0, 2.0, 3.0, 4.0), {"fidelity_error": math.nan}, False),
    ],
)
def test_a_standard_error_above_half_of_the_spread_is_said_with_what_would_help(tmp_path, scores, errors, noisy):
    found = noise_text(scored(tmp_path, scores, **errors))
    assert bool(found) is noisy
    if noisy:
        assert found.startswith("the standard error of fidelity, 0.8, is above half of the spread between trials, 1.5 ")
        assert "scoring.samples" in found
