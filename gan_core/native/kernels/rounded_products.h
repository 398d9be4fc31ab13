/* Products of factors rounded to bfloat16, summed in float32. A pair holds two neighbours along the inner axis. Defined
   before this text: `rounding.h` and the tiles, `tile(rows, vectors, ...)`. */

/* x [inner, numbers], with contiguous rows -> out [inner / 2, width] */
static void pair_rows(T *out, long width, const T *x, long down, long inner, long numbers) {
    for (long k = 0; k < inner; k += 2, x += 2 * down, out += width)
        for (long j = 0; j < numbers; j += WIDTH) {
            const __m512 other = k + 1 < inner ? some(x + down + j, 1, numbers - j) : _mm512_setzero_ps();
            _mm512_storeu_si512(out + j, pairs_of(some(x + j, 1, numbers - j), other));
        }
}

/* WIDTH pairs from up to twice as many numbers of a row */
INLINE pairs in_a_row(const T *x, long step, long count) {
    return (pairs)_mm512_cvtne2ps_pbh(some(x + WIDTH * step, step, count - WIDTH), some(x, step, count));
}

/* x [numbers, inner] with any strides -> out [numbers, width] */
static void pair_columns(T *out, long width, const T *x, long down, long across, long inner, long numbers) {
    for (long i = 0; i < numbers; i++, x += down, out += width)
        for (long k = 0; k < inner; k += 2 * WIDTH) {
            const __m512i made = (__m512i)in_a_row(x + k * across, across, inner - k);
            _mm512_mask_storeu_epi32(out + k / 2, up_to((inner - k + 1) / 2), made);
        }
}

/* x [numbers, inner] with any strides -> out [inner / 2, width], with zeros after the numbers */
static void pair_turned(T *out, long width, const T *x, long down, long across, long inner, long numbers) {
    for (long i = 0; i < numbers; i += WIDTH)
        for (long k = 0; k < inner; k += 2 * WIDTH) { /* rows r and r + WIDTH / 2 are interleaved, log2(WIDTH) times */
            pairs from[WIDTH], to[WIDTH];
            for (long r = 0; r < WIDTH; r++) {
                const T *row = x + (i + r) * down + k * across;
                from[r] = i + r < numbers ? in_a_row(row, across, inner - k) : (pairs){0};
            }
            for (int stage = 1; stage < WIDTH; stage *= 2) {
#pragma GCC unroll 8
                for (int r = 0; r < WIDTH / 2; r++) {
                    to[2 * r] = SHUFFLE(pairs, from[r], from[r + WIDTH / 2], LOWER);
                    to[2 * r + 1] = SHUFFLE(pairs, from[r], from[r + WIDTH / 2], UPPER);
                }
                memcpy(from, to, sizeof from);
            }
            const long left = (inner - k + 1) / 2;
            for (long r = 0; r < WIDTH && r < left; r++)
                _mm512_storeu_si512(out + (k / 2 + r) * width + i, (__m512i)from[r]);
        }
}

/* As `product` (products.h). packed: memory for a and b, of inner / 2, rounded up, times rows and columns, each rounded up
   to whole vectors. */
void rounded_product(long rows, long columns, long inner, const T *a, long am, long ak, const T *b, long bk, long bn, T *c,
                     T *packed) {
    const long deep = (inner + 1) / 2, wide = (columns + WIDTH - 1) / WIDTH * WIDTH, high = (rows + WIDTH - 1) / WIDTH * WIDTH;
    const int by_columns = am == 1 && ak != 1;
    T *second = packed + deep * high;
    if (by_columns)
        pair_rows(packed, high, a, ak, inner, rows);
    else
        pair_columns(packed, deep, a, am, ak, inner, rows);
    if (bn == 1)
        pair_rows(second, wide, b, bk, inner, columns);
    else
        pair_turned(second, wide, b, bn, bk, inner, columns);
    multiply(rows, columns, deep, packed, by_columns ? 1 : deep, by_columns ? high : 1, second, wide, c, columns, 0);
}
