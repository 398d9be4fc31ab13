/* Matrix products of one lane: tiles of the result are kept in registers over DEPTH numbers of the inner axis. The type T
   and `multiply` are defined before this text (gan_core/native/kernels/products.py). */

/* as `first_of`, for a single register */
INLINE vec last_of(long count, const T *x) {
#ifdef SINGLE
    return first_of(count, x);
#else
    vec last = {0};
    memcpy(&last, x, count * sizeof(T));
    return last;
#endif
}

/* At most V rows of a, a pitch apart, times the vector b, which zeros extend to whole vectors. The sums of two rows are
   folded into one vector of half sums, repeatedly, until one number of each row is left. */
INLINE vec sums_of_rows(long rows, long inner, const T *a, long pitch, const T *b) {
    const long whole = inner / V * V;
    vec sums[V] = {0};
    for (long k = 0; k < whole; k += V)
#pragma GCC unroll 16
        for (long r = 0; r < rows; r++) sums[r] += *(const loose *)(a + r * pitch + k) * *(const loose *)(b + k);
    if (whole < inner)
#pragma GCC unroll 16
        for (long r = 0; r < rows; r++)
            sums[r] += last_of(inner - whole, a + r * pitch + whole) * *(const loose *)(b + whole);
#pragma GCC unroll 4
    for (long half = V / 2; half; half /= 2)
#pragma GCC unroll 8
        for (long r = 0; r < half; r++)
            sums[r] = SHUFFLE(vec, sums[r], sums[r + half], LOWER) + SHUFFLE(vec, sums[r], sums[r + half], UPPER);
    return sums[0];
}

/* As `product`, by panels of b that stay in a core's cache while all rows of a pass over them. more: added to c. */
void product_onto(long rows, long columns, long inner, const T *a, long am, long ak, const T *b, long bk, long bn, T *c,
                  T *packed, int more) {
    for (long j = 0, width; j < columns; j += width) {
        width = next_columns(columns - j);
        for (long k = 0; k < inner; k += DEPTH) {
            const long whole = (width + WIDTH - 1) / WIDTH * WIDTH;
            const long depth = inner - k < DEPTH ? inner - k : DEPTH;
            const T *panel = b + k * bk + j * bn;
            const int turned = bn != 1 || width % WIDTH || (bk >= FAR_ROWS && rows >= TURNED_ROWS);
            if (turned) pack(packed, whole, panel, bk, bn, depth, width);
            multiply(rows, width, depth, a + k * ak, am, ak, turned ? packed : panel, turned ? whole : bk, c + j, columns,
                     more || k > 0);
        }
    }
}

/* c = a @ b, [rows, inner] @ [inner, columns], by rows. am, ak, bk, bn: the strides of the axes of a and b. packed: memory
   for a copy of b where its rows are not whole vectors close together (`packed_numbers`). */
void product(long rows, long columns, long inner, const T *a, long am, long ak, const T *b, long bk, long bn, T *c,
             T *packed) {
    if (columns == 1 && ak == 1) {
        if (bk != 1 || inner % V) {
            pack(packed, (inner + V - 1) / V * V, b, 1, bk, 1, inner);
            b = packed;
        }
        for (long i = 0; i < rows; i += V, a += V * am)
            if (rows - i < V) {
                const vec last = sums_of_rows(rows - i, inner, a, am, b);
                memcpy(c + i, &last, (rows - i) * sizeof(T));
            } else {
                *(loose *)(c + i) = sums_of_rows(V, inner, a, am, b);
            }
        return;
    }
    if (columns == 1) { /* the vector as a row, times the transposed matrix */
        product(1, rows, inner, b, 0, bk, a, ak, am, c, packed);
        return;
    }
    if (inner == 1 && bn == 1 && columns % V == 0) {
        for (long i = 0; i < rows; i++, c += columns)
            for (long j = 0; j < columns; j += V) *(loose *)(c + j) = a[i * am] * *(const loose *)(b + j);
        return;
    }
    product_onto(rows, columns, inner, a, am, ak, b, bk, bn, c, packed, 0);
}
