"""The grammar of `structure.dataset`: `KIND` or `KIND:ARGUMENTS`. Loads without torch or numpy.

- `gaussian`: N(4, 1.25^2); `gaussian:MEAN,DEVIATION`.
- `mixture:MEAN,DEVIATION;MEAN,DEVIATION[;...]`: 1-D normals of equal weight.
- `ring[:MODES[,RADIUS[,DEVIATION]]]`: 2-D normals on a circle around 0; 8 modes, radius 1, deviation 0.01.
- `grid[:SIDE[,STEP[,DEVIATION]]]`: SIDE x SIDE 2-D normals around 0; 5 a side, step 2, deviation 0.05.
- `digits`, `polygons`, `mnist`, `fashion_mnist`, `cifar10`.
- `images:PLACE`: a folder of pictures, or a file of images; everything after the colon is its path or address.
- `FILE.py:NAME` or `package.module:NAME`: what a person's own code has under this name.
"""

import math
from dataclasses import dataclass

from gan_core.config.input_error import InputError, nearest, shortened, shown
from gan_core.config.own_names import is_reference, parse_reference

VALUE_KINDS = ("gaussian", "mixture", "ring", "grid")
IMAGE_KINDS = ("digits", "polygons", "mnist", "fashion_mnist", "cifar10", "images")
LABELLED_KINDS = ("digits", "mnist", "fashion_mnist", "cifar10")  # and `images`, where the folder has class subfolders
ON_DISK_KINDS = ("mnist", "fashion_mnist", "cifar10")  # read from files under a data root that a person provides

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".gif", ".tif", ".tiff")
ARRAY_SUFFIXES = (".npz", ".npy")
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
OWN_SIZE_SUFFIXES = (
    *ARRAY_SUFFIXES,
    ".zip",
    *TAR_SUFFIXES,
)  # of files whose images may have one size

FORMS = {
    "gaussian": "gaussian or gaussian:MEAN,DEVIATION",
    "mixture": "mixture:MEAN,DEVIATION;MEAN,DEVIATION[;...]",
    "ring": "ring or ring:MODES[,RADIUS[,DEVIATION]]",
    "grid": "grid or grid:SIDE[,STEP[,DEVIATION]]",
    "images": "images:FOLDER, images:FILE.npz, images:FILE.zip or images:SHARDS.tar",
}
DEFAULTS = {"gaussian": (4.0, 1.25), "ring": (8.0, 1.0, 0.01), "grid": (5.0, 2.0, 0.05)}
LARGEST_MODES = 1000
LEAST, MOST = 1e-6, 1e6  # of a deviation, radius or step; float32 samples can resolve such numbers


@dataclass(frozen=True)
class DatasetName:
    """A parsed name of a data set: its kind, and its numbers in the order of the grammar, its folder or
    file, or for `own` the reference to a person's code.

    numbers: with the defaults filled in; for `mixture` the mean and the deviation of each mode in turn.
    """

    kind: str
    numbers: tuple[float, ...] = ()
    folder: str | None = None

    @property
    def is_values(self) -> bool:
        return self.kind in VALUE_KINDS

    @property
    def has_own_size(self) -> bool:
        """Whether the images have a size that they keep where none is asked for."""
        return self.kind != "images" or str(self.folder).endswith(OWN_SIZE_SUFFIXES)

    @property
    def is_users(self) -> bool:
        """Whether the samples are a user's own, whose labels, if any, are known only when they are read."""
        return self.kind in ("images", "own")

    @property
    def value_size(self) -> int:
        """Numbers in one sample: 1 or 2; 0 for images."""
        return {"gaussian": 1, "mixture": 1, "ring": 2, "grid": 2}.get(self.kind, 0)


def same_name(one: str, other: str) -> bool:
    """Whether two names mean the same data set. All places of images count as the same here, since paths differ by
    machine; `Dataset.digest` tells what is in them apart.
    """
    return one == other or all(name.partition(":")[0] == "images" for name in (one, other))


def parse_dataset_name(text: str) -> DatasetName:
    """Parses and checks the name of a data set. Raises InputError for what the grammar does not allow."""
    if is_reference(text):
        if not parse_reference("structure.dataset", text).name:
            raise InputError(f"data set {shown(text)} names no function or data set in it; write FILE.py:NAME")
        return DatasetName("own", folder=text)
    kind, colon, arguments = str(text).partition(":")
    if kind not in VALUE_KINDS + IMAGE_KINDS:
        raise InputError(f"unknown data set {shown(text)}; {nearest(kind, VALUE_KINDS + IMAGE_KINDS)}")
    if kind == "images":
        if not arguments:
            raise InputError(f"data set {shown(text)} names no folder or file; write {FORMS[kind]}")
        return DatasetName(kind, folder=arguments)
    if kind in IMAGE_KINDS:
        if colon:
            raise InputError(f"data set {shown(kind)} takes no arguments, got {shown(text)}; write {shown(kind)}")
        return DatasetName(kind)
    if not colon and kind in DEFAULTS:
        return DatasetName(kind, DEFAULTS[kind])
    return DatasetName(kind, _mixture(text, arguments) if kind == "mixture" else _numbers(text, kind, arguments))


def _numbers(text: str, kind: str, arguments: str) -> tuple[float, ...]:
    given = _parse(text, kind, arguments)
    fewest = 2 if kind == "gaussian" else 1
    if not fewest <= len(given) <= len(DEFAULTS[kind]):
        raise InputError(f"data set {shown(text)} has {len(given)} numbers; write {FORMS[kind]}")
    numbers = (*given, *DEFAULTS[kind][len(given) :])
    if kind == "gaussian":
        _check_normal(text, *numbers)
        return numbers
    most = LARGEST_MODES if kind == "ring" else math.isqrt(LARGEST_MODES)
    if not numbers[0].is_integer() or not 1 <= numbers[0] <= most:
        noun = "MODES" if kind == "ring" else "SIDE"
        raise InputError(f"data set {shown(text)}: {noun} must be a whole number from 1 to {most}, got {numbers[0]:g}")
    for noun, value in zip(("RADIUS" if kind == "ring" else "STEP", "DEVIATION"), numbers[1:], strict=True):
        _check_positive(text, noun, value)
    return numbers


def _mixture(text: str, arguments: str) -> tuple[float, ...]:
    modes = [_parse(text, "mixture", part) for part in arguments.split(";")] if arguments else []
    if not 2 <= len(modes) <= LARGEST_MODES:
        raise InputError(
            f"data set 'mixture' must have 2 to {LARGEST_MODES} modes, got {len(modes)}; write {FORMS['mixture']}"
        )
    for mode in modes:
        if len(mode) != 2:
            raise InputError(
                f"data set {shown(text)}: a mode is two numbers, got {len(mode)}; write {FORMS['mixture']}"
            )
        _check_normal(text, *mode)
    return tuple(number for mode in modes for number in mode)


def _parse(text: str, kind: str, arguments: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in arguments.split(","))
    except ValueError as error:
        raise InputError(f"data set {shown(text)}: {shortened(str(error))}; write {FORMS[kind]}") from error


def _check_normal(text: str, mean: float, deviation: float) -> None:
    if not -MOST <= mean <= MOST:
        raise InputError(f"data set {shown(text)}: MEAN must be from -{MOST:g} to {MOST:g}, got {mean:g}")
    _check_positive(text, "DEVIATION", deviation)


def _check_positive(text: str, noun: str, value: float) -> None:
    if not LEAST <= value <= MOST:
        raise InputError(f"data set {shown(text)}: {noun} must be above 0, from {LEAST:g} to {MOST:g}, got {value:g}")
