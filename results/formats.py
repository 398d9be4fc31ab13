"""Writes rows to a file for other programs: CSV, JSON, Parquet or Excel."""

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gan_core.config.input_error import InputError, shown
from gan_core.files.whole_files import is_written_through
from results.output import STANDARD_OUTPUT, output
from results.printable import printable
from results.store import ResultsError

MOST_EXCEL_ROWS = 1_048_576  # of a sheet, the names of the columns included


def plain_records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as values for JSON, None where missing or infinite."""
    known = rows.notna() & ~rows.isin([np.inf, -np.inf])
    return [{str(k): v for k, v in row.items()} for row in rows.astype(object).where(known, None).to_dict("records")]


def _csv(rows: pd.DataFrame) -> bytes:
    return rows.to_csv(index=False).encode()


def _json(rows: pd.DataFrame) -> bytes:
    return (json.dumps(plain_records(rows), indent=1) + "\n").encode()


def _parquet(rows: pd.DataFrame) -> bytes:
    try:
        return rows.to_parquet(None, index=False)
    except (TypeError, ValueError) as error:  # a column with values of several kinds, in a file that was edited
        raise ResultsError(f"these rows cannot be written as Parquet, but as CSV: {error}") from error


def _excel(rows: pd.DataFrame) -> bytes:
    """A workbook of one sheet. All text is of the cell type for text, because a program of spreadsheets would compute
    what begins with `=`. An infinite number, which a sheet cannot hold, is text.
    """
    try:
        from openpyxl import Workbook
        from openpyxl.cell import WriteOnlyCell
    except ImportError as error:
        raise ResultsError("an .xlsx file needs openpyxl: pip install 'gan-sweep[excel]'") from error
    if len(rows) >= MOST_EXCEL_ROWS:
        raise ResultsError(f"a sheet of Excel has at most {MOST_EXCEL_ROWS:,} rows, got {len(rows):,}; write .parquet")
    book = Workbook(write_only=True)
    sheet: Any = book.create_sheet("results")
    sheet.freeze_panes = "A2"

    def cell(value: Any) -> Any:
        if isinstance(value, float) and math.isinf(value):
            value = str(value)
        if not isinstance(value, str):
            return None if pd.isna(value) else value
        text = WriteOnlyCell(sheet, printable(value))
        text.data_type = "s"
        return text

    sheet.append([cell(str(name)) for name in rows.columns])
    for row in rows.astype(object).itertuples(index=False, name=None):
        sheet.append(list(map(cell, row)))
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


FORMATS: dict[str, Callable[[pd.DataFrame], bytes]] = {
    "csv": _csv,
    "json": _json,
    "parquet": _parquet,
    "xlsx": _excel,
}


def format_of(path: Path, asked: str | None = None) -> str:
    """The format of a file: the one asked for, else by its ending; csv for standard output, a pipe or a device. Raises
    InputError for another ending.
    """
    if asked is not None:
        return asked
    if path == STANDARD_OUTPUT or is_written_through(path):
        return "csv"
    ending = path.suffix.lower().removeprefix(".")
    if ending not in FORMATS:
        known = ", ".join(f".{name}" for name in FORMATS)
        raise InputError(f"a table is written as {known}, got {shown(str(path))}; give it such an ending, or a format")
    return ending


def write_rows(rows: pd.DataFrame, path: str | Path, asked: str | None = None) -> None:
    """Writes rows to a file, which appears whole or not at all. asked: csv, json, parquet or xlsx, instead of what the
    name of the file says.

    Numbers keep all their digits, in .xlsx 16 of them. CSV and JSON hold texts as they are; in .xlsx, all text is text
    to a program of spreadsheets, also where it begins with `=`. JSON has null for what is missing or infinite. Raises
    InputError for an unknown format, ResultsError where openpyxl is missing or the rows do not fit the format, and as
    `results.output.output` does.
    """
    path = Path(path)
    content = FORMATS[format_of(path, asked)](rows)
    with output(path) as file:
        file.write(content)
