"""One thread's products of matrices: ours in C against torch.mm, in float32.

    python -m benchmarks.products [--isa NAME] [--seconds S] [--repeats R]

Both multiply the same operands in the same process, in turns, again and again, so that these lie in the caches;
medians of the repeats, in processor time, which others on the machine do not add to. `a @ b` is of a forward pass;
`a.T @ b` and `a @ b.T`, whose turned factor lies as its transpose, are of the backward one. Ours is called in a loop in
C; torch.mm as a program calls it, with its result's memory given. What a call costs before it multiplies is taken off
in the last two columns: the time of a product of 1x1x1.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.machine import add_isa_option, machine, set_isa
from gan_core.config.input_error import InputError
from gan_core.native.toolchain import NoCompiler

if TYPE_CHECKING:
    from torch import Tensor

SHAPES = (
    *((64, 32, 32), (64, 64, 64), (64, 128, 128)),
    *((64, 784, 256), (64, 256, 784), (256, 64, 784), (784, 64, 256)),
)
LAYOUTS = ("a @ b", "a.T @ b", "a @ b.T")
LARGEST_ERROR = 1e-5  # of a result's largest number: both sides multiply the same
COLUMNS = ("rows x inner x columns", "layout", "ours", "torch", "ours/torch", "torch less its call", "ours/that")
IN_C = """
void program(long times, long rows, long columns, long inner, const T *a, long am, long ak, const T *b, long bk,
             long bn, T *c, T *packed) {
    for (long i = 0; i < times; i++) product(rows, columns, inner, a, am, ak, b, bk, bn, c, packed);
}
"""
Repeated = Callable[[int], object]  # makes a product so many times


@dataclass(frozen=True)
class Figures:
    """Seconds of one product; call: of torch's smallest."""

    operations: int
    ours: float
    torch: float
    call: float

    def cells(self) -> list[str]:
        """GFLOP/s and what ours is of torch's."""
        less = max(self.torch - self.call, 1e-9)
        rates = [self.operations / seconds / 1e9 for seconds in (self.ours, self.torch, less)]
        numbers = [f"{rate:.1f}" for rate in rates]
        return [*numbers[:2], f"{self.torch / self.ours:.2f}", numbers[2], f"{less / self.ours:.2f}"]


def operands(shape: tuple[int, int, int], layout: str) -> "tuple[Tensor, Tensor]":
    """Two factors [rows, inner] and [inner, columns] of normal numbers, by rows or as the layout turns them."""
    import torch

    rows, inner, columns = shape
    draw = torch.Generator().manual_seed(0)
    a = torch.randn((inner, rows) if "a.T" in layout else (rows, inner), generator=draw)
    b = torch.randn((columns, inner) if "b.T" in layout else (inner, columns), generator=draw)
    return a.mT if "a.T" in layout else a, b.mT if "b.T" in layout else b


def ours(a: "Tensor", b: "Tensor", out: "Tensor") -> Repeated:
    """A loop in C over the product that programs in C multiply with. Raises NoCompiler."""
    import ctypes

    import torch

    from gan_core.native.compiler import target
    from gan_core.native.kernels.products import packed_numbers
    from gan_core.native.library import native_function

    rows, inner = a.shape
    columns = b.shape[1]
    packed = torch.empty(packed_numbers(rows, inner, columns, target(), rounded=False))
    function = native_function(IN_C, torch.float32)
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (a, b, out, packed)]
    strides = [[ctypes.c_long(stride) for stride in tensor.stride()] for tensor in (a, b)]
    sizes = [ctypes.c_long(size) for size in (rows, columns, inner)]
    given = [*sizes, pointers[0], *strides[0], pointers[1], *strides[1], pointers[2], pointers[3]]

    def repeated(times: int, keeps: object = packed) -> None:
        function(ctypes.c_long(times), *given)

    return repeated


def stock(a: "Tensor", b: "Tensor", out: "Tensor") -> Repeated:
    """A loop in Python over torch.mm."""
    import torch

    def repeated(times: int) -> None:
        for _ in range(times):
            torch.mm(a, b, out=out)

    return repeated


def medians(racers: Sequence[Repeated], seconds: float, repeats: int) -> list[float]:
    """Seconds that each takes for one product: medians of windows of about so many seconds, in turns."""
    times = []
    for racer in racers:
        racer(1)  # what is made at the first call
        count, begun = 1, time.process_time()
        while (taken := time.process_time() - begun) < seconds:
            racer(count)
            count *= 2
        times.append(max(1, round(count * seconds / taken)))
    measured: list[list[float]] = [[] for _ in racers]
    for _ in range(repeats):
        for racer, count, found in zip(racers, times, measured, strict=True):
            begun = time.process_time()
            racer(count)
            found.append((time.process_time() - begun) / count)
    return [statistics.median(found) for found in measured]


def measure(shape: tuple[int, int, int], layout: str, seconds: float, repeats: int) -> Figures:
    """One line of the table. Raises NoCompiler, and ArithmeticError where the two sides disagree."""
    import torch

    a, b = operands(shape, layout)
    mine, theirs, one = (torch.empty(size) for size in ((shape[0], shape[2]), (shape[0], shape[2]), (1, 1)))
    racers = [ours(a, b, mine), stock(a, b, theirs), stock(torch.ones(1, 1), torch.ones(1, 1), one)]
    times = medians(racers, seconds, repeats)
    error = float((mine - theirs).abs().max() / theirs.abs().max())
    if not error <= LARGEST_ERROR:
        raise ArithmeticError(f"{layout} of {shape}: ours and torch.mm differ by {error:.1e} of the largest number")
    return Figures(2 * shape[0] * shape[1] * shape[2], *times)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.products", description="GFLOP/s of one thread.")
    add_isa_option(parser)
    parser.add_argument("--seconds", type=float, default=0.02, help="of one window (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=15, help="windows of each side (default: %(default)s)")
    given = parser.parse_args(arguments)
    if given.seconds <= 0 or given.repeats < 1:
        parser.error(f"--seconds must be above 0 and --repeats at least 1, got {given.seconds:g} and {given.repeats}")
    try:
        set_isa(given.isa)
    except InputError as error:
        parser.exit(2, f"{parser.prog}: error: --isa: {error}\n")
    import torch  # only now: it reads the environment

    torch.set_num_threads(1)
    print(f"{machine()}\ntorch computes in {torch.backends.cpu.get_cpu_capability()}; GFLOP/s of one thread, float32\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    try:
        for shape in SHAPES:
            for layout in LAYOUTS:
                cells = measure(shape, layout, given.seconds, given.repeats).cells()
                print(f"| {' | '.join(['x'.join(map(str, shape)), f'`{layout}`', *cells])} |", flush=True)
    except NoCompiler as error:
        parser.exit(2, f"{parser.prog}: error: there is no product of ours to measure: {error}\n")


if __name__ == "__main__":
    main()
