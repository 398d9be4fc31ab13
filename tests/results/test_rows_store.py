"""Rows, and the append-only files in which they are stored."""

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_runs import ROW

from gan_core.config.input_error import InputError
from results.rows import MADE_BY, OVERRULED, Outcome, ResultRow, row_fault
from results.store import JsonLines, ResultsError, RunFolder, checked_place, exclusive, write_atomically

RECORDS = [
    {"trial": 0, "score": 1.5, "reason": "rank 1 of 2"},
    {"trial": 1, "score": 1 / 3, "reason": "rank 2 of 2"},
    {"trial": 2, "score": 5e-324, "reason": 'é\n"quoted"'},
]


@pytest.fixture
def lines(tmp_path) -> JsonLines:
    return JsonLines(tmp_path / "rows.jsonl")


def hold(path: Path) -> subprocess.Popen[str]:
    """A process that holds the lock of a folder, after it has reported so."""
    code = (
        "import sys, signal, pathlib; from results.store import exclusive\n"
        "with exclusive(pathlib.Path(sys.argv[1])):\n    print('held', flush=True); signal.pause()"
    )
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", code, path], cwd=root, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_row_laid_flat_reads_back_as_the_same_row():
    flat = ROW.flat()
    assert ResultRow.from_flat(json.loads(json.dumps(flat))) == ROW
    assert flat["fidelity.fid_floor"] == 0.1
    assert (flat["health.d_gradient"], flat["signs"]) == (0.25, "oscillation low_coverage")
    assert not {"fidelity", "health", "hyperparameters"} & set(flat)
    assert flat["lane.beta1"] == 0.5
    assert flat["outcome"] == "pruned"


def test_a_row_carries_its_replicate_its_parent_its_hour_and_what_was_proposed():
    proposed = {"lane.beta2.complement": 1e-3, "structure.loss": "hinge", "lane.discriminator_steps": 2, "on": True}
    row = replace(ROW, replicate=2, parent=0, elapsed_seconds=1 / 3, proposed=proposed)
    flat = json.loads(json.dumps(row.flat()))
    assert ResultRow.from_flat(flat) == row
    assert flat["proposed.lane.beta2.complement"] == 1e-3
    assert (flat["replicate"], flat["parent"], flat["elapsed_seconds"]) == (2, 0, 1 / 3)
    assert "proposed" not in flat


def test_a_row_that_an_earlier_version_wrote_is_of_the_search_and_kept_its_own_state():
    later = {"replicate", "parent", "elapsed_seconds"} | (set(MADE_BY) - {"device", "code_version"})
    row = ResultRow.from_flat({name: value for name, value in ROW.flat().items() if name not in later})
    assert row == ROW
    assert (row.replicate, row.parent, row.elapsed_seconds, row.proposed) == (0, None, 0.0, {})
    assert (row.execution, row.isa, row.compiler, row.processor, row.versions, row.features_digest) == ("",) * 6


def test_of_a_baseline_an_earlier_version_wrote_only_in_the_reason_that_it_was_overruled():
    row = replace(ROW, reason=f"{OVERRULED}; rank 3 of 3", overruled=True)
    flat = row.flat()
    assert flat.pop("overruled") is True
    assert ResultRow.from_flat(flat) == row
    assert row_fault({**json.loads(json.dumps(flat)), "overruled": 1}) == "overruled must be true or false, got 1"
    assert "overruled" not in ROW.flat()


@pytest.mark.parametrize(("change", "error"), [({"outcome": "lost"}, ValueError), ({"trial": None}, KeyError)])
def test_what_is_no_row_is_refused(change, error):
    flat = {**ROW.flat(), **change}
    with pytest.raises(error):
        ResultRow.from_flat({k: v for k, v in flat.items() if v is not None})


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_survives_the_way_to_disk_and_back(outcome, lines):
    lines.append([replace(ROW, outcome=outcome).flat()])
    assert ResultRow.from_flat(lines.read()[0]).outcome is outcome


def test_what_is_appended_is_read_back_to_the_last_bit_and_in_order(lines):
    lines.append(RECORDS[:2])
    lines.append(RECORDS[2:])
    assert lines.read() == RECORDS


def test_nothing_is_read_where_there_is_no_file(lines):
    assert lines.read() == []
    lines.repair()
    assert not lines.path.exists()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_written_as_null(lines, value):
    lines.append([{"score": value, "images_seen": 3}])
    assert lines.path.read_bytes() == b'{"score":null,"images_seen":3}\n'
    assert lines.read() == [{"score": None, "images_seen": 3}]


LAST = len(json.dumps(RECORDS[2], separators=(",", ":"))) + 1  # bytes of the last line, its end included


