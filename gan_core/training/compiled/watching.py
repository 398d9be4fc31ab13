"""Watches lanes in C: adds to the sums of `gan_core.training.watch.Watch` within a compiled block.

The C of a loss is generated from a trace of its functions in `gan_core.game.losses`.
"""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from gan_core.execution.formulas import NotInC
from gan_core.execution.means import means_in_c
from gan_core.execution.trace import trace
from gan_core.game.losses import Loss
from gan_core.game.step import Game
from gan_core.lanes.axis import plain_calls
from gan_core.native.compiler import header
from gan_core.native.library import LaneMemory, native_function
from gan_core.native.toolchain import tell
from gan_core.training.watch import SUMS, Watch

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
    """What is watched; mirrors the structure in `watch.h`, with which it is compared when C is loaded."""

    _fields_ = [  # noqa: RUF012
        *((name, ctypes.c_void_p) for name in POINTERS),
        *((name, ctypes.c_double) for name in ("vanished_gradient", "collapsed_deviation")),
        *((f"{name}_pitch", ctypes.c_long) for name in PITCHES),
        *((name, ctypes.c_long) for name in ("decisions", "samples", "numbers", "scale")),
    ]


def is_compiled(game: Game) -> bool:
    """Whether the value of the loss can be computed in C, without which its steps are not compiled. Warns once where it
    cannot.
    """
    try:
        _losses_text(game.loss, game.decisions)
    except NotInC as reason:
        tell(
            f"structure.loss {game.structure.loss!r} cannot be compiled ({reason}); steps are replayed instead, two to "
            "four times as slowly where networks are small"
        )
        return False
    return True


def watching_text(game: Game) -> str:
    """The C of `watch_discriminator`, `watch_generator` and `look`. Raises NotInC where the loss is not known in C."""
    return f"enum {{ {', '.join(SUMS)} }};\n{_losses_text(game.loss, game.decisions)}{header('watch.h')}"


@cache
def _losses_text(loss: Loss, decisions: int) -> str:
    if loss.sees_real:
        raise NotInC("G's part reads the logits of real samples")
    of_d = _loss_text("discriminator_loss", loss.discriminator, decisions, ("real", "fake"), ("smoothing",))
    return of_d + _loss_text("generator_loss", loss.generator, decisions, ("fake",))


def _loss_text(
    name: str, loss: Callable[..., Tensor], decisions: int, rows: Sequence[str], numbers: Sequence[str] = ()
) -> str:
    """A function in C of this name, generated from a trace of a loss. It takes pointers to rows of logits, numbers of
    the lane, and how many decisions there are. Raises NotInC.
    """
    tensors = {row: torch.zeros(1, decisions) for row in rows} | {n: torch.zeros(1) for n in (*numbers, "loss")}

    def written(given: dict[str, Tensor]) -> None:
        given["loss"].copy_(loss(*(given[each] for each in (*rows, *numbers))))

    with plain_calls():
        formulas = means_in_c(trace(written, tensors)).values()
    sums = {f"sum{place}": formula for place, formula in enumerate(formulas)}
    given = [*(f"const T *{row}" for row in rows), *(f"T {number}" for number in numbers), "long n"]
    lines = [
        f"static T {name}({', '.join(given)}) {{",
        f"T {', '.join(f'{each} = 0' for each in sums)};",
        f"#pragma omp simd reduction(+ : {', '.join(sums)})",
        "for (long i = 0; i < n; i++) {",
        *(f"{each} += {formula};" for each, formula in sums.items()),
        "}",
        f"return {' + '.join(f'{each} / n' for each in sums)};",
        "}",
    ]
    return "\n".join([*lines, ""])


def watched(watch: Watch, tensors: Mapping[str, Tensor], game: Game) -> Watched:
    """The structure for the tensors of a chunk. It holds pointers: its owner must keep the tensors and the watch alive,
    and set `memory` to memory for at least `memory_numbers` numbers.
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
    """How many numbers of memory are needed to look at how much samples vary."""
    return 2 * tensors["real"][0, 0].numel()


class NativeWatch:
    """Watches single compiled steps of K lanes, bitwise as within a block. It has the methods of `StepRecord`."""

    def __init__(self, watch: Watch, tensors: Mapping[str, Tensor], game: Game, memory: LaneMemory) -> None:
        """Raises NoCompiler."""
        like = tensors["real"]
        memory.reserve(memory_numbers(tensors) * like.element_size())
        self._keeps, self._memory, self._lanes = (watch, tensors), memory, len(like)
        self._watched = watched(watch, tensors, game)
        self._function = native_function(watching_text(game) + ENTRY, like.dtype, Watched)

    def discriminator(self) -> None:
        """Watches a step of D."""
        self._call(0, [True] * self._lanes, [0] * self._lanes)

    def generator(self, active: Sequence[bool], images: Sequence[int]) -> None:
        """Watches an update of G in the active lanes. images: shown to D since a lane's last turn [K]."""
        self._call(1, active, images)

    def look(self, images: int) -> None:
        """Watches how much the last step's samples vary. images: shown to D since the last look."""
        self._call(2, [True] * self._lanes, [images] * self._lanes)

    def settle(self) -> None:
        """Does nothing: everything has been added already."""

    def _call(self, what: int, goes: Sequence[bool], images: Sequence[int]) -> None:
        self._watched.memory = self._memory.pointer
        shown = (ctypes.c_long * self._lanes)(*images)
        self._function(what, ctypes.c_long(self._lanes), bytes(goes), shown, ctypes.byref(self._watched))
