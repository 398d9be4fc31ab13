"""Reads MNIST, Fashion-MNIST and CIFAR-10 from the published files, in the folders that torchvision uses.

Pixels are uint8 [n, C, H, W], labels int64 [n] in 0..9. This module does not load torch.
"""

import gzip
import hashlib
import io
import math
import pickle
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gan_core.config.input_error import InputError, home_path, shown
from gan_core.data.pictures import PictureFacts

IDX_UNSIGNED_BYTES = 0x08
LARGEST_LABEL = 9
LARGEST_BYTES = 2**30  # the limit for the content of a file, twenty times that of MNIST
READ_AT_ONCE_BYTES = 2**24
CIFAR_SHAPE = (3, 32, 32)
CIFAR_RECORD_BYTES = 1 + math.prod(CIFAR_SHAPE)  # one label and one image
CIFAR_BINARY, CIFAR_PYTHON = "cifar-10-batches-bin", "cifar-10-batches-py"


@dataclass(frozen=True)
class ImageSplits:
    """The two splits as read from files: uint8 [n, C, H, W], each with labels int64 [n], or None without labels.

    facts: what else is known if the images are a user's. digest: that of `data_digest`, or "" where it is not known.
    The pixels must not be written to: large ones are mapped from a file.
    """

    train: np.ndarray
    train_labels: np.ndarray | None
    held_out: np.ndarray
    held_out_labels: np.ndarray | None
    facts: PictureFacts | None = None
    digest: str = ""

    @property
    def classes(self) -> int:
        """The number of classes, whose labels are 0..classes - 1; 0 without labels."""
        return 0 if self.train_labels is None else int(self.train_labels.max()) + 1


def load_idx_images(torchvision_name: str, name: str, root: Path | None, download: bool) -> ImageSplits:
    """Reads the IDX files in `<root>/<torchvision_name>/raw`, plain or gzipped.

    download: whether torchvision may fetch missing files. Raises InputError for files that are missing, damaged or do
    not belong together.
    """
    if root is None:
        raise InputError(
            f"data set {shown(name)} needs a data root: give --data-root DIR (or data_root: in the spec), "
            f"a folder that holds {torchvision_name}/raw/train-images-idx3-ubyte[.gz] and its three companions"
        )
    root = home_path(root)
    raw = root / torchvision_name / "raw"
    if download:
        _download(torchvision_name, root)
    images, labels = _idx_split(raw, "train")
    held_out, held_out_labels = _idx_split(raw, "t10k")
    if held_out.shape[1:] != images.shape[1:] or held_out_labels.max() > labels.max():
        raise InputError(
            f"{raw}: t10k must have images and labels like train's, {_grey(images)} up to {labels.max()}, got "
            f"{_grey(held_out)} up to {held_out_labels.max()}; put the files of one data set there"
        )
    return ImageSplits(images, labels, held_out, held_out_labels)


def _grey(images: np.ndarray) -> list[int]:
    return [len(images), *images.shape[2:]]


def _idx_split(raw: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = read_idx(raw / f"{part}-images-idx3-ubyte"), read_idx(raw / f"{part}-labels-idx1-ubyte")
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or len(images) == 0:
        raise InputError(
            f"{raw}: {part} must hold one label for each image, got images {list(images.shape)} "
            f"and labels {list(labels.shape)}; put the files of one data set there"
        )
    _check_labels(raw / f"{part}-labels-idx1-ubyte", labels)
    return images[:, None], labels.astype(np.int64)


def _check_labels(path: Path, labels: np.ndarray) -> None:
    if labels.max() > LARGEST_LABEL:
        raise InputError(f"{path}: labels must lie in 0..{LARGEST_LABEL}, got {labels.max()}; fetch the file again")


def _download(torchvision_name: str, root: Path) -> None:
    import torchvision

    try:
        getattr(torchvision.datasets, torchvision_name)(str(root), download=True)
    except (RuntimeError, OSError) as error:
        raise InputError(f"could not download {torchvision_name} to {root}: {error}") from error


def read_idx(path: Path) -> np.ndarray:
    """Reads an IDX file of unsigned bytes, plain or as `<path>.gz`, into an array of the shape it declares.

    Raises InputError if it is missing, truncated, not an IDX file or larger than LARGEST_BYTES, for a small gzip file
    can hold gigabytes: a gigabyte of zeros takes a megabyte.
    """
    packed = path.with_name(path.name + ".gz")
    found = next((p for p in (path, packed) if p.is_file()), None)
    if found is None:
        raise InputError(f"no file {path} nor {packed.name} beside it; put the IDX file there, or pass --download")
    try:
        with gzip.open(found) if found == packed else found.open("rb") as file:
            return _read_idx(file, found)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{found} is not a whole gzip file ({error}); fetch it again") from error


def _read_idx(file: io.BufferedIOBase, path: Path) -> np.ndarray:
    """Reads an open IDX file. No more of it is decompressed than its header declares."""
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] != IDX_UNSIGNED_BYTES or not 1 <= start[3] <= 4:
        raise InputError(f"{path} is not an IDX file of bytes: it starts with {start.hex()}; fetch it again")
    header = file.read(4 * start[3])
    if len(header) < 4 * start[3]:
        raise InputError(f"{path} ends inside its header; fetch it again")
    shape = struct.unpack(f">{start[3]}I", header)
    declared = math.prod(shape)
    if declared > LARGEST_BYTES:
        raise InputError(
            f"{path} declares {list(shape)} = {declared:,} bytes, and at most {LARGEST_BYTES:,} are read; "
            "fetch it again, or give its pictures as images:FOLDER"
        )
    content = bytearray()
    while len(content) < declared and (part := file.read(min(READ_AT_ONCE_BYTES, declared - len(content)))):
        content += part
    if len(content) != declared or file.read(1):
        held = "more" if len(content) == declared else len(content)
        raise InputError(f"{path} declares {list(shape)} = {declared} bytes and holds {held}; fetch it again")
    return np.frombuffer(content, np.uint8).reshape(shape)


