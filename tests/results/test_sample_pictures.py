"""Plots of samples."""

import numpy as np
import pytest
from PIL import Image

from results.pictures import (
    BAR,
    BARS,
    INK,
    PALETTE,
    PLOT_HEIGHT,
    PLOT_WIDTH,
    SMALLEST_GRID_PIXELS,
    draw_samples,
    picture_of,
)


def image_grid(samples: np.ndarray, parts: int = 1) -> np.ndarray:
    """The pixels [height, width, C] of a grid of images that arrive in so many parts."""
    picture = picture_of(np.array_split(samples, parts), len(samples), samples.shape[1:])
    return np.asarray(picture).reshape(picture.height, picture.width, -1)


def density_plot(values: np.ndarray) -> np.ndarray:
    """The palette index [PLOT_HEIGHT, PLOT_WIDTH] of each pixel of a histogram."""
    picture = picture_of([values], len(values), ())
    assert tuple(picture.getpalette() or ())[: len(PALETTE)] == PALETTE
    return np.asarray(picture)


def unscaled(grid: np.ndarray, width: int) -> np.ndarray:
    """A grid before it was enlarged by a whole factor; width: its original width in pixels."""
    factor = grid.shape[1] // width
    assert (grid == grid[::factor, ::factor].repeat(factor, 0).repeat(factor, 1)).all()
    return grid[::factor, ::factor]


@pytest.mark.parametrize(
    ("count", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (4, 2, 2), (5, 2, 3), (10, 3, 4), (64, 8, 8)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_is_as_square_as_its_count_allows_and_shows_each_image_once(count, rows, columns, channels):
    levels = np.linspace(255, 0, count).astype(int)
    samples = np.broadcast_to((levels / 127.5 - 1)[:, None, None, None], (count, channels, 4, 5))
    grid = unscaled(image_grid(samples), columns * 6 + 1)
    assert grid.shape == (rows * 5 + 1, columns * 6 + 1, channels)
    for i, level in enumerate(levels):
        cell = grid[1 + i // columns * 5 :, 1 + i % columns * 6 :][:4, :5]
        assert (cell == level).all()
    assert (image_grid(samples, parts=3) == image_grid(samples)).all()


def test_a_small_grid_is_enlarged_and_a_large_one_left():
    assert SMALLEST_GRID_PIXELS / 2 < image_grid(np.zeros((1, 1, 8, 8))).shape[1] <= SMALLEST_GRID_PIXELS
    assert image_grid(np.zeros((1, 1, 600, 600))).shape == (602, 602, 1)


def test_rows_and_columns_of_an_image_are_not_swapped():
    samples = -np.ones((1, 1, 3, 3), np.float32)
    samples[0, 0, 0, 2] = 1  # the top right corner
    grid = unscaled(image_grid(samples), 5)
    assert grid[1, 3, 0] == 255
    assert grid[3, 1, 0] == 0


@pytest.mark.parametrize(("value", "pixel"), [(-1, 0), (1, 255), (-7, 0), (7, 255)])
def test_values_beyond_the_range_are_clipped(value, pixel):
    assert image_grid(np.full((1, 1, 600, 600), value, np.float32))[5, 5, 0] == pixel


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_black(value):
    assert image_grid(np.full((1, 1, 600, 600), value, np.float32))[5, 5, 0] == 0


def bar_tops(plot: np.ndarray) -> np.ndarray:
    """The height of each bar, as a fraction of the highest."""
    columns = (plot == BAR).sum(0)[PLOT_WIDTH // BARS // 2 :: PLOT_WIDTH // BARS]
    return columns / columns.max()


def test_a_density_plot_shows_bars_where_the_numbers_are_and_the_law_they_should_follow():
    plot = density_plot(np.full(1000, 4.01))
    tops = bar_tops(plot)
    assert plot.shape == (PLOT_HEIGHT, PLOT_WIDTH)
    assert np.flatnonzero(tops).tolist() == [BARS // 2]
    line = plot == INK
    assert line.any(0).all()
    assert line[:, PLOT_WIDTH // 2].argmax() == line.argmax(0).min()  # the line is highest at the mean


def test_numbers_of_the_right_law_follow_the_line():
    drawn = np.random.default_rng(0).normal(4, 1.25, 100_000)
    plot = density_plot(drawn)
    bars = PLOT_HEIGHT - (plot == BAR).argmax(0)[PLOT_WIDTH // 2]
    line = PLOT_HEIGHT - (plot == INK).argmax(0)[PLOT_WIDTH // 2]
    assert ((plot == BAR) | (plot == INK)).any(0).all()
    assert abs(bars - line) < 0.05 * PLOT_HEIGHT


@pytest.mark.parametrize("values", [np.full(5, np.nan), np.array([1e30, -1e30]), np.array([])])
def test_numbers_that_lie_nowhere_draw_no_bar(values):
    plot = density_plot(values)
    assert not (plot == BAR).any()
    assert (plot == INK).any()


@pytest.mark.parametrize(
    ("samples", "mode"),
    [(np.zeros((4, 1, 8, 8)), "L"), (np.zeros((4, 3, 8, 8)), "RGB"), (np.ones((9, 1)), "P"), (np.ones(9), "P")],
)
def test_samples_become_a_png_and_nothing_else(tmp_path, samples, mode):
    path = tmp_path / "deep" / "samples.png"
    draw_samples(samples, path)
    draw_samples(samples, path)
    with Image.open(path) as picture:
        assert (picture.format, picture.mode) == ("PNG", mode)
        assert picture.width > 100
    assert [p.name for p in path.parent.iterdir()] == ["samples.png"]
