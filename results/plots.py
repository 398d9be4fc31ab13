"""Pictures of samples: a grid of images, or the density of numbers. numpy and Pillow."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from gan_core.files.whole_files import appearing_whole

SMALLEST_GRID_PIXELS = 512  # small images are enlarged by a whole factor until the grid is about this wide
MOST_GRID_PIXELS = 89_478_485  # which Pillow opens without warning of a bomb; a grid of more is for no eye
PLOT_WIDTH, PLOT_HEIGHT = 640, 320
BARS = 80
INK, BAR, PAPER = np.arange(3, dtype=np.uint8)
COLOURS = np.array([(30, 30, 30), (120, 160, 220), (255, 255, 255)], np.uint8)
FAST = 1  # zlib's level: every trial has a picture


def image_grid(samples: np.ndarray, classes: int = 0) -> np.ndarray:
    """Images [n, C, H, W] in [-1, 1] (C of 1 or 3) -> one picture uint8 [rows*(H+1)+1, columns*(W+1)+1, C]: as square
    as n allows, or, of samples whose classes take turns, a row for each class (where n has them all). A value that is
    not finite is black.
    """
    return _grid([samples], len(samples), samples.shape[1:], classes)


def _grid(parts: Iterable[np.ndarray], count: int, shape: Sequence[int], classes: int) -> np.ndarray:
    channels, height, width = shape
    classes = classes if 1 < classes <= count else 0
    columns = math.ceil(count / classes) if classes else math.ceil(math.sqrt(count))
    rows = classes or math.ceil(count / columns)
    grid = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, channels), 128, np.uint8)
    place = 0
    for part in parts:
        for image in to_bytes(part):
            row, column = (place % rows, place // rows) if classes else divmod(place, columns)
            top, left = 1 + row * (height + 1), 1 + column * (width + 1)
            grid[top : top + height, left : left + width] = image
            place += 1
    factor = max(1, SMALLEST_GRID_PIXELS // grid.shape[1])
    return grid.repeat(factor, 0).repeat(factor, 1)


def to_bytes(images: np.ndarray) -> np.ndarray:
    """Images [n, C, H, W] in [-1, 1] -> uint8 [n, H, W, C]; black where they are not finite."""
    finite = np.clip(np.nan_to_num(images, nan=-1.0, posinf=-1.0), -1, 1)
    return (finite * 127.5 + 127.5).round().astype(np.uint8).transpose(0, 2, 3, 1)


def most_in_grid(shape: Sequence[int], classes: int = 0) -> int:
    """How many images [C, H, W] a grid of at most MOST_GRID_PIXELS has, with a row for each of some classes."""
    _, height, width = shape
    if classes > 1:
        return classes * max(0, (MOST_GRID_PIXELS // (classes * (height + 1) + 1) - 1) // (width + 1))
    side = math.isqrt(MOST_GRID_PIXELS) - 1
    return (side // (height + 1)) * (side // (width + 1))


def density_plot(values: np.ndarray, mean: float = 4.0, deviation: float = 1.25) -> np.ndarray:
    """Numbers [n] -> uint8 [PLOT_HEIGHT, PLOT_WIDTH, 3]: their histogram as bars, N(mean, deviation^2) as a line.

    Both are densities over mean +- 4 deviations.
    """
    return COLOURS[_density([values], mean, deviation)]


def _density(parts: Iterable[np.ndarray], mean: float = 4.0, deviation: float = 1.25) -> np.ndarray:
    """`density_plot` as places in COLOURS: uint8 [PLOT_HEIGHT, PLOT_WIDTH]."""
    low, high = mean - 4 * deviation, mean + 4 * deviation
    heights, count = np.zeros(BARS), 0
    for values in parts:
        heights += np.histogram(values[np.isfinite(values)], bins=BARS, range=(low, high))[0]
        count += values.size
    bar_density = heights / max(1, count) / ((high - low) / BARS)
    x = np.linspace(low, high, PLOT_WIDTH)
    line = np.exp(-((x - mean) ** 2) / (2 * deviation**2)) / (deviation * math.sqrt(2 * math.pi))
    top = 1.1 * max(line.max(), bar_density.max())
    above = np.arange(PLOT_HEIGHT, dtype=np.int16)[::-1, None]  # rows of pixels below each
    bars = np.rint(bar_density / top * PLOT_HEIGHT).astype(np.int16)[np.arange(PLOT_WIDTH) * BARS // PLOT_WIDTH]
    middle = np.maximum(1, np.rint(line / top * PLOT_HEIGHT)).astype(np.int16)
    return np.where(abs(above - middle) <= 1, INK, np.where(above < bars, BAR, PAPER))


def picture_of(parts: Iterable[np.ndarray], count: int, shape: Sequence[int], classes: int = 0) -> Image.Image:
    """One picture of samples that come in parts, `count` in all: a grid of images [n, C, H, W] as `image_grid` makes
    it, or the density of numbers [n, d].
    """
    if len(shape) == 3:
        return image_of(_grid(parts, count, shape, classes))
    picture = Image.fromarray(_density(parts))
    picture.putpalette(COLOURS.tobytes())
    return picture


def image_of(pixels: np.ndarray) -> Image.Image:
    """Pixels uint8 [H, W, C], C of 1 or 3, as Pillow has them."""
    return Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)


def write_png(picture: Image.Image, file: BinaryIO) -> None:
    """Writes a picture as PNG."""
    picture.save(file, format="PNG", compress_level=FAST)


def draw_samples(samples: np.ndarray, path: Path, classes: int = 0) -> None:
    """A PNG of samples: a grid of images [n, C, H, W], with a row a class where classes take turns in them, or the
    density of numbers [n, d].
    """
    picture = picture_of([samples], len(samples), samples.shape[1:], classes)
    path.parent.mkdir(parents=True, exist_ok=True)
    with appearing_whole(path, synced=False) as partial, partial.open("wb") as file:
        write_png(picture, file)
