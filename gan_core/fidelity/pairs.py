"""Computes the sums and distances that `gan_core.fidelity.neighbours` needs in C, in one pass over each strip."""

import ctypes
import math

import torch
from torch import Tensor

from gan_core.fidelity.discrepancy import PairSums
from gan_core.native.compiler import header
from gan_core.native.library import native_function
from gan_core.native.toolchain import NoCompiler

MOST_NEIGHBOURS = 63  # one less than MOST_NEAREST of `pairs.h`, which counts the sample itself
POINTERS = (
    *("terms", "other_terms", "squares", "other_squares", "radii", "other_radii"),
    *("kernel_rows", "kernel_columns", "kernel_squares", "nearest", "inside", "closest", "depth", "memory"),
)


class Pairs(ctypes.Structure):
    """The structure of the same name in `pairs.h`, field by field."""

    _fields_ = [  # noqa: RUF012
        *((name, ctypes.c_void_p) for name in POINTERS),
        *((name, ctypes.c_long) for name in ("columns", "features", "k")),
    ]


def read_in_c(like: Tensor, k: int) -> bool:
    """Whether products of such features are read in C: on the CPU, for k <= MOST_NEIGHBOURS, if there is a compiler."""
    if like.device.type != "cpu" or k > MOST_NEIGHBOURS:
        return False
    try:
        native_function(header("pairs.h"), like.dtype, Pairs)
    except NoCompiler:
        return False
    return True


class PairReader:
    """Kernel sums and distances of all pairs of M samples, with each other (own) or with R real samples.

    It is shown the products a strip of rows at a time, in order.
    """

    def __init__(self, k: int, features: int, given: dict[str, Tensor], *, own: bool) -> None:
        """given: terms and squares [M] of the samples, other_terms and other_squares [R] of the others; for pairs with
        real samples also the squared radii [M] and other_radii [R].
        """
        terms, columns = given["terms"], len(given["other_terms"])
        sums = {"kernel_rows": len(terms), "kernel_columns": columns, "kernel_squares": 1, "inside": len(terms)}
        self._made = {name: torch.zeros(size, dtype=torch.float64) for name, size in sums.items()}
        self._made |= {name: torch.full_like(given["other_terms"], math.inf) for name in ("closest", "depth", "memory")}
        self._made["nearest"] = torch.empty_like(terms)
        self._keeps = {name: tensor.contiguous() for name, tensor in (given | self._made).items()}
        pointers = {name: tensor.data_ptr() for name, tensor in self._keeps.items()}
        self._pairs = Pairs(**pointers, columns=columns, features=features, k=k)
        self._function, self._own = native_function(header("pairs.h"), terms.dtype, Pairs), own

    def read(self, start: int, products: Tensor) -> None:
        """products: x.y of the m rows from start on, [m, n]."""
        assert products.is_contiguous()
        rows, pointer = ctypes.c_long(len(products)), ctypes.c_void_p(products.data_ptr())
        self._function(int(self._own), ctypes.c_long(start), rows, pointer, ctypes.byref(self._pairs))

    def __getitem__(self, name: str) -> Tensor:
        """A result. Within a set: `nearest` [M], the squared distance to the k-th neighbour minus the squared norm.

        Between sets: `inside` float64 [M], the number of real balls around each sample; `closest` [R], the squared
        distance of each real sample to the nearest sample; `depth` [R], negative if it is in the ball of a sample.
        """
        return self._made[name]

    def sums(self) -> PairSums:
        """The sums of the kernel, without the pairs of a sample with itself."""
        rows, columns = self._made["kernel_rows"], self._made["kernel_columns"]
        return PairSums(rows, rows if self._own else columns, self._made["kernel_squares"][0])
