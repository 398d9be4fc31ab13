"""What is known of a user's images without reading them again: their shape, their classes and how many there are."""

import hashlib
import json
from pathlib import Path

from gan_core.config.dataset_name import DatasetName
from gan_core.config.input_error import home_path
from gan_core.data.published_images import ImageSplits
from gan_core.files.addresses import is_address
from gan_core.files.cache import keep, writable_cache_folder


def note_form(name: DatasetName, size_pixels: int, images: ImageSplits) -> None:
    """Notes the form of images that were read, in the cache folder, for estimates of memory and time."""
    path = _note(name, size_pixels)
    text = json.dumps([images.train.shape[1:], images.classes, len(images.train) + len(images.held_out)])
    if not path.is_file() or path.read_text() != text:
        keep(path, lambda partial: partial.write_text(text))


def known_form(name: DatasetName, size_pixels: int) -> tuple[tuple[int, int, int], int, int] | None:
    """The shape [C, S, S], the classes and the number of the images when they were last read on this machine at this
    size; None where they were not.
    """
    try:
        shape, classes, count = json.loads(_note(name, size_pixels).read_text())
        channels, height, width = shape
    except (OSError, ValueError, TypeError):
        return None
    return (channels, height, width), classes, count


def _note(name: DatasetName, size_pixels: int) -> Path:
    place = str(name.folder)
    place = place if name.kind != "images" or is_address(place) else str(home_path(place).absolute())
    key = hashlib.sha256(f"{name.kind}:{place}@{size_pixels}".encode()).hexdigest()[:16]
    return writable_cache_folder() / f"form-{key}.json"
