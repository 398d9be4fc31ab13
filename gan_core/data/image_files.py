"""Reads image data sets from files as uint8, so that a user's files can be checked without loading torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gan_core.config.dataset_name import ARRAY_SUFFIXES, ON_DISK_KINDS, DatasetName
from gan_core.config.input_error import InputError, home_path
from gan_core.data.array_files import collect_array_file
from gan_core.data.collected_images import Collector
from gan_core.data.kept_images import kept_images
from gan_core.data.known_forms import note_form
from gan_core.data.pictures import load_pictures, split_pictures
from gan_core.data.published_images import ImageSplits, load_cifar10, load_idx_images
from gan_core.files.fetched import local_file, local_folder

FILE_KINDS = (*ON_DISK_KINDS, "images")
IDX_FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}


@dataclass(frozen=True)
class Request:
    """The arguments of `gan_core.data.dataset.load_dataset`, with the name parsed. tell: told now and then, in words,
    how much was read. refresh: whether images of the cache are read again from where they came.
    """

    name: DatasetName
    root: Path | None = None
    image_size_pixels: int = 0
    download: bool = False
    skip_corrupt: bool = False
    tell: Callable[[str], object] = lambda line: None
    refresh: bool = False


def read_image_files(request: Request) -> ImageSplits:
    """Reads a data set of FILE_KINDS. Only the images of `images:` are resized to the requested size.

    Raises InputError for files that are missing, damaged or of another format, and for `images:` of pictures of several
    sizes without a size.
    """
    kind = request.name.kind
    if kind == "images":
        images = _images(request)
        note_form(request.name, request.image_size_pixels, images)
        return images
    if kind == "cifar10":
        return load_cifar10(request.root, request.download)
    return load_idx_images(IDX_FOLDERS[kind], kind, request.root, request.download)


def _images(request: Request) -> ImageSplits:
    """The images of `images:PLACE`: a file of arrays, or a folder of pictures."""
    place = request.name.folder
    assert place is not None
    if not place.endswith(ARRAY_SUFFIXES):
        return _pictures(place, request)
    path = home_path(local_file(place))
    if path.is_dir():
        return _pictures(place, request)
    return _collected(request, [path], lambda collector: collect_array_file(path, collector))


def _collected(request: Request, files: Sequence[Path], fill: Callable[[Collector], Sequence[str]]) -> ImageSplits:
    """The images that `fill` reads from these files, from the cache while the files have the same sizes and times."""
    times = [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in files if path.exists()]
    return kept_images(
        f"images:{request.name.folder}",
        request.name.kind,
        times,
        fill,
        size_pixels=request.image_size_pixels,
        skip_corrupt=request.skip_corrupt,
        refresh=request.refresh,
        tell=request.tell,
    )


def _pictures(folder: str, request: Request) -> ImageSplits:
    size = request.image_size_pixels
    if not size:
        raise InputError(f"data set 'images:{folder}' has no size of its own; set image_size_pixels, such as 32")
    pictures = load_pictures(str(local_folder(folder)), size, skip_corrupt=request.skip_corrupt)
    train, held_out = split_pictures(pictures.labels, len(pictures.images), pictures.facts.held_out)
    labels = (None, None) if pictures.labels is None else (pictures.labels[train], pictures.labels[held_out])
    return ImageSplits(pictures.images[train], labels[0], pictures.images[held_out], labels[1], pictures.facts)
