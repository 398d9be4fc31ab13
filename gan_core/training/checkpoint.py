"""Tensors on disk: safetensors files that appear whole or not at all, and say when they were changed since. No pickle
is written or read.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gan_core.config.input_error import DamagedFile, InputError
from gan_core.files.whole_files import appearing_whole

DIGEST = "sha256"  # of names, types, shapes and values: in a file's metadata, for safetensors itself checks none of it


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes a file that appears whole, as `appearing_whole` says, and raises as that does."""
    with appearing_whole(path) as partial:
        try:
            plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
            save_file(plain, partial, {DIGEST: _digest(plain)})
        except SafetensorError as error:  # tells the system's error in words
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU. Raises DamagedFile when it is missing, not a whole safetensors file, or holds
    other values than `save_tensors` wrote; InputError when it may not be read.
    """
    try:
        if not path.is_file():  # a pipe would be waited for
            raise DamagedFile(f"cannot read the tensors in {path}: there is no such file")
        with safe_open(path, "pt") as file:
            names, written = file.keys(), file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in names}
    except PermissionError as error:
        raise InputError(f"cannot read the tensors in {path}: {error.strerror}; make it readable") from error
    except (OSError, SafetensorError) as error:
        raise DamagedFile(f"cannot read the tensors in {path}: {error}") from error
    if DIGEST in written and written[DIGEST] != _digest(tensors):
        raise DamagedFile(f"cannot read the tensors in {path}: they are not those that were written")
    return tensors


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Of tensors on the CPU, contiguous ones."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
