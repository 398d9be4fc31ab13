"""Reads image data sets from files as uint8, so that a user's files can be checked without loading torch."""

from dataclasses import dataclass
from pathlib import Path

from gan_core.config.dataset_name import ON_DISK_KINDS, DatasetName
from gan_core.config.input_error import InputError
from gan_core.data.pictures import load_pictures, split_pictures
from gan_core.data.published_images import ImageSplits, load_cifar10, load_idx_images
from gan_core.files.fetched import local_folder

FILE_KINDS = (*ON_DISK_KINDS, "images")
IDX_FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}


@dataclass(frozen=True)
class Request:
    """The arguments of `gan_core.data.dataset.load_dataset`, with the name parsed."""

    name: DatasetName
    root: Path | None = None
    image_size_pixels: int = 0
    download: bool = False
    skip_corrupt: bool = False


def read_image_files(request: Request) -> ImageSplits:
    """Reads a data set of FILE_KINDS. Only the images of `images:` are resized to the requested size.

    Raises InputError for files that are missing, damaged or of another format, and for `images:` without a size.
    """
    kind = request.name.kind
    if kind == "images":
        return _pictures(request)
    if kind == "cifar10":
        return load_cifar10(request.root, request.download)
    return load_idx_images(IDX_FOLDERS[kind], kind, request.root, request.download)


def _pictures(request: Request) -> ImageSplits:
    folder, size = request.name.folder, request.image_size_pixels
    assert folder is not None
    if not size:
        raise InputError(f"data set 'images:{folder}' has no size of its own; set image_size_pixels, such as 32")
    pictures = load_pictures(str(local_folder(folder)), size, skip_corrupt=request.skip_corrupt)
    train, held_out = split_pictures(pictures.labels, len(pictures.images), pictures.facts.held_out)
    labels = (None, None) if pictures.labels is None else (pictures.labels[train], pictures.labels[held_out])
    return ImageSplits(pictures.images[train], labels[0], pictures.images[held_out], labels[1], pictures.facts)
