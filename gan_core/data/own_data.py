"""A person's own data set: a function or an object in their code, read item by item."""

import inspect
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, StackDataset, Subset

from gan_core.config.input_error import InputError, shortened, shown
from gan_core.data.array_files import HELD_OUT, HELD_OUT_LABELS, TRAINING, TRAINING_LABELS
from gan_core.data.collected_images import Collector
from gan_core.files.own_code import theirs
from gan_core.files.process_settings import settings_kept
from gan_core.lanes.streams import Stream, stream

TRAIN_SPLITS = ("train", "training")
HELD_OUT_SPLITS = ("held_out", "validation", "valid", "val", "test")  # the first that there is; a test set is the last
IMAGE_KEYS = ("image", "images", "pixel_values", "img", "x", "png", "jpg", "jpeg", "webp")
LABEL_KEYS = ("label", "labels", "y", "target", "targets", "class", "cls", "fine_label")
FORMS = "a torch Dataset, an array of images, (images, labels), or {'train': ..., 'held_out': ...} of these"
LEAST_LISTED = 3  # images in a list, which is otherwise an image and its label


def collect_own(found: Any, root: Path | None, collector: Collector) -> Sequence[str]:
    """Puts the images of a person's own data set into the collector, and returns the names of the classes where the
    data set has them in an attribute `classes`.

    found: anything that can be called, which is given the data root as `_called` says; or the data set itself: a torch
    Dataset (map or iterable) or any other sequence or iterable of images, (image, label) or mappings with IMAGE_KEYS
    and LABEL_KEYS; an array [n, H, W], [n, H, W, C] or [n, C, H, W], or a list of images, also with labels; or a
    mapping or a pair of splits. Their code runs with random generators of its own, which are seeded alike each time.

    Raises OwnCodeError for what their code raises, and InputError for anything that is no data set and as `Collector`
    does.
    """
    with _keyed_generators(), settings_kept():
        made = _called(found, root, collector.what)
        if made is None:
            raise InputError(f"{collector.what} returned None; return {FORMS}")
        splits = _splits(made, collector.what)
        for number, split in enumerate(splits):
            _collect(split, collector, held_out=number > 0)
    if len(splits) > 1 and not collector.own_split:
        raise InputError(f"the held-out split of {collector.what} is empty; leave it out, and a sixth is held out")
    return _class_names(splits[0])


