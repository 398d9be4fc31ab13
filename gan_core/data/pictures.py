"""A folder of pictures -> one array, read once and kept in the cache.

n pictures, C channels (1 or 3), S the side in pixels; uint8 0..255.
"""

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file

from gan_core.config.input_error import InputError
from gan_core.data.picture_files import PIXELS_AT_ONCE, Fate, Picture, Room, libtiff_unheard, read_picture
from gan_core.data.picture_folder import FolderListing, list_folder
from gan_core.files.cache import alone, keep_tensors, kept_tensors, writable_cache_folder
from gan_core.lanes.streams import Stream, stream

RECIPE = 2
HELD_OUT_ONE_IN = 6
NAMED_AT_MOST = 5
READERS = 8
GREY_BITS = (8, 10, 12, 14, 16)  # that instruments and cameras write into 16


@dataclass(frozen=True)
class PictureFacts:
    """What is known of a folder beside its pixels, of the n pictures that were read and of the rest.

    names: of the pictures. classes: the names of their labels, or none. held_out: which are of the folder's own
    held-out split, bool [n], or None where it has none. sizes_pixels: width and height, int32 [n, 2]. copy_of: the
    place of the first picture of equal pixels, its own where there is none before it, int64 [n]. unread: why -> the
    names of those that could not be read; unused: kind -> the paths of what is no picture.
    """

    root: Path
    names: tuple[str, ...]
    classes: tuple[str, ...]
    held_out: np.ndarray | None
    sizes_pixels: np.ndarray
    copy_of: np.ndarray
    unread: Mapping[str, tuple[str, ...]]
    unused: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Pictures:
    """images: uint8 [n, C, S, S]. labels: int64 [n], the place of a picture's class in their sorted names; None where
    the folder has fewer than two class folders with pictures.
    """

    images: np.ndarray
    labels: np.ndarray | None
    facts: PictureFacts


@dataclass(frozen=True)
class _Read:
    """images [n, C, S, S] and copy_of [n] of the pictures that were read; fates and sizes_pixels of all files."""

    images: np.ndarray
    copy_of: np.ndarray
    fates: np.ndarray
    sizes_pixels: np.ndarray


def load_pictures(folder: str, size_pixels: int, *, skip_corrupt: bool = False) -> Pictures:
    """Every picture of a folder, cut to its middle square and resized once to S = size_pixels (Lanczos).

    `gan_core.data.picture_folder.list_folder` says which files are used, and
    `gan_core.data.picture_files.read_picture` how one is read. Greys of 16 bits are scaled by the bits that the
    brightest of the folder needs: 8, 10, 12, 14 or 16. One channel where every picture is grey, else three. What was
    read is cached under a hash of each file's path, size and time, so a second call opens no picture.

    Raises InputError as `list_folder`, for too few pictures of a class (2; in splits of the folder's own 1 of each),
    and, unless skip_corrupt, for pictures that cannot be read or that have more pixels than Pillow holds safe (89
    million); skip_corrupt leaves these out with a warning.
    """
    listing = list_folder(folder)
    read = _cached(listing, size_pixels)
    kept = read.fates == Fate.READ
    unread = _unread(listing.names, read.fates)
    _refuse_corrupt(listing, unread, skip_corrupt)
    classes = sorted(set(listing.classes))
    label_of = {label: number for number, label in enumerate(classes)}
    labels = np.array([label_of[label] for label in listing.classes], np.int64)[kept]
    held_out = None if listing.held_out is None else np.array(listing.held_out)[kept]
    _check_counts(listing, classes, labels, held_out)
    facts = PictureFacts(
        root=listing.root,
        names=tuple(name for name, is_kept in zip(listing.names, kept, strict=True) if is_kept),
        classes=tuple(classes) if len(classes) > 1 else (),
        held_out=held_out,
        sizes_pixels=read.sizes_pixels[kept],
        copy_of=read.copy_of,
        unread=unread,
        unused=listing.unused,
    )
    return Pictures(read.images, labels if len(classes) > 1 else None, facts)


