/* Products of a lane's matrices: tiles of the result in registers, over DEPTH numbers of the inner axis. The type T and
   `multiply` are written before (gan_core/native/products.py). */

/* as `first_of`, in one register */
INLINE vec last_of(long count, const T *x) {
#ifdef SINGLE
    return first_of(count, x);
#else
    vec last = {0};
    memcpy(&last, x, count * sizeof(T));
    return last;
#endif
}

/* V or fewer rows of a, a pitch apart, times b, behind which are zeros up to whole vectors. Two vectors become one of sums
   of halves, of all rows in turn, until there is one number of each. */
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

/* As `product`, by panels of b, which all rows of a meet while a core's cache has them. more: added to what c is. */
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

/* [rows, inner] @ [inner, columns] -> c by rows. am, ak, bk, bn: the strides of a's and b's axes. packed: memory for b
   where it does not lie by near rows of whole vectors (`packed_numbers`). */
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
    if (columns == 1) { /* the vector as a row, times the matrix by its columns */
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
