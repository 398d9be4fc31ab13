"""The random numbers of streams, with the same bits on every machine; normal ones by Box & Muller (1958).

Logarithm, sine and cosine are float32 polynomials made of operations that IEEE 754 rounds exactly. So numpy and C agree
bit for bit, and the latents that a configuration was trained on can be drawn again anywhere. The C code is three times
as fast as torch's own functions on the same bits. Loads the compiler, so no other module of this package imports it.
"""

import ctypes
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_core.lanes.streams import Stream, stream, words
from gan_core.native.compiler import header, loaded_library
from gan_core.native.isa import Isa, this_isa
from gan_core.native.toolchain import NoCompiler

PAIRS = 256  # drawn together, so that the first numbers do not depend on how many are drawn
# Cephes' sinf and cosf, within an eighth of a turn; artanh's series for the logarithm of numbers near 1.
CONSTANTS = {
    "LOG_TWO": -2 * math.log(2),
    **{f"LOG_{n}": 1 / (2 * n + 1) for n in range(1, 5)},
    "QUARTER_TURN": math.pi / 2 / 2**30,
    **{"SIN_1": -1.6666654611e-1, "SIN_2": 8.3321608736e-3, "SIN_3": -1.9515295891e-4},
    **{"COS_1": 4.166664568298827e-2, "COS_2": -1.388731625493765e-3, "COS_3": 2.443315711809948e-5},
}
HALF_ROOT = 0x3F3504F3  # the bits of 1 / sqrt(2)
SPANS = {"normal": (0.0, 0.0), "uniform": (0.0, 1.0), "symmetric_uniform": (-1.0, 2.0)}  # low, and width: 0 for normal


def fill_numbers(out: Tensor, distribution: str, seed: int, purpose: Stream, *seen: int, after: int = 0) -> None:
    """Fills out with numbers of a stream, from N(0, 1), U(0, 1) or U(-1, 1): "normal", "uniform", "symmetric_uniform".

    They are drawn in float32 whatever the type of out, and are those that follow the first `after` ones of the stream,
    so a longer out begins with the numbers of a shorter one.
    """
    function = numbers_in_c()
    if function is None:
        _fill_in_numpy(out, distribution, seed, purpose, *seen, after=after)
        return
    key, counters = words(seed, purpose, *seen)
    state, span = (ctypes.c_uint64 * 5)(*key, *counters), map(ctypes.c_float, SPANS[distribution])
    with _in_float32(out) as drawn:
        function(state, *span, ctypes.c_long(after), ctypes.c_long(drawn.numel()), ctypes.c_void_p(drawn.data_ptr()))


def fill_latents(
    out: Tensor, distribution: str, seeds: Sequence[int], purpose: Stream, *seen: int, after: int = 0
) -> Tensor:
    """Fills out [L, N, Z] or [L, N] with N(0, 1), U(0, 1) or U(-1, 1), lane i from (seeds[i], purpose, seen), starting
    after so many latents of the stream. Numbers are drawn in float32 whatever the type of out, so that a float64
    reference sees the same ones. Returns out.
    """
    numbers = math.prod(out.shape[2:])
    for lane, seed in zip(out.unbind(0), seeds, strict=True):
        fill_numbers(lane, distribution, seed, purpose, *seen, after=after * numbers)
    return out


