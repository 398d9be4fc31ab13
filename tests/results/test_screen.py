"""A table for a person: numbers as short as they may be, none cut, and the columns that matter where not all fit."""

import math

import pytest

from results.screen import Column, column, laid_out, measured_cells, number_cells

NAN = math.nan


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        ([128, 64.0, 2000], ("128", "64", "2000")),
        ([0.5, 0.25, NAN, 12.3456, 0], ("0.5000", "0.2500", "-", "12.35", "0")),
        ([0.5, 0.25], ("0.50", "0.25")),
        ([0.0001234567, 0.5, 0], ("1.235e-04", "5.000e-01", "0")),
        ([1e-4, -2e-5], ("1e-04", "-2e-05")),  # one notation a column
        ([2_000_000.5, 1.5], ("2.0e+06", "1.5e+00")),
        ([0.9, 0.99996], ("0.90000", "0.99996")),  # not 1
        ([math.inf, -math.inf, 1.5, 1234.56], ("inf", "-inf", "1.500", "1235")),
        ([10**8, 5], ("100000000", "5")),
        ([10**9, 5], ("1e+09", "5e+00")),
        ([NAN, None], ("-", "-")),
        ([], ()),
    ],
)
def test_numbers_of_a_column_are_written_in_one_way(values, cells):
    assert number_cells(values) == cells


def test_the_number_of_digits_may_be_chosen_and_a_missing_number_may_be_a_word():
    assert number_cells([0.123456, NAN], "as beta1", 3) == ("0.123", "as beta1")


@pytest.mark.parametrize(
    ("values", "errors", "cells"),
    [
        ([1.23456, 6.80912], [0.034, 0.11], ("1.235 ± 0.034", "6.809 ± 0.110")),
        ([0.19778, 3.42823, 3.9], [0.01613, 0.00005, 0.0001], ("0.198 ± 0.016", "3.428 ± 0.000", "3.900 ± 0.000")),
        ([308.94, 5.0], [4.5, 1.2], ("308.9 ± 4.5", "  5.0 ± 1.2")),
        ([5000.4, 1.0], [120.0, 90.0], ("5000 ± 120", "   1 ±  90")),
        ([1.5, NAN], [0.25, NAN], ("1.50 ± 0.25", "   -       ")),
        ([1.5, 2.5], [NAN, NAN], ("1.5", "2.5")),
        ([2e6, 1.5], [0.25, 0.25], ("2.000e+06 ± 0.25", "     1.50 ± 0.25")),
    ],
)
def test_a_value_has_as_many_decimals_as_its_error_is_worth(values, errors, cells):
    assert [cell.strip() for cell in measured_cells(values, errors)] == [cell.strip() for cell in cells]
    assert len({len(cell) for cell in measured_cells(values, errors)}) == 1


def test_text_is_on_the_left_and_numbers_are_on_the_right():
    columns = [column("trial", [1, 20]), column("outcome", ["pruned", "a\nb"]), column("lr", [0.5, NAN])]
    assert laid_out(columns, None) == ("trial  outcome   lr\n    1  pruned   0.5\n   20  a\\nb       -", 0)


WORDS = "oscillation memorisation"
COLUMNS = [
    Column("trial", ("1",)),
    Column("discriminator_lr", ("0.001",), rank=2.0),
    Column("beta1", ("0.5",), rank=2.1),
    Column("signs", (WORDS,), rank=1.0, left=True, brief=("2",)),
    Column("fid", ("12.5",), rank=3.0),
]


@pytest.mark.parametrize(
    ("width", "names", "cells"),
    [
        (
            80,
            ["trial", "discriminator_lr", "beta1", "signs", "fid"],
            ["1", "0.001", "0.5", WORDS, "12.5"],
        ),
        (60, ["trial", "discriminator_lr", "beta1", "signs", "fid"], ["1", "0.001", "0.5", WORDS, "12.5"]),
        (59, ["trial", "discriminator_lr", "beta1", "signs", "fid"], ["1", "0.001", "0.5", "2", "12.5"]),
        (41, ["trial", "discriminator_lr", "beta1", "signs", "fid"], ["1", "0.001", "0.5", "2", "12.5"]),
        (28, ["trial", "discriminator_lr", "signs"], ["1", "0.001", "2"]),
        (22, ["trial", "beta1", "signs"], ["1", "0.5", "2"]),
        (5, ["trial"], ["1"]),
        (2, ["trial"], ["1"]),
    ],
)
def test_where_not_all_columns_fit_those_that_matter_most_stay_and_words_become_numbers(width, names, cells):
    lines, hidden = laid_out(COLUMNS, width)
    *heads, row = lines.splitlines()
    assert hidden == len(COLUMNS) - len(names)
    assert "  ".join(row.split("  ")).split() == " ".join(cells).split()
    assert sorted("".join("".join(heads).split())) == sorted("".join(names))
    assert width < 5 or max(map(len, lines.splitlines())) <= width


def test_a_long_name_breaks_after_a_part_of_it_where_a_column_would_be_hidden():
    columns = [Column("trial", ("1",)), Column("ema_half_life_images", ("2000",)), Column("x_", ("1",))]
    assert laid_out(columns, 24)[0].splitlines() == [
        "         ema_half_",
        "trial  life_images  x_",
        "    1         2000   1",
    ]
