"""Convolutions of one lane on a processor: the library's, but where another form of the same map is faster there.

The gradient that a convolution hands back to its input is a transposed convolution, and the library is faster at one
that it is asked for. A transposed convolution to one or three channels (a generator's last, and the gradient for the
pixels) takes it seven times as long as a matrix product and `F.fold`, the sum of overlapping patches. N samples, C and
O channels, H, W a feature map, k the kernel's side.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn.grad import conv2d_weight

from gan_core.lanes import factor, lane_matmul

FEW_CHANNELS = 4


class _Convolution(torch.autograd.Function):
    """F.conv2d without bias; differentiable any number of times."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = (stride, padding)  # pyright: ignore[reportAttributeAccessIssue]
        return F.conv2d(x, weight, None, stride, padding)

    @staticmethod
    def backward(ctx: FunctionCtx, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
        stride, padding = ctx.geometry  # pyright: ignore[reportAttributeAccessIssue]
        need_x, need_weight = ctx.needs_input_grad[:2]  # pyright: ignore[reportAttributeAccessIssue]
        (grad,) = grad_outputs
        of_x = _transposed(grad, weight, stride, padding, x.shape[2:]) if need_x else None
        of_weight = None
        if need_weight:
            of_weight = conv2d_weight(x, list(weight.shape), grad, stride, padding)
        return of_x, of_weight, None, None


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """F.conv2d: x [N, C, H, W], weight [O, C, k, k] -> [N, O, H', W']."""
    factors = factor(x), factor(weight)
    result: Tensor = _Convolution.apply(*factors, stride, padding)  # pyright: ignore[reportAssignmentType]
    result = result.to(x.dtype)
    return result if bias is None else result + bias.view(-1, 1, 1)


def convolve_transposed(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """F.conv_transpose2d: x [N, C, H, W], weight [C, O, k, k] -> [N, O, H', W']."""
    sizes = [(side - 1) * stride - 2 * padding + weight.shape[-1] for side in x.shape[2:]]
    few = weight.shape[1] <= FEW_CHANNELS
    factors = (x, weight) if few else (factor(x), factor(weight))
    result = _transposed(*factors, stride, padding, sizes).to(x.dtype)
    return result if bias is None else result + bias.view(-1, 1, 1)


def _transposed(x: Tensor, weight: Tensor, stride: int, padding: int, sizes: Sequence[int]) -> Tensor:
    """The transposed convolution to maps of these sizes, [N, O, *sizes]."""
    kernel = weight.shape[-1]
    if weight.shape[1] > FEW_CHANNELS:
        least = [(side - 1) * stride - 2 * padding + kernel for side in x.shape[2:]]
        further = [size - short for size, short in zip(sizes, least, strict=True)]
        return F.conv_transpose2d(x, weight, None, stride, padding, further)
    if x.dtype == torch.bfloat16:  # patches are summed in float32, as their products are
        x, weight = x.float(), weight.float()
    patches = weight.flatten(1).mT.unsqueeze(0)  # [1, O k k, C]
    columns = lane_matmul(patches.expand(len(x), -1, -1), x.flatten(2))  # [N, O k k, H W]
    return F.fold(columns, tuple(sizes), kernel, padding=padding, stride=stride)
