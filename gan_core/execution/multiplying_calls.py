"""Products and convolutions (`gan_core.networks.convolutions`) in a traced program, as functions of C and their
sizes.
"""

from collections.abc import Sequence
from typing import Any

import torch

from gan_core.execution.formulas import NotInC
from gan_core.lanes.axis import SMALL_PRODUCTS
from gan_core.native.compiler import PRODUCT, ROUNDED, WINOGRAD
from gan_core.native.convolutions import LARGEST_CONVOLUTION, Geometry
from gan_core.native.isa import Isa
from gan_core.native.products import LARGEST_PRODUCT
from gan_core.networks.convolutions import FEW_CHANNELS

# Calls -> their name in C, and which of their two tensors and the result are the large map, the small one, the weights.
_CALLS = torch.ops.gan_sweep
CONVOLUTIONS: dict[Any, tuple[str, tuple[int, int, int]]] = {
    _CALLS.convolve.default: ("convolve", (0, 2, 1)),
    _CALLS.convolve_transposed.default: ("convolve_transposed", (2, 0, 1)),
    _CALLS.convolution_weight.default: ("convolution_weight", (0, 1, 2)),
}


def product_of(rows: int, inner: int, columns: int, *, rounded: bool) -> str:
    """The function's name. rounded: to bfloat16, unless the product is small or a vector's. Raises NotInC."""
    size = rows * inner * columns
    if rounded and size > SMALL_PRODUCTS and 1 not in (rows, columns):
        return ROUNDED[PRODUCT]  # however large: libraries are no faster
    if size > LARGEST_PRODUCT:
        raise NotInC(f"a product of {rows} x {inner} x {columns}")
    return PRODUCT


def geometry_of(
    target: Any, shapes: Sequence[tuple[int, ...]], numbers: Sequence[Any], isa: Isa, *, rounded: bool
) -> tuple[str, Geometry]:
    """The function's name and the sizes of a call of CONVOLUTIONS, on tensors of these shapes [1, ...], the last its
    result. numbers: its further arguments; rounded: to bfloat16, unless there are few channels. Raises NotInC.
    """
    name, order = CONVOLUTIONS[target]
    (_, images, channels, height, width), small, weight = (shapes[i] for i in order)
    stride, padding = numbers[1:3] if name == "convolution_weight" else numbers[:2]
    filters, rows, columns = small[2:]
    geometry = Geometry(images, channels, height, width, filters, rows, columns, weight[-1], stride, padding)
    rounded = rounded and channels > FEW_CHANNELS
    if not rounded and geometry.by_points(isa):
        return WINOGRAD[name], geometry
    if not geometry.whole or geometry.multiply_adds > LARGEST_CONVOLUTION:
        raise NotInC(f"{name} of {channels} x {height} x {width} to {' x '.join(map(str, small[2:]))}")
    return (ROUNDED[name] if rounded else name), geometry


def convolution_text(name: str, sizes: str, pointers: Sequence[str]) -> str:
    """The call in C of a function by its name. sizes: a `Map`; pointers: to what is given, and to what is made."""
    return f"{{\nstatic const Map map = {sizes};\n{name}(&map, {', '.join(pointers)}, packed);\n}}"
