"""Images made for tests: coloured shapes, and textures of several roughnesses, as data sets like those of folders."""

import hashlib

import numpy as np
import torch

from gan_core.data.dataset import Dataset
from gan_core.data.pictures import HELD_OUT_ONE_IN


def coloured_shapes(count: int, side: int = 32, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Circles, squares and triangles of any colour on any colour: [n, 3, H, W] in [0, 255], and their kinds [n]."""
    draw = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    labels = np.arange(count) % 3
    images = np.empty((count, side, side, 3), np.float32)
    for i, label in enumerate(labels):
        behind, before = draw.uniform(0, 127, 3) + draw.uniform(0, 60), draw.uniform(0, 255, 3)
        middle, radius = draw.uniform(0.35 * side, 0.65 * side, 2), draw.uniform(0.18 * side, 0.34 * side)
        x, y = (columns - middle[0]) / radius, (rows - middle[1]) / radius
        circle, square = x**2 + y**2 <= 1, np.maximum(abs(x), abs(y)) <= 0.85
        triangle = (y <= 0.8) & (y >= 1.9 * abs(x) - 1)
        images[i] = np.where((circle, square, triangle)[label][..., None], before, behind)
    return images.transpose(0, 3, 1, 2).clip(0, 255), labels


def circles(count: int, side: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """The circles among coloured shapes: one class."""
    images, labels = coloured_shapes(3 * count, side)
    return images[labels == 0], labels[labels == 0]


def textures(count: int, side: int = 32, seed: int = 0, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Noise with the power-law spectrum of photographs (Field 1987), whose slope, direction and colours depend on the
    class; the results are as in `coloured_shapes`.
    """
    draw = np.random.default_rng(seed)
    frequency = np.fft.fftfreq(side)
    length = np.hypot(frequency[:, None], frequency)
    length[0, 0] = 1 / side
    direction = np.arctan2(frequency[:, None], frequency + 1e-9)
    labels = np.arange(count) % classes
    images = np.empty((count, 3, side, side), np.float32)
    for i, label in enumerate(labels):
        own = np.random.default_rng(1_000 + label)
        slope, angle, lean = own.uniform(0.8, 1.8), own.uniform(0, np.pi), own.uniform(0, 0.9)
        mix, base = own.normal(size=(3, 3)) / 2 + 0.4, own.uniform(70, 180, 3)
        spectrum = length**-slope * (1 + lean * np.cos(2 * (direction - angle)))
        field = np.fft.ifft2(spectrum * np.fft.fft2(draw.normal(size=(3, side, side)))).real
        colour = np.einsum("dc,cij->dij", mix, field / field.std())
        images[i] = 40 * colour + (base + draw.normal(0, 15, 3))[:, None, None]
    return images.clip(0, 255), labels


def as_dataset(name: str, drawn: tuple[np.ndarray, np.ndarray], labelled: bool = True) -> Dataset:
    """The split of `images:FOLDER`: a sixth of each class is held out."""
    images, labels = torch.from_numpy(drawn[0] / 127.5 - 1).float(), torch.from_numpy(drawn[1]).long()
    of = labels if labelled else torch.zeros_like(labels)
    order = np.random.default_rng(1).permutation(len(images))
    held_out = np.concatenate([m[: len(m) // HELD_OUT_ONE_IN] for m in (order[of[order] == k] for k in of.unique())])
    train = np.setdiff1d(np.arange(len(images)), held_out)
    digest = hashlib.sha256(f"{name}:{labelled}".encode() + images.numpy().tobytes()).hexdigest()[:16]
    mine = (labels[train], labels[held_out]) if labelled else (None, None)
    classes = int(labels.max()) + 1 if labelled else 0
    return Dataset(f"images:{name}", images[train], mine[0], images[held_out], mine[1], classes, digest)
