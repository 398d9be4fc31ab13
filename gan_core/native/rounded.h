/* Products of factors that are rounded to bfloat16, summed in float32: two multiply-adds an instruction and a number. What
   `products.h` has stands before; the tiles are written behind (gan_core/native/products.py).

   A pair: two factors that follow each other along the inner axis, the first in the lower half. */

#include <immintrin.h>

typedef unsigned pair;
typedef unsigned pairs __attribute__((vector_size(64)));
typedef unsigned loose_pairs __attribute__((vector_size(64), aligned(4), may_alias));

static void rounded_tile(long rows, long vectors, long inner, const pair *a, long am, long ak, const pair *b, long bk, T *c,
                         long cm, long tail);

enum { SMALL = 4096 }; /* up to so many multiply-adds nothing is rounded: SMALL_PRODUCTS of gan_core/lanes.py */

/* up to sixteen numbers of x, zeros behind */
INLINE __m512 some(const float *x, long step, long count) {
    if (count <= 0) return _mm512_setzero_ps();
    if (step == 1) return _mm512_maskz_loadu_ps(count < 16 ? (1u << count) - 1 : 0xffff, x);
    float gathered[16] = {0};
    for (long i = 0; i < count && i < 16; i++) gathered[i] = x[i * step];
    return _mm512_loadu_ps(gathered);
}

INLINE void keep(pair *out, pairs x, long count) {
    _mm512_mask_storeu_epi32(out, count < 16 ? (1u << count) - 1 : 0xffff, (__m512i)x);
}

/* sixteen pairs of thirty-two numbers in a row */
INLINE pairs along(const float *x, long step, long count) {
    return (pairs)_mm512_cvtne2ps_pbh(some(x + 16 * step, step, count - 16), some(x, step, count));
}

/* x [inner, numbers], each row in one piece -> out [inner / 2, width] */
static void pair_rows(pair *out, long width, const float *x, long down, long inner, long numbers) {
    static const short TURNS[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                    8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i turns = _mm512_loadu_si512(TURNS);
    for (long k = 0; k < inner; k += 2, x += 2 * down, out += width)
        for (long j = 0; j < numbers; j += 16) {
            const __m512 upper = k + 1 < inner ? some(x + down + j, 1, numbers - j) : _mm512_setzero_ps();
            const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(upper, some(x + j, 1, numbers - j));
            _mm512_storeu_si512(out + j, _mm512_permutexvar_epi16(turns, both));
        }
}

/* x [numbers, inner] with any strides -> out [numbers, width] */
static void pair_columns(pair *out, long width, const float *x, long down, long across, long inner, long numbers) {
    for (long i = 0; i < numbers; i++, x += down, out += width)
        for (long k = 0; k < inner; k += 32)
            keep(out + k / 2, along(x + k * across, across, inner - k), (inner - k + 1) / 2);
}

/* x [numbers, inner] with any strides -> out [inner / 2, width], zeros behind the numbers */
static void pair_turned(pair *out, long width, const float *x, long down, long across, long inner, long numbers) {
    for (long i = 0; i < numbers; i += 16)
        for (long k = 0; k < inner; k += 32) { /* rows r and r + 8 are shuffled together, four times */
            pairs from[16], to[16];
            for (long r = 0; r < 16; r++) {
                const float *row = x + (i + r) * down + k * across;
                from[r] = i + r < numbers ? along(row, across, inner - k) : (pairs){0};
            }
            for (int stage = 1; stage < 16; stage *= 2) {
#pragma GCC unroll 8
                for (int r = 0; r < 8; r++) {
                    to[2 * r] = __builtin_shuffle(from[r], from[r + 8], LOWER);
                    to[2 * r + 1] = __builtin_shuffle(from[r], from[r + 8], UPPER);
                }
                memcpy(from, to, sizeof from);
            }
            const long left = (inner - k + 1) / 2;
            for (long r = 0; r < 16 && r < left; r++) *(loose_pairs *)(out + (k / 2 + r) * width + i) = from[r];
        }
}

/* As `product`, of rounded factors; but what is small, and what a vector takes part in, is not rounded. */
void rounded_product(long rows, long columns, long inner, const T *a, long am, long ak, const T *b, long bk, long bn, T *c,
                     T *packed) {
    if (rows == 1 || columns == 1 || rows * columns * inner <= SMALL) {
        product(rows, columns, inner, a, am, ak, b, bk, bn, c, packed);
        return;
    }
    const long deep = (inner + 1) / 2, wide = (columns + 15) / 16 * 16, high = (rows + 15) / 16 * 16;
    pair *first = (pair *)packed, *second = first + deep * high;
    long down = deep, across = 1;
    if (am == 1 && ak != 1) {
        pair_rows(first, high, a, ak, inner, rows);
        down = 1;
        across = high;
    } else {
        pair_columns(first, deep, a, am, ak, inner, rows);
    }
    if (bn == 1) pair_rows(second, wide, b, bk, inner, columns);
    else pair_turned(second, wide, b, bn, bk, inner, columns);
    for (long j = 0; j < columns; j += 16 * VECTORS) {
        const long left = columns - j, vectors = left < 16 * VECTORS ? (left + 15) / 16 : VECTORS;
        const long tail = left < 16 * VECTORS ? left - 16 * (vectors - 1) : 16;
        for (long i = 0; i < rows; i += TALLEST[vectors]) {
            const long height = rows - i < TALLEST[vectors] ? rows - i : TALLEST[vectors];
            rounded_tile(height, vectors, deep, first + i * down, down, across, second + j, wide, c + i * columns + j, columns,
                         tail);
        }
    }
}
