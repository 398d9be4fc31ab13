"""Reads a folder of images into one array, which is kept in the cache.

n images, C channels (1 or 3), S the side in pixels; uint8 0..255.
"""

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file

from gan_core.config.input_error import InputError
from gan_core.data.picture_files import PIXELS_AT_ONCE, Fate, Picture, SharedLimit, read_picture, silenced_libtiff
from gan_core.data.picture_folder import FolderListing, list_folder
from gan_core.files.cache import alone, keep_tensors, kept_tensors, writable_cache_folder
from gan_core.lanes.streams import Stream, stream

RECIPE = 2
HELD_OUT_ONE_IN = 6
NAMED_AT_MOST = 5
READERS = 8
GREY_BITS = (8, 10, 12, 14, 16)  # the bit depths that instruments and cameras store in 16 bits


@dataclass(frozen=True)
class PictureFacts:
    """What is known about a user's images apart from their pixels; n is the number of images that were read.

    names: the path of each image; empty where they have none. classes: the names of the labels, if any. held_out: bool
    [n], whether an image belongs to the held-out split that the source defines, or None if it defines none.
    sizes_pixels: int32 [n, 2], width and height. copy_of: int64 [n], the index of the first image with the same pixels,
    which may be the image itself.
    unread: reason -> the names of images that could not be read. unused: kind -> the paths of other files. values: what
    the numbers of arrays are, as in `gan_core.data.item_pixels`; "" for pictures. read: when the images were read into
    `path`, a file in the cache.
    """

    root: Path
    names: tuple[str, ...]
    classes: tuple[str, ...]
    held_out: np.ndarray | None
    sizes_pixels: np.ndarray
    copy_of: np.ndarray
    unread: Mapping[str, tuple[str, ...]]
    unused: Mapping[str, tuple[str, ...]]
    values: str = ""
    read: str = ""
    path: Path | None = None


@dataclass(frozen=True)
class Pictures:
    """The images of a folder: uint8 [n, C, S, S].

    labels: int64 [n], indices into the sorted names of the classes; None if fewer than two class folders hold images.
    """

    images: np.ndarray
    labels: np.ndarray | None
    facts: PictureFacts


@dataclass(frozen=True)
class _Read:
    """What the cache holds: images [n, C, S, S] and copy_of [n] of the images read, the other fields of all files."""

    images: np.ndarray
    copy_of: np.ndarray
    fates: np.ndarray
    sizes_pixels: np.ndarray


def load_pictures(folder: str, size_pixels: int, *, skip_corrupt: bool = False) -> Pictures:
    """Reads every image of a folder, cropped to its central square and resized once to S = size_pixels (Lanczos).

    `gan_core.data.picture_folder.list_folder` chooses the files and `gan_core.data.picture_files.read_picture` reads
    one. 16-bit greyscale images are scaled by the number of bits that the brightest one of the folder needs: 8, 10, 12,
    14 or 16. There is one channel if every image is grey, else three. The result is cached under a hash of the path,
    size and modification time of each file, so a second call opens no image.

    Raises InputError as `list_folder` does, for classes with fewer than 2 images (or 1 in each split, if the folder
    defines the splits), and for images that cannot be read or have more pixels than Pillow considers safe (89
    million). With skip_corrupt those images are left out with a warning.
    """
    listing = list_folder(folder)
    read = _cached(listing, size_pixels)
    kept = read.fates == Fate.READ
    unread = _unread(listing.names, read.fates)
    refuse_corrupt(str(listing.root), len(listing.names), unread, skip_corrupt)
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
    labels: np.ndarray | None, count: int, held_out: np.ndarray | None = None, *, one_in: int = HELD_OUT_ONE_IN
) -> tuple[np.ndarray, np.ndarray]:
    """Splits `count` images: the sorted indices of the training images and of the held-out ones.

    held_out: bool [count], a given split. Without one, one image in `one_in` of each class (rounded down, at least one
    image) is drawn from a keyed random stream, so the same images always give the same split.
    """
    if held_out is not None:
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)
    labels = np.zeros(count, np.int64) if labels is None else labels
    order = stream(0, Stream.DATA_SPLIT).permutation(count)
    members = [order[labels[order] == label] for label in np.unique(labels)]
    chosen = np.sort(np.concatenate([some[: max(1, len(some) // one_in)] for some in members]))
    return np.setdiff1d(np.arange(count), chosen), chosen


def first_equal(*parts: np.ndarray) -> np.ndarray:
    """For each image of these parts [n, ...], one after another, the index of the first image with the same bytes,
    which may be itself: int64 [n].
    """
    seen: dict[bytes, int] = {}
    places = (
        seen.setdefault(hashlib.blake2b(image.tobytes(), digest_size=16).digest(), place)
        for place, image in enumerate(chain.from_iterable(parts))
    )
    return np.fromiter(places, np.int64, sum(map(len, parts)))


def _unread(names: Sequence[str], fates: np.ndarray) -> dict[str, tuple[str, ...]]:
    """Reason -> the names of the files that could not be read for this reason."""
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


def refuse_corrupt(what: str, count: int, unread: Mapping[str, Sequence[str]], skip: bool) -> None:
    """Raises InputError where some of `count` pictures cannot be read, and none is to be skipped or none is left; warns
    of those that are skipped. what: where they are. unread: as in `PictureFacts`.
    """
    if not unread:
        return
    corrupt = sorted(name for names in unread.values() for name in names)
    listed = ", ".join(map(repr, corrupt[:NAMED_AT_MOST])) + (", ..." if len(corrupt) > NAMED_AT_MOST else "")
    says = f"{what}: {len(corrupt)} of {count} pictures cannot be read or are too large: {listed}"
    if not skip:
        raise InputError(f"{says}; mend or remove them, or leave them out (--skip-corrupt-images)")
    if len(corrupt) == count:
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
    if bits < 16:  # the bit depth is known only after all images have been read, so these are read again
        take(np.flatnonzero(brightest).tolist(), bits)
    images = images[fates == Fate.READ]
    if bool((images == images[:, :1]).all()):
        images = np.ascontiguousarray(images[:, :1])
    return _Read(images, first_equal(images), fates, sizes)


def _read_some(paths: Sequence[Path], size_pixels: int, grey_bits: int) -> Iterable[Picture | Fate]:
    """Reads the files in parallel and yields their images in order."""
    room = SharedLimit(PIXELS_AT_ONCE)
    with silenced_libtiff(paths), warnings.catch_warnings(), ThreadPoolExecutor(READERS) as readers:
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        # Threads run in parallel here because Pillow releases Python's global lock while it decodes.
        yield from readers.map(lambda path: read_picture(path, size_pixels, room, grey_bits), paths)
