"""The precision of products: what a value of `Precision` means on each device, and the one place that tells torch.

- float32: factors are multiplied in float32 on every device.
- tf32: on a GPU factors are rounded to a mantissa of 10 bits; on the CPU it is the same as float32.
- bfloat16: factors are rounded to 8 significant bits. Products are summed in float32; convolutions also round their
  results, unless they are compiled. On the CPU products with vectors and those of up to SMALL_PRODUCTS multiply-adds
  are not rounded, nor, when compiled, are convolutions from or to a few channels.

In every precision tensors are float32 before and after a product, and everything else is computed in float32.

The precision is a value that a pass through a network carries (`networks.call.Call`) down to `products.lane_matmul` and
`networks.convolutions`. Only two things cannot be said in a call and need a setting of torch: TF32 on a GPU, and
oneDNN's rounding on a CPU with AMX. `library_precision` makes these settings, around what an array trains or samples.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor

from gan_core.config.conditions import Precision
from gan_core.config.input_error import InputError
from gan_core.lanes.axis import in_plain_calls
from gan_core.lanes.torch_internals import precision_settings
from gan_core.native.isa import this_isa

SMALL_PRODUCTS = 2**12  # products of at most so many multiply-adds in a lane are never rounded to bfloat16


@contextmanager
def library_precision(precision: Precision) -> Iterator[None]:
    """Within this context torch's libraries multiply float32 tensors in this precision. The previous settings are
    restored at the end, also after an error.

    Feature extractors and other modules that take no precision are computed in float32 within "float32".
    """
    with precision_settings(
        gpu="tf32" if precision == "tf32" else "ieee", cpu="bf16" if precision == "bfloat16" else "ieee"
    ):
        yield


def check_processor(precision: Precision, device: str) -> None:
    """Raises InputError where the device has no instructions for this precision, which would make it slower."""
    if precision == "bfloat16" and device == "cpu" and not (host_rounds() or host_pairs()):
        raise InputError(
            "precision bfloat16 needs a processor that multiplies in it (AVX512-BF16 or AMX); take float32"
        )


@cache
def host_rounds() -> bool:
    """Whether oneDNN rounds the factors of a float32 product when it is asked to. It does so where that is faster: on
    x86 processors with AMX.
    """
    factor, ones = torch.full((2, 64, 64), 1 + 2.0**-10), torch.ones(2, 64, 64)
    with library_precision("bfloat16"):
        return torch.bmm(factor, ones)[0, 0, 0].item() == 64.0


def host_pairs() -> bool:
    """Whether bfloat16 products are computed in C (`native/kernels/rounding.h`): on x86 processors with AVX512-BF16 but
    without AMX, which is faster. What is not compiled is rounded there and then multiplied in float32.
    """
    isa = this_isa()
    return isa is not None and isa.bfloat16_pairs and not host_rounds()


def rounds(x: Tensor, precision: Precision) -> bool:
    """Whether a product in this precision rounds its factor x to bfloat16."""
    return precision == "bfloat16" and x.dtype == torch.float32 and not in_plain_calls()


def factor(x: Tensor, precision: Precision) -> Tensor:
    """A factor of a convolution in the type in which it is multiplied: x in bfloat16 where that rounds, else x."""
    return x.bfloat16() if rounds(x, precision) else x
