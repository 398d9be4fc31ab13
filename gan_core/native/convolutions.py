"""Convolutions of a lane's maps in C. What is compiled serves every structure; the maps' sizes are data. No torch."""

from dataclasses import asdict, dataclass, fields

from gan_core.native.products import NUMBERS, PAIRS, TYPES, WIDTH, Factors
from gan_core.native.winograd import POINTS, TAPS, tiling

LARGEST_KERNEL = 8
LARGEST_CONVOLUTION = 450_000_000  # multiply-adds of one that is made here; a library is faster beyond
FEWEST_CHANNELS, LARGEST_SHARE = 12, 0.8  # of a convolution by points, and of multiply-adds that it may still have
PANEL = 8  # rows of a tile of pixels
WIDEST = {rows: min(8, 24 // rows) for rows in range(1, PANEL + 1)}  # its vectors: about 24 sums
WEIGHT_ROWS, WEIGHT_TAPS = 4, 4  # sums that a tile of weights' gradients keeps
MOST_TOGETHER = 4  # images side by side in a plane
CHUNK_NUMBERS = 2**17  # of two maps, whose images share a core's cache
SUMS = """
#ifdef SINGLE
typedef int sixteen __attribute__((vector_size(64)));
#else
typedef long long sixteen __attribute__((vector_size(128)));
#endif
/* Two vectors of parts of sums, whose numbers h apart belong together -> one, with half as many numbers a sum. */
#define PART(i, h) ((i) / (h) * 2 * (h) + (i) % (h))
#define PARTS(i, h) PART(i, h), PART(i + 1, h), PART(i + 2, h), PART(i + 3, h)
#define FIRST(h) ((sixteen){PARTS(0, h), PARTS(4, h), PARTS(8, h), PARTS(12, h)})
#define JOIN(h, a, b) (__builtin_shuffle(a, b, FIRST(h)) + __builtin_shuffle(a, b, FIRST(h) + h))
"""


def _whole(numbers: int) -> int:
    """Rounded up to whole vectors."""
    return -(-numbers // WIDTH) * WIDTH


@dataclass(frozen=True)
class Geometry:
    """A convolution's sizes: from a large map [channels, height, width] to a small one [filters, rows, columns], by
    square kernels.
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

    @property
    def by_points(self) -> bool:
        """Whether fewer multiplications (`winograd.h`) are worth what they cost beside."""
        if self.kernel != TAPS * self.stride:
            return False
        tiling = self._tiling()
        multiply_adds = self.images * tiling["tiles_down"] * tiling["tiles_across"] * POINTS**2
        multiply_adds *= tiling["depth"] * tiling["wide_filters"]
        return self.channels >= FEWEST_CHANNELS and multiply_adds <= LARGEST_SHARE * self.multiply_adds

    def _tiling(self) -> dict[str, int]:
        sizes = asdict(self)
        del sizes["padding"]
        return tiling(**sizes)

    @property
    def whole(self) -> bool:
        """Whether no pixel of the large map lies further behind the last kernel than the zeros between rows reach."""
        sides = ((self.height, self.rows), (self.width, self.columns))
        return self.kernel <= LARGEST_KERNEL and all(
            (large - 1 + self.padding) // self.stride <= small + self._taps - 2 for large, small in sides
        )

    @property
    def _taps(self) -> int:
        """Of a kernel's axis, in a plane."""
        return -(-self.kernel // self.stride)

    def text(self) -> str:
        """A `Map` in C (`convolutions.h`)."""
        return "{" + ", ".join(f".{name} = {value}" for name, value in {**asdict(self), **self._layout()}.items()) + "}"

    def memory_numbers(self) -> int:
        """How much memory each function of C needs at most."""
        layout = self._layout()
        width, phase = WIDTH * layout["vectors"], _whole(layout["pitch"] * -(-self.height // self.stride))
        return max(
            layout["winograd_numbers"] if self.by_points else 0,  # rounded, it is computed as others are
            layout["after_planes"] + layout["weights"] + self.filters * width,
            layout["after_padded"] + layout["weights"] + self.channels * phase,
            layout["after_chunk"] + layout["chunk"] * self.filters * width,
        )

    def _layout(self) -> dict[str, int]:
        taps, planes = self._taps, self.channels * self.stride**2
        apart = self.columns + taps - 1
        together = min(range(1, min(MOST_TOGETHER, self.images) + 1), key=lambda n: (self._vectors(n) / n, n))
        pitch, vectors = together * apart, self._vectors(together)
        plane = _whole(pitch * (self.rows + taps - 1))
        origin = (taps - 1) * (pitch + 1)
        padded = _whole(origin + pitch * (self.rows + taps) + taps)
        behind = _whole(pitch * (taps + 1) + taps + 2 * WIDTH)  # what the last vector reads beyond a plane
        fitting = CHUNK_NUMBERS // (planes * plane + self.filters * vectors * WIDTH)
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
            "weights": _whole(self.filters * self.channels * self.kernel**2),
            "after_chunk": chunk * planes * plane + behind,
            **self._tiling(),
        }

    def _vectors(self, together: int) -> int:
        """From the first pixel to the last of so many images side by side."""
        apart = self.columns + self._taps - 1
        return -(-((self.rows - 1) * together * apart + (together - 1) * apart + self.columns) // WIDTH)


_NAMES = [*(field.name for field in fields(Geometry)), *Geometry(*[1] * len(fields(Geometry)))._layout()]
MAP = f"typedef struct {{ long {', '.join(_NAMES)}; }} Map;\n"


def convolutions_text(header: str, rounding: str = "") -> str:
    """The C of `convolve`, `convolve_transposed` and `convolution_weight`. header: `convolutions.h`; rounding:
    `rounding.h` where their factors are rounded to bfloat16, in float32 alone.
    """
    factors, paired = (PAIRS, 2) if rounding else (NUMBERS, 1)
    tiles = [(rows, vectors) for rows, widest in WIDEST.items() for vectors in range(1, widest + 1)]
    weights = [(rows, taps) for rows in range(1, WEIGHT_ROWS + 1) for taps in range(1, WEIGHT_TAPS + 1)]
    pixels = "long groups, long taps, const long *places, const T *a, const T *b, long group, T *c, long cm"
    maps = "long images, long vectors, const T *y, long ym, long yn, const T *x, long xn, const long *places"
    maps += ", T *w, long wm"
    defined = (
        ("PAIRED", paired),
        ("PANEL", PANEL),
        ("LARGEST_KERNEL", LARGEST_KERNEL),
        ("WEIGHT_ROWS", WEIGHT_ROWS),
        ("WEIGHT_TAPS", WEIGHT_TAPS),
    )
    parts = [
        TYPES,
        rounding,
        SUMS,
        *(f"#define {name} {value}" for name, value in defined),
        f"static const long WIDEST[] = {{0, {', '.join(map(str, WIDEST.values()))}}};",
        *(f"static void pixels_{r}_{v}({pixels}) {{\n{_pixel_tile(r, v, factors)}\n}}" for r, v in tiles),
        f"static void pixel_tile(long rows, long vectors, {pixels}) {{",
        "switch (32 * vectors + rows) {",
        *(f"case {32 * v + r}: pixels_{r}_{v}(groups, taps, places, a, b, group, c, cm); break;" for r, v in tiles),
        "}",
        "}",
        *(f"static void weights_{r}_{t}({maps}) {{\n{_weight_tile(r, t, factors)}\n}}" for r, t in weights),
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
    """Sums of so many rows and vectors of pixels, over the taps in all groups of planes."""
    sums = [(r, v) for r in range(rows) for v in range(vectors)]
    lines = ["wide " + ", ".join(f"s{r}_{v} = {{0}}" for r, v in sums) + ";"]
    lines += ["for (long g = 0; g < groups; g++, b += group)", f"for (long t = 0; t < taps; t++, a += {rows}) {{"]
    lines += ["const T *pixels = b + places[t];"]
    for v in range(vectors):
        lines += [f"const {factors.sixteen} b{v} = {factors.read_sixteen.format(f'pixels + {v * WIDTH}')};"]
    for r in range(rows):
        lines += [f"const {factors.one} a{r} = {factors.read_one.format(f'a[{r}]')};"]
        lines += [factors.add.format(f"s{r}_{v}", f"a{r}", f"b{v}") for v in range(vectors)]
    lines += ["}"]
    lines += [f"*(wide_loose *)(c + {r} * cm + {v * WIDTH}) = s{r}_{v};" for r, v in sums]
    return "\n".join(lines)


def _weight_tile(rows: int, taps: int, factors: Factors) -> str:
    """Sums of so many filters and taps, over all pixels of all images, sixteen at a time."""
    sums = [(r, t) for r in range(rows) for t in range(taps)]
    lines = ["wide nothing = {0}, " + ", ".join(f"s{r}_{t} = {{0}}" for r, t in sums) + ";"]
    lines += [
        "for (long n = 0; n < images; n++, y += yn, x += xn)",
        f"for (long v = 0; v < {WIDTH} * vectors; v += {WIDTH}) {{",
    ]
    for t in range(taps):
        lines += [f"const {factors.sixteen} x{t} = {factors.read_sixteen.format(f'x + places[{t}] + v')};"]
    for r in range(rows):
        lines += [f"const {factors.sixteen} y{r} = {factors.read_sixteen.format(f'y + {r} * ym + v')};"]
        lines += [factors.add.format(f"s{r}_{t}", f"y{r}", f"x{t}") for t in range(taps)]
    lines += ["}"]
    names = [f"s{r}_{t}" for r, t in sums] + ["nothing"] * (16 - len(sums))
    for half in (8, 4, 2, 1):
        names = [f"JOIN({half}, {one}, {other})" for one, other in zip(names[::2], names[1::2], strict=True)]
        lines += [f"const wide j{half}_{i} = {text};" for i, text in enumerate(names)]
        names = [f"j{half}_{i}" for i in range(len(names))]
    lines += ["T totals[16];", f"memcpy(totals, &{names[0]}, sizeof totals);"]
    lines += [f"w[{r} * wm + {t}] += totals[{i}];" for i, (r, t) in enumerate(sums)]
    return "\n".join(lines)
