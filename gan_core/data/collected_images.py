"""Images of any source, taken in one after another into one file of bytes, so that no set is too large for memory.

n images, C channels (1 or 3), S the side in pixels; uint8 0..255.
"""

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gan_core.config.input_error import InputError, shown
from gan_core.data.item_pixels import BYTES, SIGNED, UNIT, ItemPixels, of_item, signed_from_unit
from gan_core.data.picture_files import Fate, Picture
from gan_core.data.pictures import HELD_OUT_ONE_IN, split_pictures

MOST_IMAGES = 10_000_000  # an iterable that never ends is stopped there
HELD_OUT_AT_MOST = 50_000  # of a split that is drawn here; as many are compared in pairs at most
TOLD_SECONDS = 2.0
BLOCK_BYTES = 2**24


class Collector:
    """Takes in the images of one data set, and checks that they go together: shapes, kinds of numbers, labels.

    what: the data set as messages name it. folder: where the file lies that grows; it has no name and vanishes with
    this object. size_pixels: the side to which images are cropped and resized; 0 keeps their own, which then must be
    one and the same, and square. tell: told now and then, in words, how many images were read. most: the largest number
    of images.
    """

    def __init__(
        self,
        what: str,
        folder: Path,
        size_pixels: int,
        tell: Callable[[str], object] = lambda line: None,
        most: int = MOST_IMAGES,
    ) -> None:
        self.what, self.size_pixels, self._tell, self._most = what, size_pixels, tell, most
        self.shape: tuple[int, int, int] | None = None  # [C, S, S]
        self.values = ""
        self.unread: dict[str, list[str]] = {}  # reason -> the names of what could not be read
        self._folder, self._file = folder, _nameless(folder)
        self._labels, self._held_out = list[int | None](), list[bool]()
        self._sizes = list[tuple[int, int]]()
        self._told_seconds = time.monotonic()

    def __len__(self) -> int:
        return len(self._labels)

    def add(self, image: Any, label: Any = None, item: str = "", *, held_out: bool = False, total: int = 0) -> None:
        """Takes in an image: a Pillow image or an array, as `of_item` has them. label: a whole number, or None without
        labels. item: how messages name it; `item 3` by default. held_out: whether it belongs to the held-out split that
        the data set has. total: how many images there will be, where that is known.

        Raises InputError for what is no image, or does not go with the images before.
        """
        item = f"{self.what}: {item or f'item {len(self)}'}"
        read = of_item(image, self.size_pixels, item, signed=self.values == SIGNED)
        self._add(read, label, item, held_out, total)

    def add_picture(self, picture: Picture, label: Any, item: str, *, held_out: bool = False, total: int = 0) -> None:
        """The same for a picture that was decoded, at the size that is asked for."""
        read = ItemPixels(picture.pixels.transpose(2, 0, 1), picture.width, picture.height, BYTES, is_picture=True)
        self._add(read, label, f"{self.what}: {item}", held_out, total)

    def _add(self, read: ItemPixels, label: Any, item: str, held_out: bool, total: int) -> None:
        if len(self) >= self._most:
            raise InputError(f"{self.what} has more than {self._most:,} images, or never ends; give it an end")
        self._check_label(item, label)
        self._take(read, item)
        self._labels.append(None if label is None else int(label))
        self._held_out.append(held_out)
        self._sizes.append((read.width, read.height))
        if time.monotonic() - self._told_seconds > TOLD_SECONDS:
            self._told_seconds = time.monotonic()
            self._tell(f"reading {self.what}: {len(self):,}{f' of {total:,}' if total else ''} images")

    def leave_out(self, fate: Fate, item: str) -> None:
        """Notes an image that cannot be read."""
        self.unread.setdefault(fate.says, []).append(item)

    @property
    def own_split(self) -> bool:
        """Whether the data set says which images are held out."""
        return any(self._held_out)

    @property
    def sizes_pixels(self) -> np.ndarray:
        """Width and height of each image before it was resized: int32 [n, 2]."""
        return np.array(self._sizes, np.int32).reshape(-1, 2)

    def pixels(self) -> np.ndarray:
        """All images so far, uint8 [n, C, S, S], mapped from the file."""
        self._file.flush()
        assert self.shape is not None
        return np.memmap(self._file, np.uint8, "r", shape=(len(self), *self.shape))

    def labels(self) -> np.ndarray | None:
        """The labels, int64 [n], or None without any, or where all are 0. Raises InputError unless they are 0..K-1, and
        each has an image.
        """
        if not self._labels or self._labels[0] is None:
            return None
        labels = np.array(self._labels, np.int64)
        found = np.unique(labels)
        if found.tolist() == [0]:  # some sets give each image a label that says nothing
            return None
        if found[0] != 0 or found[-1] != len(found) - 1:
            absent = next(label for label in range(len(found) + 1) if label not in found)
            raise InputError(
                f"{self.what}: labels must be 0 to K-1, each with an image, got {len(found)} different ones from "
                f"{found[0]} to {found[-1]} and none of {absent}; number the classes from 0"
            )
        return labels

    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """The sorted indices of the training images and of the held-out ones: as the set has them, or drawn as for a
        folder of pictures, but about HELD_OUT_AT_MOST at most. Raises InputError for sets that are too small, and for
        classes that are in one split alone.
        """
        count, labels, held_out = len(self), self.labels(), np.array(self._held_out, bool)
        if count < 2:
            raise InputError(f"{self.what} must hold at least 2 images, one to be held out, got {count}; add some")
        own = bool(held_out.any())
        if own and held_out.all():
            raise InputError(f"{self.what} has held-out images and none to train on; add some")
        one_in = max(HELD_OUT_ONE_IN, math.ceil(count / HELD_OUT_AT_MOST))
        train, held = split_pictures(labels, count, held_out if own else None, one_in=one_in)
        if labels is not None:
            self._check_classes(labels, training=train, held_out=held)
        return train, held

    def _check_classes(self, labels: np.ndarray, **parts: np.ndarray) -> None:
        for name, part in parts.items():
            if absent := sorted(set(labels.tolist()) - set(labels[part].tolist())):
                raise InputError(
                    f"{self.what}: each class must have training and held-out images, and no "
                    f"{name.replace('_', '-')} image has label {absent[0]}; add some"
                )

    def _check_label(self, item: str, label: Any) -> None:
        if self._labels and (label is None) != (self._labels[0] is None):
            has, had = ("no label", "have one") if label is None else ("a label", "have none")
            raise InputError(f"{item} has {has}, and those before {had}; label all or none")
        if label is None:
            return
        if isinstance(label, bool) or not isinstance(label, int | np.integer) or not 0 <= label < 2**31:
            raise InputError(f"{item}: a label must be a whole number from 0, got {shown(label)}; number the classes")

    def _take(self, read: ItemPixels, item: str) -> None:
        """Writes an image, after what was written before has got the form that all have."""
        pixels = read.pixels
        if self.shape is None:
            self.values = read.values
            self.shape = (1 if read.is_grey else len(pixels), *pixels.shape[1:])
            self._check_square(item)
        if read.values != self.values:
            self._agree(read, item)
        if read.is_picture and self.shape[0] == 1:
            if read.is_grey:
                pixels = pixels[:1]
            elif pixels.shape[1:] == self.shape[1:]:
                self._rewrite(lambda block: block.repeat(3, 1), (3, *self.shape[1:]))
        if pixels.shape != self.shape:
            hint = "" if self.size_pixels else ", or set structure.image_size_pixels, to which all are resized"
            raise InputError(
                f"{item} has shape {list(pixels.shape)}, and those before {list(self.shape)}; give all one shape{hint}"
            )
        self._file.write(pixels.tobytes())

    def _check_square(self, item: str) -> None:
        assert self.shape is not None
        if self.shape[1] != self.shape[2]:
            raise InputError(
                f"{item} is {self.shape[1]} pixels high and {self.shape[2]} wide, and images must be square; set "
                "structure.image_size_pixels, to which the central square is resized"
            )

    def _agree(self, read: ItemPixels, item: str) -> None:
        """Where the first negative number comes late, what was written before is written again."""
        if {read.values, self.values} != {UNIT, SIGNED}:
            raise InputError(f"{item} has numbers of {read.values}, and those before of {self.values}; give all alike")
        assert self.shape is not None
        self._rewrite(signed_from_unit, self.shape)
        self.values = SIGNED

    def _rewrite(self, change: Callable[[np.ndarray], np.ndarray], shape: tuple[int, int, int]) -> None:
        before, self._file = self.pixels() if len(self) else None, _nameless(self._folder)
        for block in () if before is None else blocks(before):
            self._file.write(change(block).tobytes())
        self.shape = shape


def _nameless(folder: Path) -> Any:
    """A file in a folder that vanishes when nothing holds it any more."""
    return tempfile.TemporaryFile(dir=folder)  # noqa: SIM115


def blocks(images: np.ndarray) -> Iterator[np.ndarray]:
    """Images [n, ...] in parts of about BLOCK_BYTES."""
    step = max(1, BLOCK_BYTES // math.prod(images.shape[1:]))
    for start in range(0, len(images), step):
        yield images[start : start + step]
