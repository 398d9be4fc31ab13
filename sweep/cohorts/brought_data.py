"""Data sets of files where a process trains that has not got them: fetched once a machine from beside the driver."""

from dataclasses import replace
from pathlib import Path

from gan_core.config.conditions import Conditions
from gan_core.config.dataset_name import ON_DISK_KINDS, OWN_SIZE_SUFFIXES, TAR_SUFFIXES, parse_dataset_name
from gan_core.config.input_error import InputError, home_path
from gan_core.data.archives import shards
from gan_core.data.carried_images import read_images, splits_digest, write_images
from gan_core.data.image_files import Request, own_is_kept, read_image_files
from gan_core.data.published_images import ImageSplits
from gan_core.data.roots import data_folder
from gan_core.files.addresses import is_address
from gan_core.files.cache import alone, writable_cache_folder
from gan_core.files.fetched import local_file, local_folder
from gan_core.files.object_store import StoreError
from gan_core.files.own_code import bring
from gan_core.files.whole_files import appearing_whole
from sweep.cohorts.transfer import Line, fetch_file


def is_here(conditions: Conditions) -> bool:
    """Whether the data set of a run is here, or needs no files. Of its path only that there is something is looked at:
    where storage is not mounted, there is an empty folder. What lies in an object store is fetched; it is not here
    where the store does not let this machine in.
    """
    if parse_dataset_name(conditions.dataset).kind == "own":
        return _own_is_here(conditions)
    place = place_of_data(conditions)
    if place is None:
        return True
    if is_address(place):
        try:
            held_here(conditions)
        except StoreError:
            return False
        return True
    if place.endswith(TAR_SUFFIXES):
        try:
            return bool(shards(place))
        except InputError:
            return False
    path = home_path(place)
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


def _own_is_here(conditions: Conditions) -> bool:
    """Whether the images of a person's own code are in the cache of this machine. Where they are not, they are brought
    from where the sweep has read them: the code is not asked again, which may find other files here.
    """
    try:
        return own_is_kept(_request(conditions))
    except StoreError:
        return False


def _request(conditions: Conditions) -> Request:
    name = parse_dataset_name(conditions.dataset)
    root = data_folder(conditions.data_root or None, name.kind)
    return Request(name, root, conditions.image_size_pixels, skip_corrupt=conditions.skip_corrupt_images)


def place_of_data(conditions: Conditions) -> str | None:
    """The folder or the address of the files of the data set; None where it needs none."""
    name = parse_dataset_name(conditions.dataset)
    if name.kind == "own":
        return conditions.data_root
    return conditions.data_root if name.kind in ON_DISK_KINDS else name.folder


def held_here(conditions: Conditions) -> Conditions:
    """The same conditions, in which a data set of an object store is the folder of this machine's cache into which it
    was fetched: processes beside this one may have no key. Raises StoreError and InputError as `data_folder` does.
    """
    name, place = parse_dataset_name(conditions.dataset), place_of_data(conditions)
    if place is None or not is_address(place):
        return conditions
    if name.kind in (*ON_DISK_KINDS, "own"):
        return replace(conditions, data_root=str(data_folder(place, name.kind)))
    local = local_file if place.endswith(OWN_SIZE_SUFFIXES) else local_folder
    return replace(conditions, dataset=f"{name.kind}:{local(place)}")


def packed_images(conditions: Conditions) -> Path:
    """The images of a data set that is here, as one file in the cache folder, named by their digest. Raises InputError
    as `read_image_files` does, and OSError.
    """
    bring(conditions.code)
    request = _request(conditions)
    images = read_image_files(request)
    path = writable_cache_folder() / f"data-{splits_digest(request.name.kind, images)}.safetensors"
    with alone(path):
        if read_images(path) is None:
            write_images(path, images)
    return path


def fetched_images(line: Line) -> ImageSplits:
    """The images of the run's data set, from this machine's cache folder, or fetched into it: one process of a machine
    fetches while others wait. line: to the `FileServer`. Raises as `fetch_file` does.
    """
    parcel = line("data")()
    path = writable_cache_folder() / parcel.name
    with alone(path):
        images = read_images(path)
        if images is None:
            with appearing_whole(path, synced=False) as partial:  # `fetch_file` waits for the disk
                fetch_file(line, parcel, partial)
            images = read_images(path)
    assert images is not None, "its digest was checked"
    return images
