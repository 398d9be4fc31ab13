"""Products of a lane's matrices in C. What is compiled serves every structure."""

from dataclasses import dataclass

LARGEST_PRODUCT = 450_000_000  # multiply-adds of one that is made here; what is larger stays a matrix library's
WIDTH = 16  # numbers in a vector of float32; of float64 there are two vectors in its place
TALLEST = {1: 16, 2: 8, 3: 6, 4: 6}  # rows of a tile of so many vectors: sixteen sums or more, for two multipliers
DEPTH = 512  # rows of a panel of the second factor, which all rows of the first meet in a near cache
PANEL_WIDTH = WIDTH * max(TALLEST)
FAR_ROWS = 512  # numbers from one row to the next from which on a panel is copied: its rows would share cache lines
TYPES = """
#include <string.h>
#define INLINE static inline __attribute__((always_inline))
#define V ((int)(64 / sizeof(T))) /* numbers in a vector of 64 bytes */
#ifdef SINGLE
typedef int places __attribute__((vector_size(64)));
#define LOWER ((places){0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23})
#define UPPER ((places){8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31})
#else
typedef long long places __attribute__((vector_size(64)));
#define LOWER ((places){0, 8, 1, 9, 2, 10, 3, 11})
#define UPPER ((places){4, 12, 5, 13, 6, 14, 7, 15})
#endif
typedef T vec __attribute__((vector_size(64)));
typedef T wide __attribute__((vector_size(16 * sizeof(T)))); /* sixteen numbers: a column of a tile */
typedef T wide_loose __attribute__((vector_size(16 * sizeof(T)), aligned(sizeof(T)), may_alias));
typedef T loose __attribute__((vector_size(64), aligned(sizeof(T)), may_alias)); /* a vector anywhere in memory */
#if defined(SINGLE) && defined(__AVX512F__)
#include <immintrin.h>
/* the first of sixteen numbers */
INLINE __mmask16 up_to(long count) { return count >= 16 ? 0xffff : count > 0 ? (1u << count) - 1 : 0; }
#endif
"""
MULTIPLY = """
/* a [rows, inner] with these strides @ b [inner, columns], by rows of whole vectors -> c, rows cm apart; more: what is
   there is added to */
INLINE void multiply(long rows, long columns, long inner, const T *a, long am, long ak, const T *b, long bk, T *c,
                     long cm, int more) {
    for (long j = 0; j < columns; j += 16 * VECTORS) {
        const long left = columns - j, vectors = left < 16 * VECTORS ? (left + 15) / 16 : VECTORS;
        const long tail = left < 16 * VECTORS ? left - 16 * (vectors - 1) : 16; /* columns in the last vector */
        for (long i = 0; i < rows; i += TALLEST[vectors]) {
            const long height = rows - i < TALLEST[vectors] ? rows - i : TALLEST[vectors];
            tile(height, vectors, inner, a + i * am, am, ak, b + j, bk, c + i * cm + j, cm, tail, more);
        }
    }
}
"""


@dataclass(frozen=True)
class Factors:
    """What tiles are written with, in C: the types of a factor that is one and of sixteen that follow each other; how
    each is read from memory; and how their product is added to sixteen sums.
    """

    one: str
    sixteen: str
    read_one: str
    read_sixteen: str
    add: str


NUMBERS = Factors("T", "wide", "{}", "*(const wide_loose *)({})", "{0} += {1} * {2};")
PAIRS = Factors(
    "__m512bh",
    "__m512bh",
    "(__m512bh)_mm512_set1_epi32(*(const pair *)&{})",
    "(__m512bh)_mm512_loadu_si512({})",
    "{0} = (wide)_mm512_dpbf16_ps((__m512){0}, {1}, {2});",
)


def packed_numbers(rows: int, inner: int, columns: int, *, rounded: bool) -> int:
    """How much memory `product`, or `rounded_product`, needs."""
    high, deep, wide = (-(-numbers // WIDTH) * WIDTH for numbers in (rows, inner, columns))
    if rounded:
        return -(-inner // 2) * (high + wide)
    return max(min(inner, DEPTH) * PANEL_WIDTH, deep)  # a panel, or a vector


def products_text(packing: str, header: str) -> str:
    """The C of `product`. packing, header: `packing.h`, `products.h`."""
    return "\n".join([TYPES, *_tiles(NUMBERS), MULTIPLY, packing, header])


def rounded_products_text(rounding: str, header: str) -> str:
    """The C of `rounded_product`, for float32. rounding, header: `rounding.h`, `rounded_products.h`."""
    return "\n".join([TYPES, rounding, *_tiles(PAIRS), MULTIPLY, header])


def _tiles(factors: Factors) -> list[str]:
    """A tile's function of every size, and one that calls them."""
    tiles = [(rows, vectors) for vectors, tallest in TALLEST.items() for rows in range(1, tallest + 1)]
    cases = [f"case {32 * v + r}: tile_{r}_{v}(inner, a, am, ak, b, bk, c, cm, tail, more); break;" for r, v in tiles]
    given = "long inner, const T *a, long am, long ak, const T *b, long bk, T *c, long cm, long tail, int more"
    return [
        *(f"static void tile_{r}_{v}({given}) {{\n{_tile(r, v, factors)}\n}}" for r, v in tiles),
        f"#define VECTORS {max(TALLEST)}",
        f"#define DEPTH {DEPTH}",
        f"#define FAR_ROWS {FAR_ROWS}",
        f"static const long TALLEST[] = {{0, {', '.join(map(str, TALLEST.values()))}}};",
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
        size = f"{WIDTH}" if v < vectors - 1 else "tail"
        lines += [f"memcpy(&s{r}_{v}, c + {r} * cm + {v * WIDTH}, {size} * sizeof(T));"]
    lines += ["}", "for (long k = 0; k < inner; k++, a += ak, b += bk) {"]
    for v in range(vectors):
        lines += [f"const {factors.sixteen} b{v} = {factors.read_sixteen.format(f'b + {v * WIDTH}')};"]
    for r in range(rows):
        lines += [f"const {factors.one} a{r} = {factors.read_one.format(f'a[{r} * am]')};"]
        lines += [factors.add.format(f"s{r}_{v}", f"a{r}", f"b{v}") for v in range(vectors)]
    lines += ["}"]
    for r, v in places:
        to = f"c + {r} * cm + {v * WIDTH}"
        if v < vectors - 1:
            lines += [f"*(wide_loose *)({to}) = s{r}_{v};"]
        else:
            lines += [f"if (tail == {WIDTH}) *(wide_loose *)({to}) = s{r}_{v};"]
            lines += [f"else memcpy({to}, &s{r}_{v}, tail * sizeof(T));"]
    return "\n".join(lines)
