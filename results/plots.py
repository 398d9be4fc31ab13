"""Pictures of samples: a grid of images, or the density of numbers. numpy and Pillow."""

import math
from pathlib import Path

import numpy as np
from PIL import Image

from results.store import appearing_whole

SMALLEST_GRID_PIXELS = 512  # small images are enlarged by a whole factor until the grid is about this wide
PLOT_WIDTH, PLOT_HEIGHT = 640, 320
BARS = 80
INK, BAR, PAPER = (30, 30, 30), (120, 160, 220), (255, 255, 255)


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
    low, high = mean - 4 * deviation, mean + 4 * deviation
    heights, _ = np.histogram(values[np.isfinite(values)], bins=BARS, range=(low, high))
    bar_density = heights / max(1, len(values)) / ((high - low) / BARS)
    x = np.linspace(low, high, PLOT_WIDTH)
    line = np.exp(-((x - mean) ** 2) / (2 * deviation**2)) / (deviation * math.sqrt(2 * math.pi))
    top = 1.1 * max(line.max(), bar_density.max())
    plot = np.full((PLOT_HEIGHT, PLOT_WIDTH, 3), PAPER, np.uint8)
    for column in range(PLOT_WIDTH):
        bar = bar_density[column * BARS // PLOT_WIDTH]
        plot[PLOT_HEIGHT - round(bar / top * PLOT_HEIGHT) :, column] = BAR if bar else PAPER
        y = min(PLOT_HEIGHT - 2, PLOT_HEIGHT - 1 - round(line[column] / top * PLOT_HEIGHT))
        plot[max(0, y - 1) : y + 2, column] = INK
    return plot


def draw_samples(samples: np.ndarray, path: Path) -> None:
    """A PNG of samples: a grid of images [n, C, H, W], or the density of numbers [n, 1] or [n]."""
    picture = image_grid(samples) if samples.ndim == 4 else density_plot(samples.reshape(-1))
    path.parent.mkdir(parents=True, exist_ok=True)
    with appearing_whole(path) as partial:
        Image.fromarray(picture.squeeze(2) if picture.shape[2] == 1 else picture).save(partial, format="PNG")