@pytest.mark.parametrize("kept_bytes", range(LAST))
def test_a_last_line_torn_anywhere_is_cut_off_and_those_before_it_stay(lines, kept_bytes):
    lines.append(RECORDS)
    whole = lines.path.read_bytes()
    lines.path.write_bytes(whole[: len(whole) - LAST + kept_bytes])
    assert lines.read() == RECORDS[:2]  # a reader passes over it
    if kept_bytes:
        with pytest.warns(UserWarning, match=rf"rows.jsonl: the last line is torn .*; {kept_bytes} bytes are cut off"):
            lines.repair()
    lines.repair()  # nothing is left to warn about
    assert lines.read() == RECORDS[:2]
    lines.append([RECORDS[2]])
    assert lines.path.read_bytes() == whole


def test_a_whole_file_is_left_as_it_is(lines):
    lines.append(RECORDS)
    before = lines.path.read_bytes()
    lines.repair()
    assert lines.path.read_bytes() == before


@pytest.mark.parametrize("broken", [b'{"trial": 0, "sc', b"\xff\xfe", b"", b"[1, 2]", b"17"])
def test_a_broken_line_in_the_middle_is_refused_by_its_number(lines, broken):
    lines.append(RECORDS)
    first, _, third, _ = lines.path.read_bytes().split(b"\n")
    lines.path.write_bytes(b"\n".join((first, broken, third, b"")))
    with pytest.raises(ResultsError, match=r"rows.jsonl, line 2 is not .*; the file was changed by hand"):
        lines.read()


def test_a_run_folder_repairs_each_of_its_files(tmp_path):
    folder = RunFolder(tmp_path)
    paths = [folder.journal, folder.cohorts, folder.rows]
    for path in paths:
        path.write_bytes(b'{"a":1}\n{"b":')
    with pytest.warns(UserWarning, match="torn") as heard:
        folder.repair()
    assert [path.read_bytes() for path in paths] == [b'{"a":1}\n'] * 3
    assert len(heard) == 3


def test_a_second_process_is_refused_and_a_killed_one_frees_the_folder(tmp_path):
    lock = tmp_path / ".lock"
    holder = hold(lock)
    try:
        with pytest.raises(ResultsError, match=f"another process is at work in {tmp_path}"), exclusive(lock):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        with exclusive(lock, wait_seconds=10):
            assert holder.wait() == -signal.SIGKILL
    finally:
        holder.kill()
        holder.communicate()


def test_a_folder_can_be_held_again_once_it_was_given_free(tmp_path):
    with exclusive(tmp_path / ".lock"), pytest.raises(ResultsError), exclusive(tmp_path / ".lock"):
        pass
    with exclusive(tmp_path / ".lock"):
        assert (tmp_path / ".lock").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ResultsError, match=r"is no run folder: it has no spec.yaml"):
        RunFolder(tmp_path).require()
    RunFolder(tmp_path).spec.touch()
    assert RunFolder(tmp_path).require().path == tmp_path


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run", tmp_path / ("x" * 300)):
        with pytest.raises(ResultsError, match=r"cannot write to .*; choose another --out"):
            RunFolder(path).create()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_new_folder_is_empty_and_its_parents_are_made(tmp_path):
    folder = RunFolder(tmp_path / "a" / "b").create()
    assert folder.path.is_dir()
    assert list(folder.path.iterdir()) == []


def test_a_file_written_atomically_replaces_the_old_one_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "new" / "spec.yaml"
    write_atomically(path, "one")
    write_atomically(path, "two")
    assert path.read_text() == "two"
    assert [p.name for p in path.parent.iterdir()] == ["spec.yaml"]


def test_a_write_that_fails_leaves_nothing_beside_its_target(tmp_path):
    (tmp_path / "taken.yaml").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_atomically(tmp_path / "taken.yaml", "text")
    assert [p.name for p in tmp_path.iterdir()] == ["taken.yaml"]


def test_an_address_that_became_a_path_is_no_folder_of_a_run():
    with pytest.raises(InputError, match="'gs:/bucket/run' is a Path, in which an address loses a slash"):
        checked_place(Path("gs://bucket/run"))


def test_a_folder_of_a_run_is_taken_and_rays_copy_of_a_job_is_warned_of(tmp_path):
    places = (tmp_path, f"file://{tmp_path}", "a:b")
    assert [checked_place(place) for place in places] == [tmp_path, tmp_path, Path("a:b")]
    with pytest.warns(
        UserWarning, match="_ray_pkg_1/runs/x lies in Ray's copy of a job's working folder, which Ray del"
    ):
        assert checked_place(tmp_path / "_ray_pkg_1" / "runs" / "x").name == "x"
