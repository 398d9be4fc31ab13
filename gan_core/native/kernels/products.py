"""The C text of matrix products in one lane. One compiled library serves every structure."""

from dataclasses import dataclass

from gan_core.native.isa import Isa

LARGEST_PRODUCT = 450_000_000  # multiply-adds; larger products are left to a matrix library
# Number of registers -> {vectors in a row of a tile: its rows}: as many sums as leave registers for the factors, and
# enough for two multiply units, each of which starts four or five sums before the first is finished.
TALLEST = {32: {1: 16, 2: 8, 3: 6, 4: 6}, 16: {1: 12, 2: 6, 3: 4}}
DEPTH = 512  # rows of a panel of the second factor, which stays in a near cache for all rows of the first
FAR_ROWS = 512  # distance of rows from which on a panel is copied: its rows compete for cache lines
TURNED_ROWS = 16  # from this number of rows of the first factor on, copying pays
MULTIPLY = """
/* How many of the remaining columns the next tiles take: as many as the widest tile, but half of what is left where
   that is one vector more, because a tile of a single vector reads the first factor as often as a wide one. */
INLINE long next_columns(long left) {
    const long vectors = (left + WIDTH - 1) / WIDTH;
    const long taken = WIDTH * (vectors == VECTORS + 1 ? (vectors + 1) / 2 : VECTORS);
    return left < taken ? left : taken;
}

/* c = a @ b: a [rows, inner] with strides am, ak, b [inner, columns] in rows of whole vectors, bk apart, c in rows cm
   apart. more: the product is added to c. */
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
    """The C fragments that tiles are made of: the types of a single factor and of a vector of neighbouring ones, how
    each is read from memory, and how their product is added to a vector of sums.
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
    """The columns of a panel of the second factor, as many as the widest tile has."""
    return isa.width * max(TALLEST[isa.registers])


def packed_numbers(rows: int, inner: int, columns: int, isa: Isa, *, rounded: bool) -> int:
    """How many numbers of memory `product`, or `rounded_product`, needs."""
    if rounded:
        return -(-inner // 2) * (isa.whole(rows) + isa.whole(columns))
    return max(min(inner, DEPTH) * panel_width(isa), isa.whole(inner))  # a panel, or a vector


def products_text(isa: Isa, vectors: str, packing: str, header: str) -> str:
    """The C of `product`. vectors, packing, header: the texts of `vectors.h`, `packing.h` and `products.h`."""
    return "\n".join([vectors, *_tiles(NUMBERS, isa), MULTIPLY, packing, header])


def rounded_products_text(isa: Isa, vectors: str, rounding: str, header: str) -> str:
    """The C of `rounded_product`, for float32. Given are `vectors.h`, `rounding.h` and `rounded_products.h`."""
    return "\n".join([vectors, rounding, *_tiles(PAIRS, isa), MULTIPLY, header])


def _tiles(factors: Factors, isa: Isa) -> list[str]:
    """A function for every size of tile, and `tile`, which calls the right one."""
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
