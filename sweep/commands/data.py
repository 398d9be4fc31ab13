"""`gan-sweep data`."""

import argparse
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from gan_core.config.dataset_name import parse_dataset_name
from gan_core.config.input_error import InputError
from gan_core.config.own_names import is_reference
from results.printable import printable, printable_lines
from sweep.commands.arguments import add_data_options, path, whole_number
from sweep.commands.terminal import BAD_INPUT

if TYPE_CHECKING:
    import numpy as np

    from gan_core.data.facts import DataFacts
    from gan_core.data.published_images import ImageSplits

ABOUT = "Describe a data set, draw some of it, and examine the scores that a sweep would use on it."
FOLDER_SIZE_PIXELS = 32  # the default for images:FOLDER, which has no size
LARGEST_SIZE_PIXELS = 512
PREVIEWED, NAMED, CLASSES_NAMED = 64, 10, 40


def add_arguments(part: argparse.ArgumentParser) -> None:
    """Declares the arguments of `gan-sweep data`."""
    part.add_argument(
        "dataset", metavar="DATASET", help="as structure.dataset: mnist, images:FOLDER, images:FILE.npz, ..."
    )
    preview = "write a .png of some training samples, classes in turn"
    part.add_argument("--preview", type=path, metavar="FILE", help=preview)
    size = f"the side to which images are resized; default: the size of the set, {FOLDER_SIZE_PIXELS} for images:FOLDER"
    part.add_argument(
        "--image-size-pixels", type=whole_number(0, LARGEST_SIZE_PIXELS), default=0, metavar="S", help=size
    )
    features = "the features whose scores are examined, as scoring.features; default: auto, as in a sweep"
    part.add_argument("--features", default="auto", metavar="KIND", help=features)
    part.add_argument("--inception-weights", default="", metavar="FILE", help="as scoring.inception_weights")
    again = "read images again that are in the cache: those of your own code, which may have changed behind it"
    part.add_argument("--refresh", action="store_true", help=again)
    add_data_options(part)


def execute(options: argparse.Namespace) -> int:
    """Describes the data and draws some of them. Returns the exit code: 2 if a sweep would refuse the data."""
    if options.preview is not None and options.preview.suffix != ".png":
        raise InputError(f"the preview must end in .png, got {options.preview}")
    if is_reference(options.dataset):
        from gan_core.files.own_code import pinned  # loads YAML

        options.dataset = pinned("DATASET", options.dataset, None)
    name = parse_dataset_name(options.dataset)
    if name.is_values:
        _describe_values(options)
        return 0
    from gan_core.data.facts import image_facts, sampled_in_turn

    images = _images(options)
    facts = image_facts(options.dataset, images)
    print(printable_lines(_text(facts)))
    if options.preview is not None:
        _draw(sampled_in_turn(images, PREVIEWED), options.preview)
    if facts.too_few:
        print(f"gan-sweep: warning: {printable(facts.too_few)}", file=sys.stderr)
    refused = facts.refused
    if facts.unread and not options.skip_corrupt_images:
        refused = "pictures that cannot be read are refused; mend or remove them, or add --skip-corrupt-images"
    if refused:
        print(f"gan-sweep: {printable(refused)}", file=sys.stderr)
        return BAD_INPUT
    _examine(options, images)
    return 0


def _examine(options: argparse.Namespace, images: "ImageSplits") -> None:
    """Prints how the scores of a sweep rank fresh and damaged real images."""
    from gan_core.config.conditions import Conditions, ScoringConfig
    from gan_core.data.dataset import image_dataset  # loads torch
    from gan_core.workshop.workshop import Workshop

    conditions = Conditions(
        dataset=options.dataset,
        image_size_pixels=_size_pixels(options),
        data_root=None if options.data_root is None else str(options.data_root),
        skip_corrupt_images=options.skip_corrupt_images,
        scoring=ScoringConfig(features=options.features, inception_weights=options.inception_weights),
    )
    dataset = image_dataset(options.dataset, images)
    workshop = Workshop(conditions, on_phase=lambda phase: print(f"{phase} ...", file=sys.stderr), dataset=dataset)
    if workshop.scorer.examination is not None:
        print(f"\nscores of training images, fresh and damaged:\n{workshop.scorer.examination.text()}")


def _size_pixels(options: argparse.Namespace) -> int:
    own = parse_dataset_name(options.dataset).has_own_size
    return options.image_size_pixels or (0 if own else FOLDER_SIZE_PIXELS)


