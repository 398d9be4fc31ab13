"""Images in a file of NumPy, `.npz` or `.npy`."""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gan_core.config.input_error import InputError, shortened, shown
from gan_core.data.collected_images import Collector

BEGINNINGS = (b"PK", b"\x93N")  # of the two kinds of files
UNREADABLE = (ValueError, OSError, EOFError, KeyError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error)
TRAINING = ("images", "x_train", "train_images", "x", "X", "arr_0")
TRAINING_LABELS = ("labels", "y_train", "train_labels", "y", "arr_1")
HELD_OUT = ("test_images", "x_test", "val_images", "x_val", "held_out_images")
HELD_OUT_LABELS = ("test_labels", "y_test", "val_labels", "y_val", "held_out_labels")


def collect_array_file(path: Path, collector: Collector) -> Sequence[str]:
    """Puts the images of a file into the collector. `.npy` holds an array [n, H, W], [n, H, W, C] or [n, C, H, W];
    `.npz` one of TRAINING, and maybe its labels and a held-out split, by the names of these lists.

    Raises InputError for a damaged file, one that needs pickle, and as the `Collector` does.
    """
    arrays = _arrays(path)
    images = _named(path, arrays, TRAINING)
    if images is None:
        raise InputError(f"{path} has no array {', '.join(TRAINING)}; it has {', '.join(map(shown, arrays)) or 'none'}")
    held_out = _named(path, arrays, HELD_OUT)
    total = len(images) + (0 if held_out is None else len(held_out))
    for part, labels, held in (
        (images, _named(path, arrays, TRAINING_LABELS), False),
        (held_out, _named(path, arrays, HELD_OUT_LABELS), True),
    ):
        if part is not None:
            _collect(path, collector, part, labels, held, total)
    return ()


def _arrays(path: Path) -> Mapping[str, np.ndarray]:
    """The arrays in a file by their names. Those of an `.npz` are read when they are asked for."""
    try:
        with path.open("rb") as file:
            if file.read(2) not in BEGINNINGS:
                raise ValueError("it does not begin as one")
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except UNREADABLE as error:
        raise InputError(_unread(path, error)) from error
    return {"images": found} if isinstance(found, np.ndarray) else found


def _named(path: Path, arrays: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray | None:
    """The array of the first of these names that there is."""
    name = next((name for name in names if name in arrays), None)
    if name is None:
        return None
    try:
        found = arrays[name]
    except UNREADABLE as error:
        raise InputError(_unread(path, error)) from error
    if not found.ndim:
        raise InputError(f"{path}: {name} must be an array of images or labels, got the single {shown(found.item())}")
    return found


def _unread(path: Path, error: Exception) -> str:
    if str(error).startswith("Object arrays"):
        return f"{path} holds Python objects, which could run code; save arrays of numbers of one shape (numpy.stack)"
    return f"{path} is damaged, or no file of NumPy ({shortened(str(error))}); write it again"


def _collect(
    path: Path, collector: Collector, images: np.ndarray, labels: np.ndarray | None, held_out: bool, total: int
) -> None:
    part = "held-out images" if held_out else "images"
    if images.ndim not in (3, 4):
        raise InputError(
            f"{path}: {part} have shape {list(images.shape)}; give [n, H, W], [n, H, W, C] or [n, C, H, W], "
            "with C of 1 or 3"
        )
    if held_out and not len(images):
        raise InputError(f"{path}: the held-out split is empty; leave it out, and a sixth is held out")
    if labels is not None and labels.shape not in ((len(images),), (len(images), 1)):
        raise InputError(f"{path}: {len(images)} {part} must have as many labels, got {list(labels.shape)}")
    labels = None if labels is None else labels.reshape(-1)
    for place, image in enumerate(images):
        label = None if labels is None else labels[place]
        name = f"held-out image {place}" if held_out else f"image {place}"
        collector.add(image, label, name, held_out=held_out, total=total)
