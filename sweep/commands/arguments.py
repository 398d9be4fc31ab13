"""How arguments are read: what several commands take, and whole numbers within their range."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from gan_core.config.fields import as_number, is_whole
from gan_core.config.gan import LARGEST_SEED, InputError, home_path, shown


def whole_number(low: int, high: int = LARGEST_SEED) -> Callable[[str], int]:
    """A reader of whole numbers from low to high (`1000`, `1e3`), for argparse's `type`."""

    def parse(text: str) -> int:
        value = as_number(int, text)
        if not is_whole(value, low, high):
            bound = f"at most {high}" if is_whole(value, low) else f"at least {low}"
            raise argparse.ArgumentTypeError(f"must be a whole number of {bound}, got {shown(text)}")
        return value

    return parse


def path_text(text: str) -> str:
    """A path as a person types it, `~` and `~USER` put in full, for argparse's `type`; a `/` at its end stays."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"must name a file or a folder, got {text!r}")
    try:
        home_path(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return os.path.expanduser(text)


def path(text: str) -> Path:
    """The same as a Path."""
    return Path(path_text(text))


def add_data_options(part: argparse.ArgumentParser) -> None:
    """Declares where data are found, and what is done with those that are missing or cannot be read."""
    part.add_argument("--data-root", type=path, metavar="DIR", help="the folder that holds MNIST/raw and the like")
    part.add_argument("--download", action="store_true", help="let torchvision fetch a missing data set")
    skip = "leave out pictures of images:FOLDER that cannot be read, instead of refusing it"
    part.add_argument("--skip-corrupt-images", action="store_true", help=skip)
