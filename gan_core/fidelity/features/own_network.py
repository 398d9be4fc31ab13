"""A user's feature network, from a file: TorchScript (.pt, .ts) or a torch.export program (.pt2).

**Such a file is a program and must be trusted like one.** TorchScript can read and write files. torch.export.load (of
torch 2.14 and 2.15) unpickles with weights_only=False if the archive says so, loads shared libraries from it, and
evaluates expressions in its JSON as Python. No check here could make a stranger's file safe. A pickled module is
refused.
n images, C, H, W an image, D features.
"""

import hashlib
import io
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from gan_core.config.input_error import InputError
from gan_core.data.dataset import Dataset

Network = Callable[[Tensor], Tensor]
TOLERANCE = 1e-3  # relative to the largest feature, because rounding depends on the batch size


@dataclass(frozen=True)
class OwnExtractor:
    """Gives the features of a user's network as they are, because its author may have chosen their scale.

    name: includes the first 12 hexadecimal digits of the file's SHA-256. place: loads the network on a device.
    """

    name: str
    features: int
    device: torch.device
    network: Network = field(repr=False)
    place: Callable[[torch.device], Network] = field(repr=False)
    classifies: bool = False
    weights: str = ""

    def __call__(self, images: Tensor) -> tuple[Tensor, None]:
        """Features float32 [n, D] of images [n, C, H, W] in [-1, 1], on the same device; NaN if not finite."""
        with torch.no_grad():
            found = self.network(images).float()
        broken = ~images.isfinite().flatten(1).all(1, keepdim=True)
        return found.masked_fill(broken, torch.nan), None

    def to(self, device: torch.device | str) -> "OwnExtractor":
        """The network, loaded again on another device, because constants in a program move only when it is loaded."""
        device = torch.device(device)
        if device == self.device:
            return self
        return OwnExtractor(self.name, self.features, device, self.place(device), self.place)


def load_own_network(path: Path, dataset: Dataset) -> OwnExtractor:
    """Loads the extractor from a file whose suffix is one of LOADERS, and tries it on training images of the data set.

    Raises InputError if the file is missing or not what its suffix says, and if the network does not give finite
    features [n, D] for any number of images, or those of one image depend on the others.
    """
    if not path.is_file():
        raise InputError(f"no features file {path}; give a {', '.join(LOADERS)} file that is there")
    content = path.read_bytes()

    def place(device: torch.device) -> Network:
        return LOADERS[path.suffix](path, content, device)

    cpu = torch.device("cpu")
    network = place(cpu)
    features = _tried_out(path, network, dataset.train_numbers(torch.arange(min(3, len(dataset.train_samples)))))
    name = f"own{features}-{hashlib.sha256(content).hexdigest()[:12]}"
    return OwnExtractor(name, features, cpu, network, place)


def _script(path: Path, content: bytes, device: torch.device) -> Network:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`torch\.jit\.load` is")
            return torch.jit.load(io.BytesIO(content), map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{path} is not TorchScript ({_last_line(error)}); save it with torch.jit.save") from error


def _program(path: Path, content: bytes, device: torch.device) -> Network:
    if not _is_pt2(content):
        raise InputError(f"{path} is not a program of torch.export; save it with torch.export.save")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given buffer is not writable")  # torch 2.11, of its own buffer
            program = torch.export.load(io.BytesIO(content))
    except (RuntimeError, ValueError, KeyError, TypeError, AssertionError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be loaded by torch.export ({_last_line(error)}); save it again") from error
    inputs = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    if len(inputs) != 1:
        raise InputError(f"{path} must take one tensor of images, and takes {len(inputs)} inputs; export it so")
    batch = inputs[0].meta["val"].shape[:1]
    if batch and isinstance(batch[0], int):
        raise InputError(
            f"{path} must take any number of images, and was exported for {batch[0]}; export it with "
            "dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)"
        )
    from torch.export.passes import move_to_device_pass  # imported here because it is slow and only programs need it

    return move_to_device_pass(program, str(device)).module()


LOADERS: dict[str, Callable[[Path, bytes, torch.device], Network]] = {".pt": _script, ".ts": _script, ".pt2": _program}


def _is_pt2(content: bytes) -> bool:
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return False
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return any(name.endswith("/archive_format") and archive.read(name) == b"pt2" for name in archive.namelist())


def _tried_out(path: Path, network: Network, images: Tensor) -> int:
    """D, after a check that the network gives two and three images the same features."""
    two, three = _answer(path, network, images[:2]), _answer(path, network, images)
    if three.shape[1] != two.shape[1]:
        raise InputError(f"{path} must give each image as many features, got {list(two.shape)} and {list(three.shape)}")
    if float((two - three[:2]).abs().max()) > TOLERANCE * float(three.abs().max()):
        raise InputError(f"{path}: the features of an image must not depend on the others; save it in eval mode")
    return two.shape[1]


def _answer(path: Path, network: Network, images: Tensor) -> Tensor:
    try:
        with torch.no_grad():
            answer: object = network(images)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        raise InputError(f"{path} must take images {list(images.shape)}: {_last_line(error)}") from error
    if not isinstance(answer, Tensor) or not answer.is_floating_point():
        raise InputError(
            f"{path} must give one tensor of floating numbers, got {_kind(answer)}; return features [n, D]"
        )
    if answer.ndim != 2 or len(answer) != len(images) or answer.shape[1] == 0:
        raise InputError(
            f"{path} must give features [n, D], got {list(answer.shape)} for images {list(images.shape)}; flatten them"
        )
    if not bool(answer.isfinite().all()):
        raise InputError(f"{path} must give finite features for training images in [-1, 1], got NaN or infinity")
    return answer.float()


def _kind(answer: object) -> str:
    return str(answer.dtype) if isinstance(answer, Tensor) else type(answer).__name__


def _last_line(error: Exception) -> str:
    """The last line of an error of torch, which can have many; it says what went wrong."""
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
