"""Small files: data sets (MNIST where torchvision puts it, a folder of pictures), and what `-o` writes."""

import gzip
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from results.output import output

PARTS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def idx(array: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_mnist(here: Path) -> Path:
    """A whole small data set where torchvision puts MNIST: two files gzipped, two plain."""
    raw = here / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for number, part in enumerate(PARTS):
        noise = np.random.default_rng(number).integers(0, 256, (20, 28, 28))
        array = np.arange(20) % 10 if "labels" in part else noise
        name = f"{part}-ubyte"
        if number % 2:
            (raw / name).write_bytes(idx(array))
        else:
            (raw / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
    return raw


def pictures(folder: Path) -> None:
    """Pictures of 8x8, without classes."""
    folder.mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (40, 8, 8)).astype(np.uint8)):
        Image.fromarray(pixels).save(folder / f"{number}.png")


def output_bytes(path: Path) -> None:
    """Writes a target of `-o`."""
    with output(path) as file:
        file.write(b"bytes")