def _fill_in_numpy(out: Tensor, distribution: str, seed: int, purpose: Stream, *seen: int, after: int) -> None:
    """The same numbers without a compiler, in whole draws of 2 PAIRS numbers, half a word of random bits each."""
    draws, before = divmod(after, 2 * PAIRS)
    source = stream(seed, purpose, *seen, block=draws * (PAIRS // 4))
    numbers = torch.empty(before + out.numel())
    if distribution == "normal":
        fill_normals(numbers, source)
    else:
        low, width = SPANS[distribution]
        numbers.copy_(torch.from_numpy(width * source.random(len(numbers), dtype=np.float32) + low))
    out.copy_(numbers[before:].view(out.shape))


def numbers_in_c() -> Any:
    """The C function `stream_numbers` of `native/kernels/normals.h`, which computes any part of a stream; None if no
    compiler works.
    """
    library = _in_c()
    return None if library is None else library.stream_numbers


def fill_normals(out: Tensor, source: np.random.Generator) -> None:
    """Fills out with numbers from N(0, 1), at most 5.9 from 0, made from 32 random bits each."""
    count = out.numel()
    bits = source.bit_generator.random_raw(-(-count // (2 * PAIRS)) * PAIRS).view(np.int32)
    library = _in_c()
    if library is None:
        out.copy_(torch.from_numpy(normals_in_numpy(bits)[:count]).view(out.shape))
        return
    with _in_float32(out) as drawn:
        library.normals(ctypes.c_long(count), ctypes.c_void_p(bits.ctypes.data), ctypes.c_void_p(drawn.data_ptr()))


@contextmanager
def _in_float32(out: Tensor) -> Iterator[Tensor]:
    """The given tensor where it is contiguous float32 on the CPU, else a tensor that is copied into it at the end."""
    if out.dtype == torch.float32 and out.device.type == "cpu" and out.is_contiguous():
        yield out
        return
    drawn = torch.empty(out.shape)
    yield drawn
    out.copy_(drawn)


def normals_in_numpy(bits: np.ndarray) -> np.ndarray:
    """int32 [2 PAIRS n], by turns PAIRS integers for radii and PAIRS for angles -> as many float32 numbers."""
    of_radius, of_angle = np.moveaxis(bits.reshape(-1, 2, PAIRS), 1, 0)
    c = {name: np.float32(value) for name, value in CONSTANTS.items()}
    one, half = np.float32(1), np.float32(0.5)
    uniform = np.maximum(of_radius.astype(np.float32) * np.float32(2.0**-32) + half, np.float32(2.0**-25))
    exponent = (uniform.view(np.int32) - np.int32(HALF_ROOT)) >> 23
    mantissa = (uniform.view(np.int32) - (exponent << 23)).view(np.float32)
    s = (mantissa - one) / (mantissa + one)
    z = s * s
    p = (((c["LOG_4"] * z + c["LOG_3"]) * z + c["LOG_2"]) * z + c["LOG_1"]) * z + one
    radius = np.sqrt(exponent.astype(np.float32) * c["LOG_TWO"] + s * np.float32(-4) * p)

    angle = of_angle.view(np.uint32)
    quarter = (angle + np.uint32(2**29)) >> np.uint32(30)
    t = (angle - (quarter << np.uint32(30))).view(np.int32).astype(np.float32) * c["QUARTER_TURN"]
    y = t * t
    sine = ((c["SIN_3"] * y + c["SIN_2"]) * y + c["SIN_1"]) * y * t + t
    cosine = ((c["COS_3"] * y + c["COS_2"]) * y + c["COS_1"]) * y * y + (y * -half + one)
    odd = (quarter & np.uint32(1)).astype(bool)
    a, b = np.where(odd, sine, cosine), np.where(odd, cosine, sine)
    cosines = radius * np.where((quarter + np.uint32(1)) & np.uint32(2), -a, a)
    sines = radius * np.where(quarter & np.uint32(2), -b, b)
    return np.stack((cosines, sines), 1).reshape(-1)


def _in_c() -> ctypes.CDLL | None:
    """The library; None without a compiler, or without kernels for this processor."""
    return _in_c_for(this_isa())


@cache
def _in_c_for(isa: Isa | None) -> ctypes.CDLL | None:
    assert isa == this_isa()
    try:
        return loaded_library(normals_text())
    except NoCompiler:
        return None


def normals_text() -> str:
    """The C text of `normals` and `stream_numbers`."""
    numbers = [f"#define {name} {float(np.float32(value)).hex()}f" for name, value in CONSTANTS.items()]
    return "\n".join(
        [f"#define PAIRS {PAIRS}", f"#define HALF_ROOT {HALF_ROOT}", *numbers, header("philox.h"), header("normals.h")]
    )
