"""Rows are read by Arrow where that gives what the reader of single lines gives, and by that reader otherwise."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from table_rows import replicates, row

from results import loading
from results.curves import _kind, load_curves
from results.loading import load_rows
from results.rows import OWN, Outcome
from results.store import CURVES, JsonLines, ResultsError

ROWS = [
    row(0, 0, 9.0),
    {**row(1, 0, 4.0, parent=0), "proposed.width": 3},
    {**row(2, 0, 0.5), "proposed.width": 2.5, "structure.loss": "hinge", "lane.discriminator_beta1": None},
    {**row(3, 0, math.nan, Outcome.DIVERGED, signs=""), "structure.loss": "rückwärts", "flag": True},
    *replicates(2, 1.0, 2.0),
]
ODD = [None, True, 0, -1, 1.0, 0.5, 2**53 + 1, 2.0**60, 10**400, "", "x", "2026-11-30", [], {}, [1], {"a": 1}]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A file of rows."""
    path.unlink(missing_ok=True)
    JsonLines(path).append(rows)
    return path


def by_lines(path: Path, monkeypatch) -> pd.DataFrame | str:
    """What the reader of single lines makes of a file: a frame, or what it says."""
    with monkeypatch.context() as patched:
        patched.setattr(loading, "read_by_arrow", lambda path: None)
        return said(path)


def said(path: Path) -> pd.DataFrame | str:
    """The rows of a file, or what is said of them."""
    try:
        return load_rows(path)
    except ResultsError as error:
        return str(error)


def check_alike(found: pd.DataFrame | str, expected: pd.DataFrame | str) -> None:
    """Both are the same frame, or the same words."""
    if isinstance(found, pd.DataFrame) and isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected)
    else:
        assert isinstance(found, str)
        assert found == expected


def test_arrow_reads_what_the_reader_of_lines_reads(tmp_path, monkeypatch):
    path = written(tmp_path / "rows.jsonl", ROWS)
    assert loading.read_by_arrow(path) is not None
    frame = load_rows(path)
    check_alike(frame, by_lines(path, monkeypatch))
    assert frame["trial"].tolist() == [0, 1, 2, 3, 2, 2, 2, 2]
    assert frame["proposed.width"].tolist()[1:3] == [3, 2.5]
    assert frame["structure.loss"].tolist()[2:4] == ["hinge", "rückwärts"]


def test_arrow_reads_a_real_run_as_the_reader_of_lines_does(digits_run, monkeypatch):
    path = Path(digits_run) / "rows.jsonl"
    assert loading.read_by_arrow(path) is not None
    check_alike(load_rows(path), by_lines(path, monkeypatch))


@pytest.mark.parametrize("name", [*OWN, "fidelity.fid", "health.d_gradient", "proposed.width", "lane.beta1", "another"])
def test_a_value_that_was_changed_is_read_or_refused_as_by_the_reader_of_lines(tmp_path, monkeypatch, name):
    path = tmp_path / "rows.jsonl"
    for value in ODD:
        written(path, [*ROWS[:2], {**ROWS[2], name: value}])
        check_alike(said(path), by_lines(path, monkeypatch))


@pytest.mark.parametrize("name", ["trial", "outcome", "signs", "elapsed_seconds", "replicate", "protocol"])
def test_a_value_that_is_gone_is_read_or_refused_as_by_the_reader_of_lines(tmp_path, monkeypatch, name):
    path = written(tmp_path / "rows.jsonl", [ROWS[0], {k: v for k, v in ROWS[1].items() if k != name}])
    check_alike(said(path), by_lines(path, monkeypatch))


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line + b"\n",
        lambda line: line.rstrip(b"\n"),
        lambda line: line.replace(b'"score":9.0', b'"score":NaN'),
        lambda line: line.replace(b'"score":9.0', b'"score":Infinity'),
        lambda line: line.replace(b'"score":9.0', b'"score":1e999'),
        lambda line: line.replace(b'"score":9.0', b'"score":9.0,"score":8.0'),
        lambda line: line.replace(b'"score":9.0', b'"score":9007199254740993'),
        lambda line: line.replace(b'"reason":"', b'"reason":"\\ud800'),
        lambda line: line.replace(b'"reason":"', b'"reason":"\xff'),
        lambda line: line.replace(b'"trial":', b'"lane.a":null,"trial":'),
        lambda line: line[:-2],
        lambda line: line.rstrip(b"\n") + line,
        lambda line: b"[]\n" + line,
    ],
)
def test_a_line_that_was_changed_is_read_or_refused_as_by_the_reader_of_lines(tmp_path, monkeypatch, change):
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in map(finite, ROWS[:3])]
    path.write_bytes(change(lines[0]) + b"".join(lines[1:]))
    check_alike(said(path), by_lines(path, monkeypatch))
    path.write_bytes(b"".join(lines[1:]) + change(lines[0]))
    check_alike(said(path), by_lines(path, monkeypatch))


def finite(record: dict[str, Any]) -> dict[str, Any]:
    """As a file has it."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}


def test_a_file_that_is_absent_or_empty_has_no_rows(tmp_path):
    assert load_rows(tmp_path / "rows.jsonl").empty
    assert load_rows(written(tmp_path / "rows.jsonl", [])).empty


# ---- curves


POINTS: list[dict[str, Any]] = [
    {"trial": 0, "replicate": 0, "images_seen": 64, "d_loss": 1.0, "health.d_gradient": 2.0},
    {"trial": 0, "replicate": 0, "images_seen": 128, "d_loss": None, "health.d_gradient": 2.5, "health.penalty": 1.0},
    {"trial": 12, "replicate": 1, "images_seen": 64, "d_loss": 0.5, "health.d_gradient": None},
]


def points_said(folder: Path) -> pd.DataFrame | str:
    """The curves in a folder, or what is said of them."""
    try:
        return load_curves(folder)
    except ResultsError as error:
        return str(error)


def points_by_lines(folder: Path, monkeypatch) -> pd.DataFrame | str:
    with monkeypatch.context() as patched:
        patched.setattr(loading, "read_by_arrow", lambda *given: None)
        return points_said(folder)


def test_arrow_reads_curves_as_the_reader_of_lines_does(tmp_path, digits_run, monkeypatch):
    path = written(tmp_path / CURVES, POINTS)
    assert loading.read_by_arrow(path, ("images_seen",), _kind) is not None
    for folder in (tmp_path, digits_run):
        check_alike(points_said(folder), points_by_lines(folder, monkeypatch))
    frame = load_curves(tmp_path)
    assert frame["images_seen"].tolist() == [64, 128, 64]
    assert frame["health.penalty"].isna().tolist() == [True, False, True]


@pytest.mark.parametrize("name", ["trial", "images_seen", "d_loss", "health.d_gradient", "another"])
def test_a_point_that_was_changed_is_read_or_refused_as_by_the_reader_of_lines(tmp_path, monkeypatch, name):
    for value in ODD:
        written(tmp_path / CURVES, [*POINTS[:2], {**POINTS[2], name: value}])
        check_alike(points_said(tmp_path), points_by_lines(tmp_path, monkeypatch))
    written(tmp_path / CURVES, [*POINTS[:2], {key: value for key, value in POINTS[2].items() if key != name}])
    check_alike(points_said(tmp_path), points_by_lines(tmp_path, monkeypatch))
