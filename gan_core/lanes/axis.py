"""The lane axis: L configurations stacked along the first dimension of every tensor.

Two promises are kept here, and everything numeric in the core is built on them.

1. *A lane's arithmetic does not depend on its neighbours, its place or their number*, bit for bit on the CPU with one
   torch thread (`torch.set_num_threads(1)`; with more, torch cuts elementwise loops in the middle of a lane). Nothing
   mixes lanes; but a matrix library picks its inner loops by the alignment of what it is given, and a vectorised
   elementwise loop treats the tail of a tensor differently from its middle. So every lane starts on a boundary of 128
   bytes (`lane_empty`), products go through `lane_matmul`, and functions whose vector and scalar forms round
   differently (tanh, exp, ...) through `lanewise`. Exactly rounded operations (add, multiply, compare) need no care.
2. *A lane's randomness is a pure function of (seed, stream, what was seen)*: Philox streams, never a global generator,
   so going on from any point equals not having stopped.

L lanes, N rows, F features.
"""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import torch
from torch import Tensor

from gan_core.config.conditions import Precision
from gan_core.config.input_error import InputError
from gan_core.lanes.normals import fill_numbers
from gan_core.lanes.streams import Stream
from gan_core.native.isa import this_isa

LANE_BYTES = 128  # two AVX-512 registers: the stride of torch's vectorised loops, and two cache lines
LOOP_PRODUCTS = 2**19  # a lane's matrix product with so many multiply-adds fills a core by itself
LOOP_VECTOR_PRODUCTS = 2**13  # one with a vector: a batch of them takes MKL three to twenty times as long as each alone
SMALL_PRODUCTS = 2**12  # up to so many multiply-adds of a lane, nothing is rounded to bfloat16
_PLAIN: ContextVar[bool] = ContextVar("plain calls", default=False)
_GPU_CONVOLUTIONS = torch.backends.cudnn.conv  # pyright: ignore[reportAttributeAccessIssue]
_HOST_PRODUCTS = torch.backends.mkldnn.matmul  # pyright: ignore[reportAttributeAccessIssue]


def fill_latents(
    out: Tensor, distribution: str, seeds: Sequence[int], purpose: Stream, *seen: int, after: int = 0
) -> Tensor:
    """Fills out [L, N, Z] or [L, N] with N(0, 1), U(0, 1) or U(-1, 1), lane i from (seeds[i], purpose, seen), after so
    many latents. Drawn in float32 whatever out's type, so that a float64 reference sees the same numbers. Returns out.
    """
    numbers = math.prod(out.shape[2:])
    for lane, seed in zip(out.unbind(0), seeds, strict=True):
        fill_numbers(lane, distribution, seed, purpose, *seen, after=after * numbers)
    return out


@contextmanager
def lane_arithmetic() -> Iterator[None]:
    """The arithmetic that trials are computed in: one torch thread, and denormals taken for zero (Adam's moments decay
    into them, where a core is many times slower). What was set before is set again at the end.
    """
    threads = torch.get_num_threads()
    flushed = sys.float_info.min / 2 == 0  # torch cannot be asked
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushed)


@contextmanager
def matmul_precision(precision: Precision) -> Iterator[None]:
    """The precision in which float32 arrays are multiplied: products of `lane_matmul` and convolutions. What they give
    is float32, and so is everything else. What was set before is set again at the end.

    float32: nothing less, on any device. tf32: factors of 10 bits on a GPU; on the CPU the same as float32. bfloat16:
    factors of 8 bits; products are summed in float32, convolutions also rounded at their end unless they are compiled.
    On the CPU products of vectors and up to SMALL_PRODUCTS are not rounded, nor are transposed convolutions to a few
    channels, compiled also no others from or to a few.
    """
    on_gpu = "tf32" if precision == "tf32" else "ieee"
    places = torch.backends.cuda.matmul, _GPU_CONVOLUTIONS, _HOST_PRODUCTS
    before = [place.fp32_precision for place in places]
    for place, setting in zip(places, (on_gpu, on_gpu, "bf16" if precision == "bfloat16" else "ieee"), strict=True):
        place.fp32_precision = setting
    try:
        yield
    finally:
        for place, setting in zip(places, before, strict=True):
            place.fp32_precision = setting


def in_full_precision() -> bool:
    """Whether float32 is multiplied in float32 on the CPU."""
    return _HOST_PRODUCTS.fp32_precision != "bf16"


def check_processor(precision: Precision, device: str) -> None:
    """Raises InputError where a device does not know this precision, and would be slower in it."""
    if precision == "bfloat16" and device == "cpu" and not (host_rounds() or host_pairs()):
        raise InputError(
            "precision bfloat16 needs a processor that multiplies in it (AVX512-BF16 or AMX); take float32"
        )


@cache
def host_rounds() -> bool:
    """Whether oneDNN rounds the factors of a product in float32 when it is asked to. It does where that is faster: on
    x86 with AMX.
    """
    factor, ones = torch.full((2, 64, 64), 1 + 2.0**-10), torch.ones(2, 64, 64)
    with matmul_precision("bfloat16"):
        return torch.bmm(factor, ones)[0, 0, 0].item() == 64.0


