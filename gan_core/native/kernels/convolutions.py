"""The C text of convolutions of one lane's maps, and the sizes with which it is called. Loads without torch.

One compiled library serves every structure, since the sizes of the maps are data.
"""

from dataclasses import asdict, dataclass, fields

from gan_core.native.isa import ISAS, Isa
from gan_core.native.kernels.products import NUMBERS, PAIRS, Factors
from gan_core.native.kernels.winograd import POINTS, TAPS, tiling

LARGEST_KERNEL = 8
LARGEST_CONVOLUTION = 450_000_000  # multiply-adds; a library computes larger convolutions faster
FEWEST_CHANNELS, LARGEST_SHARE = 12, 0.8  # bounds of minimal filtering: channels, and its share of multiply-adds
# Number of registers -> the sums and the rows in a tile of pixels, and the filters and taps in a tile of gradients of
# weights, such that registers are left for the factors.
PIXEL_SUMS, PANEL = {32: 24, 16: 12}, {32: 8, 16: 4}
WEIGHT_ROWS, WEIGHT_TAPS = {32: 4, 16: 4}, {32: 4, 16: 2}
MOST_VECTORS = 8  # in a row of a tile of pixels
MOST_TOGETHER = 4  # images side by side in a plane
CHUNK_NUMBERS = 2**17  # of both maps of the images that are in a core's cache together


