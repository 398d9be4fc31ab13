"""Products of a lane's matrices in C. What is compiled serves every structure."""

from dataclasses import dataclass

from gan_core.native.isa import Isa

LARGEST_PRODUCT = 450_000_000  # multiply-adds of one that is made here; what is larger stays a matrix library's
# Registers of the processor -> rows of a tile of so many vectors: as many sums as leave room for the factors, and
# enough for two multipliers, each of which begins four or five sums before the first is ready.
TALLEST = {32: {1: 16, 2: 8, 3: 6, 4: 6}, 16: {1: 12, 2: 6, 3: 4}}
DEPTH = 512  # rows of a panel of the second factor, which all rows of the first meet in a near cache
FAR_ROWS = 512  # numbers from one row to the next from which on a panel is copied: its rows would share cache lines
TURNED_ROWS = 16  # rows of the first factor from which on that pays
MULTIPLY = """
/* How many of these columns the next tiles take: those of the widest tile, but where one vector more is left half of
   them, for a tile of one vector alone reads the first factor as often as a wide one. */
INLINE long next_columns(long left) {
    const long vectors = (left + WIDTH - 1) / WIDTH;
    const long taken = WIDTH * (vectors == VECTORS + 1 ? (vectors + 1) / 2 : VECTORS);
    return left < taken ? left : taken;
}

/* a [rows, inner] with these strides @ b [inner, columns], by rows of whole vectors -> c, rows cm apart; more: what is
   there is added to */
INLINE void multiply(long rows, long columns, long inner, const T *a, long am, long ak, const T *b, long bk, T *c,
                     long cm, int more) {
    for (long j = 0, taken; j < columns; j += taken) {
        taken = next_columns(columns - j);
        const long vectors = (taken + WIDTH - 1) / WIDTH, tail = taken - WIDTH * (vectors - 1); /* of the last vector */
        for (long i = 0; i < rows; i += TALLEST[vectors]) {
            const long height = rows - i < TALLEST[vectors] ? rows - i : TALLEST[vectors];
            tile(height, vectors, inner, a + i * am, am, ak, b + j, bk, c + i * cm + j, cm, tail, more);
        }
    }
}
"""


@dataclass(frozen=True)
class Factors:
    """What tiles are written with, in C: the types of a factor that is one and of a vector of them that follow each
    other; how each is read from memory; and how their product is added to a vector of sums.
    """

    one: str
    vector: str
    read_one: str
    read_vector: str
    add: str


NUMBERS = Factors("T", "wide", "{}", "*(const wide_loose *)({})", "{0} += {1} * {2};")
PAIRS = Factors(
    "__m512bh",
    "__m512bh",
    "(__m512bh)_mm512_set1_epi32(*(const pair *)&{})",
    "(__m512bh)_mm512_loadu_si512({})",
    "{0} = (wide)_mm512_dpbf16_ps((__m512){0}, {1}, {2});",
)


def panel_width(isa: Isa) -> int:
    """Columns of a panel of the second factor: those of the widest tile."""
    return isa.width * max(TALLEST[isa.registers])


def packed_numbers(rows: int, inner: int, columns: int, isa: Isa, *, rounded: bool) -> int:
    """How much memory `product`, or `rounded_product`, needs."""
    if rounded:
        return -(-inner // 2) * (isa.whole(rows) + isa.whole(columns))
    return max(min(inner, DEPTH) * panel_width(isa), isa.whole(inner))  # a panel, or a vector


def products_text(isa: Isa, vectors: str, packing: str, header: str) -> str:
    """The C of `product`. vectors, packing, header: `vectors.h`, `packing.h`, `products.h`."""
    return "\n".join([vectors, *_tiles(NUMBERS, isa), MULTIPLY, packing, header])


def rounded_products_text(isa: Isa, vectors: str, rounding: str, header: str) -> str:
    """The C of `rounded_product`, for float32. The others: `vectors.h`, `rounding.h`, `rounded_products.h`."""
    return "\n".join([vectors, rounding, *_tiles(PAIRS, isa), MULTIPLY, header])


def _tiles(factors: Factors, isa: Isa) -> list[str]:
    """A tile's function of every size, and one that calls them."""
    tallest = TALLEST[isa.registers]
    tiles = [(rows, vectors) for vectors, most in tallest.items() for rows in range(1, most + 1)]
    cases = [f"case {32 * v + r}: tile_{r}_{v}(inner, a, am, ak, b, bk, c, cm, tail, more); break;" for r, v in tiles]
    given = "long inner, const T *a, long am, long ak, const T *b, long bk, T *c, long cm, long tail, int more"
    numbers = {"VECTORS": max(tallest), "DEPTH": DEPTH, "FAR_ROWS": FAR_ROWS, "TURNED_ROWS": TURNED_ROWS}
    return [
        *(f"static void tile_{r}_{v}({given}) {{\n{_tile(r, v, factors)}\n}}" for r, v in tiles),
        *(f"#define {name} {value}" for name, value in numbers.items()),
        f"static const long TALLEST[] = {{0, {', '.join(map(str, tallest.values()))}}};",
        f"static void tile(long rows, long vectors, {given}) {{",
        "switch (32 * vectors + rows) {",
        *cases,
        "}",
        "}",
    ]


def _tile(rows: int, vectors: int, factors: Factors) -> str:
    places = [(r, v) for r in range(rows) for v in range(vectors)]
    lines = ["wide " + ", ".join(f"s{r}_{v} = {{0}}" for r, v in places) + ";"]
    lines += ["if (more) {"]
    for r, v in places:
        read = f"c + {r} * cm + {v} * WIDTH"
        whole = v < vectors - 1
        lines += [f"s{r}_{v} = {f'*(const wide_loose *)({read})' if whole else f'first_of(tail, {read})'};"]
    lines += ["}", "for (long k = 0; k < inner; k++, a += ak, b += bk) {"]
    for v in range(vectors):
        lines += [f"const {factors.vector} b{v} = {factors.read_vector.format(f'b + {v} * WIDTH')};"]
    for r in range(rows):
        lines += [f"const {factors.one} a{r} = {factors.read_one.format(f'a[{r} * am]')};"]
        lines += [factors.add.format(f"s{r}_{v}", f"a{r}", f"b{v}") for v in range(vectors)]
    lines += ["}"]
    for r, v in places:
        to = f"c + {r} * cm + {v} * WIDTH"
        if v < vectors - 1:
            lines += [f"*(wide_loose *)({to}) = s{r}_{v};"]
        else:
            lines += [f"if (tail == WIDTH) *(wide_loose *)({to}) = s{r}_{v};"]
            lines += [f"else put_first(tail, {to}, s{r}_{v});"]
    return "\n".join(lines)
