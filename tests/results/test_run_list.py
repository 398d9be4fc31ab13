"""A list of runs says how far each is, by the beginnings of its rows, and a damaged one costs one line."""

import json
import math
import os
import time
from pathlib import Path

import pytest
import yaml
from table_rows import replicates, row

from gan_core.config.input_error import InputError
from results.rows import Outcome
from results.run_list import runs_in, runs_text
from results.store import JsonLines, RunFolder, exclusive
from results.table import ResultsTable

ENDED = [
    row(0, 0, 9.0),
    row(1, 0, 4.0, Outcome.PRUNED),
    row(2, 0, 0.5, Outcome.DIVERGED),
    row(0, 1, 8.0, Outcome.COMPLETED),
]


def made(path: Path, rows: list, changed: float = 0.0, **spec) -> RunFolder:
    """A run whose files were last changed so many seconds ago."""
    folder = RunFolder(path).create()
    folder.spec.write_text(yaml.safe_dump({"trials": 3, "objective": "fidelity", **spec}))
    JsonLines(folder.rows).append(rows)
    for file in (folder.spec, folder.rows):
        os.utime(file, (time.time() - changed, time.time() - changed))
    return folder


def only(folder: Path) -> dict:
    (found,) = runs_in(folder).to_dict("records")
    return found


def test_a_row_says_how_far_a_run_is_what_it_found_and_what_it_cost(tmp_path):
    made(tmp_path / "a", ENDED)
    found = only(tmp_path)
    table = ResultsTable.load(tmp_path / "a")
    assert (found["run"], found["state"], found["done"], found["trials"]) == (str(tmp_path / "a"), "finished", 3, 3)
    assert (found["best"], found["best_trial"]) == (table.best()["score"], table.best()["trial"]) == (4.0, 1)
    assert found["device_seconds"] == table.frame["seconds"].sum() == 2.0
    assert (found["objective"], found["fault"]) == ("fidelity", "")


def test_a_real_run_is_read_as_its_table_reads_it(digits_run):
    found, table = only(digits_run), ResultsTable.load(digits_run)
    assert (found["state"], found["done"], found["trials"]) == ("finished", 4, 4)
    assert (found["best"], found["best_trial"]) == (table.best()["score"], table.best()["trial"])
    assert found["device_seconds"] == pytest.approx(table.frame["seconds"].sum(), rel=1e-12)


@pytest.mark.parametrize(
    ("rows", "spec", "state"),
    [
        (ENDED, {}, "finished"),
        (ENDED[:3], {}, "broken off"),  # trial 0 was on its way to the next rung
        (ENDED, {"trials": 4}, "broken off"),
        (ENDED, {"trials": 4, "budget": {"hours": 0.0, "score": -math.inf, "when_spent": "cut"}}, "broken off"),
        (ENDED, {"trials": 4, "budget": {"hours": 1.0, "score": -math.inf, "when_spent": "cut"}}, "finished"),
        (ENDED, {"confirm": {"top": 1, "seeds": 2}}, "broken off"),
        ([*ENDED, *replicates(1, 3.0)], {"confirm": {"top": 1, "seeds": 2}}, "broken off"),
        ([*ENDED, *replicates(1, 3.0, 2.0)], {"confirm": {"top": 1, "seeds": 2}}, "finished"),
        ([*ENDED, *replicates(1, 3.0, 2.0), *replicates(0, 3.0, 2.0)], {"confirm": {"top": 9, "seeds": 2}}, "finished"),
        ([], {}, "no result"),
    ],
)
def test_the_state_is_what_is_still_to_do(tmp_path, rows, spec, state):
    made(tmp_path / "a", rows, **spec)
    found = only(tmp_path)
    assert found["state"] == state
    assert (found["best_trial"] is None or math.isnan(found["best"])) == (not rows) or found["best"] == 4.0


def test_a_run_goes_on_whose_driver_has_its_lock_or_said_so_just_now(tmp_path):
    folder = made(tmp_path / "a", ENDED[:2], changed=500)
    assert only(tmp_path)["state"] == "broken off"
    with exclusive(folder.driver_lock):
        assert only(tmp_path)["state"] == "running"
    folder.progress.write_text("{}")
    assert only(tmp_path)["state"] == "running"
    os.utime(folder.progress, (0, 0))
    assert only(tmp_path)["state"] == "broken off"