@dataclass(frozen=True)
class Geometry:
    """The sizes of a convolution with square kernels, from large maps [channels, height, width] to small ones [filters,
    rows, columns].
    """

    images: int
    channels: int
    height: int
    width: int
    filters: int
    rows: int
    columns: int
    kernel: int
    stride: int
    padding: int

    @property
    def multiply_adds(self) -> int:
        return self.images * self.filters * self.rows * self.columns * self.channels * self.kernel**2

    def by_points(self, isa: Isa) -> bool:
        """Whether minimal filtering (`winograd.h`) saves more multiplications than its transforms cost."""
        if self.kernel != TAPS * self.stride:
            return False
        tiling = self._tiling(isa)
        multiply_adds = self.images * tiling["tiles_down"] * tiling["tiles_across"] * POINTS**2
        multiply_adds *= tiling["depth"] * tiling["wide_filters"]
        return self.channels >= FEWEST_CHANNELS and multiply_adds <= LARGEST_SHARE * self.multiply_adds

    def _tiling(self, isa: Isa) -> dict[str, int]:
        sizes = asdict(self)
        del sizes["padding"]
        return tiling(**sizes, isa=isa)

    @property
    def whole(self) -> bool:
        """Whether the zeros between rows cover all pixels of the large map that lie beyond the last kernel."""
        sides = ((self.height, self.rows), (self.width, self.columns))
        return self.kernel <= LARGEST_KERNEL and all(
            (large - 1 + self.padding) // self.stride <= small + self._taps - 2 for large, small in sides
        )

    @property
    def _taps(self) -> int:
        """The taps along an axis of the kernel in a plane."""
        return -(-self.kernel // self.stride)

    def text(self, isa: Isa) -> str:
        """The `Map` of these sizes in C (`convolutions.h`)."""
        return (
            "{" + ", ".join(f".{name} = {value}" for name, value in {**asdict(self), **self._layout(isa)}.items()) + "}"
        )

    def memory_numbers(self, isa: Isa) -> int:
        """How many numbers of memory the C functions need at most."""
        layout = self._layout(isa)
        width, phase = isa.width * layout["vectors"], isa.whole(layout["pitch"] * -(-self.height // self.stride))
        return max(
            layout["winograd_numbers"]
            if self.by_points(isa)
            else 0,  # with rounded factors, minimal filtering is not used
            layout["after_planes"] + layout["weights"] + self.filters * width,
            layout["after_padded"] + layout["weights"] + self.channels * phase,
            layout["after_chunk"] + layout["chunk"] * self.filters * width,
        )

    def _layout(self, isa: Isa) -> dict[str, int]:
        taps, planes = self._taps, self.channels * self.stride**2
        apart = self.columns + taps - 1
        together = min(range(1, min(MOST_TOGETHER, self.images) + 1), key=lambda n: (self._vectors(n, isa) / n, n))
        pitch, vectors = together * apart, self._vectors(together, isa)
        plane = isa.whole(pitch * (self.rows + taps - 1))
        origin = (taps - 1) * (pitch + 1)
        padded = isa.whole(origin + pitch * (self.rows + taps) + taps)
        behind = isa.whole(
            pitch * (taps + 1) + taps + 2 * isa.width
        )  # numbers that the last vector reads beyond a plane
        fitting = CHUNK_NUMBERS // (planes * plane + self.filters * vectors * isa.width)
        chunk = min(-(-self.images // together), max(1, fitting))
        after_padded = self.filters * padded + behind
        return {
            "together": together,
            "apart": apart,
            "lines": self.rows + taps - 1,
            "pitch": pitch,
            "plane": plane,
            "vectors": vectors,
            "origin": origin,
            "padded": padded,
            "chunk": chunk,
            "after_planes": planes * plane + behind,
            "after_padded": after_padded,
            "weights": isa.whole(self.filters * self.channels * self.kernel**2),
            "after_chunk": chunk * planes * plane + behind,
            **self._tiling(isa),
        }

    def _vectors(self, together: int, isa: Isa) -> int:
        """The vectors from the first to the last pixel of so many images side by side."""
        apart = self.columns + self._taps - 1
        return -(-((self.rows - 1) * together * apart + (together - 1) * apart + self.columns) // isa.width)


_NAMES = [field.name for field in fields(Geometry)]
_NAMES += Geometry(*[1] * len(_NAMES))._layout(ISAS["neon"])  # every layout has the same names
MAP = f"typedef struct {{ long {', '.join(_NAMES)}; }} Map;\n"


def convolutions_text(isa: Isa, vectors: str, header: str, rounding: str = "") -> str:
    """The C of `convolve`, `convolve_transposed` and `convolution_weight`. vectors, header: `vectors.h` and
    `convolutions.h`; rounding: that of `rounding.h` to round factors to bfloat16, for float32 only.
    """
    factors, paired = (PAIRS, 2) if rounding else (NUMBERS, 1)
    panel = PANEL[isa.registers]
    widest = {rows: min(MOST_VECTORS, PIXEL_SUMS[isa.registers] // rows) for rows in range(1, panel + 1)}
    tiles = [(rows, vectors) for rows, most in widest.items() for vectors in range(1, most + 1)]
    weight_rows, weight_taps = WEIGHT_ROWS[isa.registers], WEIGHT_TAPS[isa.registers]
    weights = [(rows, taps) for rows in range(1, weight_rows + 1) for taps in range(1, weight_taps + 1)]
    pixels = "long groups, long taps, const long *places, const T *a, const T *b, long group, T *c, long cm"
    maps = "long images, long vectors, const T *y, long ym, long yn, const T *x, long xn, const long *places"
    maps += ", T *w, long wm"
    defined = (
        ("PAIRED", paired),
        ("PANEL", panel),
        ("LARGEST_KERNEL", LARGEST_KERNEL),
        ("WEIGHT_ROWS", weight_rows),
        ("WEIGHT_TAPS", weight_taps),
    )
    parts = [
        vectors,
        rounding,
        *(f"#define {name} {value}" for name, value in defined),
        f"static const long WIDEST[] = {{0, {', '.join(map(str, widest.values()))}}};",
        *(f"static void pixels_{r}_{v}({pixels}) {{\n{_pixel_tile(r, v, factors)}\n}}" for r, v in tiles),
        f"static void pixel_tile(long rows, long vectors, {pixels}) {{",
        "switch (32 * vectors + rows) {",
        *(f"case {32 * v + r}: pixels_{r}_{v}(groups, taps, places, a, b, group, c, cm); break;" for r, v in tiles),
        "}",
        "}",
        *(f"static void weights_{r}_{t}({maps}) {{\n{_weight_tile(r, t, factors, isa)}\n}}" for r, t in weights),
        f"static void weight_tile(long rows, long taps, {maps}) {{",
        "switch (32 * taps + rows) {",
        *(
            f"case {32 * t + r}: weights_{r}_{t}(images, vectors, y, ym, yn, x, xn, places, w, wm); break;"
            for r, t in weights
        ),
        "}",
        "}",
        header,
    ]
    return "\n".join(parts)


def _pixel_tile(rows: int, vectors: int, factors: Factors) -> str:
    """The C of a tile of pixels with so many rows and vectors: sums over the taps in all groups of planes."""
    sums = [(r, v) for r in range(rows) for v in range(vectors)]
    lines = ["wide " + ", ".join(f"s{r}_{v} = {{0}}" for r, v in sums) + ";"]
    lines += ["for (long g = 0; g < groups; g++, b += group)", f"for (long t = 0; t < taps; t++, a += {rows}) {{"]
    lines += ["const T *pixels = b + places[t];"]
    for v in range(vectors):
        lines += [f"const {factors.vector} b{v} = {factors.read_vector.format(f'pixels + {v} * WIDTH')};"]
    for r in range(rows):
        lines += [f"const {factors.one} a{r} = {factors.read_one.format(f'a[{r}]')};"]
        lines += [factors.add.format(f"s{r}_{v}", f"a{r}", f"b{v}") for v in range(vectors)]
    lines += ["}"]
    lines += [f"*(wide_loose *)(c + {r} * cm + {v} * WIDTH) = s{r}_{v};" for r, v in sums]
    return "\n".join(lines)


def _weight_tile(rows: int, taps: int, factors: Factors, isa: Isa) -> str:
    """The C of a tile of gradients for so many filters and taps: sums over all pixels of all images, by vectors."""
    sums = [(r, t) for r in range(rows) for t in range(taps)]
    lines = ["wide " + ", ".join(f"s{r}_{t} = {{0}}" for r, t in sums) + ";"]
    lines += [
        "for (long n = 0; n < images; n++, y += yn, x += xn)",
        "for (long v = 0; v < WIDTH * vectors; v += WIDTH) {",
    ]
    for t in range(taps):
        lines += [f"const {factors.vector} x{t} = {factors.read_vector.format(f'x + places[{t}] + v')};"]
    for r in range(rows):
        lines += [f"const {factors.vector} y{r} = {factors.read_vector.format(f'y + {r} * ym + v')};"]
        lines += [factors.add.format(f"s{r}_{t}", f"y{r}", f"x{t}") for t in range(taps)]
    lines += ["}", "const wide nothing = {0};", "T totals[WIDTH];"]
    for first in range(0, len(sums), isa.width):
        part = sums[first : first + isa.width]
        lines += ["{", *_joined([f"s{r}_{t}" for r, t in part], isa.width), "}"]
        lines += [f"w[{r} * wm + {t}] += totals[{i}];" for i, (r, t) in enumerate(part)]
    return "\n".join(lines)


def _joined(names: list[str], width: int) -> list[str]:
    """C that fills `totals` with the sums over each of up to `width` vectors. Two vectors of parts of sums,
    whose numbers `half` apart belong together, become one with half as many numbers a sum, again and again.
    """
    names, lines, half = names + ["nothing"] * (width - len(names)), [], width // 2
    while half:
        first = [i // half * 2 * half + i % half for i in range(width)]
        low, high = ", ".join(map(str, first)), ", ".join(str(i + half) for i in first)
        made = [f"j{half}_{i}" for i in range(len(names) // 2)]
        for name, one, other in zip(made, names[::2], names[1::2], strict=True):
            lines += [
                f"const wide {name} = SHUFFLE(wide, {one}, {other}, {low}) + SHUFFLE(wide, {one}, {other}, {high});"
            ]
        names, half = made, half // 2
    return [*lines, f"memcpy(totals, &{names[0]}, sizeof totals);"]
