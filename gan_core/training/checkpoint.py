"""Tensors in safetensors files, which appear whole or not at all and hold a checksum. No pickle is written or read."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gan_core.config.input_error import DamagedFile, InputError
from gan_core.files.cache import plain_errors
from gan_core.files.whole_files import appearing_whole

DIGEST = "sha256"  # key in a file's metadata of a checksum of names, types, shapes and values: safetensors has none


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes a file that appears whole or not at all; raises as `appearing_whole` does."""
    with appearing_whole(path) as partial:
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with plain_errors(path):
            save_file(plain, partial, {DIGEST: _digest(plain)})


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU. Raises DamagedFile when the file is missing, is no complete safetensors file,
    or holds other values than `save_tensors` wrote; InputError when it may not be read.
    """
    try:
        if not path.is_file():  # a pipe would block
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
    """The checksum of contiguous tensors on the CPU."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
