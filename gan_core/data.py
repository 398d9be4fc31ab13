"""Data set name -> samples in memory, and the order in which they are shown.

Images are float32 [n, C, H, W] in [-1, 1], one tensor, no per-sample transforms; the 1-D set is [n, 1].
"""

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan_core.config import DatasetName, InputError, nearest
from gan_core.lanes import Stream, stream

GAUSSIAN_MEAN, GAUSSIAN_DEVIATION = 4.0, 1.25
GAUSSIAN_SAMPLES = 131_072
DIGITS_TRAIN_IMAGES = 1_000
IDX_UNSIGNED_BYTES = 0x08
ON_DISK = ("mnist", "fashion_mnist")  # data sets that are read from files a person provides


@dataclass(frozen=True)
class Dataset:
    """Real samples. train and held_out: [n, C, H, W] in [-1, 1] (or [n, 1]); labels [n] in 0..classes-1, or None
    where there are none (classes = 0). digest: of the samples and labels: two scores with equal digests share them.
    """

    name: str
    train: Tensor
    train_labels: Tensor | None
    held_out: Tensor
    held_out_labels: Tensor | None
    classes: int
    digest: str

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return tuple(self.train.shape[1:])


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


def load_dataset(name: str, root: Path | None = None, *, download: bool = False) -> Dataset:
    """The samples of a data set. root: the folder that holds `<Name>/raw/` as torchvision lays it out; `gaussian` and
    `digits` need none. download: let torchvision fetch what is missing.

    Raises InputError for an unknown name, and for files that are missing, truncated or not what they claim to be.
    """
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r}; {nearest(name, DATASETS)}")
    return DATASETS[name](root, download)


def _dataset(name: str, train: Tensor, held_out: Tensor, labels: tuple[Tensor, Tensor] | None) -> Dataset:
    digest = hashlib.sha256(name.encode())
    for tensor in (train, held_out, *(labels or ())):
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.contiguous().numpy().data)
    train_labels, held_out_labels = labels or (None, None)
    classes = 0 if train_labels is None else int(train_labels.max()) + 1
    return Dataset(name, train, train_labels, held_out, held_out_labels, classes, digest.hexdigest()[:16])


def _gaussian(root: Path | None, download: bool) -> Dataset:
    """Samples of N(4, 1.25^2). The held-out split is the distribution itself at its quantiles (i - 1/2)/n."""
    drawn = stream(0, Stream.DATA_SAMPLES).standard_normal((GAUSSIAN_SAMPLES, 1), dtype=np.float32)
    train = torch.from_numpy(drawn) * GAUSSIAN_DEVIATION + GAUSSIAN_MEAN
    held_out = gaussian_quantiles(10_000).float().unsqueeze(1)
    return _dataset("gaussian", train, held_out, None)


def gaussian_quantiles(count: int) -> Tensor:
    """The quantiles (i - 1/2)/count, i = 1..count, of N(4, 1.25^2): [count], float64."""
    levels = (torch.arange(1, count + 1, dtype=torch.float64) - 0.5) / count
    return GAUSSIAN_MEAN + GAUSSIAN_DEVIATION * math.sqrt(2) * torch.erfinv(2 * levels - 1)


def _digits(root: Path | None, download: bool) -> Dataset:
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
    return _dataset("digits", train, held_out, (labels[0], labels[1]))


def _idx_images(torchvision_name: str, name: str) -> Callable[[Path | None, bool], Dataset]:
    def load(root: Path | None, download: bool) -> Dataset:
        if root is None:
            raise InputError(
                f"data set {name!r} needs a data root: give --data-root DIR (or data_root: in the spec), "
                f"a folder that holds {torchvision_name}/raw/train-images-idx3-ubyte[.gz] and its three companions"
            )
        raw = Path(root).expanduser() / torchvision_name / "raw"
        if download:
            _download(torchvision_name, Path(root).expanduser())
        splits, labels, shape = [], [], ()
        for part in ("train", "t10k"):
            images, targets = read_idx(raw / f"{part}-images-idx3-ubyte"), read_idx(raw / f"{part}-labels-idx1-ubyte")
            if images.ndim != 3 or targets.ndim != 1 or len(images) != len(targets) or len(images) == 0:
                raise InputError(
                    f"{raw}: {part} must hold one label for each image, got images {list(images.shape)} "
                    f"and labels {list(targets.shape)}; put the files of one data set there"
                )
            if splits and (images.shape[1:] != shape[1:] or targets.max() > labels[0].max()):
                raise InputError(
                    f"{raw}: t10k must have images and labels like train's, {list(shape)} up to {labels[0].max()}, got "
                    f"{list(images.shape)} up to {targets.max()}; put the files of one data set there"
                )
            shape = images.shape
            splits.append(torch.from_numpy(images).float().unsqueeze(1) / 127.5 - 1)
            labels.append(torch.from_numpy(targets).long())
        return _dataset(name, splits[0], splits[1], (labels[0], labels[1]))

    return load


def _download(torchvision_name: str, root: Path) -> None:
    import torchvision

    try:
        getattr(torchvision.datasets, torchvision_name)(str(root), download=True)
    except (RuntimeError, OSError) as error:
        raise InputError(f"could not download {torchvision_name} to {root}: {error}") from error


def read_idx(path: Path) -> np.ndarray:
    """An IDX file of unsigned bytes, plain or as `<path>.gz`, as an array of the shape it declares.

    Raises InputError when it is missing, truncated, or not an IDX file.
    """
    packed = path.with_name(path.name + ".gz")
    found = next((p for p in (path, packed) if p.is_file()), None)
    if found is None:
        raise InputError(f"no file {path} nor {packed.name} beside it; put the IDX file there, or pass --download")
    try:
        content = gzip.decompress(found.read_bytes()) if found == packed else found.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{found} is not a whole gzip file ({error}); fetch it again") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != IDX_UNSIGNED_BYTES or not 1 <= content[3] <= 4:
        raise InputError(f"{found} is not an IDX file of bytes: it starts with {content[:4].hex()}; fetch it again")
    dimensions = content[3]
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise InputError(f"{found} ends inside its header; fetch it again")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != math.prod(shape):
        raise InputError(
            f"{found} declares {list(shape)} = {math.prod(shape)} bytes and holds {len(content) - header}; "
            "fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


DATASETS: dict[DatasetName, Callable[[Path | None, bool], Dataset]] = {
    "gaussian": _gaussian,
    "digits": _digits,
    "mnist": _idx_images("MNIST", "mnist"),
    "fashion_mnist": _idx_images("FashionMNIST", "fashion_mnist"),
}
