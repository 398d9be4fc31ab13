"""Reads image data sets from files as uint8, so that a user's files can be checked without loading torch."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gan_core.config.dataset_name import ARRAY_SUFFIXES, ON_DISK_KINDS, OWN_SIZE_SUFFIXES, TAR_SUFFIXES, DatasetName
from gan_core.config.input_error import InputError, home_path, shortened
from gan_core.config.own_names import parse_reference
from gan_core.data.archives import collect_shards, collect_zip, shards
from gan_core.data.array_files import collect_array_file
from gan_core.data.collected_images import Collector
from gan_core.data.hugging_face import collect_dataset, dataset_files, is_dataset
from gan_core.data.kept_images import kept_images, kept_path
from gan_core.data.known_forms import note_form
from gan_core.data.pictures import load_pictures, split_pictures
from gan_core.data.published_images import ImageSplits, load_cifar10, load_idx_images
from gan_core.files.addresses import is_address
from gan_core.files.fetched import local_file, local_folder
from gan_core.files.own_code import own_object

FILE_KINDS = (*ON_DISK_KINDS, "images", "own")
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
    if request.name.is_users:
        images = _images(request) if kind == "images" else _own(request)
        note_form(request.name, request.image_size_pixels, images)
        return images
    if kind == "cifar10":
        return load_cifar10(request.root, request.download)
    return load_idx_images(IDX_FOLDERS[kind], kind, request.root, request.download)


def _images(request: Request) -> ImageSplits:
    """The images of `images:PLACE`: what it is, is recognised by its ending, or by what lies in the folder."""
    place = request.name.folder
    assert place is not None
    if place.endswith(TAR_SUFFIXES):
        files = shards(place)
        return _collected(request, files, lambda collector: collect_shards(files, collector))
    if not place.endswith(OWN_SIZE_SUFFIXES) or (not is_address(place) and os.path.isdir(home_path(place))):
        folder = home_path(local_folder(place))
        if is_dataset(folder):
            return _collected(request, dataset_files(folder), lambda collector: collect_dataset(folder, collector))
        return _pictures(place, request)
    path = home_path(local_file(place))
    if not os.path.isfile(path):  # Path.is_file raises for names that are too long
        raise InputError(f"no file {shortened(str(path))}; give images: a file that is there")
    collect = collect_array_file if place.endswith(ARRAY_SUFFIXES) else collect_zip
    return _collected(request, [path], lambda collector: collect(path, collector))


def _own(request: Request) -> ImageSplits:
    """The images of a person's own data set. They are read anew where the code, the data root or a file that the code
    has read is another one.
    """

    def fill(collector: Collector) -> Sequence[str]:
        from gan_core.data.own_data import collect_own  # loads torch, as their code does

        return collect_own(own_object(str(request.name.folder)), request.root, collector)

    images = kept_images(
        own_name(request.name),
        request.name.kind,
        _own_key(request),
        fill,
        size_pixels=request.image_size_pixels,
        skip_corrupt=request.skip_corrupt,
        refresh=request.refresh,
        tell=request.tell,
    )
    assert images.facts is not None
    request.tell(f"images of {own_name(request.name)}, read on {images.facts.read}")
    return images


def own_is_kept(request: Request) -> bool:
    """Whether the images of a person's own data set were read before and are in the cache."""
    return kept_path(request.name.kind, _own_key(request), request.image_size_pixels).is_file()


def own_name(name: DatasetName) -> str:
    """A person's own data set as they wrote it, without the digest of its code."""
    return str(replace(parse_reference("structure.dataset", name.folder), digest=""))


def _own_key(request: Request) -> list[str]:
    reference = parse_reference("structure.dataset", request.name.folder)
    return [reference.digest, reference.name, "" if request.root is None else str(home_path(request.root).absolute())]


def _collected(request: Request, files: Sequence[Path], fill: Callable[[Collector], Sequence[str]]) -> ImageSplits:
    """The images that `fill` reads from these files, from the cache while the files have the same sizes and times."""
    times = [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
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