def _called(found: Any, root: Path | None, what: str) -> Any:
    """What a function, a class or anything else that can be called returns; a data set as it is.

    Its first argument, or its only one that must be given, is the data root. One with a default gets the root where
    there is one and the default is a path, a text or None.
    """
    is_data = not inspect.isclass(found) and (hasattr(found, "__getitem__") or hasattr(found, "__iter__"))
    if is_data or not callable(found):
        return found
    with theirs(f"{what} failed"):
        parameters = inspect.signature(found).parameters.values()
    places = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    needed = [
        one for one in parameters if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    first = next(iter(places or needed), None)
    if needless := [one.name for one in needed if one is not first]:
        raise InputError(f"{what} must take the data root alone, or nothing, and also asks for {', '.join(needless)}")
    if first in needed and root is None:
        raise InputError(f"{what} asks for a data root: give --data-root DIR (or data_root: in the spec)")
    takes_root = first is not None and (first in needed or isinstance(first.default, str | Path | None))
    with theirs(f"{what} failed"):
        if first is None or not takes_root or root is None:
            return found()
        return found(**{first.name: root}) if first.kind is first.KEYWORD_ONLY else found(*[root])


def _splits(made: Any, what: str) -> Sequence[Any]:
    """The training split and, where there is one, the held-out split."""
    if not isinstance(made, Mapping):
        if isinstance(made, tuple | list) and len(made) == 2 and all(map(_is_split, made)):
            return made
        if isinstance(made, tuple | list) and made and all(isinstance(one, Dataset | DataLoader) for one in made):
            raise InputError(f"{what} has {len(made)} data sets; return two, (train, held_out), or {FORMS}")
        return (made,)
    train = _named(made, TRAIN_SPLITS)
    if train is not None:
        held_out = _named(made, HELD_OUT_SPLITS)
        return (train,) if held_out is None else (train, held_out)
    images = _named(made, TRAINING)
    if images is None:
        raise InputError(f"{what} has neither 'train' nor 'images' among {shown(list(made))}; return {FORMS}")
    held_out = _named(made, HELD_OUT)
    first = images, _named(made, TRAINING_LABELS)
    return (first,) if held_out is None else (first, (held_out, _named(made, HELD_OUT_LABELS)))


def _is_split(value: Any) -> bool:
    """Whether this can be no image, but must be a whole split."""
    return isinstance(value, Dataset | DataLoader) or _is_array(value, 3) or _images_and_labels(value) is not None


def _named(made: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((made[name] for name in names if name in made), None)


def _class_names(split: Any) -> Sequence[str]:
    while isinstance(split, Subset):
        split = split.dataset
    names = getattr(split, "classes", ())
    return tuple(map(str, names)) if isinstance(names, list | tuple) else ()


def _collect(split: Any, collector: Collector, *, held_out: bool) -> None:
    """Puts one split into the collector."""
    noun = "held-out item" if held_out else "item"
    items, count = _items(split, collector.what, noun)
    total = len(collector) + count if count else 0  # of both splits, as far as they are known
    for place, given in enumerate(items):
        name = f"{collector.what}: {noun} {place}"
        image, label = _parts(given, name)
        collector.add(_plain(image, name), _label(label, name), f"{noun} {place}", held_out=held_out, total=total)


def _items(split: Any, what: str, noun: str) -> tuple[Iterator[Any], int]:
    """The items of a split, one after another, and how many there are, or 0 where that is not known."""
    if isinstance(split, DataLoader):
        raise InputError(f"{what} is a DataLoader, which gives batches; give its dataset")
    if pair := _images_and_labels(split):
        images, labels = pair
        if labels is not None and len(labels) != len(images):
            raise InputError(f"{what} has {len(images)} images and {len(labels)} labels; give each image one")
        split = images if labels is None else StackDataset(images, labels)
    if isinstance(split, str | bytes | type) or not (hasattr(split, "__iter__") or hasattr(split, "__getitem__")):
        raise InputError(f"{what} is {type(split).__name__} {shown(split)}; give {FORMS}")
    has_places = hasattr(split, "__len__") and hasattr(split, "__getitem__")
    if not has_places or isinstance(split, IterableDataset):
        return _iterated(split, what, noun), 0
    with theirs(f"{what}: its length cannot be found"):
        count = len(split)
    return _by_place(split, count, what, noun), count


def _by_place(split: Any, count: int, what: str, noun: str) -> Iterator[Any]:
    for place in range(count):
        with theirs(f"{what}: {noun} {place} cannot be read"):
            item = split[place]
        yield item


def _iterated(split: Any, what: str, noun: str) -> Iterator[Any]:
    """The items of anything that `iter` takes: what has no length but places is read up to an IndexError."""
    place, end = 0, object()
    with theirs(f"{what} cannot be read"):
        source = iter(split)
    while True:
        with theirs(f"{what}: {noun} {place} cannot be read"):
            item = next(source, end)
        if item is end:
            return
        yield item
        place += 1


def _images_and_labels(split: Any) -> tuple[Any, Any] | None:
    """Images and labels, or None for labels, where a split is an array of images or a pair of these."""
    if _is_array(split, 3):
        return split, None
    if not isinstance(split, tuple | list) or len(split) != 2:
        return None
    images, labels = split
    has_images = _is_array(images, 3) or (isinstance(images, list | tuple) and len(images) >= LEAST_LISTED)
    has_labels = labels is None or isinstance(labels, list | tuple) or (_is_array(labels, 1) and labels.ndim < 3)
    return (images, labels) if has_images and has_labels else None


def _is_array(value: Any, least: int) -> bool:
    """Whether this is an array or a tensor of at least so many dimensions."""
    return isinstance(value, np.ndarray | Tensor) and value.ndim >= least


def _parts(item: Any, name: str) -> tuple[Any, Any]:
    """The image and the label, or None, of an item."""
    if isinstance(item, Mapping):
        image = next((key for key in IMAGE_KEYS if key in item), None)
        label = next((key for key in LABEL_KEYS if key in item), None)
        if image is None:
            raise InputError(f"{name} has none of {', '.join(IMAGE_KEYS)}, but {shown(list(item))}; name its image so")
        return item[image], None if label is None else item[label]
    if isinstance(item, tuple | list):
        if len(item) not in (1, 2):
            raise InputError(f"{name} has {len(item)} parts; give an image, or an image and its label")
        return (item[0], None) if len(item) == 1 else (item[0], item[1])
    return item, None


def _plain(value: Any, name: str) -> Any:
    """A tensor as an array; anything else as it is. Raises InputError for tensors without numbers, or without a place
    for each, such as meta and sparse ones.
    """
    if not isinstance(value, Tensor):
        return value
    try:
        if value.is_floating_point() and value.dtype not in (torch.float16, torch.float32, torch.float64):
            value = value.float()  # NumPy has no bfloat16
        return value.numpy(force=True)
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"{name} is a tensor that has no plain numbers ({shortened(str(error))}); convert it"
        ) from error


def _label(value: Any, name: str) -> Any:
    """A label out of a tensor or an array of one number."""
    value = _plain(value, name)
    return value.reshape(()).item() if isinstance(value, np.ndarray) and value.size == 1 else value


@contextmanager
def _keyed_generators() -> Iterator[None]:
    """Within this context the global generators of torch, NumPy and Python are seeded from a keyed stream; after it
    they are as before.
    """
    seed = int(stream(0, Stream.DATA_SAMPLES).integers(2**31))
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)  # noqa: NPY002
