"""The C text of convolutions by minimal filtering (`winograd.h`), with its matrices. Loads without torch."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate
from math import prod

from gan_core.native.isa import Isa
from gan_core.native.kernels.products import DEPTH, panel_width

Matrix = list[list[Fraction]]

TAPS = 2  # along an axis of the kernel, in a plane of every stride-th pixel
TILE = 4  # pixels along an axis of the small map that are computed together
# The points, beside infinity, where polynomials are evaluated and multiplied. Of those tried, these have the smallest
# rounding error: 0.9e-6 of the standard deviation of sums over 128 channels, where plain sums have 0.2e-6.
AT = (Fraction(0), Fraction(1), Fraction(-1, 2), Fraction(-2))
POINTS = TILE + TAPS - 1
POINT_NUMBERS = 2**18  # of images transformed together, or of weights that are kept at all points
POINT_ROWS = 64  # tiles of images for which weights are transformed anew, where they are not kept


def filtering() -> tuple[Matrix, Matrix, Matrix]:
    """The matrices A^T [TILE, POINTS], G [POINTS, TAPS] and B^T [POINTS, POINTS], where A^T ((G g) * (B^T d)) are the
    TILE sums d_i g_0 + d_{i+1} g_1: Toom-Cook interpolation, transposed (Blahut 2010, chapter 5).
    """
    scales = [prod((at - other for other in AT if other != at), start=Fraction(1)) for at in AT]
    kernels = [[at**k / scale for k in range(TAPS)] for at, scale in zip(AT, scales, strict=True)]
    kernels.append([Fraction(k == TAPS - 1) for k in range(TAPS)])
    larges = [[*_polynomial([other for other in AT if other != at]), Fraction(0)] for at in AT]
    smalls = [[*(at**k for at in AT), Fraction(k == TILE - 1)] for k in range(TILE)]
    return smalls, kernels, [*larges, _polynomial(AT)]


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """The coefficients of the product of all (x - root), starting with the constant."""
    made = [Fraction(1)]
    for root in roots:
        made = [low - root * high for low, high in zip([Fraction(0), *made], [*made, Fraction(0)], strict=True)]
    return made


def winograd_text(vectors: str, header: str, packing: str) -> str:
    """The C of the three functions of `winograd.h`. Given are `vectors.h`, `winograd.h` and `packing.h`."""
    small, kernel, large = filtering()
    steps = (
        ("from_large", large, "="),
        ("add_to_large", _transposed(large), "+="),
        ("to_small", small, "="),
        ("from_small", _transposed(small), "="),
    )
    rows = ", ".join("{" + ", ".join(f"(T){float(factor)!r}" for factor in row) + "}" for row in kernel)
    numbers = [f"#define TILE {TILE}", f"#define POINTS {POINTS}", f"static const T KERNEL[][{TAPS}] = {{{rows}}};"]
    return "\n".join([vectors, packing, *numbers, *(_step(*step) for step in steps), header])


def _transposed(matrix: Matrix) -> Matrix:
    return [list(column) for column in zip(*matrix, strict=True)]


def _step(name: str, matrix: Matrix, assign: str) -> str:
    """A C function that maps squares X of vectors, at `places` in `from`, to matrix X matrix^T, at `others` in `to`."""
    rows, columns = len(matrix), len(matrix[0])
    lines = [
        f"static void {name}(const T *from, const long *places, T *to, const long *others, long numbers) {{",
        "for (long v = 0; v < numbers; v += WIDTH) {",
    ]
    for j in range(columns):
        for i in range(columns):
            lines.append(f"const wide x{i}_{j} = *(const wide_loose *)(from + places[{i * columns + j}] + v);")
        for p in range(rows):
            lines.append(f"const wide t{p}_{j} = {_combined(matrix[p], [f'x{i}_{j}' for i in range(columns)])};")
    for p in range(rows):
        for q in range(rows):
            sum_ = _combined(matrix[q], [f"t{p}_{j}" for j in range(columns)])
            lines.append(f"*(wide_loose *)(to + others[{p * rows + q}] + v) {assign} {sum_};")
    return "\n".join([*lines, "}", "}"])


def _combined(factors: Sequence[Fraction], names: Sequence[str]) -> str:
    """The C expression of a sum of multiples of the names."""
    terms = []
    for factor, name in zip(factors, names, strict=True):
        if factor:
            size = "" if abs(factor) == 1 else f"(T){float(abs(factor))!r} * "
            terms.append(f"{'-' if factor < 0 else '+'} {size}{name}")
    return " ".join(terms).removeprefix("+ ")


def tiling(
    images: int,
    channels: int,
    height: int,
    width: int,
    filters: int,
    rows: int,
    columns: int,
    kernel: int,
    stride: int,
    isa: Isa,
) -> dict[str, int]:
    """The fields of a `Map` (`convolutions.h`) for minimal filtering: channels and filters rounded up to whole vectors,
    planes of all channels (`depth`), tiles, images transformed together, whether weights are kept at all points
    (`winograd.h`), where each part of the memory begins, and the size of the whole.
    """
    wide_channels, wide_filters = isa.whole(channels), isa.whole(filters)
    down, across = -(-rows // TILE), -(-columns // TILE)
    depth, points = stride**2 * wide_channels, POINTS**2
    of_image, of_weights = points * down * across * (depth + wide_filters), depth * wide_filters
    kept = points * of_weights <= POINT_NUMBERS
    at_once = max(1, min(images, POINT_NUMBERS // of_image if kept else POINT_ROWS // (down * across)))
    parts = {
        "of_small_pixels": at_once * (height * width + 1) * wide_channels,
        "of_large_points": at_once * (rows * columns + 1) * wide_filters,
        "of_small_points": at_once * points * down * across * depth,
        "of_weights": at_once * points * down * across * wide_filters,
        "of_taps": (points if kept else 1) * of_weights,
        "of_panel": kernel**2 * max(filters * wide_channels, channels * wide_filters),
        "winograd_numbers": DEPTH * panel_width(isa),
    }
    sizes = {"wide_channels": wide_channels, "wide_filters": wide_filters, "depth": depth}
    return {
        **sizes,
        "tiles_down": down,
        "tiles_across": across,
        "at_once": at_once,
        "weights_kept": int(kept),
        **dict(zip(parts, accumulate(parts.values()), strict=True)),
    }
