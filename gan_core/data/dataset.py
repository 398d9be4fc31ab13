"""Loads a data set by its name, and fixes the order in which its samples are shown.

Images are one float32 tensor [n, C, H, W] in [-1, 1], without augmentation; sets of numbers are [n, 1] or [n, 2].
"""

import importlib.util
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.config.dataset_name import parse_dataset_name
from gan_core.config.input_error import InputError, shown
from gan_core.config.own_names import is_reference
from gan_core.data.digest import data_digest
from gan_core.data.image_files import FILE_KINDS, Request, read_image_files
from gan_core.data.published_images import ImageSplits
from gan_core.data.values import Mixture, mixture_of
from gan_core.files.own_code import pinned
from gan_core.lanes.streams import Stream, stream

TRAIN_VALUES = 131_072
HELD_OUT_VALUES = 10_000
HELD_OUT_DRAWS = 2  # the key, within the stream DATA_SAMPLES, of the draws of held-out 2-D samples
DIGITS_TRAIN_IMAGES = 1_000
POLYGONS_TRAIN_IMAGES, POLYGONS_HELD_OUT_IMAGES = 60_000, 10_000
RESIZED_AT_ONCE = 2_000
EPOCHS_KEPT = 4  # permutations kept in memory: the current epoch and the next one, for two data seeds


@dataclass(frozen=True)
class Dataset:
    """The training and the held-out split of a data set.

    train, held_out: [n, C, H, W] in [-1, 1], or [n, 1] and [n, 2] for numbers. The labels are [n] in 0..classes-1; a
    data set without labels has None and classes = 0. digest: a hash of the kind, the samples and the labels, so two
    scores with equal digests used the same data. truth: the exact distribution of a set of numbers, else None.
    train_samples: the training split as it is stored, in uint8 where the source has bytes, and mapped from a file where
    it is large: nothing may write to it. Training converts the bytes
    of each batch with `scale_bytes`; the float32 copy of the whole split is made when `train` is first read.
    """

    name: str
    train_samples: Tensor
    train_labels: Tensor | None
    held_out: Tensor
    held_out_labels: Tensor | None
    classes: int
    digest: str
    truth: Mixture | None = None

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return tuple(self.train_samples.shape[1:])

    @cached_property
    def train(self) -> Tensor:
        return _numbers(self.train_samples)

    def train_numbers(self, places: Tensor) -> Tensor:
        """The training samples at these indices [m], as `train` has them, of which no other is converted."""
        return _numbers(self.train_samples[places])


class DataOrder:
    """Endless epochs over `size` samples; each epoch is a permutation drawn from (data_seed, epoch).

    A batch may span two epochs, so every batch is full, and what it holds depends on (data_seed, images seen) alone.
    """

    def __init__(self, data_seed: int, size: int) -> None:
        self.data_seed, self.size = data_seed, size

    def indices(self, images_seen: int, count: int) -> np.ndarray:
        """The indices [count] of the samples shown after the first images_seen images. Callers must not modify them."""
        parts = []
        while count > 0:
            epoch, place = divmod(images_seen, self.size)
            parts.append(_permutation(self.data_seed, epoch, self.size)[place : place + count])
            images_seen, count = images_seen + len(parts[-1]), count - len(parts[-1])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


@lru_cache(maxsize=EPOCHS_KEPT)
def _permutation(data_seed: int, epoch: int, size: int) -> np.ndarray:
    """The order of one epoch. It is cached because all arrays with this data seed use it."""
    return stream(data_seed, Stream.DATA_ORDER, epoch).permutation(size)


@dataclass(frozen=True)
class SampleSplits:
    """A data set before it is resized and named, with the fields of `Dataset`.

    train and held_out are either both in [-1, 1] or both uint8. labels: those of train, then those of held_out. digest:
    where it is known already.
    """

    train: Tensor
    held_out: Tensor
    labels: tuple[Tensor, Tensor] | None = None
    truth: Mixture | None = None
    digest: str = ""


