"""A folder of pictures -> one array, read once and kept in the cache.

n pictures, C channels (1 or 3), S the side in pixels; uint8 0..255.
"""

import hashlib
import json
import os
import struct
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock
from PIL import Image, ImageOps
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from gan_core.cache import keep, writable_cache_folder
from gan_core.input_error import InputError
from gan_core.streams import Stream, stream

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF")  # whatever a file is called: some of Pillow's formats start programs
RECIPE = 1
HELD_OUT_ONE_IN = 6
NAMED_AT_MOST = 5
READERS = 8
UNREADABLE = (  # of half a million damaged files all raised one of these; EOFError and struct.error none
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


@dataclass(frozen=True)
class Pictures:
    """images: uint8 [n, C, S, S]. labels: int64 [n], the place of a picture's subfolder in their sorted names; None
    where the folder has fewer than two subfolders with pictures.
    """

    images: np.ndarray
    labels: np.ndarray | None


def load_pictures(folder: str, size_pixels: int, *, skip_corrupt: bool = False) -> Pictures:
    """Every picture of a folder, cut to its middle square and resized once to S = size_pixels (Lanczos).

    Subfolders, at any depth, count for the class of their first level. Hidden files, linked folders and other suffixes
    are passed over. Transparent parts become white. One channel where every picture is grey, else three. What was
    read is cached under a hash of each file's path, size and time, so a second call opens no picture.

    Raises InputError for a folder without pictures, one that mixes both layouts, a class of fewer than 2 pictures, and,
    unless skip_corrupt, for pictures that cannot be read or that have more pixels than Pillow holds safe (89 million);
    skip_corrupt leaves these out with a warning.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise InputError(f"no folder {root}; give images:FOLDER a folder of pictures")
    names = _names(root)
    if not names:
        raise InputError(f"{root} holds no pictures ({' '.join(SUFFIXES)}); give a folder that does")
    classes = _classes(root, names)
    images, kept = _cached(root, names, size_pixels)
    _refuse_corrupt(root, [name for name, good in zip(names, kept, strict=True) if not good], len(names), skip_corrupt)
    label_of = {label: number for number, label in enumerate(classes)}
    labels = np.array([label_of.get(name.split("/")[0], 0) for name in names], np.int64)[kept]
    for where, label in [(root / name, label) for name, label in label_of.items()] or [(root, 0)]:
        if (count := int((labels == label).sum())) < 2:
            raise InputError(
                f"{where} must hold at least 2 readable pictures, one to be held out, got {count}; add some"
            )
    return Pictures(images, labels if len(classes) > 1 else None)


def split_pictures(labels: np.ndarray | None, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of `count` pictures train and which are held out: two rising arrays of places.

    A sixth of each class, rounded down and at least one, is held out, drawn by a keyed permutation: the same pictures
    give the same split.
    """
    labels = np.zeros(count, np.int64) if labels is None else labels
    order = stream(0, Stream.DATA_SPLIT).permutation(count)
    members = [order[labels[order] == label] for label in np.unique(labels)]
    held_out = np.sort(np.concatenate([some[: max(1, len(some) // HELD_OUT_ONE_IN)] for some in members]))
    return np.setdiff1d(np.arange(count), held_out), held_out


def _names(root: Path) -> list[str]:
    """The pictures' paths below root, with `/`, sorted."""
    names = []
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        inside = Path(folder).relative_to(root)
        for name in files:
            wanted = not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
            if wanted and (Path(folder) / name).is_file():
                names.append((inside / name).as_posix())
    return sorted(names)


def _classes(root: Path, names: Sequence[str]) -> list[str]:
    loose = [name for name in names if "/" not in name]
    if loose and len(loose) < len(names):
        inside = next(name for name in names if "/" in name)
        raise InputError(
            f"{root} must hold pictures either directly or in class subfolders, got both, such as {loose[0]!r} "
            f"and {inside!r}; move one kind away"
        )
    return [] if loose else sorted({name.split("/")[0] for name in names})


def _refuse_corrupt(root: Path, corrupt: Sequence[str], count: int, skip: bool) -> None:
    if not corrupt:
        return
    listed = ", ".join(map(repr, corrupt[:NAMED_AT_MOST])) + (", ..." if len(corrupt) > NAMED_AT_MOST else "")
    says = f"{root}: {len(corrupt)} of {count} pictures cannot be read or are too large: {listed}"
    if not skip:
        raise InputError(f"{says}; mend or remove them, or leave them out (--skip-corrupt-images)")
    if len(corrupt) == count:
        raise InputError(f"{says}; none is left")
    warnings.warn(f"{says}; left out", stacklevel=3)


def _cached(root: Path, names: Sequence[str], size_pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Images [n, C, S, S] of the readable pictures, and which of the names those are: bool [names]."""
    status = [(root / name).stat() for name in names]
    listing = [[name, found.st_size, found.st_mtime_ns] for name, found in zip(names, status, strict=True)]
    key = hashlib.sha256(json.dumps([RECIPE, str(root.resolve()), listing]).encode()).hexdigest()[:16]
    path = writable_cache_folder() / f"pictures{size_pixels}-{key}.safetensors"
    with FileLock(str(path) + ".lock"):
        if path.exists():
            try:
                stored = load_file(path)
                return stored["images"], stored["kept"].astype(bool)
            except (SafetensorError, KeyError):
                path.unlink()
        images, kept = _read_all(root, names, size_pixels)
        keep(path, partial(save_file, {"images": images, "kept": kept.astype(np.uint8)}))
    return images, kept


def _read_all(root: Path, names: Sequence[str], size_pixels: int) -> tuple[np.ndarray, np.ndarray]:
    images = np.empty((len(names), 3, size_pixels, size_pixels), np.uint8)
    kept = np.zeros(len(names), bool)
    with warnings.catch_warnings(), ThreadPoolExecutor(READERS) as readers:  # Pillow decodes outside Python's lock
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        pictures = readers.map(lambda name: _picture(root / name, size_pixels), names)
        for place, picture in enumerate(pictures):
            if picture is not None:
                images[place], kept[place] = picture.transpose(2, 0, 1), True
    images = images[kept]
    grey = bool((images == images[:, :1]).all())
    return np.ascontiguousarray(images[:, :1]) if grey else images, kept


def _picture(path: Path, size_pixels: int) -> np.ndarray | None:
    """One picture as uint8 [S, S, 3], or None where it cannot be read."""
    try:
        with Image.open(path, formats=FORMATS) as opened:
            return np.asarray(_square(opened, size_pixels))
    except UNREADABLE:
        return None


def _square(picture: Image.Image, size_pixels: int) -> Image.Image:
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I;16"):  # Pillow would clip 16-bit greys to 255
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    middle = picture.convert("RGB").crop((left, top, left + side, top + side))  # resize(box=...) would see beyond it
    return middle.resize((size_pixels, size_pixels), Image.Resampling.LANCZOS)
