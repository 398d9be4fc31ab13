"""Convolutions with a lane axis: three maps, each linear in two tensors, that are each other's derivatives.

    convolve                a large map and weights -> a small map
    convolve_transposed     a small map and weights -> a large one
    convolution_weight      a large and a small map -> weights

A trace sees each of them as one call. On the CPU torch's library computes them lane by lane, except where another form
of the same map is faster: for a transposed convolution to one or three channels (a generator's last layer, and the
gradient with respect to pixels) the library takes seven times as long as a matrix product followed by `F.fold`, the sum
of overlapping patches.

L lanes, N samples, C channels of the large map [H, W] and O of the small one [H', W'], k the kernel's side. Weights are
[L, O, C, k, k] in all three, those of the convolution from the large to the small map.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn.grad import conv2d_weight

from gan_core.config.conditions import Precision
from gan_core.lanes.precision import factor
from gan_core.lanes.products import lane_matmul

FEW_CHANNELS = 4
_CALLS = torch.library.Library("gan_sweep", "DEF")
_CALLS.define("convolve(Tensor large, Tensor weight, int stride, int padding) -> Tensor")
_CALLS.define(
    "convolve_transposed(Tensor small, Tensor weight, int stride, int padding, int[] sizes, "
    "str precision='float32') -> Tensor"
)
_CALLS.define("convolution_weight(Tensor large, Tensor small, int kernel, int stride, int padding) -> Tensor")


def stacked(lanes: list[Tensor]) -> Tensor:
    """Tensors [...] of the lanes -> [L, ...]; a single one is not copied."""
    return lanes[0].unsqueeze(0) if len(lanes) == 1 else torch.stack(lanes)


@torch.library.impl(_CALLS, "convolve", "CompositeExplicitAutograd")
def _convolve(large: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    parts = zip(large.unbind(0), weight.unbind(0), strict=True)
    return stacked([F.conv2d(lane, w, None, stride, padding) for lane, w in parts])


@torch.library.impl(_CALLS, "convolve_transposed", "CompositeExplicitAutograd")
def _convolve_transposed(
    small: Tensor, weight: Tensor, stride: int, padding: int, sizes: list[int], precision: Precision = "float32"
) -> Tensor:
    parts = zip(small.unbind(0), weight.unbind(0), strict=True)
    return stacked([_transposed(lane, w, stride, padding, sizes, precision) for lane, w in parts])


@torch.library.impl(_CALLS, "convolution_weight", "CompositeExplicitAutograd")
def _convolution_weight(large: Tensor, small: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    shape = [small.shape[2], large.shape[2], kernel, kernel]
    parts = zip(large.unbind(0), small.unbind(0), strict=True)
    if large.shape[2] == 1 and prefers_channels_last():
        last = torch.channels_last
        parts = [(x.to(memory_format=last), y.to(memory_format=last)) for x, y in parts]
    return stacked([conv2d_weight(x, shape, y, stride, padding) for x, y in parts])


@cache
def prefers_channels_last() -> bool:
    """Whether the library computes the gradient of weights faster in the memory format `channels_last`, conversion
    included, for maps of one channel. On processors with AVX2 but without AVX-512 it is three to seven times as fast.
    """
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


def _transposed(x: Tensor, weight: Tensor, stride: int, padding: int, sizes: list[int], precision: Precision) -> Tensor:
    """One lane's transposed convolution to maps of these sizes. precision: of the matrix product, for few channels."""
    kernel = weight.shape[-1]
    if weight.shape[1] > FEW_CHANNELS:
        least = [(side - 1) * stride - 2 * padding + kernel for side in x.shape[2:]]
        further = [size - short for size, short in zip(sizes, least, strict=True)]
        return F.conv_transpose2d(x, weight, None, stride, padding, further)
    dtype = x.dtype
    if dtype == torch.bfloat16:  # patches are summed in float32, as products are
        x, weight = x.float(), weight.float()
    patches = weight.flatten(1).mT.unsqueeze(0)  # [1, C k k, O]
    columns = lane_matmul(patches.expand(len(x), -1, -1), x.flatten(2), precision)  # [N, C k k, H' W']
    return F.fold(columns, tuple(sizes), kernel, padding=padding, stride=stride).to(dtype)


