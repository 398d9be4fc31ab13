"""Describes a set of images before anything is trained on it. This module does not load torch."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from gan_core.config.dataset_name import parse_dataset_name
from gan_core.config.input_error import InputError
from gan_core.data.digest import data_digest
from gan_core.data.enough_images import check_images, copies_told, held_out_warning
from gan_core.data.pictures import first_equal
from gan_core.data.published_images import ImageSplits


@dataclass(frozen=True)
class DataFacts:
    """What is known about a data set of images.

    shape: channels, height and width in training. train, held_out: the number of images in each split. own_split:
    whether the source defines the split. classes: the name of each label and its numbers of training and held-out
    images; empty without labels. sizes: (width, height) -> the number of files of this size, the most common first;
    empty unless the images come from a folder. copies: a sentence on exact copies, or ""; leaked: the number of
    held-out images that are also in the training split. unread: reason -> the names of images that were left out.
    unused: kind -> the paths of other files. values: what the numbers of arrays were, or "". read: when
    they were read into the cache, or "". digest: that of `data_digest`. refused: why a sweep would refuse the images,
    or "". too_few: why the held-out images are too few to say much, or "".
    """

    name: str
    shape: tuple[int, int, int]
    train: int
    held_out: int
    own_split: bool
    classes: tuple[tuple[str, int, int], ...]
    sizes: dict[tuple[int, int], int]
    copies: str
    leaked: int
    unread: dict[str, tuple[str, ...]]
    unused: dict[str, tuple[str, ...]]
    values: str
    read: str
    digest: str
    refused: str
    too_few: str


def image_facts(name: str, images: ImageSplits) -> DataFacts:
    """Describes the images of a data set, in uint8 or in [-1, 1], at the size they are trained at."""
    facts, count = images.facts, len(images.train)
    equal = first_equal(images.train, images.held_out)
    leaked = np.isin(equal[count:], equal[:count]).sum()
    sizes = Counter() if facts is None else Counter((int(width), int(height)) for width, height in facts.sizes_pixels)
    labels = [part for part in (images.train_labels, images.held_out_labels) if part is not None]
    return DataFacts(
        name=name,
        shape=(images.train.shape[1], images.train.shape[2], images.train.shape[3]),
        train=count,
        held_out=len(images.held_out),
        own_split=facts is None or facts.held_out is not None,
        classes=_classes(images),
        sizes=dict(sizes.most_common()),
        copies=copies_told(equal, None) if facts is None else copies_told(facts.copy_of, facts.names or None),
        leaked=int(leaked),
        unread={} if facts is None else dict(facts.unread),
        unused={} if facts is None else dict(facts.unused),
        values="" if facts is None else facts.values,
        read="" if facts is None else facts.read,
        digest=images.digest or data_digest(parse_dataset_name(name).kind, images.train, images.held_out, *labels),
        refused=_refused(name, images),
        too_few=held_out_warning(name, len(images.held_out)),
    )


def sampled_in_turn(images: ImageSplits, count: int) -> np.ndarray:
    """At most count training images: one of each class in turn, or evenly spaced ones if there are no labels."""
    labels = images.train_labels
    if labels is None:
        places = np.arange(min(count, len(images.train))) * len(images.train) // min(count, len(images.train))
        return images.train[places]
    rank = np.empty(len(labels), np.int64)  # the position of each image within its class
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members] = np.arange(len(members))
    return images.train[np.lexsort((labels, rank))[:count]]


def _classes(images: ImageSplits) -> tuple[tuple[str, int, int], ...]:
    if images.train_labels is None or images.held_out_labels is None:
        return ()
    counts = [np.bincount(part, minlength=images.classes) for part in (images.train_labels, images.held_out_labels)]
    names = images.facts.classes if images.facts else [str(label) for label in range(images.classes)]
    return tuple((name, int(a), int(b)) for name, a, b in zip(names, *counts, strict=True))


def _refused(name: str, images: ImageSplits) -> str:
    try:
        check_images(name, images)
    except InputError as error:
        return str(error)
    return ""
