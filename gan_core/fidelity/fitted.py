"""Fitted: what scores of images were fitted with, so that another process or machine can score in exactly the same way.

Another processor rounds otherwise, and so trains other weights from the same data: scores differ by some percent. This
module does not load torch before tensors are there.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file, save_file

from gan_core.fidelity.examination import Examination
from gan_core.files.cache import kept_tensors, write_tensors
from gan_core.files.whole_files import appearing_whole

if TYPE_CHECKING:
    from torch import Tensor

ABOUT = "about"  # the name of the array, in a file, that holds the other fields as bytes of JSON


@dataclass
class Fitted:
    """Tensors of feature extractors that were fitted to one data set, and which extractor was chosen.

    tensors: `<part>/<name>` -> tensor, on the CPU. data_digest: that of the data set. kind: of the features that were
    chosen; examination, protocol: theirs. "" and None until they are.
    """

    tensors: dict[str, "Tensor"] = field(default_factory=dict)
    data_digest: str = ""
    kind: str = ""
    examination: Examination | None = None
    protocol: str = ""

    def has(self, part: str) -> bool:
        """Whether a part was fitted."""
        return any(name.startswith(f"{part}/") for name in self.tensors)

    def part(self, part: str, fit: Callable[[], Mapping[str, "Tensor"]]) -> dict[str, "Tensor"]:
        """The tensors of a part by their names. `fit` makes those of a part that is not there yet."""
        if not self.has(part):
            self.tensors |= {f"{part}/{name}": tensor.cpu().contiguous() for name, tensor in fit().items()}
        own = {name: tensor for name, tensor in self.tensors.items() if name.startswith(f"{part}/")}
        return {name.removeprefix(f"{part}/"): tensor for name, tensor in own.items()}

    def write(self, path: Path) -> None:
        """Writes it into a file with a digest, which appears whole or not at all. Raises OSError."""
        examination = None if self.examination is None else self.examination.plain()
        about = {"data_digest": self.data_digest, "kind": self.kind, "protocol": self.protocol}
        text = json.dumps({**about, "examination": examination}).encode()
        arrays = {name: tensor.numpy() for name, tensor in self.tensors.items()}
        with appearing_whole(path) as partial:
            write_tensors(partial, {**arrays, ABOUT: np.frombuffer(text, np.uint8)}, save_file)

    @classmethod
    def read(cls, path: Path) -> "Fitted | None":
        """Reads a file of `write`; None where it is missing, damaged or something else."""
        import torch

        arrays = _arrays(path)
        if arrays is None:
            return None
        about = _about(arrays.pop(ABOUT))
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        examination = None if about["examination"] is None else Examination.from_plain(about["examination"])
        return cls(tensors, about["data_digest"], about["kind"], examination, about["protocol"])


def protocol_in(path: Path) -> str | None:
    """The protocol of the scores that a file of `Fitted.write` is of; None where `Fitted.read` gives None."""
    arrays = _arrays(path)
    return None if arrays is None else _about(arrays[ABOUT])["protocol"]


def _arrays(path: Path) -> dict[str, np.ndarray] | None:
    arrays = kept_tensors(path, load_file)
    return arrays if arrays is not None and ABOUT in arrays else None


def _about(text: np.ndarray) -> dict[str, Any]:
    return json.loads(text.tobytes())
