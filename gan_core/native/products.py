"""Products of a lane's matrices in C. What is compiled serves every structure."""

from dataclasses import dataclass

LARGEST_PRODUCT = 40_000_000  # multiply-adds of one that is made here; a matrix library is faster beyond
WIDTH = 16  # numbers in a vector of float32; of float64 there are two vectors in its place
TALLEST = {1: 16, 2: 8, 3: 6, 4: 4}  # rows of a tile of so many vectors: about sixteen sums, as two multipliers need
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
"""


@dataclass(frozen=True)
class Factors:
    """How a tile reads its factors: number is the type of what an inner step takes of a row; vector, repeated and
    added are the C of sixteen columns' type, of one row's factor and of a sum.
    """

    name: str
    number: str
    vector: str
    read: str
    row: str
    repeated: str
    added: str


PLAIN = Factors("tile", "T", "wide", "*(const wide_loose *)({})", "T", "{}", "{0} += {1} * {2};")
ROUNDED = Factors(
    "rounded_tile",
    "unsigned",
    "__m512bh",
    "(__m512bh)_mm512_loadu_si512({})",
    "__m512bh",
    "(__m512bh)_mm512_set1_epi32({})",
    "{0} = (wide)_mm512_dpbf16_ps((__m512){0}, {1}, {2});",
)


def packed_numbers(rows: int, inner: int, columns: int) -> int:
    """How much memory `product` and `rounded_product` need at most."""
    high, wide = (-(-numbers // WIDTH) * WIDTH for numbers in (rows, columns))
    return max(inner * wide, -(-inner // 2) * (high + wide))


def products_text(header: str) -> str:
    """The C of `product`. header: `products.h`."""
    return "\n".join([TYPES, *_tiles(PLAIN), f"#define VECTORS {max(TALLEST)}", _TALLEST, header])


def rounded_products_text(header: str, rounded: str) -> str:
    """The C of `rounded_product`, for float32. header, rounded: `products.h`, `rounded.h`."""
    return "\n".join([products_text(header), rounded, *_tiles(ROUNDED)])


_TALLEST = f"static const long TALLEST[] = {{0, {', '.join(map(str, TALLEST.values()))}}};"


def _tiles(factors: Factors) -> list[str]:
    """A tile's function of every size, and one that calls them."""
    number, name = factors.number, factors.name
    tiles = [(rows, vectors) for vectors, tallest in TALLEST.items() for rows in range(1, tallest + 1)]
    cases = [f"case {32 * v + r}: {name}_{r}_{v}(inner, a, am, ak, b, bk, c, cm, tail); break;" for r, v in tiles]
    given = f"long inner, const {number} *a, long am, long ak, const {number} *b, long bk, T *c, long cm, long tail"
    return [
        *(f"static void {name}_{r}_{v}({given}) {{\n{_tile(r, v, factors)}\n}}" for r, v in tiles),
        f"static void {name}(long rows, long vectors, {given}) {{",
        "switch (32 * vectors + rows) {",
        *cases,
        "}",
        "}",
    ]


def _tile(rows: int, vectors: int, factors: Factors) -> str:
    places = [(r, v) for r in range(rows) for v in range(vectors)]
    lines = ["wide " + ", ".join(f"s{r}_{v} = {{0}}" for r, v in places) + ";"]
    lines += ["for (long k = 0; k < inner; k++, a += ak, b += bk) {"]
    lines += [f"const {factors.vector} b{v} = {factors.read.format(f'b + {v * WIDTH}')};" for v in range(vectors)]
    for r in range(rows):
        lines += [f"const {factors.row} a{r} = {factors.repeated.format(f'a[{r} * am]')};"]
        lines += [factors.added.format(f"s{r}_{v}", f"a{r}", f"b{v}") for v in range(vectors)]
    lines += ["}"]
    for r, v in places:
        to = f"c + {r} * cm + {v * WIDTH}"
        if v < vectors - 1:
            lines += [f"*(wide_loose *)({to}) = s{r}_{v};"]
        else:
            lines += [f"if (tail == {WIDTH}) *(wide_loose *)({to}) = s{r}_{v};"]
            lines += [f"else memcpy({to}, &s{r}_{v}, tail * sizeof(T));"]
    return "\n".join(lines)
