"""Data set name -> samples in memory, and the order in which they are shown.

Images are float32 [n, C, H, W] in [-1, 1], one tensor, no per-sample transforms; sets of numbers are [n, 1] or [n, 2].
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.dataset_name import DatasetName, parse_dataset_name
from gan_core.input_error import InputError
from gan_core.lanes import Stream, stream
from gan_core.pictures import load_pictures, split_pictures
from gan_core.published_images import ImageSplits, load_cifar10, load_idx_images
from gan_core.values import Mixture, mixture_of

TRAIN_VALUES = 131_072
HELD_OUT_VALUES = 10_000
HELD_OUT_DRAWS = 2  # the counter of DATA_SAMPLES that held-out 2-D samples are drawn with
DIGITS_TRAIN_IMAGES = 1_000
POLYGONS_TRAIN_IMAGES, POLYGONS_HELD_OUT_IMAGES = 60_000, 10_000
RESIZED_AT_ONCE = 2_000
IMAGES_IN_CACHE = 100


@dataclass(frozen=True)
class Dataset:
    """Real samples. train and held_out: [n, C, H, W] in [-1, 1] (or [n, 1], [n, 2]); labels [n] in 0..classes-1, or
    None where there are none (classes = 0). digest: of the kind, samples and labels: two scores with equal digests
    share them. truth: the distribution itself, of sets of numbers.
    """

    name: str
    train: Tensor
    train_labels: Tensor | None
    held_out: Tensor
    held_out_labels: Tensor | None
    classes: int
    digest: str
    truth: Mixture | None = None

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return tuple(self.train.shape[1:])

    @cached_property
    def train_bytes(self) -> Tensor | None:
        """`train` as uint8, of which `scale_bytes` makes the same numbers; None where they are no bytes."""
        if self.train.dtype != torch.float32 or self.train.ndim < 4:
            return None
        found = torch.empty(self.train.shape, dtype=torch.uint8)
        for part, images in zip(found.split(IMAGES_IN_CACHE), self.train.split(IMAGES_IN_CACHE), strict=True):
            part.copy_((images + 1).mul_(127.5).round_().clamp_(0, 255))
            if not torch.equal(scale_bytes(part.float()), images):
                return None
        return found


class DataOrder:
    """Endless epochs over `size` samples, each a permutation drawn from (data_seed, epoch).

    A batch may span two epochs, so every batch is full and the order is a pure function of (data_seed, images seen).
    """

    def __init__(self, data_seed: int, size: int) -> None:
        self.data_seed, self.size = data_seed, size
        self._permutations: dict[int, np.ndarray] = {}

    def indices(self, images_seen: int, count: int) -> np.ndarray:
        """Which samples [count] are shown after images_seen images."""
        positions = np.arange(images_seen, images_seen + count)
        epochs = range(images_seen // self.size, (images_seen + count - 1) // self.size + 1)
        self._permutations = {epoch: self._permutation(epoch) for epoch in epochs}
        return np.concatenate(
            [self._permutations[epoch][positions[positions // self.size == epoch] % self.size] for epoch in epochs]
        )

    def _permutation(self, epoch: int) -> np.ndarray:
        if epoch in self._permutations:
            return self._permutations[epoch]
        return stream(self.data_seed, Stream.DATA_ORDER, epoch).permutation(self.size)


@dataclass(frozen=True)
class Request:
    """What a data set is asked for with: its name taken apart, and `load_dataset`'s other arguments."""

    name: DatasetName
    root: Path | None
    image_size_pixels: int
    download: bool
    skip_corrupt: bool


@dataclass(frozen=True)
class Samples:
    """A data set before it is resized and named. The fields are `Dataset`'s; labels: of train and of held_out."""

    train: Tensor
    held_out: Tensor
    labels: tuple[Tensor, Tensor] | None = None
    truth: Mixture | None = None


def load_dataset(
    name: str,
    root: Path | None = None,
    *,
    image_size_pixels: int = 0,
    download: bool = False,
    skip_corrupt: bool = False,
) -> Dataset:
    """The samples of a data set; gan_core.dataset_name has the grammar of its name.

    root: the folder that holds MNIST, Fashion-MNIST and CIFAR-10 as torchvision lays them out; the others need none.
    image_size_pixels: images are resized to this side; 0: the set's own. download: let torchvision fetch what is
    missing. skip_corrupt: leave out pictures of `images:` that cannot be read, with a warning.
    Raises InputError for a name that means nothing, and for files that are missing, damaged or not what they claim.
    """
    request = Request(parse_dataset_name(name), root, image_size_pixels, download, skip_corrupt)
    if image_size_pixels < 0 or (image_size_pixels and request.name.is_values):
        rule = "0 for numbers" if request.name.is_values else "at least 0; 0 keeps a set's own size"
        raise InputError(f"image_size_pixels must be {rule}, got {image_size_pixels} with data set {name!r}")
    samples = DATASETS[request.name.kind](request)
    train, held_out = samples.train, samples.held_out
    if image_size_pixels:
        train, held_out = resized(train, image_size_pixels), resized(held_out, image_size_pixels)
    train_labels, held_out_labels = samples.labels or (None, None)
    classes = 0 if train_labels is None else int(train_labels.max()) + 1
    digest = _digest(request.name.kind, train, held_out, *(samples.labels or ()))
    return Dataset(name, train, train_labels, held_out, held_out_labels, classes, digest, samples.truth)


