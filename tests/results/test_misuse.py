"""What is asked wrongly of a table is refused in one line that says what is right, and loses nothing."""

import json
import re
import shutil

import pytest
from table_rows import row, stored

from gan_core.config.input_error import InputError
from results.output import output
from results.rows import Outcome
from results.run_list import runs_in, runs_text
from results.store import ResultsError, RunFolder
from results.table import ResultsTable

ROWS = [row(n, 0, 3.0 + n, Outcome.COMPLETED) for n in range(3)]


@pytest.fixture
def table(tmp_path) -> ResultsTable:
    return ResultsTable.load(stored(tmp_path, ROWS))


@pytest.mark.parametrize("name", ["rows.jsonl", "spec.yaml", "curves.jsonl", "samples/trial-0000.png", "best.png"])
def test_a_file_of_a_run_is_not_written_over(tmp_path, name):
    file = stored(tmp_path, ROWS) / name
    file.parent.mkdir(exist_ok=True)
    file.touch()
    before = file.read_bytes()
    with pytest.raises(ResultsError, match=f"{name} is a file of a run, which would be lost"), output(file):
        pass
    assert file.read_bytes() == before


def test_beside_the_files_of_a_run_and_over_ones_own_may_be_written(tmp_path):
    for path in (stored(tmp_path, ROWS) / "report.html", tmp_path / "rows.jsonl"):
        for text in (b"first", b"second"):
            with output(path) as file:
                file.write(text)
        assert path.read_bytes() == b"second"


@pytest.mark.parametrize("command", ["results", "report"])
def test_a_command_does_not_write_over_the_rows_it_reads(gan_sweep, tmp_path, command):
    run = RunFolder(stored(tmp_path, ROWS))
    before = run.rows.read_bytes()
    answer = gan_sweep(command, run.path, "-o", run.rows, *(["--format", "csv"] if command == "results" else []))
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert run.rows.read_bytes() == before


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"score": 10**400}, "line 3: score must be a finite number"),
        ({"trial": 10**30}, "line 3: trial must be a whole number"),
        ({"trial": 0.5}, "line 3: trial must be a whole number"),
        ({"seconds": -1.0}, "line 3: seconds must be a finite number of at least 0"),
        ({"outcome": [1]}, "line 3: outcome must be one of"),
        ("[" * 100_000, "line 3 is no row"),
        ("3", "line 3 is no row"),
        ("{}", "line 3 is no row"),
    ],
)
def test_a_damaged_row_is_named_and_the_other_runs_are_listed(tmp_path, line, says):
    for name in ("good", "bad"):
        shutil.copytree(stored(tmp_path / name, ROWS), tmp_path / "runs" / name)
        (tmp_path / "runs" / name / "spec.yaml").write_text("{objective: fidelity, trials: 3}\n")
    rows = RunFolder(tmp_path / "runs" / "bad").rows
    lines = rows.read_text().splitlines()
    lines[2] = line if isinstance(line, str) else json.dumps({**ROWS[2], **line, "g_loss": None})
    rows.write_text("\n".join(lines) + "\n")
    found = runs_in(tmp_path / "runs").set_index("run")
    assert found.loc[str(tmp_path / "runs" / "good"), "state"] == "finished"
    bad = found.loc[str(rows.parent)]
    assert bad["state"] == "damaged"
    assert f"rows.jsonl, {says}" in bad["fault"]


@pytest.mark.parametrize("spec", ["{objective: [], trials: 3}", "{objective: 3, trials: [1]}", "{}", "[1]", "a: b: c"])
def test_a_damaged_spec_is_named_and_the_other_runs_are_listed(tmp_path, spec):
    run = RunFolder(stored(tmp_path, ROWS))
    run.spec.write_text(spec)
    found = runs_in(tmp_path)
    assert found["state"].tolist() == ["damaged"]
    assert str(run.spec) in found["fault"].iloc[0]
    assert len(runs_text(found).splitlines()) == 3


def test_a_table_without_rows_is_refused(table):
    with pytest.raises(ResultsError, match="the table has no rows"):
        ResultsTable(table.frame.head(0))


def test_a_column_that_is_chosen_twice_is_there_once(table):
    assert list(table.select(columns=["trial", "fid", "fidelity.fid", "trial"]).columns) == ["trial", "fidelity.fid"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"top": -1}, "top must be a whole number of at least 1, got -1"),
        ({"top": 1.5}, "top must be a whole number of at least 1, got 1.5"),
        ({"top": True}, "top must be a whole number of at least 1, got True"),
        ({"where": 3}, "where must be text, got 3"),
        ({"sort": 3}, "sort must be text, got 3"),
        ({"sort": "-"}, "a column has a name, got ''"),
        ({"columns": [""]}, "a column has a name, got ''"),
        ({"columns": [3]}, "a column has a name, got 3"),
        ({"columns": "trial"}, "columns must be a list of names, got 'trial'"),
        ({"where": "trial < 1and outcome == 'pruned'"}, "cannot be read"),
    ],
)
def test_what_cannot_be_selected_is_refused(table, asked, says):
    with pytest.raises(InputError, match=re.escape(says)):
        table.select(**asked)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (lambda table: table.slices(3), "hyperparameters are given as a list of their names, got 3"),
        (lambda table: table.slices("lane.beta1"), "hyperparameters are given as a list of their names"),
        (lambda table: table.contour(["lane.beta1"], "a"), "hyperparameters are given as a list of their names"),
        (lambda table: table.importance([]), "no trial reached rung"),
        (lambda table: table.importance(True), "no trial reached rung True"),
        (lambda table: table.compare(3), "a comparison is with tables (ResultsTable.load), got 3"),
    ],
)
def test_what_cannot_be_analysed_is_refused(table, asked, says):
    with pytest.raises(ResultsError, match=re.escape(says)):
        asked(table)


def test_a_list_of_columns_without_a_name_is_refused(gan_sweep, table):
    answer = gan_sweep("results", table.folder.path, "--columns", " ,,")
    assert (answer.code, answer.err) == (2, "gan-sweep: --columns must name columns, separated by commas, got ' ,,'\n")


@pytest.mark.parametrize(("broken", "state"), [(1.0, "finished"), (0.0, "broken off")])
def test_only_trials_that_keep_the_limits_are_waited_for_as_finalists(tmp_path, broken, state):
    rows = [{**one, "fidelity.violation": broken, "fidelity.coverage_violation": broken} for one in ROWS]
    run = RunFolder(stored(tmp_path, rows))
    run.spec.write_text("{objective: fidelity, trials: 3, confirm: {top: 2, seeds: 2}}\n")
    assert runs_in(tmp_path)["state"].tolist() == [state]