def _images(options: argparse.Namespace) -> "ImageSplits":
    """The images at the requested size. Images that cannot be read are left out, and listed in the facts."""
    from gan_core.data.image_files import FILE_KINDS, Request, read_image_files
    from gan_core.data.published_images import ImageSplits
    from gan_core.data.roots import data_folder

    name, size = parse_dataset_name(options.dataset), _size_pixels(options)
    if name.kind in FILE_KINDS:
        root = data_folder(options.data_root, name.kind)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about images that are left out, which the facts list
            images = read_image_files(Request(name, root, size, options.download, True, _say, options.refresh))
        if size in (0, images.train.shape[-1]):
            return images
    from gan_core.data.dataset import load_dataset  # loads torch, which draws or resizes the images

    dataset = load_dataset(options.dataset, data_folder(options.data_root, name.kind), image_size_pixels=size)
    labels = [None if part is None else part.numpy() for part in (dataset.train_labels, dataset.held_out_labels)]
    return ImageSplits(dataset.train.numpy(), labels[0], dataset.held_out.numpy(), labels[1])


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr)


def _describe_values(options: argparse.Namespace) -> None:
    from gan_core.data.dataset import load_dataset

    dataset = load_dataset(options.dataset, image_size_pixels=options.image_size_pixels)
    count = f"{len(dataset.train):,} training and {len(dataset.held_out):,} held-out"
    size = {1: "one number", 2: "two numbers"}[dataset.sample_shape[0]]
    print(f"{options.dataset}: {count} samples of {size} each, drawn here; digest {dataset.digest}")
    if options.preview is not None:
        _draw(dataset.train.numpy(), options.preview)


def _draw(samples: "np.ndarray", path: Path) -> None:
    """Draws samples, in uint8 or in [-1, 1], to a .png file."""
    from results.pictures import draw_samples

    try:
        draw_samples(samples / 127.5 - 1 if samples.dtype == "uint8" else samples, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    print(f"drawn in {path}")


def _text(facts: "DataFacts") -> str:
    """The facts as text, one line each."""
    from gan_core.data.picture_folder import counted

    channels, height, width = facts.shape
    colour = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
    lines = [("images", f"{facts.train + facts.held_out:,} of {width}x{height}, {colour}; digest {facts.digest}")]
    if facts.values not in ("", "bytes"):
        lines.append(("numbers", f"from {facts.values}, each rounded to the nearest of 256 levels"))
    if facts.read and is_reference(facts.name):
        lines.append(("read", f"on {facts.read}; --refresh reads them again"))
    if facts.sizes:
        lines.append(("sizes", _sizes(facts)))
    how = "as the set has it" if facts.own_split else "a sixth of each class is held out, always the same ones"
    lines.append(("split", f"{facts.train:,} training, {facts.held_out:,} held out: {how}"))
    lines.append(("classes", "none" if not facts.classes else f"{len(facts.classes)}, training + held out"))
    lines += [("", f"{label} {name!r}: {a:,} + {b:,}") for label, (name, a, b) in enumerate(facts.classes)][
        :CLASSES_NAMED
    ]
    if (more := len(facts.classes) - CLASSES_NAMED) > 0:
        lines.append(("", f"and {more} more"))
    lines.append(("copies", facts.copies or "none"))
    if facts.leaked:
        lines.append(("", f"{facts.leaked:,} held-out images stand in the training split too"))
    for why, names in facts.unread.items():
        listed = ", ".join(map(repr, names[:NAMED])) + (", ..." if len(names) > NAMED else "")
        lines.append(("left out", f"{len(names)} {why}: {listed}"))
    if facts.unused:
        lines.append(("not used", counted(facts.unused)))
        lines += [("", f"{kind}: such as {paths[0]!r}") for kind, paths in facts.unused.items()]
    return "\n".join(f"{title:9} {text}" for title, text in lines)


def _sizes(facts: "DataFacts") -> str:
    """The sizes of the images in a folder, before they are resized."""
    areas = sorted(facts.sizes, key=lambda size: (size[0] * size[1], size))
    (common, count), total = next(iter(facts.sizes.items())), sum(facts.sizes.values())
    if len(areas) == 1:
        return f"all {common[0]}x{common[1]}"
    (least, most) = areas[0], areas[-1]
    return f"{least[0]}x{least[1]} to {most[0]}x{most[1]}, most often {common[0]}x{common[1]} ({count} of {total})"
