"""Checks that there are enough images to learn from and to score against. This module does not load torch."""

from collections.abc import Sequence

import numpy as np

from gan_core.config.input_error import InputError
from gan_core.data.picture_folder import counted
from gan_core.data.pictures import HELD_OUT_ONE_IN, PictureFacts
from gan_core.data.published_images import ImageSplits

NEIGHBOURS = 5  # k of Naeem et al. 2020
ENOUGH_HELD_OUT = 10 * NEIGHBOURS  # the fewest held-out images whose nearest neighbours give a meaningful score
COPIES_NAMED = 3


def check_held_out(name: str, count: int) -> None:
    """Raises InputError if a data set holds out too few images for a score by nearest neighbours."""
    if count <= NEIGHBOURS:
        raise InputError(
            f"scores need at least {NEIGHBOURS + 1} held-out images, and data set {name!r} has {count}; add pictures"
        )


def check_images(name: str, images: ImageSplits) -> None:
    """Raises InputError if a model cannot be trained on these images or scored against them.

    That is so if too few are held out, if all images of a split are the same, or if all have the same label.
    """
    check_held_out(name, len(images.held_out))
    parts = (("training", images.train, images.train_labels), ("held-out", images.held_out, images.held_out_labels))
    for part, pixels, labels in parts:
        if all(np.array_equal(pixels[0], image) for image in pixels):
            raise InputError(
                f"all {len(pixels)} {part} images of data set {name!r} are the same, which leaves nothing to learn; "
                "put the real files there"
            )
        if labels is not None and labels.min() == labels.max():
            raise InputError(
                f"all {len(labels)} {part} images of data set {name!r} have the label {labels[0]}, of which no classes "
                "can be learnt; put the real files there, or give unlabelled pictures as images:FOLDER"
            )


def notices(name: str, images: ImageSplits) -> list[str]:
    """Warnings about images, one line each, that a user should see before training starts."""
    told = [] if images.facts is None else _of_a_folder(images.facts)
    return [*told, *filter(None, [held_out_warning(name, len(images.held_out))])]


def held_out_warning(name: str, held_out: int) -> str:
    """Why scores against this few held-out images say little, and what to do; "" if there are enough."""
    if held_out >= ENOUGH_HELD_OUT:
        return ""
    return (
        f"{name} has {held_out} held-out pictures, fewer than ten times the {NEIGHBOURS} neighbours that are scored "
        f"with: all pictures are compared with, training ones too, and trials will differ by luck as much as by merit; "
        f"hold out {ENOUGH_HELD_OUT} or more, which are one in "
        f"{HELD_OUT_ONE_IN} of {ENOUGH_HELD_OUT * HELD_OUT_ONE_IN} pictures, or all of a folder val/ beside train/"
    )


def _of_a_folder(facts: PictureFacts) -> list[str]:
    told = []
    if unused := counted(facts.unused, hidden=False):
        told.append(f"{facts.root}: not used: {unused}")
    if copies := copies_told(facts.copy_of, facts.names or None):
        told.append(f"{facts.root}: {copies}")
    return told


def copies_told(copy_of: np.ndarray, names: Sequence[str] | None) -> str:
    """A sentence on how many images are exact copies of others; "" if none is.

    copy_of: int64 [n], as in `PictureFacts`.
    """
    copies = np.flatnonzero(copy_of != np.arange(len(copy_of)))
    if not len(copies):
        return ""
    of, often = np.unique(copy_of[copies], return_counts=True)
    text = f"{len(copies)} of {len(copy_of)} pictures are exact copies of others, at the size that is trained"
    if names is None:
        return text
    most = of[often.argmax()]
    listed = [names[place] for place in copies[copy_of[copies] == most][:COPIES_NAMED]]
    more = ", ..." if often.max() > COPIES_NAMED else ""
    return f"{text}, such as {', '.join(map(repr, listed))}{more} of {names[most]!r}"
