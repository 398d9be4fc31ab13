"""A person's own data set: a function or an object in their code, read item by item."""

import inspect
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from gan_core.config.input_error import InputError, shown
from gan_core.data.array_files import HELD_OUT, HELD_OUT_LABELS, TRAINING, TRAINING_LABELS
from gan_core.data.collected_images import Collector
from gan_core.files.own_code import theirs
from gan_core.files.process_settings import settings_kept
from gan_core.lanes.streams import Stream, stream

TRAIN_SPLITS = ("train", "training")
HELD_OUT_SPLITS = ("held_out", "validation", "valid", "val", "test")  # the first that there is; a test set is the last
IMAGE_KEYS = ("image", "images", "pixel_values", "img", "x")
LABEL_KEYS = ("label", "labels", "y", "target")
FORMS = "a torch Dataset, an array of images, (images, labels), or {'train': ..., 'held_out': ...} of these"


def collect_own(found: Any, root: Path | None, collector: Collector) -> Sequence[str]:
    """Puts the images of a person's own data set into the collector, and returns the names of the classes where the
    data set has them in an attribute `classes`.

    found: a function or class, which is called with the data root or, where it takes nothing or has a default and there
    is no root, without; or the data set itself: a torch Dataset (map or iterable) or any other sequence or iterable of
    images, (image, label) or mappings with IMAGE_KEYS and LABEL_KEYS; an array [n, H, W], [n, H, W, C] or [n, C, H, W],
    also with labels; or a mapping of splits. Their code runs with random generators of its own, which are seeded alike
    each time.

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
    names = getattr(splits[0], "classes", ())
    return tuple(map(str, names)) if isinstance(names, list | tuple) else ()


def _called(found: Any, root: Path | None, what: str) -> Any:
    """What a function or class returns; anything else as it is."""
    if not (inspect.isclass(found) or inspect.isroutine(found)):
        return found
    with theirs(f"{what} failed"):
        parameters = inspect.signature(found).parameters.values()
    takes = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    takes_root = bool(takes) and (root is not None or takes[0].default is takes[0].empty)
    needless = [one.name for one in takes[1:] if one.default is one.empty]
    if needless:
        raise InputError(f"{what} must take the data root alone, or nothing, and also asks for {', '.join(needless)}")
    if takes_root and root is None:
        raise InputError(f"{what} asks for a data root: give --data-root DIR (or data_root: in the spec)")
    with theirs(f"{what} failed"):
        return found(root) if takes_root else found()  # pyright: ignore[reportCallIssue]


def _splits(made: Any, what: str) -> Sequence[Any]:
    """The training split and, where there is one, the held-out split."""
    if not isinstance(made, Mapping):
        return (made,)
    train = next((made[name] for name in TRAIN_SPLITS if name in made), None)
    if train is not None:
        held_out = next((made[name] for name in HELD_OUT_SPLITS if name in made), None)
        return (train,) if held_out is None else (train, held_out)
    images = _named(made, TRAINING)
    if images is None:
        raise InputError(f"{what} has neither 'train' nor 'images' among {shown(list(made))}; return {FORMS}")
    held_out = _named(made, HELD_OUT)
    first = images, _named(made, TRAINING_LABELS)
    return (first,) if held_out is None else (first, (held_out, _named(made, HELD_OUT_LABELS)))


def _named(made: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((made[name] for name in names if name in made), None)


def _collect(split: Any, collector: Collector, *, held_out: bool) -> None:
    """Puts one split into the collector."""
    noun = "held-out item" if held_out else "item"
    total = len(split) if hasattr(split, "__len__") else 0
    for place, given in enumerate(_items(split, collector.what, noun)):
        image, label = _parts(given, f"{collector.what}: {noun} {place}")
        collector.add(_plain(image), _label(label), f"{noun} {place}", held_out=held_out, total=total)


def _items(split: Any, what: str, noun: str) -> Iterator[Any]:
    """The items of a split, one after another."""
    if isinstance(split, DataLoader):
        raise InputError(f"{what} is a DataLoader, which gives batches; give its dataset")
    if pair := _arrays(split):
        images, labels = pair
        if labels is not None and len(labels) != len(images):
            raise InputError(f"{what} has {len(images)} images and {len(labels)} labels; give each image one")
        yield from images if labels is None else zip(images, labels, strict=True)
    elif hasattr(split, "__len__") and hasattr(split, "__getitem__"):
        for place in range(len(split)):
            with theirs(f"{what}: {noun} {place} cannot be read"):
                item = split[place]
            yield item
    elif isinstance(split, Iterable):
        yield from _iterated(split, what, noun)
    else:
        raise InputError(f"{what} is {type(split).__name__} {shown(split)}; give {FORMS}")


def _iterated(split: Iterable[Any], what: str, noun: str) -> Iterator[Any]:
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


def _arrays(split: Any) -> tuple[Any, Any] | None:
    """Images and labels, or None for labels, where a split is an array of images or a pair of arrays."""
    if _is_array(split, 3):
        return split, None
    if isinstance(split, tuple | list) and len(split) == 2 and _is_array(split[0], 3):
        images, labels = split
        return (images, labels) if labels is None or _is_array(labels, 1) or isinstance(labels, list) else None
    return None


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


def _plain(value: Any) -> Any:
    """A tensor as an array; anything else as it is."""
    if not isinstance(value, Tensor):
        return value
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()  # which NumPy has not


def _label(value: Any) -> Any:
    """A label out of a tensor or an array of one number."""
    value = _plain(value)
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
