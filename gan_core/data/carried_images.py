"""Images of a data set in one file, which is taken to a machine that has not got the data set itself. This module does
not load torch.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from gan_core.data.digest import data_digest
from gan_core.data.kept_images import read_kept
from gan_core.data.published_images import ImageSplits
from gan_core.files.cache import kept_tensors, write_tensors
from gan_core.files.whole_files import appearing_whole

PARTS = ("train", "train_labels", "held_out", "held_out_labels")


def splits_digest(kind: str, images: ImageSplits) -> str:
    """`data_digest` of images as they were read, before they are resized."""
    if images.digest:
        return images.digest
    labels = [part for part in (images.train_labels, images.held_out_labels) if part is not None]
    return data_digest(kind, images.train, images.held_out, *labels)


def write_images(path: Path, images: ImageSplits) -> None:
    """Writes the pixels and labels into a file with a digest, which appears whole or not at all. Raises OSError.

    Images of a file in the cache are copied from there, so that they need not fit into memory.
    """
    if images.facts is not None and images.facts.path is not None:
        with appearing_whole(path, synced=False) as partial:
            shutil.copyfile(images.facts.path, partial)
        return
    parts: Mapping[str, np.ndarray | None] = {name: getattr(images, name) for name in PARTS}
    with appearing_whole(path, synced=False) as partial:
        given = {name: np.ascontiguousarray(part) for name, part in parts.items() if part is not None}
        write_tensors(partial, given, save_file)


def read_images(path: Path) -> ImageSplits | None:
    """Reads a file of `write_images`; None where it is missing, damaged or something else."""
    if (kept := read_kept(path)) is not None:
        return kept
    parts = kept_tensors(path, load_file)
    if parts is None or not {"train", "held_out"} <= parts.keys() <= set(PARTS):
        return None
    return ImageSplits(parts["train"], parts.get("train_labels"), parts["held_out"], parts.get("held_out_labels"))
