"""Tensors on disk: safetensors files that appear whole or not at all. No pickle is written or read."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gan_core.config import InputError


@contextmanager
def appearing_whole(path: Path) -> Iterator[Path]:
    """An empty file beside the target to write to, which takes its place at the end, so that nobody reads half a file.
    The umask decides who may read it. Raises OSError, with the target's name, when it cannot be written; nothing is
    left beside it then.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        yield partial
        partial.chmod(mode)  # safetensors makes a file of its own, which its owner alone may read
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes a file that appears whole, as `appearing_whole` says, and raises as that does."""
    with appearing_whole(path) as partial:
        try:
            save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, partial)
        except SafetensorError as error:  # tells the system's error in words
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU. Raises InputError when it is missing or not a whole safetensors file."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read the tensors in {path}: {error}") from error
