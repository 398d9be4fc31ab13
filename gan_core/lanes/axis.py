"""The lane axis: L configurations stacked along the first dimension of every tensor.

Two promises hold everywhere in the core.

1. *A lane's arithmetic does not depend on the other lanes, on its place among them or on their number*, bit for bit on
   the CPU with one torch thread (`lane_arithmetic`; with more threads torch splits elementwise loops in the middle of a
   lane). No operation mixes lanes, but that is not enough: a matrix library chooses its inner loops by the alignment of
   its operands, and a vectorised elementwise loop treats the last few numbers of a tensor differently from the rest. So
   every lane starts on a boundary of 128 bytes (`lane_empty`), matrix products go through `products.lane_matmul`, and
   functions whose vector and scalar forms round differently (tanh, exp, ...) go through `lanewise`. Operations that
   IEEE 754 rounds exactly (add, multiply, compare) need no care.
2. *A lane's random numbers are a pure function of (seed, stream, what was seen)*: they come from Philox streams
   (`streams`, `normals`) and never from a global generator, so resuming at any point equals not having stopped.

L lanes, N rows, F features.
"""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch
from torch import Tensor

LANE_BYTES = 128  # two AVX-512 registers: the stride of torch's vectorised loops, and two cache lines
_PLAIN: ContextVar[bool] = ContextVar("plain calls", default=False)


@contextmanager
def lane_arithmetic() -> Iterator[None]:
    """The settings of torch in which trials are computed: one thread, and denormal numbers flushed to zero (Adam's
    moments decay into them, and they slow a core down many times). The previous settings are restored at the end.
    """
    threads = torch.get_num_threads()
    flushed = sys.float_info.min / 2 == 0  # torch has no way to ask for this setting
    for kind in (np.float32, np.float64):
        np.finfo(kind)  # keeps what it finds; numpy before 2.4 warns where it first looks while denormals are flushed
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushed)


def column(values: Sequence[float], like: Tensor) -> Tensor:
    """One number a lane, as a tensor [L] of the type and device of `like`."""
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def lane_pitch(numel: int, dtype: torch.dtype) -> int:
    """The distance from the start of one lane to the start of the next: numel rounded up to LANE_BYTES."""
    step = LANE_BYTES // dtype.itemsize
    return -(-numel // step) * step


def lane_empty(lanes: int, shape: Sequence[int], like: Tensor) -> Tensor:
    """An uninitialised [L, *shape] of the type and device of `like`, each lane starting on a boundary of LANE_BYTES."""
    numel = math.prod(shape)
    rows = like.new_empty(lanes, lane_pitch(numel, like.dtype))
    return rows[:, :numel].view(lanes, *shape)


@contextmanager
def plain_calls() -> Iterator[None]:
    """Within this context layers make few and simple calls, on all lanes at once and in no particular precision: for
    traces of one lane that are translated to C, where lanes are computed one by one and products are rounded by name.
    """
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def in_plain_calls() -> bool:
    """Whether a `plain_calls` context is active."""
    return _PLAIN.get()


def lanes_together(x: Tensor) -> bool:
    """Whether layers compute all lanes in one call: on a GPU, and within `plain_calls`."""
    return _PLAIN.get() or x.device.type != "cpu"


def alone(x: Tensor) -> list[Tensor]:
    """On the CPU each lane of x [L, ...] as an array [1, ...] in memory of its own, because matrix libraries take
    other paths, with other bits, for other numbers of lanes and other addresses. On a GPU x itself.
    """
    return [lane.clone() for lane in x.split(1)] if x.device.type == "cpu" else [x]


def lanewise(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """An elementwise function of x [L, ...] that gives a lane the same bits wherever it stands in the array."""
    lanes, numel = x.shape[0], x[0].numel()
    padding = lane_pitch(numel, x.dtype) - numel
    if padding == 0 or _PLAIN.get():
        return function(x)
    rows = torch.nn.functional.pad(x.reshape(lanes, numel), (0, padding))
    return function(rows)[:, :numel].view(x.shape)
