"""Reading the products of pairs of features in C: what `gan_core.fidelity.neighbours` scores, in one pass over each
strip.
"""

import ctypes
import math

import torch
from torch import Tensor

from gan_core.fidelity.discrepancy import PairSums
from gan_core.native.compiler import header
from gan_core.native.library import native_function
from gan_core.native.toolchain import NoCompiler

MOST_NEIGHBOURS = 63  # as in `pairs.h`, one less
POINTERS = (
    *("terms", "other_terms", "squares", "other_squares", "radii", "other_radii"),
    *("kernel_rows", "kernel_columns", "kernel_squares", "nearest", "inside", "closest", "depth", "memory"),
)


class Pairs(ctypes.Structure):
    """As in `pairs.h`."""

    _fields_ = [  # noqa: RUF012
        *((name, ctypes.c_void_p) for name in POINTERS),
        *((name, ctypes.c_long) for name in ("columns", "features", "k")),
    ]


def read_in_c(like: Tensor, k: int) -> bool:
    """Whether products of features like these are read here: on the CPU, where there is a compiler."""
    if like.device.type != "cpu" or k > MOST_NEIGHBOURS:
        return False
    try:
        native_function(header("pairs.h"), like.dtype)
    except NoCompiler:
        return False
    return True


class PairReader:
    """Sums of the kernel, and what scores need of the distances, of all pairs of M samples [M, D] with each other or
    with R real ones; products are shown a strip of rows at a time, in order.
    """

    def __init__(self, k: int, features: int, given: dict[str, Tensor], *, own: bool) -> None:
        """given: terms and squares [M] of the samples and of the others; for pairs with real samples also radii [M] and
        other_radii [R], squared.
        """
        terms, columns = given["terms"], len(given["other_terms"])
        sums = {"kernel_rows": len(terms), "kernel_columns": columns, "kernel_squares": 1, "inside": len(terms)}
        self._made = {name: torch.zeros(size, dtype=torch.float64) for name, size in sums.items()}
        self._made |= {name: torch.full_like(given["other_terms"], math.inf) for name in ("closest", "depth", "memory")}
        self._made["nearest"] = torch.empty_like(terms)
        self._keeps = {name: tensor.contiguous() for name, tensor in (given | self._made).items()}
        pointers = {name: tensor.data_ptr() for name, tensor in self._keeps.items()}
        self._pairs = Pairs(**pointers, columns=columns, features=features, k=k)
        self._function, self._own = native_function(header("pairs.h"), terms.dtype), own

    def read(self, start: int, products: Tensor) -> None:
        """products: x.y of the rows from start on, [m, n]."""
        assert products.is_contiguous()
        rows, pointer = ctypes.c_long(len(products)), ctypes.c_void_p(products.data_ptr())
        self._function(int(self._own), ctypes.c_long(start), rows, pointer, ctypes.byref(self._pairs))

    def __getitem__(self, name: str) -> Tensor:
        """What was read: `nearest` [M], of a set's own the k-th smallest squared distance less the sample's own norm;
        `inside` float64 [M]; `closest` and `depth` [R].
        """
        return self._made[name]

    def sums(self) -> PairSums:
        """Of the kernel; a sample's with itself are left out."""
        rows, columns = self._made["kernel_rows"], self._made["kernel_columns"]
        return PairSums(rows, rows if self._own else columns, self._made["kernel_squares"][0])