def load_dataset(
    name: str,
    root: Path | None = None,
    *,
    image_size_pixels: int = 0,
    download: bool = False,
    skip_corrupt: bool = False,
) -> Dataset:
    """Loads a data set by its name; gan_core.config.dataset_name defines the names.

    root: the folder that holds MNIST, Fashion-MNIST or CIFAR-10 as torchvision lays them out; other sets need none.
    image_size_pixels: the side to which images are resized; 0 keeps the size of the set. download: whether torchvision
    may fetch missing files. skip_corrupt: whether unreadable images of `images:` are left out, with a warning.
    A reference to code of your own, `FILE.py:NAME`, may be without a digest here: it is looked up from the current
    folder, and the data set's `name` has the digest. Raises InputError for an unknown name, for files that are missing,
    damaged or of another format, and for images that do not fit into memory at this size.
    """
    name = pinned("data set", name, None) if is_reference(name) else name
    request = Request(parse_dataset_name(name), root, image_size_pixels, download, skip_corrupt)
    if image_size_pixels < 0 or (image_size_pixels and request.name.is_values):
        rule = "0 for numbers" if request.name.is_values else "at least 0; 0 keeps a set's own size"
        raise InputError(f"image_size_pixels must be {rule}, got {image_size_pixels} with data set {shown(name)}")
    return _dataset(name, _at_size(name, DATASETS[request.name.kind](request), image_size_pixels))


def image_dataset(name: str, images: ImageSplits, image_size_pixels: int = 0) -> Dataset:
    """The `Dataset` of images that have been read already, in uint8 or in [-1, 1]. image_size_pixels: as in
    `load_dataset`.
    """
    return _dataset(name, _at_size(name, _samples(images), image_size_pixels))


def _at_size(name: str, samples: SampleSplits, image_size_pixels: int) -> SampleSplits:
    train, held_out = samples.train, samples.held_out
    if image_size_pixels in (0, train.shape[-1]):
        return samples
    _check_memory(name, (len(train) + len(held_out)) * train.shape[1], image_size_pixels)
    train, held_out = (resized(_numbers(part), image_size_pixels) for part in (train, held_out))
    return replace(samples, train=train, held_out=held_out, digest="")


def _dataset(name: str, samples: SampleSplits) -> Dataset:
    train, held_out = samples.train, samples.held_out
    train_labels, held_out_labels = samples.labels or (None, None)
    classes = 0 if train_labels is None else int(train_labels.max()) + 1
    parts = (train, held_out, *(samples.labels or ()))
    digest = samples.digest or data_digest(parse_dataset_name(name).kind, *(part.numpy() for part in parts))
    return Dataset(name, train, train_labels, _numbers(held_out), held_out_labels, classes, digest, samples.truth)


def _check_memory(name: str, planes: int, size_pixels: int) -> None:
    """Raises InputError if this many float32 channels, size_pixels on a side, exceed the memory of the machine."""
    wanted, there = 4 * planes * size_pixels**2, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if wanted > there:
        raise InputError(
            f"data set {name!r} at {size_pixels} pixels takes {wanted / 1e9:.0f} GB, and this machine has "
            f"{there / 1e9:.0f}; choose a smaller structure.image_size_pixels"
        )


def resized(images: Tensor, size_pixels: int) -> Tensor:
    """Resizes images [n, C, H, W] in [-1, 1] to [n, C, size, size], bilinearly, with antialiasing when they shrink."""
    if tuple(images.shape[2:]) == (size_pixels, size_pixels):
        return images
    out = images.new_empty(*images.shape[:2], size_pixels, size_pixels)
    for part, place in zip(images.split(RESIZED_AT_ONCE), out.split(RESIZED_AT_ONCE), strict=True):
        place.copy_(F.interpolate(part, (size_pixels, size_pixels), mode="bilinear", antialias=True))
    return out.clamp_(-1, 1)


def host_or_device(dataset_bytes: int, device_bytes: int | None) -> Literal["device", "host"]:
    """Where a data set is kept: in host memory if it takes more than half of device_bytes, else on the device.

    device_bytes: the free or the total memory of the device; None for the CPU, whose memory holds the data already.
    """
    return "device" if device_bytes is None or 2 * dataset_bytes <= device_bytes else "host"


