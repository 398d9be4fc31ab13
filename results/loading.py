"""Reads the rows of a run into a DataFrame: by Arrow, or line by line where Arrow might read them otherwise. Its curves
are read in the same way (`results.curves`).

Ten thousand trials of five rungs are 160 MB of JSON. Arrow reads them five times as fast as `JsonLines`, and in a third
of the memory, but is more lenient and says less. So what it read counts only if it is beyond doubt that `JsonLines`
would have accepted each line and read the same.
"""

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.json

from gan_core.config.conditions import with_weights
from results.rows import GROUPS, MADE_BY, MAY_BE_NULL, REQUIRED, kind_of, row_fault
from results.schema import LARGEST_WHOLE, Kind
from results.store import JsonLines

SCORED = ("d_loss", "g_loss", "score", "best_score", "seconds")
LATER = {"replicate": 0, "elapsed_seconds": 0.0, "parent": None}  # columns that earlier versions did not write
LATER_HYPERPARAMETERS = {  # the same for hyperparameters, with the value that those versions trained with
    "lane.lr_schedule": "constant",
    "lane.lr_schedule_images": 0.0,
    "lane.generator_weight_decay": 0.0,
    "lane.discriminator_weight_decay": 0.0,
}
WHOLE = ("replicate", "parent")
NUMBERS = (*SCORED, *LATER, *MAY_BE_NULL)
BLOCK_BYTES = 4 * 2**20  # that Arrow parses at once; a row is of a few thousand bytes


def load_rows(path: Path) -> pd.DataFrame:
    """The rows in a file, in the order of their lines, without the column `overruled`; empty if there are none.

    Numeric columns are numbers, and columns that earlier versions did not write are filled in. Raises ResultsError,
    which names the line, as `JsonLines.read` does, for a row that was changed.
    """
    frame = read_by_arrow(path)
    if frame is None:
        frame = pd.DataFrame.from_records(JsonLines(path).read(row_fault))
    if frame.empty:
        return frame
    frame = _with_numbers(_with_digests(frame.drop(columns="overruled", errors="ignore")))
    pa.default_memory_pool().release_unused()  # Arrow would keep what it read with, 120 MB for ten thousand trials
    return frame


def _with_digests(frame: pd.DataFrame) -> pd.DataFrame:
    """With protocols that name the digest of the weights of the features, which earlier versions left out."""
    weights = frame["features_digest"] if "features_digest" in frame.columns else pd.Series("", frame.index)
    pairs = pd.DataFrame({"protocol": frame["protocol"], "weights": weights.fillna("")})
    return frame.assign(
        protocol=pairs.groupby(["protocol", "weights"])["protocol"].transform(lambda x: with_weights(*x.name))
    )


def _with_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Makes a frame of checked records: numeric columns are converted, and columns of later versions are filled in."""
    for name, value in LATER.items():
        if name not in frame.columns:
            frame[name] = value
    for name in (*MADE_BY, "limits_broken"):  # earlier versions wrote only the device and the code version
        frame[name] = frame[name].fillna("") if name in frame.columns else ""
    for name in frame.columns:
        if name in NUMBERS or name.partition(".")[0] in GROUPS:
            frame[name] = pd.to_numeric(frame[name])
            if name in LATER and LATER[name] is not None:
                frame[name] = frame[name].fillna(LATER[name])
            if name in WHOLE:
                frame[name] = frame[name].astype("Int64")
        if name in LATER_HYPERPARAMETERS:
            frame[name] = frame[name].fillna(LATER_HYPERPARAMETERS[name])
    return frame.astype({"replicate": "int64"})


def read_by_arrow(
    path: Path, required: Collection[str] = REQUIRED, kind: Callable[[str], Kind | None] = kind_of
) -> pd.DataFrame | None:
    """The records of a file as `JsonLines.read` would have them, or None where that is in doubt, or would be an error;
    also where there are none. required: the columns that each record has; kind: returns the kind of a column's values,
    None if there must be no such column. As they stand, these are those of rows.
    """
    try:
        lines = _lines(path) if path.is_file() else 0
        if not lines:
            return None
        with pa.OSFile(str(path)) as source:
            table = pyarrow.json.read_json(source, read_options=pyarrow.json.ReadOptions(block_size=BLOCK_BYTES))
        if table.num_rows != lines or not set(required) <= set(table.column_names):
            return None
        encoded = {name: _encoded(table.column(name)) for name in table.column_names}
        kinds = {name: kind(name) for name in encoded}
        absent = [name for name, column in encoded.items() if column.null_count and not _allows(kinds[name], None)]
        if set(absent) & set(required) or not all(_fits(kinds[name], column) for name, column in encoded.items()):
            return None
        if absent and _says_null(path, absent):
            return None
        del table  # its memory is needed for the columns of the frame
        columns = {name: _series(encoded.pop(name)) for name in list(encoded)}
        pa.default_memory_pool().release_unused()
        return pd.DataFrame(columns)
    except (pa.ArrowException, OSError, UnicodeError):  # what is wrong, the reader of single lines says better
        return None


def _lines(path: Path) -> int:
    """How many lines there are; 0 if the last one is incomplete, because it may just be being written."""
    count, part = 0, b""
    with path.open("rb") as file:
        while read := file.read(BLOCK_BYTES):
            count, part = count + read.count(b"\n"), read
    return count if part.endswith(b"\n") else 0


def _encoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts as their distinct values and the place of each row among them; other columns as they are."""
    if not pa.types.is_string(column.type):
        return column
    return column.dictionary_encode().unify_dictionaries()


def _fits(kind: Kind | None, column: pa.ChunkedArray) -> bool:
    """Whether all values of a column are certainly of a kind, but for nulls, which the caller looks at. A kind is a
    type and, for numbers, a range, so the smallest and the largest decide.
    """
    if pa.types.is_null(column.type):
        return _allows(kind, None)
    if pa.types.is_dictionary(column.type):
        return all(_allows(kind, text) for text in column.chunk(0).dictionary.to_pylist())
    if pa.types.is_boolean(column.type):
        return _allows(kind, True)
    if not pa.types.is_integer(column.type) and not pa.types.is_floating(column.type):
        return False
    numbers = column.drop_null().to_numpy()
    ends = [numbers.min().item(), numbers.max().item()]
    return bool(np.isfinite(numbers).all()) and all(_allows(kind, end) and abs(end) < LARGEST_WHOLE for end in ends)


def _allows(kind: Kind | None, value: Any) -> bool:
    return kind is not None and kind.fits(value)


def _says_null(path: Path, names: list[str]) -> bool:
    """Whether a line holds a null under one of these names. To Arrow it is the same as a line that lacks the name."""
    null = re.compile(rb'"(?:' + b"|".join(re.escape(name).encode() for name in names) + rb')"\s*:\s*null')
    with path.open("rb") as file:
        return any(null.search(line) for line in file)


def _series(column: pa.ChunkedArray) -> pd.Series:
    """A column as pandas makes it from Python values, in which equal texts are one object."""
    if pa.types.is_null(column.type):
        return pd.Series([None] * len(column), dtype=object)
    if not pa.types.is_dictionary(column.type):
        made = column.to_pandas()
        return made.fillna(np.nan) if made.dtype == object else made  # true and false, where some lines lack the name
    texts = np.array([*column.chunk(0).dictionary.to_pylist(), np.nan], dtype=object)
    places = np.concatenate([chunk.indices.fill_null(len(texts) - 1).to_numpy() for chunk in column.chunks])
    return pd.Series(texts[places]).infer_objects()
