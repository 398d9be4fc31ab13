"""Images of a source that is read item by item, kept in the cache: read once, and mapped where they are large.

The file is one of safetensors: train and held_out uint8 [n, C, S, S], their labels, and what is known of the images.
"""

import hashlib
import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from gan_core.config.input_error import InputError
from gan_core.data.collected_images import BLOCK_BYTES, Collector
from gan_core.data.digest import data_digest
from gan_core.data.pictures import PictureFacts, first_equal, refuse_corrupt
from gan_core.data.published_images import ImageSplits
from gan_core.files.cache import alone, writable_cache_folder
from gan_core.files.read_files import States, files_read, first_changed
from gan_core.files.whole_files import appearing_whole

RECIPE = 1
MAPPED_BYTES = 2**29  # pixels of more bytes stay on the disk and are mapped; fewer are read into memory, and checked
TYPES = {"uint8": "U8", "int32": "I32", "int64": "I64"}
LARGE = ("train", "held_out")
NO_DIGEST = 16 * "0"  # as long as one


def kept_images(
    source: str,
    kind: str,
    key: Sequence[Any],
    fill: Callable[[Collector], Sequence[str]],
    *,
    size_pixels: int,
    skip_corrupt: bool,
    refresh: bool = False,
    tell: Callable[[str], object] = lambda line: None,
) -> ImageSplits:
    """The images of a source, from the cache or read into it. source: as messages name it. kind: that of the data set,
    which is part of its digest. key: what tells these images from others, beside the size. fill: puts the images into a
    `Collector` and returns the names of the classes, which may be none. size_pixels, tell: as for the `Collector`.
    refresh: read them again, as is done where a file that `fill` has read has changed since.

    Raises InputError as `fill` and the `Collector` do, where the cache cannot hold the images, and for images that
    cannot be read unless skip_corrupt leaves them out, with a warning.
    """
    path = kept_path(kind, key, size_pixels)
    with alone(path):
        found = None if refresh else read_kept(path)
        if found is not None and (changed := first_changed(_files(path))):
            tell(f"{changed} has changed: {source} is read again")
            found = None
        if found is None:
            try:
                collector = Collector(source, path.parent, size_pixels, tell)
                with files_read() as files:
                    classes = fill(collector)
                if not len(collector):
                    _refuse_corrupt(source, 0, collector.unread, skip_corrupt)
                _write(path, kind, collector, classes, files)
            except OSError as error:
                raise InputError(f"cannot keep the images of {source} in {path.parent}: {error}") from error
            found = read_kept(path)
            assert found is not None, "it was written just now"
    assert found.facts is not None
    _refuse_corrupt(source, len(found.train) + len(found.held_out), found.facts.unread, skip_corrupt)
    return found


def _refuse_corrupt(source: str, read: int, unread: Mapping[str, Sequence[str]], skip: bool) -> None:
    refuse_corrupt(source, read + sum(map(len, unread.values())), unread, skip)


def kept_path(kind: str, key: Sequence[Any], size_pixels: int) -> Path:
    """Where in the cache folder the images of `kept_images` are, if they were read."""
    name = hashlib.sha256(json.dumps([RECIPE, kind, size_pixels, *key]).encode()).hexdigest()[:16]
    return writable_cache_folder() / f"images-{name}.safetensors"