def test_more_is_better_where_the_objective_says_so(tmp_path):
    rows = [{**row(trial, 0, -0.25 * trial, Outcome.COMPLETED), "objective": "-coverage"} for trial in range(3)]
    made(tmp_path / "a", rows, objective=["-coverage", "fid"])
    found = only(tmp_path)
    assert (found["objective"], found["best"], found["best_trial"]) == ("-coverage", 0.5, 2)
    assert "coverage 0.5 (trial 2)" in runs_text(runs_in(tmp_path))


def test_a_trial_that_breaks_a_limit_is_best_only_where_all_do(tmp_path):
    def broken(trial: int, score: float, amount: float) -> dict:
        amounts = {"fidelity.violation": amount, "fidelity.coverage_violation": amount}
        return {**row(trial, 0, score, Outcome.COMPLETED), **amounts}

    made(tmp_path / "some", [broken(0, 1.0, 0.5), broken(1, 3.0, 0.0), broken(2, 2.0, 0.25)])
    assert only(tmp_path / "some")["best_trial"] == ResultsTable.load(tmp_path / "some").best()["trial"] == 1
    made(tmp_path / "all", [broken(0, 1.0, 0.5), broken(1, 3.0, 0.25)])
    assert only(tmp_path / "all")["best_trial"] == ResultsTable.load(tmp_path / "all").best()["trial"] == 1
    made(tmp_path / "free", [{**broken(0, 1.0, 0.5), "objective": "fid"}, broken(1, 3.0, 0.0)], objective="fid")
    assert only(tmp_path / "free")["best_trial"] == 0


def test_what_changed_last_comes_first_and_other_folders_are_no_runs(tmp_path):
    for name, ago in (("old", 9 * 86_400), ("new", 5), ("middle", 7_200)):
        made(tmp_path / name, ENDED, changed=ago)
    (tmp_path / "notes").mkdir()
    (tmp_path / "a file").write_text("")
    assert [Path(run).name for run in runs_in(tmp_path)["run"]] == ["new", "middle", "old"]
    lines = runs_text(runs_in(tmp_path), width=200).splitlines()
    assert [line.rpartition("  ")[2].strip() for line in lines[1:]] == ["5 s ago", "2.0 h ago", "9.0 d ago"]


DAMAGES = {
    "spec.yaml": ["", "trials: [", "objective: fidelity\n", "trials: many\nobjective: fidelity\n"],
    "rows.jsonl": ["{\n", "[]\n", '{"trial": 1}\n', json.dumps({**ENDED[0], "seconds": "x"}) + "\n"],
}


@pytest.mark.parametrize(("name", "content"), [(name, text) for name, texts in DAMAGES.items() for text in texts])
def test_a_damaged_run_is_a_line_that_says_what_is_wrong_and_the_others_stand_there(tmp_path, name, content):
    made(tmp_path / "good", ENDED)
    damaged = made(tmp_path / "red\x1b[31m", ENDED).path
    (damaged / name).write_text(content)
    runs = runs_in(tmp_path)
    assert dict(zip(runs["run"], runs["state"], strict=True)) == {
        str(tmp_path / "good"): "finished",
        str(damaged): "damaged",
    }
    text = runs_text(runs, 80)
    assert "\x1b" not in text
    assert len(text.splitlines()) == 4
    assert name in text.splitlines()[-1]


def test_a_run_without_its_spec_is_damaged_and_a_half_written_row_is_none(tmp_path):
    folder = made(tmp_path / "a", ENDED)
    with folder.rows.open("a") as file:
        file.write('{"trial":9,"coh')
    assert only(tmp_path)["done"] == 3
    folder.spec.unlink()
    assert only(tmp_path)["state"] == "damaged"


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="No such file or directory; give the folder that holds runs"):
        runs_in(tmp_path / "none")
    assert runs_in(tmp_path).empty


def test_a_hundred_runs_take_a_second(tmp_path):
    rows = [row(trial, rung, 1.0) for trial in range(24) for rung in range(3)]
    for number in range(100):
        made(tmp_path / str(number), rows if number < 5 else [])
        if number >= 5:
            os.link(tmp_path / "0" / "rows.jsonl", tmp_path / str(number) / "copy")
            os.replace(tmp_path / str(number) / "copy", tmp_path / str(number) / "rows.jsonl")
    before = time.process_time()
    assert len(runs_in(tmp_path)) == 100
    assert time.process_time() - before < 2.0
