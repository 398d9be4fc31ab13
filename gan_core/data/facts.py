"""What can be said of a set of images before anything is trained on it. No torch."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from gan_core.config.dataset_name import parse_dataset_name
from gan_core.config.input_error import InputError
from gan_core.data.digest import data_digest
from gan_core.data.enough_images import check_images, copies_told, too_few_for_a_claim
from gan_core.data.pictures import first_equal
from gan_core.data.published_images import ImageSplits


@dataclass(frozen=True)
class DataFacts:
    """What is known of a data set of images.

    shape: channels, height and width of an image as it is trained on. train, held_out: how many. classes: the name of
    each label with its numbers of training and held-out images; empty without labels. sizes: width and height -> how
    many pictures of a folder have it, the commonest first; empty where all have the shape's. copies: how many are exact
    copies of others, in words, or ""; leaked: how many held-out images stand in the training split too. unread: why ->
    the names of pictures that were left out; unused: kind -> the paths of what is no picture. digest: `data_digest`.
    refused: why a sweep would refuse the images, or ""; too_few: why so few held-out ones say little, or "".
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
    digest: str
    refused: str
    too_few: str


def image_facts(name: str, images: ImageSplits) -> DataFacts:
    """The facts of a data set's images at the size that they are trained at, as bytes or as numbers in [-1, 1]."""
    facts, count = images.facts, len(images.train)
    equal = first_equal(np.concatenate((images.train, images.held_out)))
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
        copies=copies_told(equal, None) if facts is None else copies_told(facts.copy_of, facts.names),
        leaked=int(leaked),
        unread={} if facts is None else dict(facts.unread),
        unused={} if facts is None else dict(facts.unused),
        digest=data_digest(parse_dataset_name(name).kind, images.train, images.held_out, *labels),
        refused=_refused(name, images),
        too_few=too_few_for_a_claim(name, len(images.held_out)),
    )


def sampled_in_turn(images: ImageSplits, count: int) -> np.ndarray:
    """At most count training images, of each class in turn; without labels evenly from first to last."""
    labels = images.train_labels
    if labels is None:
        places = np.arange(min(count, len(images.train))) * len(images.train) // min(count, len(images.train))
        return images.train[places]
    rank = np.empty(len(labels), np.int64)  # of each image among those of its class
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