def load_cifar10(root: Path | None, download: bool) -> ImageSplits:
    """Reads CIFAR-10 (Krizhevsky 2009) from `<root>/cifar-10-batches-bin`, the binary version, or else from
    `<root>/cifar-10-batches-py`, the version that torchvision fetches, whose files are pickles.

    Unpickling can run any program, so each pickle must have the MD5 that torchvision publishes for it, and the reader
    builds arrays and nothing else. Raises InputError for files that are missing, damaged or not the published ones.
    """
    if root is None:
        raise InputError(
            "data set 'cifar10' needs a data root: give --data-root DIR (or data_root: in the spec), "
            f"a folder that holds {CIFAR_BINARY}/data_batch_1.bin and its five companions, or {CIFAR_PYTHON}"
        )
    root = home_path(root)
    binary, python = root / CIFAR_BINARY, root / CIFAR_PYTHON
    if binary.is_dir():
        parts = [read_cifar_binary(binary / f"data_batch_{number}.bin") for number in range(1, 6)]
        held_out = read_cifar_binary(binary / "test_batch.bin")
    else:
        if download:
            _download("CIFAR10", root)
        if not python.is_dir():
            raise InputError(f"{root} holds no {CIFAR_BINARY} nor {CIFAR_PYTHON}; put one there, or pass --download")
        from torchvision.datasets import CIFAR10  # imported here because it is slow; only its list of MD5s is used

        parts = [read_cifar_python(python / name, md5) for name, md5 in CIFAR10.train_list]
        held_out = read_cifar_python(python / CIFAR10.test_list[0][0], CIFAR10.test_list[0][1])
    images, labels = (np.concatenate(both) for both in zip(*parts, strict=True))
    return ImageSplits(images, labels, *held_out)


def read_cifar_binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads a file of the binary version, n records of a label and 3,072 bytes: images [n, 3, 32, 32], labels [n].

    Raises InputError if it is missing, does not hold a whole number of records, or has a label above 9.
    """
    content = _read(path)
    if not content or len(content) % CIFAR_RECORD_BYTES:
        raise InputError(
            f"{path} must hold records of {CIFAR_RECORD_BYTES} bytes, got {len(content)} bytes; fetch it again"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, CIFAR_RECORD_BYTES)
    _check_labels(path, records[:, 0])
    return records[:, 1:].reshape(-1, *CIFAR_SHAPE).copy(), records[:, 0].astype(np.int64)


def read_cifar_python(path: Path, md5: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads a pickled batch whose bytes have this MD5: images [n, 3, 32, 32], labels [n].

    Raises InputError if it is missing or a different file. The MD5 is checked on the bytes that are then unpickled.
    """
    content = _read(path)
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise InputError(
            f"{path} is not the published file: its MD5 must be {md5}, got {found}; fetch it again, "
            f"or use {CIFAR_BINARY}, which needs no pickle"
        )
    batch = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    return batch["data"].reshape(-1, *CIFAR_SHAPE), np.array(batch["labels"], np.int64)


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that builds NumPy arrays and refuses to call anything else."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        rebuild = np.empty(0).__reduce__()[0]
        known = {"_reconstruct": rebuild, "ndarray": np.ndarray, "dtype": np.dtype}
        if module_name.split(".")[0] != "numpy" or global_name not in known:
            raise pickle.UnpicklingError(f"a batch of images needs no {module_name}.{global_name}")
        return known[global_name]


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"no file {path}; put the whole of CIFAR-10 there, or pass --download")
    if path.stat().st_size > LARGEST_BYTES:
        raise InputError(
            f"{path} must hold at most {LARGEST_BYTES:,} bytes, got {path.stat().st_size:,}; fetch it again"
        )
    return path.read_bytes()
