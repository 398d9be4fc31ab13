"""Watching a lane in C: what `gan_core.training.watch.Watch` adds up, without leaving the block."""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from gan_core.config.gan import LossName
from gan_core.game.losses import CLAMPED_LOGIT
from gan_core.game.step import Game
from gan_core.native.compiler import header
from gan_core.native.library import LaneMemory, native_function
from gan_core.training.watch import SUMS, Watch

# The games of gan_core.game.losses, whose losses are means: of D's logit of a real sample, of D's of a fake one, of
# G's.
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
    "wasserstein_gp": ("-(x)", "(x)", "-(x)"),
}
POINTERS = ("sums", "d_row", "g_row", "smoothing", "real", "fake", "memory")
PITCHES = ("sums", "d_row", "g_row", "smoothing", "real", "fake")
ENTRY = """
void program(int what, long lanes, const unsigned char *goes, const long *images, const Watched *x) {
    for (long lane = 0; lane < lanes; lane++) {
        if (!goes[lane]) continue;
        if (what == 0) watch_discriminator(x, lane);
        else if (what == 1) watch_generator(x, lane, images[lane]);
        else look(x, lane, images[lane]);
    }
}
"""


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
        header("watch.h"),
    ]
    return "\n".join(parts) + "\n"


def watched(watch: Watch, tensors: Mapping[str, Tensor], game: Game) -> Watched:
    """What is watched. tensors: of a chunk. Who keeps the answer keeps them and the watch too, and gives it `memory` of
    at least `memory_numbers`.
    """
    rows = {"sums": watch.sums, **{name: tensors[name] for name in PITCHES[1:]}}
    values: dict[str, Any] = {name: rows[name].data_ptr() for name in PITCHES}
    values |= {f"{name}_pitch": rows[name].stride(0) for name in PITCHES}
    return Watched(
        **values,
        vanished_gradient=watch.health.vanished_gradient,
        collapsed_deviation=watch.health.collapsed_deviation,
        decisions=game.decisions,
        samples=rows["real"].shape[1],
        numbers=rows["real"][0, 0].numel(),
        scale=game.scale,
    )


def memory_numbers(tensors: Mapping[str, Tensor]) -> int:
    """How much memory a look needs."""
    return 2 * tensors["real"][0, 0].numel()


class NativeWatch:
    """Watches single steps of K lanes as a block is watched, bit for bit; in the place of a `StepRecord`."""

    def __init__(self, watch: Watch, tensors: Mapping[str, Tensor], game: Game, memory: LaneMemory) -> None:
        """Raises NoCompiler."""
        like = tensors["real"]
        memory.reserve(memory_numbers(tensors) * like.element_size())
        self._keeps, self._memory, self._lanes = (watch, tensors), memory, len(like)
        self._watched = watched(watch, tensors, game)
        self._function = native_function(watching_text(game.structure.loss) + ENTRY, like.dtype)

    def discriminator(self) -> None:
        """D's step is done."""
        self._call(0, [True] * self._lanes, [0] * self._lanes)

    def generator(self, active: Sequence[bool], images: Sequence[int]) -> None:
        """An update of G is done in the active lanes; images: that D was shown since the lane's last turn [K]."""
        self._call(1, active, images)

    def look(self, images: int) -> None:
        """A look at the last step's samples; images: shown to D since the last look."""
        self._call(2, [True] * self._lanes, [images] * self._lanes)

    def settle(self) -> None:
        """Nothing: all is added."""

    def _call(self, what: int, goes: Sequence[bool], images: Sequence[int]) -> None:
        self._watched.memory = self._memory.pointer
        shown = (ctypes.c_long * self._lanes)(*images)
        self._function(what, ctypes.c_long(self._lanes), bytes(goes), shown, ctypes.byref(self._watched))
