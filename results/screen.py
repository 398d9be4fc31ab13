"""Lays out a table for a person: numbers as short as they may be, and the columns that matter where not all fit."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from results.printable import printable

GAP = "  "  # between two columns
DIGITS, MOST_DIGITS = 4, 8  # significant ones of a number; up to so many for one that is nearly 1, such as 0.99996
TINY, LARGE, LARGE_WHOLE = 1e-3, 1e6, 1e9  # sizes below the first and from the others on are written as 1.2e-04
MOST_DECIMALS = 6
MISSING = "-"
NAME_LINES = 2  # over which a long name may go


class Column(NamedTuple):
    """A column as a person sees it. rank: where not all columns fit, those of low rank are shown; 0: in any case.
    brief: shorter cells, for where these do not fit; none if there is no shorter form. left: whether cells are text.
    """

    name: str
    cells: tuple[str, ...]
    rank: float = 0.0
    left: bool = False
    brief: tuple[str, ...] = ()


def column(name: str, values: Any, rank: float = 0.0, missing: str = MISSING, digits: int = DIGITS) -> Column:
    """A column of values [n]: numbers as `number_cells` writes them, everything else as text on one line."""
    name, values = printable(name), pd.Series(values)
    if pd.api.types.is_numeric_dtype(values) and values.dtype != bool:
        return Column(name, number_cells(values, missing, digits), rank)
    cells = (missing if pd.isna(value) else printable(value) for value in values)
    return Column(name, tuple(cells), rank, left=True)


def number_cells(values: Any, missing: str = MISSING, digits: int = DIGITS) -> tuple[str, ...]:
    """Numbers [n] as text with at most so many significant digits, all in one notation: whole ones without a point, and
    with an exponent if one is tiny or large.
    """
    numbers = pd.Series(values).astype("float64").to_numpy()
    finite = numbers[np.isfinite(numbers)]
    sizes = np.abs(finite[finite != 0])
    if not (finite % 1).any() and (sizes < LARGE_WHOLE).all():
        return tuple(_cell(number, ".0f", missing) for number in numbers)
    while digits < MOST_DIGITS and any(float(f"{number:.{digits}g}") == 1 for number in sizes[sizes < 1]):
        digits += 1
    digits = max(_digits_of(number, digits) for number in sizes)
    form = f".{digits - 1}e" if sizes.min() < TINY or sizes.max() >= LARGE else f"#.{digits}g"
    return tuple(_cell(number, form if number else ".0f", missing).rstrip(".") for number in numbers)


def _digits_of(number: float, most: int) -> int:
    """How many significant digits a number above 0 has, or `most` if it has more."""
    mantissa = f"{number:.{most - 1}e}".partition("e")[0]
    return len(mantissa.replace(".", "").rstrip("0"))


def measured_cells(values: Any, errors: Any, missing: str = MISSING) -> tuple[str, ...]:
    """Values [n] with their standard errors [n], such as `1.123 ± 0.034`. All cells have as many decimals as show two
    digits of the median error, but not more than show DIGITS digits of the median value. A missing error is left out.
    """
    values, errors = (pd.Series(each).astype("float64").to_numpy() for each in (values, errors))
    known = errors[np.isfinite(errors) & (errors > 0)]
    if not len(known):
        return number_cells(values, missing)
    sizes = np.abs(values)
    worth = [1 - _magnitude(known), DIGITS - 1 - _magnitude(sizes[(sizes > 0) & (sizes < LARGE)])]
    decimals = max(0, min(MOST_DECIMALS, *worth))
    pairs = [
        [_cell(number, f".{decimals}f" if abs(number) < LARGE else ".3e", missing) for number in pair]
        for pair in zip(values, errors, strict=True)
    ]
    wide, narrow = (max(map(len, cells)) for cells in zip(*pairs, strict=True))
    blank = " " * (narrow + len(" ± "))
    return tuple(
        f"{value:>{wide}}" + (f" ± {error:>{narrow}}" if error != missing else blank) for value, error in pairs
    )


def _magnitude(sizes: np.ndarray) -> int:
    """The power of ten of the median of sizes [n] above 0."""
    return math.floor(math.log10(np.median(sizes))) if len(sizes) else 0


def _cell(number: float, form: str, missing: str) -> str:
    return missing if math.isnan(number) else f"{number:{form}}"


def laid_out(columns: Sequence[Column], width: int | None) -> tuple[str, int]:
    """The lines of a table, and how many of its columns are hidden because lines would be wider than `width`. None:
    all are shown, however wide. Names go over two lines where otherwise a column would be hidden.
    """
    kept = list(columns)
    lines = 1
    if width is not None and _width(kept, lines) > width:
        lines = NAME_LINES
        kept = fitting(columns, width)
    heads = [_head(each, lines) for each in kept]
    height = max((len(head) for head in heads), default=0)
    blocks = [[*[""] * (height - len(head)), *head, *each.cells] for head, each in zip(heads, kept, strict=True)]
    widths = [max(map(len, block)) for block in blocks]
    padded = [
        [cell.ljust(size) if each.left else cell.rjust(size) for cell in block]
        for block, size, each in zip(blocks, widths, kept, strict=True)
    ]
    return "\n".join(GAP.join(row).rstrip() for row in zip(*padded, strict=True)), len(columns) - len(kept)


def fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns that fit into lines of this width, in their order: those of rank 0, then by rank as long as there is
    room. Brief cells become whole ones where there is room left.
    """
    chosen = {place: _brief(each) for place, each in enumerate(columns) if each.rank <= 0}
    for place in sorted(range(len(columns)), key=lambda place: columns[place].rank):
        if place not in chosen:
            more = {**chosen, place: _brief(columns[place])}
            chosen = more if _width(more.values(), NAME_LINES) <= width else chosen
    for place in list(chosen):
        more = {**chosen, place: columns[place]}
        chosen = more if _width(more.values(), NAME_LINES) <= width else chosen
    return [chosen[place] for place in sorted(chosen)]


def _brief(whole: Column) -> Column:
    return whole._replace(cells=whole.brief) if whole.brief else whole


def _width(columns: Any, lines: int) -> int:
    sizes = [max(map(len, (*_head(each, lines), *each.cells))) for each in columns]
    return sum(sizes) + len(GAP) * (len(sizes) - 1)


def _head(each: Column, lines: int) -> list[str]:
    """The name of a column in one line, or in two that break after the `_` at which they are shortest."""
    name, longest = each.name, max(map(len, each.cells), default=0)
    places = [place + 1 for place, letter in enumerate(name) if letter == "_" and 0 < place < len(name) - 1]
    if lines == 1 or len(name) <= longest or not places:
        return [name]
    place = min(places, key=lambda place: max(place, len(name) - place))
    return [name[:place], name[place:]]