def host_pairs() -> bool:
    """Whether products in bfloat16 are made in C (`native/rounding.h`): on x86 that has them in its vectors, and no
    AMX, which is faster. What is not compiled is rounded there, and multiplied in float32.
    """
    isa = this_isa()
    return isa is not None and isa.bfloat16_pairs and not host_rounds()


def factor(x: Tensor) -> Tensor:
    """X as a convolution is given it: in bfloat16 where float32 is multiplied in that, else as it is."""
    return x.bfloat16() if _rounds(x) else x


def _rounds(x: Tensor) -> bool:
    # torch itself keeps the choice: a setting of one processor's library, which is read on any device
    return x.dtype == torch.float32 and not in_full_precision() and not _PLAIN.get()


def column(values: Sequence[float], like: Tensor) -> Tensor:
    """One number a lane as a tensor [L] of like's type and device."""
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def lane_pitch(numel: int, dtype: torch.dtype) -> int:
    """Elements from the start of one lane to the start of the next: numel rounded up to LANE_BYTES."""
    step = LANE_BYTES // dtype.itemsize
    return -(-numel // step) * step


def lane_empty(lanes: int, shape: Sequence[int], like: Tensor) -> Tensor:
    """Uninitialised [L, *shape] of like's type and device, each lane on its own boundary of LANE_BYTES."""
    numel = math.prod(shape)
    rows = like.new_empty(lanes, lane_pitch(numel, like.dtype))
    return rows[:, :numel].view(lanes, *shape)


def _aligned(x: Tensor) -> Tensor:
    """X [L, N, F] with each lane in one piece, by rows or by columns as it came, from a boundary on; else copied.

    A matrix library takes its path by the strides. An axis of one number leaves them open: such a lane is by rows.
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


@contextmanager
def plain_calls() -> Iterator[None]:
    """Within, layers make few and plain calls, on all lanes at once: for traces whose lanes are computed one by one, in
    a precision that is not the trace's.
    """
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def in_plain_calls() -> bool:
    """Whether layers are traced within `plain_calls`."""
    return _PLAIN.get()


def lanes_together(x: Tensor) -> bool:
    """Whether layers compute all lanes in one call: on a GPU, and within `plain_calls`."""
    return _PLAIN.get() or x.device.type != "cpu"


def _product(a: Tensor, b: Tensor) -> Tensor:
    if _PLAIN.get():
        return torch.bmm(a, b)
    lanes, rows, inner = a.shape
    size, rounds, on_host = rows * inner * b.shape[2], _rounds(a), a.device.type == "cpu"
    if rounds and not on_host:
        return torch.bmm(a.bfloat16(), b.bfloat16(), out_dtype=torch.float32)
    if rounds and size <= SMALL_PRODUCTS:  # float64 is multiplied by one library, whatever L
        return _product(a.double(), b.double()).float()
    out = lane_empty(lanes, (rows, b.shape[2]), a)
    rounds = rounds and 1 not in out.shape[1:]
    if rounds and not host_rounds():
        a, b, rounds = a.bfloat16().float(), b.bfloat16().float(), False
    a, b = _aligned(a), _aligned(b)
    if not on_host or rounds:  # oneDNN rounds a and b by itself
        return torch.bmm(a, b, out=out)
    if size >= (
        LOOP_VECTOR_PRODUCTS if 1 in (rows, inner, b.shape[2]) else LOOP_PRODUCTS
    ):  # the choice looks at one lane's shape, never at L
        for one, other, result in zip(a.unbind(0), b.unbind(0), out.unbind(0), strict=True):
            torch.mm(one, other, out=result)
        return out
    if lanes > 1:
        return torch.bmm(a, b, out=out)
    pair = lane_empty(2, out.shape[1:], out)  # a batch of one would take another path through the matrix library
    torch.bmm(a.expand(2, -1, -1), b.expand(2, -1, -1), out=pair)
    return pair[:1]


class _LaneMatmul(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return _product(a, b)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
        (grad,) = grad_outputs
        need_a, need_b = ctx.needs_input_grad  # pyright: ignore[reportAttributeAccessIssue]
        return lane_matmul(grad, b.mT) if need_a else None, lane_matmul(a.mT, grad) if need_b else None


def lane_matmul(a: Tensor, b: Tensor) -> Tensor:
    """[L, N, K] @ [L, K, F] -> [L, N, F], lane by lane; differentiable any number of times."""
    return _LaneMatmul.apply(a, b)  # pyright: ignore[reportReturnType]


def alone(x: Tensor) -> list[Tensor]:
    """On the CPU each lane of x [L, ...] as an array [1, ...] at an address of its own: for other numbers of lanes and
    at other addresses the libraries of matrices take other paths, with other bits. On a GPU x itself.
    """
    return [lane.clone() for lane in x.split(1)] if x.device.type == "cpu" else [x]


def lanewise(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """function, elementwise, of x [L, ...]: with the same bits for a lane wherever it stands in the array."""
    lanes, numel = x.shape[0], x[0].numel()
    padding = lane_pitch(numel, x.dtype) - numel
    if padding == 0 or _PLAIN.get():
        return function(x)
    rows = torch.nn.functional.pad(x.reshape(lanes, numel), (0, padding))
    return function(rows)[:, :numel].view(x.shape)
