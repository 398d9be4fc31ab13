"""Files of a run that were edited, replaced or shut: one line that names file and line, and exit 2."""

import errno
import fcntl
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from curve_array import CurveArray, curve_rows, curve_spec
from table_rows import row, stored
from tiny_runs import Answer

from results.printable import printable, printable_lines
from results.store import JsonLines, ResultsError, RunFolder, exclusive, read_whole
from sweep.ledger.cohort_record import read_cohorts
from sweep.proposals.journal_record import JournalCheck
from sweep.tracking.dashboard import open_dashboard
from sweep.tracking.tracking_identity import identity_of

pytestmark = pytest.mark.usefixtures("unsynced")

UNPRIVILEGED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
FILES = {"rows": "rows.jsonl", "cohorts": "cohorts.jsonl", "journal": "optuna.jsonl"}
COLOURED = "\x1b[31m\x07"
VALUES = (  # as JSON spells them: every type, and what no file of a run holds
    *("null", "true", "-1", "7", "1.5", "1e999", "NaN", '"x"', json.dumps(COLOURED), r'"\ud800"', "[]", "[1]", "{}"),
    *('{"a":1}', "1" + "0" * 400, str(2**53 + 1), '"' + "y" * 5000 + '"'),
)


class Formulas:
    """Makes arrays whose scores are formulas, in the place of `Workshop`."""

    def __init__(self, *conditions: Any) -> None:
        self.build = CurveArray
        self.scorer, self.fitted = SimpleNamespace(examination=None), None
        self.dataset = SimpleNamespace(held_out=torch.zeros(2, 1))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, unsynced) -> Path:
    """A finished run, with confirmations, whose scores are formulas."""
    path = tmp_path_factory.mktemp("finished") / "run"
    curve_rows(curve_spec(trials=6, confirm={"top": 1, "seeds": 2}), path)
    return path


@pytest.fixture
def run(finished, gan_sweep, monkeypatch) -> Path:
    """A copy of it, where the command line stands; to train there costs nothing."""
    monkeypatch.setattr("sweep.runners.scored_alike.Workshop", Formulas)
    shutil.copytree(finished, "run")
    shutil.copy(finished / "spec.yaml", "spec.yaml")
    return Path("run")


LOOK = [["results", "run"], ["results", "run", "-o", "x.json"], ["export", "run", "-o", "x.yaml"]]
AGAIN = ["run", "spec.yaml", "--local", "--out", "run"]
MORE = [*AGAIN, "--extend", "--trials", "7"]


def check_line(answer: Answer, *says: str) -> None:
    """Exit 2 after one printable line that says so."""
    assert answer.code == 2, answer
    assert answer.err.startswith("gan-sweep: ")
    (line,) = answer.err.splitlines()
    assert printable(line) == line
    assert len(line) < 500
    assert [text for text in says if text not in line] == [], line


def changed(path: Path, number: int, **values: Any) -> None:
    """Changes keys of one line, from 1; None takes one out."""
    records = JsonLines(path).read()
    kept = {name: value for name, value in records[number - 1].items() if name not in values}
    records[number - 1] = {**kept, **{name: value for name, value in values.items() if value is not None}}
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "trial as text": ({"trial": "1"}, "line 3: trial must be a whole number of at least 0 and at most 999999, got '1'"),
    "trial below zero": ({"trial": -1}, "trial must be a whole number"),
    "rung as a fraction": ({"rung": 0.5}, "line 3: rung must be a whole number of at least 0, got 0.5"),
    "images that are huge": ({"images_seen": 10**30}, "images_seen must be a whole number of at least 0, got 1000"),
    "protocol of none": ({"protocol": None}, "line 3: it lacks 'protocol'"),
    "protocol as a list": ({"protocol": [1]}, "line 3: protocol must be text, got [1]"),
    "outcome that is none": ({"outcome": COLOURED}, r"line 3: outcome must be one of running, completed"),
    "score as text": ({"score": "low"}, "line 3: score must be a finite number"),
    "score without end": ({"score": float("inf")}, "score must be a finite number"),
    "seconds below zero": ({"seconds": -1.0}, "seconds must be a finite number of at least 0, got -1.0"),
    "fidelity as a mapping": ({"fidelity.fid": {}}, "line 3: fidelity.fid must be a finite number"),
    "hyperparameter as a list": ({"lane.beta1": [0.5]}, "line 3: lane.beta1 must be a finite number"),
    "half a character": ({"reason": "\ud800"}, r"line 3: reason must be text, got '\ud800'"),
    "a long value": ({"rung": "y" * 5000}, "rung must be a whole number of at least 0, got 'yyyyy"),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_that_was_edited_is_named_by_every_command_that_reads_it(gan_sweep, run, name):
    values, says = ROWS[name]
    changed(run / "rows.jsonl", 3, **values)
    before = sorted(Path().rglob("*"))
    for arguments in (*LOOK, AGAIN):
        check_line(gan_sweep(*arguments), "run/rows.jsonl, line 3: ", says, "the file was changed by hand")
    assert sorted(Path().rglob("*")) == before