def split_pictures(
    labels: np.ndarray | None, count: int, held_out: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Which of `count` pictures train and which are held out: two rising arrays of places.

    held_out: bool [count], a split that is given. Without one a sixth of each class, rounded down and at least one, is
    held out, drawn by a keyed permutation: the same pictures give the same split.
    """
    if held_out is not None:
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)
    labels = np.zeros(count, np.int64) if labels is None else labels
    order = stream(0, Stream.DATA_SPLIT).permutation(count)
    members = [order[labels[order] == label] for label in np.unique(labels)]
    chosen = np.sort(np.concatenate([some[: max(1, len(some) // HELD_OUT_ONE_IN)] for some in members]))
    return np.setdiff1d(np.arange(count), chosen), chosen


def first_equal(images: np.ndarray) -> np.ndarray:
    """For each of [n, ...], the place of the first of equal bytes: int64 [n]; its own where there is none before it."""
    seen: dict[bytes, int] = {}
    places = (
        seen.setdefault(hashlib.blake2b(image.tobytes(), digest_size=16).digest(), place)
        for place, image in enumerate(images)
    )
    return np.fromiter(places, np.int64, len(images))


def _unread(names: Sequence[str], fates: np.ndarray) -> dict[str, tuple[str, ...]]:
    """Why -> the names of the files that could not be read for it."""
    whys = [fate for fate in Fate if fate is not Fate.READ and bool((fates == fate).any())]
    return {why.says: tuple(name for name, fate in zip(names, fates, strict=True) if fate == why) for why in whys}


def _check_counts(
    listing: FolderListing, classes: Sequence[str], labels: np.ndarray, held_out: np.ndarray | None
) -> None:
    parts = [(listing.root, np.ones(len(labels), bool), 2, ", one to be held out")]
    if held_out is not None:
        first = {out: name.split("/")[0] for name, out in zip(listing.names, listing.held_out or (), strict=True)}
        parts = [(listing.root / first[out], held_out == out, 1, "") for out in (False, True)]
    for folder, part, least, why in parts:
        for label, name in enumerate(classes):
            if (count := int((labels[part] == label).sum())) < least:
                noun = "picture" if least == 1 else "pictures"
                raise InputError(
                    f"{folder / name} must hold at least {least} readable {noun}{why}, got {count}; add some"
                )


def _refuse_corrupt(listing: FolderListing, unread: Mapping[str, Sequence[str]], skip: bool) -> None:
    if not unread:
        return
    corrupt = sorted(name for names in unread.values() for name in names)
    listed = ", ".join(map(repr, corrupt[:NAMED_AT_MOST])) + (", ..." if len(corrupt) > NAMED_AT_MOST else "")
    says = f"{listing.root}: {len(corrupt)} of {len(listing.names)} pictures cannot be read or are too large: {listed}"
    if not skip:
        raise InputError(f"{says}; mend or remove them, or leave them out (--skip-corrupt-images)")
    if len(corrupt) == len(listing.names):
        raise InputError(f"{says}; none is left")
    warnings.warn(f"{says}; left out", stacklevel=3)


def _cached(listing: FolderListing, size_pixels: int) -> _Read:
    root, names = listing.root, listing.names
    status = [(root / name).stat() for name in names]
    times = [[name, found.st_size, found.st_mtime_ns] for name, found in zip(names, status, strict=True)]
    key = hashlib.sha256(json.dumps([RECIPE, str(root.resolve()), times]).encode()).hexdigest()[:16]
    path = writable_cache_folder() / f"pictures{size_pixels}-{key}.safetensors"
    with alone(path):
        stored = kept_tensors(path, load_file)
        if stored is not None and stored.keys() == {field.name for field in fields(_Read)}:
            return _Read(**stored)
        read = _read_all(root, names, size_pixels)
        keep_tensors(path, vars(read), save_file)
    return read


def _read_all(root: Path, names: Sequence[str], size_pixels: int) -> _Read:
    images = np.empty((len(names), 3, size_pixels, size_pixels), np.uint8)
    fates, sizes = np.zeros(len(names), np.uint8), np.zeros((len(names), 2), np.int32)
    brightest = np.zeros(len(names), np.int64)

    def take(places: Iterable[int], grey_bits: int) -> None:
        for place, found in zip(
            places, _read_some([root / names[p] for p in places], size_pixels, grey_bits), strict=True
        ):
            fates[place] = Fate.READ if isinstance(found, Picture) else found
            if isinstance(found, Picture):
                images[place] = found.pixels.transpose(2, 0, 1)
                sizes[place], brightest[place] = (found.width, found.height), found.brightest

    take(range(len(names)), 16)
    bits = next(bits for bits in GREY_BITS if brightest.max(initial=0) < 2**bits)
    if bits < 16:  # which only all pictures together could say
        take(np.flatnonzero(brightest).tolist(), bits)
    images = images[fates == Fate.READ]
    if bool((images == images[:, :1]).all()):
        images = np.ascontiguousarray(images[:, :1])
    return _Read(images, first_equal(images), fates, sizes)


def _read_some(paths: Sequence[Path], size_pixels: int, grey_bits: int) -> Iterable[Picture | Fate]:
    """What each file holds, in order."""
    room = Room(PIXELS_AT_ONCE)
    with libtiff_unheard(paths), warnings.catch_warnings(), ThreadPoolExecutor(READERS) as readers:
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        # Pillow decodes outside Python's lock.
        yield from readers.map(lambda path: read_picture(path, size_pixels, room, grey_bits), paths)
