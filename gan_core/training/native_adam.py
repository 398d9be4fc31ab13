"""AdamW for all lanes of a chunk in one call of C."""

import ctypes
from typing import Any

from torch import Tensor

from gan_core.native.library import native_function

ROWS = ("trained", "gradient", "mean", "square")
NUMBERS = ("steps", "lr", "beta1", "beta2", "weight_decay", "lr_share")
TEXT = """
void program(long lanes, const Optimizer *x, const unsigned char *goes) {
    for (long lane = 0; lane < lanes; lane++)
        if (goes[lane]) adam(x, lane, x->lr_share[lane]);
}
"""


class Optimizer(ctypes.Structure):
    """The structure `Optimizer` of `lane.h`."""

    _fields_ = [  # noqa: RUF012
        *((name, ctypes.c_void_p) for name in (*ROWS, *NUMBERS)),
        *((name, ctypes.c_long) for name in ("numbers", *(f"{name}_pitch" for name in ROWS))),
        ("eps", ctypes.c_double),
    ]


class NativeAdam:
    """Updates these tensors in place: four rows [L, P], steps float32 [L] and coefficients float64 [5, L], the last two
    contiguous along the lanes. Raises NoCompiler.
    """

    def __init__(
        self, rows: tuple[Tensor, Tensor, Tensor, Tensor], steps: Tensor, coefficients: Tensor, eps: float
    ) -> None:
        """rows: trained, gradient, mean, mean square."""
        assert coefficients.stride(1) == steps.stride(0) == 1
        self._keeps = *rows, steps, coefficients
        values: dict[str, Any] = {f"{name}_pitch": row.stride(0) for name, row in zip(ROWS, rows, strict=True)}
        for name, tensor in zip((*ROWS, *NUMBERS), (*rows, steps, *coefficients), strict=True):
            values[name] = tensor.data_ptr()
        self.optimizer = Optimizer(numbers=rows[0].shape[1], eps=eps, **values)
        self._function = native_function(TEXT, rows[0].dtype, Optimizer)
        self._lanes = ctypes.c_long(len(steps))

    def __call__(self, goes: Tensor) -> None:
        """One update of the lanes for which goes, bool [L], is set."""
        self._function(self._lanes, ctypes.byref(self.optimizer), ctypes.c_void_p(goes.data_ptr()))
