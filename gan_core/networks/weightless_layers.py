"""Layers without weights over [L, N, ...]: activations, dropout, maxout and a change of shape.

L lanes, N rows of a batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.lanes.axis import in_plain_calls, lanes_together, lanewise
from gan_core.networks.call import Call
from gan_core.networks.layers import Shapes, Weights


class _Weightless:
    """A layer without weights."""

    def shapes(self) -> Shapes:
        return {}

    def buffers(self) -> Shapes:
        return {}

    def initial(self, source: np.random.Generator) -> dict[str, np.ndarray]:
        return {}


@dataclass(frozen=True)
class Dropout(_Weightless):
    """In training, drops each number with the lane's probability and scales up the others (Srivastava et al. 2014).

    A lane's mask is keyed by its seed, the images seen, the pass of the step and the number of the dropout layer.
    """

    def __call__(self, weights: Weights, x: Tensor, call: Call) -> Tensor:
        if not call.training or not any(call.dropout):
            return x
        return x * call.mask(x)


@dataclass(frozen=True)
class Elementwise(_Weightless):
    """A function of each number. exact: its vector and scalar forms round in the same way, so it needs no alignment.
    plain: the expression that makes the module of torch.nn with this function.
    """

    function: Callable[[Tensor], Tensor]
    exact: bool
    plain: str

    def __call__(self, weights: Weights, x: Tensor, call: Call) -> Tensor:
        return self.function(x) if self.exact else lanewise(self.function, x)


@dataclass(frozen=True)
class Maxout(_Weightless):
    """[L, N, units * pieces] -> [L, N, units], the largest of the pieces of each unit (Goodfellow et al. 2013)."""

    pieces: int

    def __call__(self, weights: Weights, x: Tensor, call: Call) -> Tensor:
        pieces = x.unflatten(2, (-1, self.pieces))
        return reduce(torch.maximum, pieces.unbind(3)) if lanes_together(x) else pieces.max(3).values


@dataclass(frozen=True)
class Reshape(_Weightless):
    """[L, N, ...] -> [L, N, *shape]."""

    shape: tuple[int, ...]

    def __call__(self, weights: Weights, x: Tensor, call: Call) -> Tensor:
        return x.reshape(*x.shape[:2], *self.shape)


def leaky_relu(slope: float) -> Elementwise:
    """max(x, slope * x), 0 <= slope < 1."""
    return Elementwise(lambda x: F.leaky_relu(x, slope), exact=True, plain=f"nn.LeakyReLU({slope})")


ELU_IS_FLAT = -50.0


class _Elu(torch.autograd.Function):
    """x above 0 and exp(x) - 1 below (Clevert et al. 2016), which equals `F.elu` up to rounding. The expm1 of `F.elu`
    takes ten times as long, and exp two hundred times as long where it underflows, so x is clamped at ELU_IS_FLAT,
    where exp(x) - 1 is already -1.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        if in_plain_calls():
            y = F.elu(x)  # which C has a formula for
        else:
            y = torch.maximum(x, x.clamp(ELU_IS_FLAT, 0).exp() - 1)  # exp(x) - 1 is never below x
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grad_outputs: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
        return torch.ops.aten.elu_backward(grad_outputs[0], 1.0, 1.0, 1.0, True, y)


def _elu(x: Tensor) -> Tensor:
    return _Elu.apply(x)  # pyright: ignore[reportReturnType]


relu = Elementwise(F.relu, exact=True, plain="nn.ReLU()")
elu = Elementwise(_elu, exact=False, plain="nn.ELU()")
sigmoid = Elementwise(lambda x: x.sigmoid(), exact=False, plain="nn.Sigmoid()")
tanh = Elementwise(lambda x: x.tanh(), exact=False, plain="nn.Tanh()")
