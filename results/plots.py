"""Pictures of samples: a grid of images, or the density of numbers. numpy and Pillow."""

import math
from pathlib import Path

import numpy as np
from PIL import Image

from results.store import appearing_whole

SMALLEST_GRID_PIXELS = 512  # small images are enlarged by a whole factor until the grid is about this wide
PLOT_WIDTH, PLOT_HEIGHT = 640, 320
BARS = 80
INK, BAR, PAPER = np.arange(3, dtype=np.uint8)
COLOURS = np.array([(30, 30, 30), (120, 160, 220), (255, 255, 255)], np.uint8)
FAST = 1  # zlib's level: every trial has a picture


def image_grid(samples: np.ndarray) -> np.ndarray:
    """Images [n, C, H, W] in [-1, 1] (C of 1 or 3) -> one picture uint8 [rows*(H+1)+1, columns*(W+1)+1, C], as square
    as n allows. A value that is not finite is black.
    """
    count, channels, height, width = samples.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    pixels = (np.clip(np.nan_to_num(samples, nan=-1.0, posinf=-1.0), -1, 1) * 127.5 + 127.5).round().astype(np.uint8)
    grid = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, channels), 128, np.uint8)
    for i, image in enumerate(pixels):
        top, left = 1 + (i // columns) * (height + 1), 1 + (i % columns) * (width + 1)
        grid[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    factor = max(1, SMALLEST_GRID_PIXELS // grid.shape[1])
    return grid.repeat(factor, 0).repeat(factor, 1)


def density_plot(values: np.ndarray, mean: float = 4.0, deviation: float = 1.25) -> np.ndarray:
    """Numbers [n] -> uint8 [PLOT_HEIGHT, PLOT_WIDTH, 3]: their histogram as bars, N(mean, deviation^2) as a line.

    Both are densities over mean +- 4 deviations.
    """
    return COLOURS[_density(values, mean, deviation)]


def _density(values: np.ndarray, mean: float = 4.0, deviation: float = 1.25) -> np.ndarray:
    """`density_plot` as places in COLOURS: uint8 [PLOT_HEIGHT, PLOT_WIDTH]."""
    low, high = mean - 4 * deviation, mean + 4 * deviation
    heights, _ = np.histogram(values[np.isfinite(values)], bins=BARS, range=(low, high))
    bar_density = heights / max(1, len(values)) / ((high - low) / BARS)
    x = np.linspace(low, high, PLOT_WIDTH)
    line = np.exp(-((x - mean) ** 2) / (2 * deviation**2)) / (deviation * math.sqrt(2 * math.pi))
    top = 1.1 * max(line.max(), bar_density.max())
    above = np.arange(PLOT_HEIGHT, dtype=np.int16)[::-1, None]  # rows of pixels below each
    bars = np.rint(bar_density / top * PLOT_HEIGHT).astype(np.int16)[np.arange(PLOT_WIDTH) * BARS // PLOT_WIDTH]
    middle = np.maximum(1, np.rint(line / top * PLOT_HEIGHT)).astype(np.int16)
    return np.where(abs(above - middle) <= 1, INK, np.where(above < bars, BAR, PAPER))


def draw_samples(samples: np.ndarray, path: Path) -> None:
    """A PNG of samples: a grid of images [n, C, H, W], or the density of numbers [n, 1] or [n]."""
    if samples.ndim == 4:
        grid = image_grid(samples)
        picture = Image.fromarray(grid.squeeze(2) if grid.shape[2] == 1 else grid)
    else:
        picture = Image.fromarray(_density(samples.reshape(-1)))
        picture.putpalette(COLOURS.tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    with appearing_whole(path) as partial:
        picture.save(partial, format="PNG", compress_level=FAST)