def _write(path: Path, kind: str, collector: Collector, classes: Sequence[str], files: Mapping[str, str]) -> None:
    """Writes the images that were collected, the training images first, then the held-out ones. files: the states of
    those that they were read from.
    """
    train, held = collector.split()
    pixels, labels, order = collector.pixels(), collector.labels(), np.concatenate((train, held))
    # What is as long as an int64 comes first, so that all align.
    small: dict[str, np.ndarray] = {"copy_of": np.zeros(len(order), np.int64)}
    if labels is not None:
        small |= {"train_labels": labels[train], "held_out_labels": labels[held]}
    small["sizes_pixels"] = collector.sizes_pixels[order]
    small["files"] = np.frombuffer(zlib.compress(json.dumps(files).encode(), 1), np.uint8)
    count = 0 if labels is None else int(labels.max()) + 1
    about = {
        "kind": kind,
        "source": collector.what,
        "read": datetime.now().astimezone().isoformat(" ", "minutes"),
        "classes": list(classes) if len(classes) == count else [str(label) for label in range(count)],
        "own_split": collector.own_split,
        "values": collector.values,
        "unread": collector.unread,
    }
    forms = {name: (TYPES[str(part.dtype)], part.shape, part.nbytes) for name, part in small.items()}
    for name, part in zip(LARGE, (train, held), strict=True):
        forms[name] = ("U8", (len(part), *pixels.shape[1:]), len(part) * math.prod(pixels.shape[1:]))
    with appearing_whole(path, synced=False) as partial:
        with partial.open("wb") as file:
            file.write(_header(forms, about, NO_DIGEST))
            for array in small.values():
                file.write(array.tobytes())
            for places in (train, held):
                for chosen in np.array_split(places, max(1, math.ceil(len(places) * pixels[0].nbytes / BLOCK_BYTES))):
                    file.write(pixels[chosen].tobytes())
        parts = [_mapped(partial, name) for name in LARGE]
        given = [small[name] for name in ("train_labels", "held_out_labels") if name in small]
        header = _header(forms, about, data_digest(kind, *parts, *given))
        with partial.open("r+b") as file:  # these are known only now
            file.write(header)
            file.write(first_equal(*parts).tobytes())


def _header(forms: Mapping[str, tuple[str, tuple[int, ...], int]], about: Mapping[str, Any], digest: str) -> bytes:
    """The header of a file of safetensors: the type, shape and bytes of each tensor, one after another."""
    tensors, place = dict[str, Any](), 0
    for name, (kind, shape, size) in forms.items():
        tensors[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [place, place + size]}
        place += size
    text = json.dumps({"__metadata__": {"digest": digest, "about": json.dumps(about)}, **tensors}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def read_kept(path: Path) -> ImageSplits | None:
    """The images of a file that `kept_images` wrote; None where it is missing, damaged or something else."""
    try:
        with safe_open(path, "np") as file:
            notes = file.metadata()
            small = {name: file.get_tensor(name) for name in file.keys() if name not in LARGE}  # noqa: SIM118
        if "about" not in (notes or {}):
            return None
        train, held_out = (_mapped(path, name) for name in LARGE)
    except (OSError, SafetensorError):
        return None
    about, labels = json.loads(notes["about"]), [small.get("train_labels"), small.get("held_out_labels")]
    if train.nbytes + held_out.nbytes < MAPPED_BYTES:
        train, held_out = np.array(train), np.array(held_out)
        if (
            data_digest(about["kind"], train, held_out, *(part for part in labels if part is not None))
            != notes["digest"]
        ):
            return None
    facts = PictureFacts(
        root=Path(about["source"]),
        names=(),
        classes=tuple(about["classes"]),
        held_out=np.arange(len(train) + len(held_out)) >= len(train) if about["own_split"] else None,
        sizes_pixels=small["sizes_pixels"],
        copy_of=small["copy_of"],
        unread={why: tuple(names) for why, names in about["unread"].items()},
        unused={},
        values=about["values"],
        read=about["read"],
        path=path,
    )
    return ImageSplits(train, labels[0], held_out, labels[1], facts, notes["digest"])


def _files(path: Path) -> States:
    """The states of the files that kept images were read from; none where that is not known."""
    with safe_open(path, "np") as file:
        written = file.get_tensor("files") if "files" in file.keys() else None  # noqa: SIM118
    return {} if written is None else json.loads(zlib.decompress(written))


def _mapped(path: Path, name: str) -> np.ndarray:
    """A tensor of a file of safetensors, mapped: it must not be written to. Raises OSError."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        form = json.loads(file.read(size))[name]
    offset = 8 + size + form["data_offsets"][0]
    return np.asarray(np.memmap(path, np.uint8, "r", offset=offset, shape=tuple(form["shape"])))