def resized(images: Tensor, size_pixels: int) -> Tensor:
    """Images [n, C, H, W] in [-1, 1] -> [n, C, size, size]: bilinear, antialiased where they shrink."""
    if tuple(images.shape[2:]) == (size_pixels, size_pixels):
        return images
    out = images.new_empty(*images.shape[:2], size_pixels, size_pixels)
    for part, place in zip(images.split(RESIZED_AT_ONCE), out.split(RESIZED_AT_ONCE), strict=True):
        place.copy_(F.interpolate(part, (size_pixels, size_pixels), mode="bilinear", antialias=True))
    return out.clamp_(-1, 1)


def host_or_device(dataset_bytes: int, device_bytes: int | None) -> Literal["device", "host"]:
    """Where a data set is kept: in host memory when it is larger than half the device's (free or total), in bytes.

    None means that the device is the CPU, whose memory holds it already.
    """
    return "device" if device_bytes is None or 2 * dataset_bytes <= device_bytes else "host"


def _digest(kind: str, *tensors: Tensor) -> str:
    digest = hashlib.sha256(kind.encode())
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()[:16]


def _values(request: Request) -> Samples:
    """Draws of a known distribution. Held out: in 1-D the distribution itself at its quantiles (i - 1/2)/n, in 2-D
    other draws.
    """
    truth = mixture_of(request.name)
    train = truth.draw(TRAIN_VALUES, stream(0, Stream.DATA_SAMPLES))
    if truth.value_size == 1:
        held_out = truth.quantiles(HELD_OUT_VALUES).float().unsqueeze(1)
    else:
        held_out = truth.draw(HELD_OUT_VALUES, stream(0, Stream.DATA_SAMPLES, HELD_OUT_DRAWS))
    return Samples(train, held_out, truth=truth)


def _digits(_request: Request) -> Samples:
    """scikit-learn's 1,797 handwritten 8x8 digits, which install with the package, split within each class."""
    from sklearn.datasets import load_digits  # imported here: it is slow, and no other data set needs it

    images, targets = load_digits(return_X_y=True)
    order = stream(0, Stream.DATA_SPLIT).permutation(len(images))
    # Ranking each image by its share of its own class gives every class the same share of the training split.
    share = np.empty(len(images))
    for label in np.unique(targets):
        members = order[targets[order] == label]
        share[members] = (np.arange(len(members)) + 0.5) / len(members)
    ranked = np.argsort(share, kind="stable")
    parts = np.sort(ranked[:DIGITS_TRAIN_IMAGES]), np.sort(ranked[DIGITS_TRAIN_IMAGES:])
    train, held_out = (torch.from_numpy(images[part]).float().view(-1, 1, 8, 8) / 8 - 1 for part in parts)
    labels = tuple(torch.from_numpy(targets[part]).long() for part in parts)
    return Samples(train, held_out, (labels[0], labels[1]))


def _polygons(_request: Request) -> Samples:
    """Triangles of Lucic et al. (2018). As in their sets, the last 10,000 of 80,000 are kept apart, seen by nothing."""
    from gan_core.polygons import polygon_images  # imported here: no other data set needs it

    images = polygon_images()[:, None]
    end = POLYGONS_TRAIN_IMAGES + POLYGONS_HELD_OUT_IMAGES
    return Samples(_scaled(images[:POLYGONS_TRAIN_IMAGES]), _scaled(images[POLYGONS_TRAIN_IMAGES:end]))


def _published(splits: ImageSplits) -> Samples:
    labels = torch.from_numpy(splits.train_labels), torch.from_numpy(splits.held_out_labels)
    return Samples(_scaled(splits.train), _scaled(splits.held_out), labels)


def _pictures(request: Request) -> Samples:
    assert request.name.folder is not None
    if not request.image_size_pixels:
        raise InputError(
            f"data set 'images:{request.name.folder}' has no size of its own; set image_size_pixels, such as 32"
        )
    pictures = load_pictures(request.name.folder, request.image_size_pixels, skip_corrupt=request.skip_corrupt)
    parts = split_pictures(pictures.labels, len(pictures.images))
    train, held_out = (_scaled(pictures.images[part]) for part in parts)
    if pictures.labels is None:
        return Samples(train, held_out)
    labels = tuple(torch.from_numpy(pictures.labels[part]) for part in parts)
    return Samples(train, held_out, (labels[0], labels[1]))


def _scaled(pixels: np.ndarray) -> Tensor:
    """Bytes 0..255 -> float32 in [-1, 1]."""
    return scale_bytes(torch.from_numpy(pixels).float())


def scale_bytes(numbers: Tensor) -> Tensor:
    """0..255 -> [-1, 1], in place; returns it."""
    return numbers.div_(127.5).sub_(1)


DATASETS: dict[str, Callable[[Request], Samples]] = {
    "gaussian": _values,
    "mixture": _values,
    "ring": _values,
    "grid": _values,
    "digits": _digits,
    "polygons": _polygons,
    "mnist": lambda request: _published(load_idx_images("MNIST", "mnist", request.root, request.download)),
    "fashion_mnist": lambda request: _published(
        load_idx_images("FashionMNIST", "fashion_mnist", request.root, request.download)
    ),
    "cifar10": lambda request: _published(load_cifar10(request.root, request.download)),
    "images": _pictures,
}
