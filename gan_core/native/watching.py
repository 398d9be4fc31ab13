"""Watching a lane in C: what `gan_core.watch.Watch` adds up, without leaving the block."""

import ctypes
from importlib.resources import files
from typing import Any

from torch import Tensor

from gan_core.config import LossName
from gan_core.losses import CLAMPED_LOGIT
from gan_core.watch import SUMS, Watch

# The games of gan_core.losses that are trained in blocks, whose losses are means: of D's logit of a real sample and of a
# fake one, of G's. (The penalty of wasserstein_gp mixes samples anew in each step.)
LOSSES_IN_C: dict[LossName, tuple[str, str, str]] = {
    "non_saturating": ("softplus_of(-(x)) + smoothing * (x)", "softplus_of(x)", "softplus_of(-(x))"),
    "minimax": ("softplus_of(-(x)) + smoothing * (x)", "softplus_of(x)", "-softplus_of(x)"),
    "minimax_clamped": (
        "softplus_of(-clamped(x)) + smoothing * clamped(x)",
        "softplus_of(clamped(x))",
        "-softplus_of(clamped(x))",
    ),
    "least_squares": ("((x) - 1) * ((x) - 1) / 2", "(x) * (x) / 2", "((x) - 1) * ((x) - 1) / 2"),
    "hinge": ("maximum_of(1 - (x), 0)", "maximum_of(1 + (x), 0)", "-(x)"),
}
POINTERS = ("sums", "d_row", "g_row", "smoothing", "real", "fake", "memory")
PITCHES = ("sums", "d_row", "g_row", "smoothing", "real", "fake")


class Watched(ctypes.Structure):
    """As in `watch.h`."""

    _fields_ = [  # noqa: RUF012
        *((name, ctypes.c_void_p) for name in POINTERS),
        *((name, ctypes.c_double) for name in ("vanished_gradient", "collapsed_deviation")),
        *((f"{name}_pitch", ctypes.c_long) for name in PITCHES),
        *((name, ctypes.c_long) for name in ("decisions", "samples", "numbers", "scale")),
    ]


def watching_text(loss: LossName) -> str:
    """The C of `watch_discriminator`, `watch_generator` and `look`."""
    games = zip(("REAL_LOSS", "FAKE_LOSS", "GENERATOR_LOSS"), LOSSES_IN_C[loss], strict=True)
    parts = [
        f"enum {{ {', '.join(SUMS)} }};",
        f"#define CLAMPED_LOGIT ((T){CLAMPED_LOGIT!r})",
        *(f"#define {name}(x) ({text})" for name, text in games),
        files("gan_core.native").joinpath("watch.h").read_text(),
    ]
    return "\n".join(parts) + "\n"


def watched(watch: Watch, rows: dict[str, Tensor], scale: int) -> Watched:
    """What is watched. rows: `d_row` and `g_row` of a `StepRecord`, and of what lanes are fed `smoothing`, `real` and
    `fake`; scale: of what is descended to the loss. All are kept by who keeps the answer, whose `memory` is unset.
    """
    health, real = watch.health, rows["real"]
    tensors = {"sums": watch.sums, **rows}
    values: dict[str, Any] = {name: tensors[name].data_ptr() for name in PITCHES}
    values |= {f"{name}_pitch": tensors[name].stride(0) for name in PITCHES}
    return Watched(
        **values,
        vanished_gradient=health.vanished_gradient,
        collapsed_deviation=health.collapsed_deviation,
        decisions=rows["g_row"].shape[1] - 1,
        samples=real.shape[1],
        numbers=real[0, 0].numel(),
        scale=scale,
    )
