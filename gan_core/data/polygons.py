"""Triangles drawn by a published recipe: a data set whose true distribution is known.

Lucic et al. 2018, "Are GANs Created Equal?": their code (`colabs/Convex_Polygons_Dataset.ipynb` of compare_gan) draws
dark triangles on white whose corners lie on one circle. A triangle is defined by three numbers, the angles of its
corners on the circle, and `gan_core.fidelity.triangles` recovers them from an image without a network.

Points are (row, column) in pixels. n polygons or images, V corners.
"""

import hashlib
import math
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from gan_core.files.cache import alone, keep_tensors, kept_tensors, writable_cache_folder
from gan_core.lanes.streams import Stream, stream

POLYGONS = 80_000  # Lucic et al. train on the first 60,000, test on the next 10,000 and reserve the last 10,000
SIZE_PIXELS = 28
SUBSAMPLES = 8  # points along each axis of a pixel
FIRST_SUBSAMPLE = -3  # a pixel counts the points -3/8 to 4/8 from its index, as the recipe's convolution is centred
CENTRE_PIXELS = (FIRST_SUBSAMPLE + (SUBSAMPLES - 1) / 2) / SUBSAMPLES  # of pixel 0: the mean of the points it counts
RADIUS_PIXELS = 0.75 * SIZE_PIXELS / 2  # of the circle; 0.75 is the recipe's scale
SEGMENT_STARTS = np.radians([10.0, 130.0, 250.0])  # of each corner's angle; min_segment_angle 20 leaves gaps of 10
SEGMENT_ENDS = np.radians([120.0, 240.0, 360.0])
ROTATION = math.radians(2 * math.pi)  # the recipe rotates by radians(U(0, 2 pi)), which is at most 6.28 degrees
SEED = 0
RECIPE = f"1:{POLYGONS}:{SIZE_PIXELS}:{SUBSAMPLES}:{FIRST_SUBSAMPLE}:{RADIUS_PIXELS}:10:120:{ROTATION}:{SEED}"
POLYGONS_AT_ONCE = 500  # so that the arrays of one pass of the rasteriser stay in the processor's cache


def polygon_vertices(count: int, seed: int = SEED) -> np.ndarray:
    """The corners of the first `count` random triangles of a seed: float64 [count, 3, 2].

    As in the recipe, the angle of each corner is uniform in its segment of the circle, all three are rotated by up to
    6.28 degrees, and the corners are shifted so that their mean is the centre of the image. The recipe seeds NumPy's
    global generator and these draws come from a keyed stream, so the two agree in distribution but not bit for bit.
    The recipe's final shuffle is left out, because the draws are independent.
    """
    drawn = stream(seed, Stream.DATA_SAMPLES, 1).random((count, 4))
    angles = SEGMENT_STARTS + drawn[:, :3] * (SEGMENT_ENDS - SEGMENT_STARTS)
    return triangle_vertices(angles - ROTATION * drawn[:, 3:])


def triangle_vertices(angles: np.ndarray) -> np.ndarray:
    """The corners [n, 3, 2] of the triangles with these angles [n, 3] in radians."""
    on_circle = RADIUS_PIXELS * np.stack((np.cos(angles), np.sin(angles)), -1)
    return on_circle - on_circle.mean(1, keepdims=True) + SIZE_PIXELS / 2


def rasterise(vertices: np.ndarray) -> np.ndarray:
    """Draws convex polygons [n, V, 2], their corners in either direction, as antialiased images: uint8 [n, 28, 28].

    A pixel is 255 times the fraction of its 8x8 points that lie outside the polygon, rounded, so the polygon is dark on
    white. The recipe's code gives the same counts for the same corners, and with them its shift of the image by half
    a pixel to the lower right.
    """
    counts = np.arange(SUBSAMPLES**2 + 1)
    grey = (255 * (SUBSAMPLES**2 - counts) + SUBSAMPLES**2 // 2) // SUBSAMPLES**2
    return grey.astype(np.uint8)[covered_points(vertices)]


def covered_points(vertices: np.ndarray) -> np.ndarray:
    """The number of the 8x8 points of each pixel that lie in the polygon, 0..64: uint8 [n, 28, 28]."""
    parts = [_count(vertices[i : i + POLYGONS_AT_ONCE]) for i in range(0, len(vertices), POLYGONS_AT_ONCE)]
    return np.concatenate(parts) if parts else np.empty((0, SIZE_PIXELS, SIZE_PIXELS), np.uint8)


def _count(vertices: np.ndarray) -> np.ndarray:
    side = SIZE_PIXELS * SUBSAMPLES
    before = np.arange(side + 1)[:, None] - SUBSAMPLES * np.arange(SIZE_PIXELS)
    before = before.clip(0, SUBSAMPLES).astype(np.uint8)  # [columns, pixels]: points of a pixel left of a column
    edges = np.roll(vertices, -1, 1) - vertices
    along_rows = np.where(edges[..., 0] == 0, 1e-12, edges[..., 0])  # tilts horizontal edges, to have no division by 0
    turn = edges[:, :1, 0] * edges[:, 1:2, 1] - edges[:, :1, 1] * edges[:, 1:2, 0]
    opens = (along_rows * turn > 0)[..., None]  # whether the inside is to the right of this edge
    rows = (np.arange(side) + FIRST_SUBSAMPLE) / SUBSAMPLES
    slopes = (edges[..., 1] / along_rows)[..., None]
    columns = vertices[..., 1, None] + slopes * (rows - vertices[..., 0, None])  # [n, V, rows]: where a row meets edges
    columns = columns * SUBSAMPLES - FIRST_SUBSAMPLE
    first = np.ceil(np.where(opens, columns, -np.inf).max(1)).clip(0, side).astype(np.intp)
    end = np.floor(np.where(opens, np.inf, columns).min(1) + 1).clip(0, side).astype(np.intp)
    points = before[np.maximum(first, end)] - before[first]  # [n, rows, pixels]
    return points.reshape(len(vertices), SIZE_PIXELS, SUBSAMPLES, SIZE_PIXELS).sum(2, dtype=np.uint8)


def polygon_images() -> np.ndarray:
    """The data set: always the same 80,000 triangles, uint8 [80000, 28, 28].

    They are cached under a hash of the recipe: one process draws them, in about two seconds of one core, and others
    wait. An unreadable file is made again. If the cache cannot be written, a temporary folder is used.
    """
    path = writable_cache_folder() / f"polygons-{hashlib.sha256(RECIPE.encode()).hexdigest()[:12]}.safetensors"
    with alone(path):
        images = _read(path)
        if images is None:
            images = rasterise(polygon_vertices(POLYGONS))
            keep_tensors(path, {"images": images}, save_file)
    return images


def _read(path: Path) -> np.ndarray | None:
    images = (kept_tensors(path, load_file) or {}).get("images")
    fits = images is not None and images.dtype == np.uint8 and images.shape == (POLYGONS, SIZE_PIXELS, SIZE_PIXELS)
    return images if fits else None