COHORTS: dict[str, tuple[int, dict[str, Any], str]] = {
    "number": (2, {"cohort": 5}, "line 2: cohort must be 1, got 5"),
    "trials as text": (1, {"trials": "012"}, "line 1: trials must be a list, each of it a whole number"),
    "no trials": (1, {"trials": []}, "line 1: trials must be different ones, with a configuration each"),
    "trials twice": (1, {"trials": [0, 0, 1]}, "trials must be different ones"),
    "trials twice, once as before": (
        3,
        {"trials": ["1-seed-1", 1000001], "configs": [{}, {}], "optuna": [], "derived": []},
        "line 3: trials must be different ones",
    ),
    "trial that is too high": (1, {"trials": [0, 1, "1000002-seed-1"]}, "line 1: trials must be a list, each of it a"),
    "other trials": (2, {"trials": [3, 4, 9]}, "line 2: trials must be 3 to 5, from rung 0"),
    "ids of too few": (1, {"optuna": [0]}, "derived and optuna must be empty, or have one for each of trials"),
    "ids of an earlier one": (
        2,
        {"optuna": [0, 4, 5]},
        "line 2: optuna and refused name 0, which an earlier",
    ),
    "ids taken out": (2, {"optuna": []}, "line 2: optuna must have an id for each of trials"),
    "confirmed before": (3, {"trials": [1, 1000001]}, "line 3: optuna must have an id for each of trials"),
    "goes on from nowhere": (2, {"optuna": [], "from_rung": 1}, "line 2: trial 3 goes on from rung 1, and no earlier"),
    "key taken out": (1, {"configs": None}, "line 1: it lacks 'configs'"),
    "another key": (1, {"configz": 1}, "line 1: it has 'configz', which is not known"),
    "configuration": (1, {"configs": [{"lane.beta1": 2}] * 3}, "line 1: lane.beta1 must be at least 0 and below 1"),
    "refused of one": (1, {"refused": [[1]]}, "line 1: refused must be a list, each of it an id and what it broke"),
    "best of no trial": (1, {"best": {"a": 1}}, "line 1: best must be a mapping of trials to numbers"),
    "hours": (1, {"elapsed_seconds": "1"}, "line 1: elapsed_seconds must be a finite number of at least 0"),
}


@pytest.mark.parametrize("name", COHORTS)
def test_a_cohort_that_was_edited_is_named_before_anything_is_trained(gan_sweep, run, name):
    line, values, says = COHORTS[name]
    changed(run / "cohorts.jsonl", line, **values)
    check_line(gan_sweep(*AGAIN), f"run/cohorts.jsonl, line {line}: ", says)
    with pytest.raises(ResultsError, match=f"cohorts.jsonl, line {line}"):
        read_cohorts(RunFolder(run))


