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

/* [rows, inner] @ [inner, columns] -> c by rows. am, ak, bk, bn: the strides of a's and b's axes. packed: memory for b, where
   it does not lie by rows of whole vectors: inner times columns, rounded up to 16. */
void product(long rows, long columns, long inner, const T *a, long am, long ak, const T *b, long bk, long bn, T *c,
             T *packed) {
    if (columns == 1 && ak == 1 && bk == 1) {
        for (long i = 0; i < rows; i++) {
            T total = 0;
#pragma omp simd reduction(+ : total)
            for (long k = 0; k < inner; k++) total += a[i * am + k] * b[k];
            c[i] = total;
        }
        return;
    }
    if (columns == 1 && ak == 1) {
        for (long i = 0; i < rows; i++) {
            T total = 0;
#pragma omp simd reduction(+ : total)
            for (long k = 0; k < inner; k++) total += a[i * am + k] * b[k * bk];
            c[i] = total;
        }
        return;
    }
    if (columns == 1) { /* the vector as a row, times the matrix by its columns */
        product(1, rows, inner, b, 0, bk, a, ak, am, c, packed);
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
