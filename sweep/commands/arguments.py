"""Types of command line arguments, and options that several commands share."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from gan_core.config.fields import as_number, is_whole
from gan_core.config.gan import LARGEST_SEED
from gan_core.config.input_error import InputError, home_path, shown
from gan_core.files.addresses import is_address

ADDRESS_HELP = (
    "a running Ray cluster: host:port of its head, auto for one on this machine, or local for none ($RAY_ADDRESS where "
    "it is left out)"
)


def whole_number(low: int, high: int = LARGEST_SEED) -> Callable[[str], int]:
    """A parser of whole numbers from low to high (`1000`, `1e3`), for the `type` of argparse."""

    def parse(text: str) -> int:
        value = as_number(int, text)
        if not is_whole(value, low, high):
            bound = f"at most {high}" if is_whole(value, low) else f"at least {low}"
            raise argparse.ArgumentTypeError(f"must be a whole number of {bound}, got {shown(text)}")
        return value

    return parse


def path_text(text: str) -> str:
    """A path with `~` and `~USER` expanded, for the `type` of argparse; a final `/` is kept."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"must name a file or a folder, got {text!r}")
    try:
        home_path(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return os.path.expanduser(text)


def path(text: str) -> Path:
    """The result of `path_text` as a Path."""
    return Path(path_text(text))


def place(text: str) -> str | Path:
    """The address of an object store (`s3://bucket/run`) as it is, or else the result of `path`."""
    return path(text) if not is_address(text) or "\0" in text else text


def add_data_options(part: argparse.ArgumentParser) -> None:
    """Declares the options on where data are found, and on files that are missing or unreadable."""
    root = "the folder that holds MNIST/raw and the like, or its address (s3://...), from which it is fetched once"
    part.add_argument("--data-root", type=place, metavar="DIR", help=root)
    part.add_argument("--download", action="store_true", help="let torchvision download a data set that is missing")
    skip = "leave out images of images:FOLDER that cannot be read, instead of refusing the folder"
    part.add_argument("--skip-corrupt-images", action="store_true", help=skip)