BELOW_ONE = '{"name":"FloatDistribution","attributes":{"low":0.0,"high":1.0}}'
# as older runs have it
DRAWN = {
    "op_code": 5,
    "param_name": "a",
    "param_value_internal": 0.5,
    "distribution": BELOW_ONE,
}  # as older runs have it
JOURNAL: dict[str, tuple[int, dict[str, Any], str]] = {
    "code": (2, {"op_code": 99}, "line 2: op_code must be one of 0, 2, 3, 4, 5, 6, 7, 8, 9, got 99"),
    "code as a truth": (2, {"op_code": True}, "line 2: op_code must be one of"),
    "study": (1, {"op_code": 2, "study_id": 0, "user_attr": {"a": 1}}, "line 1: study_id must be below 0, for there"),
    "trial": (5, {"trial_id": 7}, "line 5: trial_id must be below 3, for there are no more before it, got 7"),
    "score": (5, {"intermediate_value": "x"}, "line 5: intermediate_value must be a finite number"),
    "value": (5, {**DRAWN, "param_value_internal": "x"}, "line 5: param_value_internal must be a finite number"),
    "value outside": (5, {**DRAWN, "param_value_internal": 9.0}, "line 5: param_value_internal must lie in FloatDist"),
    "range": (5, {**DRAWN, "distribution": "{}"}, "line 5: distribution must be one of Optuna's distributions"),
    "moment": (6, {"datetime_complete": "soon"}, "line 6: datetime_complete must be a date and time, got 'soon'"),
    "moment taken out": (6, {"datetime_complete": None}, "line 6: it lacks 'datetime_complete'"),
    "parameters": (2, {"params": {"a": 1}}, "line 2: params and distributions must have the same names"),
    "steps": (2, {"intermediate_values": {"a": 1}}, "line 2: intermediate_values must map whole numbers"),
    "complete": (2, {"state": 1}, "line 2: it lacks the value of a trial that is complete"),
    "attributes": (2, {"system_attrs": {"fixed_params": 1}}, "line 2: system_attrs must be names and values"),
}


@pytest.mark.parametrize("name", JOURNAL)
def test_a_line_of_the_journal_that_was_edited_is_named_before_it_is_replayed(gan_sweep, run, name):
    line, values, says = JOURNAL[name]
    changed(run / "optuna.jsonl", line, **values)
    check_line(gan_sweep(*MORE), f"run/optuna.jsonl, line {line}: ", says)
    with pytest.raises(ResultsError, match=f"optuna.jsonl, line {line}: "):
        open_dashboard(run, 0)


def test_a_trial_is_complete_with_a_value_for_each_objective(run):
    for number, record in enumerate(JsonLines(run / "optuna.jsonl").read(JournalCheck()), 1):
        if record["op_code"] == 6 and record["values"]:
            changed(run / "optuna.jsonl", number, values=[1.0, 2.0], state=1)
            break
    with pytest.raises(ResultsError, match=r"values must be 1 numbers where a trial is complete, got \[1.0, 2.0\]"):
        JsonLines(run / "optuna.jsonl").read(JournalCheck())


def test_a_journal_that_lacks_what_cohorts_have_is_not_gone_on_with(gan_sweep, run):
    lines = (run / "optuna.jsonl").read_bytes().splitlines(keepends=True)
    (run / "optuna.jsonl").write_bytes(b"".join(lines[:3]))
    check_line(gan_sweep(*MORE), "run/optuna.jsonl lacks proposal 2, which a cohort has")


TORN = {"not JSON": b"{", "not UTF-8": b"\xff\xfe", "nested": b"[" * 100_000, "digits": b"9" * 5_000, "blank": b""}


@pytest.mark.parametrize("name", TORN)
def test_a_line_that_is_no_json_is_named(gan_sweep, run, name):
    path = run / "rows.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], TORN[name], *lines[2:]]))
    for arguments in (*LOOK, AGAIN):
        check_line(gan_sweep(*arguments), "run/rows.jsonl, line 2 is not JSON")


def test_a_row_too_many_and_one_too_few_are_named_by_their_line(gan_sweep, run):
    lines = (run / "rows.jsonl").read_bytes().splitlines(keepends=True)
    (run / "rows.jsonl").write_bytes(b"".join([lines[0], *lines]))
    check_line(gan_sweep("results", "run"), "run/rows.jsonl: trial 0 stands twice at rung 0", "(line 2)")
    check_line(gan_sweep(*AGAIN), "run/rows.jsonl, line 2: trial 0 has no place for rung 0")
    (run / "rows.jsonl").write_bytes(b"".join(lines[1:]))
    check_line(gan_sweep(*AGAIN), "trial 0 has no place for rung 1")


@pytest.mark.parametrize("content", [None, b"", b"torn"])
def test_cohorts_that_are_gone_are_named_and_not_the_rows(gan_sweep, run, content):
    (run / "cohorts.jsonl").unlink()
    if content is not None:
        (run / "cohorts.jsonl").write_bytes(content)
    check_line(gan_sweep(*AGAIN), "run/rows.jsonl, line 1: cohorts.jsonl beside it has no trial 0")


def test_a_shorter_ladder_on_a_run_is_refused(gan_sweep, run):
    shorter = [*AGAIN, "--set", "ladder.rungs_images=[100]"]
    check_line(gan_sweep(*shorter), "run holds a run with another spec; these keys differ: ladder.rungs_images")
    check_line(gan_sweep(*shorter, "--extend"), "ladder.rungs_images (rungs may only be added at its end)")


