"""What kernels in C are tested on: functions of tensors, and how they are carried out."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.execution.source import native_source
from gan_core.execution.trace import trace
from gan_core.lanes.axis import plain_calls
from gan_core.lanes.products import lane_matmul
from gan_core.native.library import LaneMemory, NativeProgram

Tensors = dict[str, Tensor]
Function = Callable[[Tensors], None]


def drawn(*shape: int, seed: int = 0, dtype=torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def source(function: Function, tensors: Tensors, rounded: bool = False):
    with plain_calls():
        graph = trace(function, {name: tensor[:1] for name, tensor in tensors.items()})
    return native_source(graph, "tested", rounded=rounded)


def ran(function: Function, tensors: Tensors, rounded: bool = False) -> Tensors:
    """The tensors after the function in C."""
    mine = {name: tensor.clone() for name, tensor in tensors.items()}
    program = NativeProgram(source(function, mine, rounded), "tested", list(mine.values()), LaneMemory())
    program()
    return mine


def writes(function: Callable[[Tensor, Tensor], Tensor]) -> Function:
    """function(x, y) into `out`."""

    def written(tensors: Tensors) -> None:
        tensors["out"].copy_(function(tensors["x"], tensors["y"]))

    return written


ELEMENTWISE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "arithmetic": lambda x, y: (x + 2 * y - 1) / (y * y + 0.5) - (3 - x),
    "exp": lambda x, y: torch.exp(x),
    "tanh": lambda x, y: torch.tanh(x),
    "sigmoid": lambda x, y: torch.sigmoid(x),
    "elu": lambda x, y: F.elu(x),
    "elu of clamps": lambda x, y: torch.maximum(x, torch.exp(x.clamp(-50, 0)) - 1),
    "relu": lambda x, y: F.relu(x) + F.leaky_relu(y, 0.2),
    "in place": lambda x, y: F.leaky_relu_((x + y).add_(y).mul_(x), 0.2) + F.relu_(x - y),
    "silu": lambda x, y: F.silu(x),
    "clamps": lambda x, y: x.clamp(-0.5, 0.5) + y.clamp_min(0.1) + x.clamp(max=0.3),
    "powers": lambda x, y: x**2 + y**3,
    "root": lambda x, y: (x * x + 1).sqrt(),
    "where": lambda x, y: torch.where(x > 0.1, x, y),
    "constants": lambda x, y: x + torch.zeros_like(y),
}


def multiplying(
    sizes: tuple[int, int, int], turned: tuple[bool, bool], dtype: torch.dtype
) -> tuple[Function, Tensors, Tensor, Tensor]:
    """A product into `out`, [2, rows, columns], what it is of, and its factors."""
    rows, inner, columns = sizes
    a = drawn(2, inner, rows, dtype=dtype).mT if turned[0] else drawn(2, rows, inner, dtype=dtype)
    b = drawn(2, columns, inner, seed=1, dtype=dtype).mT if turned[1] else drawn(2, inner, columns, seed=1, dtype=dtype)
    tensors = {"a": a.mT.clone() if turned[0] else a, "b": b.mT.clone() if turned[1] else b}
    tensors["out"] = torch.full((2, rows, columns), torch.nan, dtype=dtype)

    def function(given: Tensors) -> None:
        left = given["a"].mT if turned[0] else given["a"]
        right = given["b"].mT if turned[1] else given["b"]
        given["out"].copy_(lane_matmul(left, right))

    return function, tensors, a, b


def assert_is_product(mine: Tensor, a: Tensor, b: Tensor) -> None:
    """To the rounding of its sums."""
    true = a.double() @ b.double()
    bound = a.shape[2] * torch.finfo(mine.dtype).eps * (a.double().abs() @ b.double().abs())
    assert bool(((mine.double() - true).abs() <= bound).all())


CONVOLUTIONS = {  # images, channels, height, width, filters, kernel, stride, padding
    "of the families": (3, 2, 10, 10, 5, 4, 2, 1),
    "of more rows than a tile": (2, 3, 8, 8, 19, 4, 2, 1),
    "with a row left over": (2, 3, 9, 8, 4, 4, 2, 1),
    "of stride 1": (2, 3, 8, 7, 5, 3, 1, 1),
    "of a wide kernel": (2, 2, 11, 11, 3, 5, 2, 2),
    "of stride 3": (2, 3, 10, 10, 5, 5, 3, 1),
    "to one pixel": (4, 2, 4, 4, 3, 4, 1, 0),
    "of single pixels": (3, 4, 5, 6, 2, 1, 1, 0),
    "of long rows": (5, 1, 70, 68, 2, 4, 2, 1),
    "of rows of one vector": (3, 2, 32, 32, 9, 4, 2, 1),
}
FEWER_MULTIPLICATIONS = {
    "of a family": (5, 16, 14, 14, 24, 4, 2, 1),
    "of whole tiles": (2, 12, 8, 16, 16, 4, 2, 1),
    "of tiles with a row left over": (2, 16, 17, 16, 32, 4, 2, 1),
    "of tiles and stride 1": (3, 16, 9, 12, 16, 2, 1, 1),
    "of tiles and stride 3": (2, 13, 24, 12, 16, 6, 3, 2),
}
CONVOLUTIONS |= FEWER_MULTIPLICATIONS


def convolving(name: str, more_channels: int = 0) -> tuple[Function, Tensors]:
    """All three maps of one of CONVOLUTIONS, into `a`, `b` and `c`, and what they are of."""
    images, channels, height, width, filters, kernel, stride, padding = CONVOLUTIONS[name]
    channels += more_channels
    rows, columns = ((side + 2 * padding - kernel) // stride + 1 for side in (height, width))
    large, small = drawn(2, images, channels, height, width), drawn(2, images, filters, rows, columns, seed=1)
    weight = drawn(2, filters, channels, kernel, kernel, seed=2)
    ours = torch.ops.gan_sweep

    def function(t: Tensors) -> None:
        t["a"].copy_(ours.convolve(t["large"], t["weight"], stride, padding))
        t["b"].copy_(ours.convolve_transposed(t["small"], t["weight"], stride, padding, [height, width]))
        t["c"].copy_(ours.convolution_weight(t["large"], t["small"], kernel, stride, padding))

    made = {"a": torch.zeros_like(small), "b": torch.zeros_like(large), "c": torch.zeros_like(weight)}
    return function, {"large": large, "small": small, "weight": weight, **made}


def together(cases: dict[str, tuple[Function, Tensors]]) -> tuple[Function, Tensors]:
    """All in one program."""

    def function(tensors: Tensors) -> None:
        for name, (of_case, given) in cases.items():
            of_case({key: tensors[f"{name} {key}"] for key in given})

    return function, {f"{name} {key}": tensor for name, (_, given) in cases.items() for key, tensor in given.items()}
