"""Matrix products lane by lane: the same bits for a lane whatever the number of lanes. L lanes, N, K, F sizes."""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from gan_core.config.conditions import Precision
from gan_core.lanes.axis import LANE_BYTES, in_plain_calls, lane_empty
from gan_core.lanes.precision import SMALL_PRODUCTS, host_rounds, rounds

LOOP_PRODUCTS = 2**19  # a lane's matrix product with so many multiply-adds fills a core by itself
LOOP_VECTOR_PRODUCTS = 2**13  # for products with a vector: MKL is three to twenty times slower on a batch of them


def lane_matmul(a: Tensor, b: Tensor, precision: Precision = "float32") -> Tensor:
    """[L, N, K] @ [L, K, F] -> [L, N, F], lane by lane; differentiable any number of times, in the same precision.

    TF32 on a GPU, and bfloat16 on a CPU with AMX, also need the context `library_precision`.
    """
    return _LaneMatmul.apply(a, b, precision)  # pyright: ignore[reportReturnType]


class _LaneMatmul(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, a: Tensor, b: Tensor, precision: Precision) -> Tensor:
        ctx.save_for_backward(a, b)
        ctx.precision = precision  # pyright: ignore[reportAttributeAccessIssue]
        return _product(a, b, precision)

    @staticmethod
    def backward(ctx: FunctionCtx, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        a, b = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
        precision: Precision = ctx.precision  # pyright: ignore[reportAttributeAccessIssue]
        (grad,) = grad_outputs
        need_a, need_b, _ = ctx.needs_input_grad  # pyright: ignore[reportAttributeAccessIssue]
        of_a = lane_matmul(grad, b.mT, precision) if need_a else None
        return of_a, lane_matmul(a.mT, grad, precision) if need_b else None, None


def _product(a: Tensor, b: Tensor, precision: Precision) -> Tensor:
    if in_plain_calls():
        return torch.bmm(a, b)
    lanes, rows, inner = a.shape
    size, rounded, on_host = rows * inner * b.shape[2], rounds(a, precision), a.device.type == "cpu"
    if rounded and not on_host:
        return torch.bmm(a.bfloat16(), b.bfloat16(), out_dtype=torch.float32)
    if rounded and size <= SMALL_PRODUCTS:  # in float64 one library computes all products, whatever L is
        return _product(a.double(), b.double(), precision).float()
    out = lane_empty(lanes, (rows, b.shape[2]), a)
    rounded = rounded and 1 not in out.shape[1:]
    if rounded and not host_rounds():
        a, b, rounded = a.bfloat16().float(), b.bfloat16().float(), False
    a, b = _aligned(a), _aligned(b)
    if not on_host or rounded:  # oneDNN rounds a and b itself
        return torch.bmm(a, b, out=out)
    # Whether to loop over lanes is decided by one lane's shape, never by L.
    if size >= (LOOP_VECTOR_PRODUCTS if 1 in (rows, inner, b.shape[2]) else LOOP_PRODUCTS):
        for one, other, result in zip(a.unbind(0), b.unbind(0), out.unbind(0), strict=True):
            torch.mm(one, other, out=result)
        return out
    if lanes > 1:
        return torch.bmm(a, b, out=out)
    pair = lane_empty(2, out.shape[1:], out)  # for a batch of one the matrix library would take another path
    torch.bmm(a.expand(2, -1, -1), b.expand(2, -1, -1), out=pair)
    return pair[:1]


def _aligned(x: Tensor) -> Tensor:
    """X [L, N, F] with each lane contiguous by rows or by columns, as it came, and starting on a boundary; copied
    where it is not so already.

    A matrix library chooses its path by the strides. Those of an axis of length one are arbitrary, so such a lane
    counts as contiguous by rows.
    """
    if 1 in x.shape[1:]:
        x = x.flatten(1).unflatten(1, x.shape[1:])
    elif x.stride(1) == 1:
        return _aligned_rows(x.mT).mT
    return _aligned_rows(x)


def _aligned_rows(x: Tensor) -> Tensor:
    step = LANE_BYTES // x.dtype.itemsize
    whole = x.stride(2) == 1 and x.stride(1) == x.shape[2]
    if whole and (x.shape[0] == 1 or x.stride(0) % step == 0) and x.data_ptr() % 64 == 0:
        return x
    return lane_empty(x.shape[0], x.shape[1:], x).copy_(x)
