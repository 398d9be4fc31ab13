"""Tensors on disk: safetensors files that appear whole or not at all. No pickle is written or read."""

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gan_core.config import InputError


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes beside the target, syncs and renames, so that nobody reads half a file."""
    partial = path.with_name(path.name + ".partial")
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, partial)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU. Raises InputError when it is missing or not a whole safetensors file."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read the tensors in {path}: {error}") from error