Given = tuple[int, int, Precision]  # stride, padding and precision


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, large: Tensor, weight: Tensor, given: Given) -> Tensor:
        _keep(ctx, large, weight, given)
        return torch.ops.gan_sweep.convolve(large, weight, *given[:2])

    @staticmethod
    def backward(ctx: FunctionCtx, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (large, weight), needs, given = _kept(ctx)
        (grad,) = grad_outputs
        of_large = _Transposed.apply(grad, weight, given, list(large.shape[3:])) if needs[0] else None
        of_weight = _Weight.apply(large, grad, given, weight.shape[-1]) if needs[1] else None
        return of_large, of_weight, None  # pyright: ignore[reportReturnType]


class _Transposed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, small: Tensor, weight: Tensor, given: Given, sizes: list[int]) -> Tensor:
        _keep(ctx, small, weight, given)
        stride, padding, precision = given
        return torch.ops.gan_sweep.convolve_transposed(small, weight, stride, padding, sizes, precision)

    @staticmethod
    def backward(ctx: FunctionCtx, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (small, weight), needs, given = _kept(ctx)
        (grad,) = grad_outputs
        of_small = _Convolve.apply(grad, weight, given) if needs[0] else None
        of_weight = _Weight.apply(grad, small, given, weight.shape[-1]) if needs[1] else None
        return of_small, of_weight, None, None  # pyright: ignore[reportReturnType]


class _Weight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, large: Tensor, small: Tensor, given: Given, kernel: int) -> Tensor:
        _keep(ctx, large, small, given)
        return torch.ops.gan_sweep.convolution_weight(large, small, kernel, *given[:2])

    @staticmethod
    def backward(ctx: FunctionCtx, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (large, small), needs, given = _kept(ctx)
        (grad,) = grad_outputs
        of_large = _Transposed.apply(small, grad, given, list(large.shape[3:])) if needs[0] else None
        of_small = _Convolve.apply(large, grad, given) if needs[1] else None
        return of_large, of_small, None, None  # pyright: ignore[reportReturnType]


def _keep(ctx: FunctionCtx, one: Tensor, other: Tensor, given: Given) -> None:
    ctx.save_for_backward(one, other)
    ctx.given = given  # pyright: ignore[reportAttributeAccessIssue]


def _kept(ctx: Any) -> tuple[tuple[Tensor, Tensor], tuple[bool, ...], Given]:
    """The two factors, which of them need a gradient, and what else the call was given."""
    return ctx.saved_tensors, ctx.needs_input_grad[:2], ctx.given


def convolve(x: Tensor, weight: Tensor, stride: int, padding: int, precision: Precision = "float32") -> Tensor:
    """F.conv2d lane by lane: x [L, N, C, H, W], weight [L, O, C, k, k] -> [L, N, O, H', W']; differentiable any number
    of times.
    """
    factors = factor(x, precision), factor(weight, precision)
    result: Tensor = _Convolve.apply(*factors, (stride, padding, precision))  # pyright: ignore[reportAssignmentType]
    return result.to(x.dtype)


def convolve_transposed(
    x: Tensor, weight: Tensor, stride: int, padding: int, precision: Precision = "float32"
) -> Tensor:
    """F.conv_transpose2d lane by lane: x [L, N, O, H', W'], weight [L, O, C, k, k] -> [L, N, C, H, W]; differentiable
    any number of times.
    """
    sizes = [(side - 1) * stride - 2 * padding + weight.shape[-1] for side in x.shape[3:]]
    few = weight.shape[2] <= FEW_CHANNELS  # patches are added up in float32; only their product may round
    factors = (x, weight) if few else (factor(x, precision), factor(weight, precision))
    result: Tensor = _Transposed.apply(*factors, (stride, padding, precision), sizes)  # pyright: ignore[reportAssignmentType]
    return result.to(x.dtype)
