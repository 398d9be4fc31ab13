"""Pictures of samples: a grid of images, or the histogram of numbers. Drawn with numpy and Pillow, without torch."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageDraw

from gan_core.files.whole_files import appearing_whole

SMALLEST_GRID_PIXELS = 512  # small images are enlarged by a whole factor until the grid is about this wide
MOST_GRID_PIXELS = 89_478_485  # Pillow warns of a "decompression bomb" when it opens a larger picture
GAP = 128  # the grey level between the images of a grid
PLOT_WIDTH, PLOT_HEIGHT = 640, 320  # pixels
BARS = 80
INK, BAR, PAPER = range(3)  # palette indices of a histogram: the density line, the bars, the background
PALETTE = (30, 30, 30, 120, 160, 220, 255, 255, 255)  # red, green and blue of each
FAST = 1  # zlib compression level: a sweep writes a picture for every trial


def picture_of(parts: Iterable[np.ndarray], count: int, shape: Sequence[int], classes: int = 0) -> Image.Image:
    """One picture of `count` samples of this shape, which arrive in parts [n, *shape]: images [C, H, W] in [-1, 1] as a
    grid, other samples as a histogram of all their numbers. classes: see `_grid`.
    """
    return _grid(parts, count, shape, classes) if len(shape) == 3 else _histogram(parts)


def _grid(parts: Iterable[np.ndarray], count: int, shape: Sequence[int], classes: int) -> Image.Image:
    """A grid of rows*(H+1)+1 by columns*(W+1)+1 pixels, enlarged where it is small, and as square as the count allows.
    Where the samples cycle through `classes` classes, and there is at least one of each, every class has its own row.
    """
    channels, height, width = shape
    classes = classes if 1 < classes <= count else 0
    columns = math.ceil(count / classes) if classes else math.ceil(math.sqrt(count))
    rows = classes or math.ceil(count / columns)
    grid = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, channels), GAP, np.uint8)
    # A view of the grid whose [row, column] is one cell: an image, with the gap below it and to its right.
    cells = grid[1:, 1:].reshape(rows, height + 1, columns, width + 1, channels, copy=False).swapaxes(1, 2)
    first = 0
    for part in parts:
        place = np.arange(first, first + len(part))
        row, column = (place % rows, place // rows) if classes else divmod(place, columns)
        cells[row, column, :height, :width] = to_bytes(part)
        first += len(part)
    factor = max(1, SMALLEST_GRID_PIXELS // grid.shape[1])
    return image_of(grid.repeat(factor, 0).repeat(factor, 1))


def to_bytes(images: np.ndarray) -> np.ndarray:
    """Images [n, C, H, W] in [-1, 1] as uint8 [n, H, W, C]. Values outside are clipped; NaN and infinity are black."""
    finite = np.clip(np.nan_to_num(images, nan=-1.0, posinf=-1.0), -1, 1)
    return (finite * 127.5 + 127.5).round().astype(np.uint8).transpose(0, 2, 3, 1)


def most_in_grid(shape: Sequence[int], classes: int = 0) -> int:
    """How many images [C, H, W] fit into a grid of MOST_GRID_PIXELS, with one row for each class if there are any."""
    _, height, width = shape
    if classes > 1:
        return classes * max(0, (MOST_GRID_PIXELS // (classes * (height + 1) + 1) - 1) // (width + 1))
    side = math.isqrt(MOST_GRID_PIXELS) - 1
    return (side // (height + 1)) * (side // (width + 1))


def _histogram(parts: Iterable[np.ndarray], mean: float = 4.0, deviation: float = 1.25) -> Image.Image:
    """The density of numbers as bars over mean ± 4 deviations, and that of N(mean, deviation²) as a line. The defaults
    are the distribution of the data set `gaussian`.
    """
    low, high = mean - 4 * deviation, mean + 4 * deviation
    heights, count = np.zeros(BARS), 0
    for values in parts:
        heights += np.histogram(values[np.isfinite(values)], bins=BARS, range=(low, high))[0]
        count += values.size
    bars = heights / max(1, count) / ((high - low) / BARS)
    x = np.linspace(low, high, PLOT_WIDTH)
    line = np.exp(-((x - mean) ** 2) / (2 * deviation**2)) / (deviation * math.sqrt(2 * math.pi))
    pixels = (PLOT_HEIGHT - 1) / (1.1 * max(line.max(), bars.max()))  # of one unit of density
    picture = Image.new("P", (PLOT_WIDTH, PLOT_HEIGHT), PAPER)
    picture.putpalette(PALETTE)
    draw, bar_width = ImageDraw.Draw(picture), PLOT_WIDTH // BARS
    for place, height in enumerate(bars * pixels):
        if height:
            left = place * bar_width
            draw.rectangle((left, PLOT_HEIGHT - height, left + bar_width - 1, PLOT_HEIGHT), fill=BAR)
    draw.line([*enumerate(PLOT_HEIGHT - 1 - line * pixels)], fill=INK, width=3)
    return picture


def image_of(pixels: np.ndarray) -> Image.Image:
    """Pixels uint8 [H, W, C], C of 1 or 3, as a Pillow image."""
    return Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)


def write_png(picture: Image.Image, file: BinaryIO) -> None:
    """Writes a picture as PNG."""
    picture.save(file, format="PNG", compress_level=FAST)


def draw_samples(samples: np.ndarray, path: Path, classes: int = 0) -> None:
    """Writes one PNG of samples [n, ...], as `picture_of` draws it. The file appears whole or not at all."""
    picture = picture_of([samples], len(samples), samples.shape[1:], classes)
    path.parent.mkdir(parents=True, exist_ok=True)
    with appearing_whole(path, synced=False) as partial, partial.open("wb") as file:
        write_png(picture, file)
