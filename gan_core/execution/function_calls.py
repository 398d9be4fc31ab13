"""Calls of a trace that are functions in C: products, convolutions (`gan_core.networks.convolutions`) and softmax, with
their sizes. What such a function is given and what it makes lies in memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gan_core.execution.c_text import in_order
from gan_core.execution.formulas import NotInC
from gan_core.lanes.precision import SMALL_PRODUCTS
from gan_core.native.compiler import PRODUCT, ROUNDED, WINOGRAD
from gan_core.native.isa import Isa
from gan_core.native.kernels.convolutions import LARGEST_CONVOLUTION, Geometry
from gan_core.native.kernels.products import LARGEST_PRODUCT, packed_numbers
from gan_core.networks.convolutions import FEW_CHANNELS

# Calls -> the name of their function in C, and which of the two tensors and the result are the large map, the small map
# and the weights.
_CALLS = torch.ops.gan_sweep
CONVOLUTIONS: dict[Any, tuple[str, tuple[int, int, int]]] = {
    _CALLS.convolve.default: ("convolve", (0, 2, 1)),
    _CALLS.convolve_transposed.default: ("convolve_transposed", (2, 0, 1)),
    _CALLS.convolution_weight.default: ("convolution_weight", (0, 1, 2)),
}
SOFTMAX = {
    torch.ops.aten._log_softmax.default: "log_softmax",
    torch.ops.aten._log_softmax_backward_data.default: "log_softmax_back",
}


def product_of(rows: int, inner: int, columns: int, *, rounded: bool) -> str:
    """The name of the function in C for a product. rounded: factors are rounded to bfloat16, unless the product is
    small or one with a vector. Raises NotInC where a matrix library is faster.
    """
    size = rows * inner * columns
    if rounded and size > SMALL_PRODUCTS and 1 not in (rows, columns):
        return ROUNDED[PRODUCT]  # of any size: libraries are not faster
    if size > LARGEST_PRODUCT:
        raise NotInC(f"a product of {rows} x {inner} x {columns}")
    return PRODUCT


def geometry_of(
    target: Any, shapes: Sequence[tuple[int, ...]], numbers: Sequence[Any], isa: Isa, *, rounded: bool
) -> tuple[str, Geometry]:
    """The name of the function in C and the sizes for a call of CONVOLUTIONS on tensors of these shapes [1, ...], the
    last of which is the result. numbers: its further arguments; rounded: factors are rounded to bfloat16, unless there
    are few channels. Raises NotInC where a library is faster.
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


@dataclass(frozen=True)
class FunctionCall:
    """text: of the call, given pointers to the values and to the result. packed: how many numbers of memory it needs
    beside them.
    """

    text: Callable[..., str]
    packed: int = 0


def product_call(a: Tensor, b: Tensor, isa: Isa, *, rounded: bool) -> FunctionCall:
    """The product of matrices a [1, rows, inner] and b [1, inner, columns], of which only the forms count. Raises
    NotInC.
    """
    rows, inner, columns = *a.shape[1:], b.shape[2]
    called = product_of(rows, inner, columns, rounded=rounded)

    def text(x: str, y: str, made: str) -> str:
        factors = f"{x}, {a.stride(1)}, {a.stride(2)}, {y}, {b.stride(1)}, {b.stride(2)}"
        return f"{called}({rows}, {columns}, {inner}, {factors}, {made}, packed);"

    return FunctionCall(text, packed_numbers(rows, inner, columns, isa, rounded=called != PRODUCT))


def softmax_call(target: Any, forms: Sequence[Tensor], axis: Any) -> FunctionCall:
    """The logarithm of softmax over the last of three axes, or its derivative, of values of these forms. Raises
    NotInC.
    """
    first, *others = forms
    if axis not in (-1, first.ndim - 1) or first.ndim != 3 or not all(map(in_order, others)):
        raise NotInC(f"{target} of {tuple(first.shape[1:])}")
    (rows, columns), strides = first.shape[1:], f"{first.stride(1)}, {first.stride(2)}"

    def text(x: str, *further: str) -> str:
        return f"{SOFTMAX[target]}({rows}, {columns}, {', '.join((x, strides, *further))});"

    return FunctionCall(text)


def convolution_call(
    target: Any, forms: Sequence[Tensor], numbers: Sequence[Any], isa: Isa, *, rounded: bool
) -> FunctionCall:
    """One of the three maps of CONVOLUTIONS, of which two are given and the third, the last of the forms, is made.
    Raises NotInC.
    """
    name, geometry = geometry_of(target, [form.shape for form in forms], numbers, isa, rounded=rounded)
    if not all(map(in_order, forms)):
        raise NotInC(f"{name} of what is not laid out in order")
    sizes = geometry.text(isa)

    def text(*pointers: str) -> str:
        return f"{{\nstatic const Map map = {sizes};\n{name}(&map, {', '.join(pointers)}, packed);\n}}"

    return FunctionCall(text, geometry.memory_numbers(isa))