def _numbers(samples: Tensor) -> Tensor:
    return scale_bytes(samples.float()) if samples.dtype == torch.uint8 else samples


def _values(request: Request) -> SampleSplits:
    """Draws from a known distribution. The held-out split is its quantiles (i - 1/2)/n in 1-D, and new draws in 2-D."""
    truth = mixture_of(request.name)
    train = truth.draw(TRAIN_VALUES, stream(0, Stream.DATA_SAMPLES))
    if truth.value_size == 1:
        held_out = truth.quantiles(HELD_OUT_VALUES).float().unsqueeze(1)
    else:
        held_out = truth.draw(HELD_OUT_VALUES, stream(0, Stream.DATA_SAMPLES, HELD_OUT_DRAWS))
    return SampleSplits(train, held_out, truth=truth)


def _digits(_request: Request) -> SampleSplits:
    """The 1,797 handwritten 8x8 digits that scikit-learn ships. Each class is split in the same proportion."""
    images, targets = _digits_of_sklearn()
    order = stream(0, Stream.DATA_SPLIT).permutation(len(images))
    # Ranked by their relative position within their class, the first images hold the same share of every class.
    share = np.empty(len(images))
    for label in np.unique(targets):
        members = order[targets[order] == label]
        share[members] = (np.arange(len(members)) + 0.5) / len(members)
    ranked = np.argsort(share, kind="stable")
    parts = np.sort(ranked[:DIGITS_TRAIN_IMAGES]), np.sort(ranked[DIGITS_TRAIN_IMAGES:])
    train, held_out = (torch.from_numpy(images[part]).float().view(-1, 1, 8, 8) / 8 - 1 for part in parts)
    labels = tuple(torch.from_numpy(targets[part]).long() for part in parts)
    return SampleSplits(train, held_out, (labels[0], labels[1]))


def _digits_of_sklearn() -> tuple[np.ndarray, np.ndarray]:
    """What `sklearn.datasets.load_digits(return_X_y=True)` returns.

    Its file is read directly if it is in the usual place, because importing scikit-learn takes a second.
    """
    found = importlib.util.find_spec("sklearn")
    for place in (found and found.submodule_search_locations) or []:
        if (path := Path(place, "datasets", "data", "digits.csv.gz")).exists():
            rows = np.loadtxt(path, delimiter=",")
            return rows[:, :-1], rows[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits

    images, targets = load_digits(return_X_y=True)
    return np.asarray(images), np.asarray(targets)


def _polygons(_request: Request) -> SampleSplits:
    """The triangles of Lucic et al. (2018). As in their work, the last 10,000 of the 80,000 images are not used."""
    from gan_core.data.polygons import polygon_images  # imported here because no other data set needs it

    images = torch.from_numpy(polygon_images()[:, None])
    end = POLYGONS_TRAIN_IMAGES + POLYGONS_HELD_OUT_IMAGES
    return SampleSplits(images[:POLYGONS_TRAIN_IMAGES], images[POLYGONS_TRAIN_IMAGES:end])


def _images_on_disk(request: Request) -> SampleSplits:
    return _samples(read_image_files(request))


def _samples(read: ImageSplits) -> SampleSplits:
    labels = None
    if read.train_labels is not None and read.held_out_labels is not None:
        labels = torch.from_numpy(read.train_labels), torch.from_numpy(read.held_out_labels)
    with warnings.catch_warnings():  # arrays that are mapped from a file cannot be written, and nothing writes to them
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        train, held_out = torch.from_numpy(read.train), torch.from_numpy(read.held_out)
    return SampleSplits(train, held_out, labels, digest=read.digest)


def scale_bytes(numbers: Tensor) -> Tensor:
    """Scales 0..255 to [-1, 1] in place, and returns its argument."""
    return numbers.div_(127.5).sub_(1)


DATASETS: dict[str, Callable[[Request], SampleSplits]] = {
    "gaussian": _values,
    "mixture": _values,
    "ring": _values,
    "grid": _values,
    "digits": _digits,
    "polygons": _polygons,
    **dict.fromkeys(FILE_KINDS, _images_on_disk),
}
