"""The calls of `gan_core.convolutions` in a traced program, as functions of C and their sizes."""

from collections.abc import Sequence
from typing import Any

import torch

import gan_core.convolutions  # noqa: F401  # defines the calls
from gan_core.native.convolutions import LARGEST_CONVOLUTION, Geometry
from gan_core.native.formulas import NotInC

# Calls -> their name in C, and which of their two tensors and the result are the large map, the small one, the weights.
_CALLS = torch.ops.gan_sweep
CONVOLUTIONS: dict[Any, tuple[str, tuple[int, int, int]]] = {
    _CALLS.convolve.default: ("convolve", (0, 2, 1)),
    _CALLS.convolve_transposed.default: ("convolve_transposed", (2, 0, 1)),
    _CALLS.convolution_weight.default: ("convolution_weight", (0, 1, 2)),
}


def geometry_of(target: Any, shapes: Sequence[tuple[int, ...]], numbers: Sequence[Any]) -> tuple[str, Geometry]:
    """The name and the sizes of a call of CONVOLUTIONS, on tensors of these shapes [1, ...], the last its result.
    numbers: its further arguments. Raises NotInC.
    """
    name, order = CONVOLUTIONS[target]
    (_, images, channels, height, width), small, weight = (shapes[i] for i in order)
    stride, padding = numbers[1:3] if name == "convolution_weight" else numbers[:2]
    filters, rows, columns = small[2:]
    geometry = Geometry(images, channels, height, width, filters, rows, columns, weight[-1], stride, padding)
    if not geometry.whole or geometry.multiply_adds > LARGEST_CONVOLUTION:
        raise NotInC(f"{name} of {channels} x {height} x {width} to {' x '.join(map(str, small[2:]))}")
    return name, geometry