def replaced(make: Callable[[Path], object]) -> Callable[[Path], object]:
    """Something else in a file's place."""
    return lambda path: [path.unlink(), make(path)]


OTHERS = {"folder": (replaced(Path.mkdir), "Is a directory"), "pipe": (replaced(os.mkfifo), "is a pipe or a device")}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("name", FILES)
def test_what_is_in_the_place_of_a_file_is_told_and_not_waited_for(gan_sweep, run, name, other):
    put, says = OTHERS[other]
    put(run / FILES[name])
    for arguments in [*(LOOK if name == "rows" else []), AGAIN]:
        check_line(gan_sweep(*arguments), f"run/{FILES[name]}", says)


@pytest.mark.skipif(bool(UNPRIVILEGED) and shutil.which("setpriv") is None, reason="root may read everything")
def test_a_file_that_one_may_not_read_is_told(tmp_path):
    path = stored(tmp_path, [row(0, 0, 1.0)]) / "rows.jsonl"
    path.chmod(0)
    command = [*UNPRIVILEGED, sys.executable, "-m", "sweep.commands.cli", "results", "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    check_line(Answer(done.returncode, done.stdout, done.stderr), "cannot read run/rows.jsonl: Permission denied")


def test_a_link_that_leads_to_itself_cannot_be_read(tmp_path):
    (tmp_path / "rows.jsonl").symlink_to(tmp_path / "rows.jsonl")
    with pytest.raises(ResultsError, match=r"cannot read .*rows.jsonl: Too many levels of symbolic links"):
        read_whole(tmp_path / "rows.jsonl")
    assert read_whole(tmp_path / "none") is None


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
    def flock(file: Any, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(ResultsError, match=r"cannot lock .*\.lock: No locks available; two sweeps could .* --out"),
        exclusive(tmp_path / ".lock"),
    ):
        pass


def test_a_pipe_in_the_place_of_a_lock_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / ".lock")
    with exclusive(tmp_path / ".lock"), pytest.raises(ResultsError, match="at work"), exclusive(tmp_path / ".lock"):
        pass


def test_the_name_that_services_know_is_refused_where_it_was_edited(tmp_path):
    folder = RunFolder(tmp_path)
    name = identity_of(folder)
    assert identity_of(folder) == name
    folder.tracking.write_text('{"sweep": 3}\n')
    with pytest.raises(ResultsError, match=r"tracking.json, line 1: sweep must be text, got 3"):
        identity_of(folder)


# ---- whatever is changed


def mutated(path: Path, draw: random.Random) -> str:
    """Changes one line of a file, one key of it or one bit; says how."""
    lines = path.read_bytes().split(b"\n")[:-1]
    number = draw.randrange(len(lines))
    record = json.loads(lines[number])
    name, kind = draw.choice(sorted(record)), draw.randrange(8)
    if kind < 4:
        value = draw.choice(VALUES)
        lines[number] = json.dumps({**record, name: "@"}).replace('"@"', value).encode()
        how = f"{name} = {value[:20]}"
    else:
        torn = lines[number][: draw.randrange(len(lines[number]))]
        bit = bytearray(lines[number])
        bit[draw.randrange(len(bit))] ^= 1 << draw.randrange(8)
        without = json.dumps({k: v for k, v in record.items() if k != name}).encode()
        lines[number : number + 1], how = {
            4: ([without], f"without {name}"),
            5: ([torn], "torn"),
            6: ([bytes(bit)], "a bit"),
            7: ([lines[number]] * 2, "twice"),
        }[kind]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return f"{path.name}, line {number + 1}: {how}"


@pytest.mark.parametrize("name", FILES)
def test_no_change_of_a_file_ends_in_anything_but_a_line(gan_sweep, run, finished, name):
    draw, refused = random.Random(name), 0
    for _ in range(8):
        shutil.rmtree(run)
        shutil.copytree(finished, run)
        how = mutated(run / FILES[name], draw)
        for arguments in LOOK[:2] if name == "rows" else [MORE]:
            answer = gan_sweep(*arguments)
            said = answer.out + answer.err
            assert printable_lines(said) == said, how
            assert answer.code in (0, 2), how
            if answer.code == 2:
                check_line(answer, FILES[name])
                refused += 1
    assert refused > 2
