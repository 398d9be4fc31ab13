"""What is written for other programs is read back as it was, in each format, and as nothing else."""

import csv
import json
import math
import sys
from pathlib import Path

import pandas as pd
import pytest
from table_rows import row, stored

from gan_core.config.input_error import InputError
from results import formats
from results.formats import FORMATS, format_of, write_rows
from results.rows import Outcome
from results.store import ResultsError
from results.table import ResultsTable

FORMULAS = ["=1+1", "+1", "-coverage", "@SUM(A1)", "\t=1", "plain", "red \x1b[31m"]
ROWS = pd.DataFrame(
    {
        "trial": range(7),
        "=name": FORMULAS,
        "score": [0.1 + 0.2, 1e-300, math.nan, math.inf, -math.inf, 1e300, 5.0],
        "parent": pd.array([None, 1, 2, 3, 4, 5, 6], dtype="Int64"),
        "flag": [True, False] * 3 + [True],
    }
)


def written(tmp_path: Path, ending: str) -> Path:
    path = tmp_path / f"rows.{ending}"
    write_rows(ROWS, path)
    return path


def test_csv_has_each_number_to_the_last_bit_and_texts_as_they_are(tmp_path):
    with written(tmp_path, "csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["=name"] for row in rows] == FORMULAS
    assert [row["score"] for row in rows] == ["0.30000000000000004", "1e-300", "", "inf", "-inf", "1e+300", "5.0"]
    assert [row["parent"] for row in rows] == ["", "1", "2", "3", "4", "5", "6"]


def test_json_has_null_for_what_it_cannot_say(tmp_path):
    rows = json.loads(written(tmp_path, "json").read_text(), parse_constant=pytest.fail)
    assert [row["score"] for row in rows] == [0.1 + 0.2, 1e-300, None, None, None, 1e300, 5.0]
    assert [row["parent"] for row in rows] == [None, 1, 2, 3, 4, 5, 6]
    assert [row["=name"] for row in rows] == FORMULAS
    assert list(rows[0]) == list(ROWS.columns)


def test_parquet_has_the_frame_with_its_types(tmp_path):
    pd.testing.assert_frame_equal(pd.read_parquet(written(tmp_path, "parquet")), ROWS)


def test_a_sheet_holds_text_as_text_also_where_it_would_be_a_formula(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    sheet = openpyxl.load_workbook(written(tmp_path, "xlsx")).active
    head, *rows = sheet.iter_rows()
    assert [cell.value for cell in head] == list(ROWS.columns)
    assert {cell.data_type for cell in head} == {"s"}
    assert {row[1].data_type for row in rows} == {"s"}
    assert [row[1].value for row in rows] == [*FORMULAS[:4], "\\t=1", "plain", "red \\x1b[31m"]
    assert [row[2].value for row in rows] == [0.3, 1e-300, None, "inf", "-inf", 1e300, 5]  # 16 digits
    assert [row[3].value for row in rows] == [None, 1, 2, 3, 4, 5, 6]
    assert [row[4].value for row in rows] == ROWS["flag"].tolist()


def test_a_real_table_goes_into_every_format(tmp_path):
    table = ResultsTable.load(stored(tmp_path, [row(t, 0, 1.0 + t, Outcome.COMPLETED) for t in range(3)]))
    rows = table.select()
    for ending in FORMATS:
        write_rows(rows, tmp_path / f"rows.{ending}")
    read = {
        "csv": pd.read_csv(tmp_path / "rows.csv"),
        "json": pd.read_json(tmp_path / "rows.json"),
        "parquet": pd.read_parquet(tmp_path / "rows.parquet"),
        "xlsx": pd.read_excel(tmp_path / "rows.xlsx"),
    }
    assert set(read) == set(FORMATS)
    for frame in read.values():
        assert list(frame.columns) == list(rows.columns)
        assert frame["fidelity.fid"].tolist() == rows["fidelity.fid"].tolist()
        assert frame["reason"].tolist() == rows["reason"].tolist()


def test_the_name_says_the_format_and_a_wish_overrules_it():
    assert [format_of(Path(f"x.{name.upper()}")) for name in FORMATS] == list(FORMATS)
    assert format_of(Path("-")) == format_of(Path("/dev/null")) == "csv"
    assert format_of(Path("x.txt"), "json") == "json"
    with pytest.raises(InputError, match=r"written as .csv, .json, .parquet, .xlsx, got 'x.txt'; give it such an end"):
        format_of(Path("x.txt"))


def test_without_openpyxl_a_line_says_what_to_install_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ResultsError, match=r"an .xlsx file needs openpyxl: pip install 'gan-sweep\[excel\]'"):
        write_rows(ROWS, tmp_path / "rows.xlsx")
    assert list(tmp_path.iterdir()) == []


def test_more_rows_than_a_sheet_has_are_refused(tmp_path, monkeypatch):
    pytest.importorskip("openpyxl")
    monkeypatch.setattr(formats, "MOST_EXCEL_ROWS", 7)
    with pytest.raises(ResultsError, match=r"a sheet of Excel has at most 7 rows, got 7; write .parquet"):
        write_rows(ROWS, tmp_path / "rows.xlsx")


def test_a_column_of_several_kinds_is_no_parquet(tmp_path):
    edited = pd.DataFrame({"lane.x": [1, "two"]})
    with pytest.raises(ResultsError, match="cannot be written as Parquet, but as CSV"):
        write_rows(edited, tmp_path / "rows.parquet")
    write_rows(edited, tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text().splitlines() == ["lane.x", "1", "two"]
