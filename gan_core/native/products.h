/* Products of a lane's matrices: tiles of the result in registers, over the whole of the inner axis. The type T and
   `multiply` are written before (gan_core/native/products.py). */

/* b [k, n] with any strides -> out [k, width], zeros behind n */
INLINE void pack(T *out, int width, const T *b, long bk, long bn, int k, int n) {
    if (bn == 1) {
        for (int i = 0; i < k; i++) {
            for (int j = 0; j < n; j++) out[i * width + j] = b[i * bk + j];
            for (int j = n; j < width; j++) out[i * width + j] = 0;
        }
        return;
    }
    int rows = bk == 1 ? k / V * V : 0, columns = bk == 1 ? n / V * V : 0;
    for (int i = 0; i < rows; i += V)
        for (int j = 0; j < columns; j += V) { /* a block of V by V: rows i and i + V/2 are shuffled together, log V times */
            vec from[V], to[V];
            for (int r = 0; r < V; r++) from[r] = *(const loose *)(b + (j + r) * bn + i);
            for (int stage = 1; stage < V; stage *= 2) {
#pragma GCC unroll 8
                for (int r = 0; r < V / 2; r++) {
                    to[2 * r] = __builtin_shuffle(from[r], from[r + V / 2], LOWER);
                    to[2 * r + 1] = __builtin_shuffle(from[r], from[r + V / 2], UPPER);
                }
                memcpy(from, to, sizeof from);
            }
            for (int r = 0; r < V; r++) *(loose *)(out + (i + r) * width + j) = from[r];
        }
    for (int i = 0; i < k; i++)
        for (int j = i < rows ? columns : 0; j < width; j++) out[i * width + j] = j < n ? b[i * bk + j * bn] : 0;
}

/* so many numbers, and zeros behind */
#if defined(SINGLE) && defined(__AVX512F__)
INLINE vec first_of(long count, const T *x) { return (vec)_mm512_maskz_loadu_ps(up_to(count), x); }
#else
INLINE vec first_of(long count, const T *x) {
    vec first = {0};
    memcpy(&first, x, count * sizeof(T));
    return first;
}
#endif

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
            sums[r] += first_of(inner - whole, a + r * pitch + whole) * *(const loose *)(b + whole);
#pragma GCC unroll 4
    for (long half = V / 2; half; half /= 2)
#pragma GCC unroll 8
        for (long r = 0; r < half; r++)
            sums[r] = __builtin_shuffle(sums[r], sums[r + half], LOWER) + __builtin_shuffle(sums[r], sums[r + half], UPPER);
    return sums[0];
}

/* [rows, inner] @ [inner, columns] -> c by rows. am, ak, bk, bn: the strides of a's and b's axes. packed: memory for b, where
   it does not lie by rows of whole vectors (`packed_numbers`). */
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
    if (bn != 1 || columns % 16) {
        const long width = (columns + 15) / 16 * 16;
        pack(packed, width, b, bk, bn, inner, columns);
        b = packed;
        bk = width;
    }
    multiply(rows, columns, inner, a, am, ak, b, bk, c);
}
