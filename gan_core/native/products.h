/* Products of a lane's matrices: tiles of the result in registers, over DEPTH numbers of the inner axis. The type T and
   `multiply` are written before (gan_core/native/products.py). */

/* [rows, inner] @ [inner, columns] -> c by rows. am, ak, bk, bn: the strides of a's and b's axes. packed: memory for
   panels of b that do not lie by near rows of whole vectors: DEPTH rows, or inner, of 16 VECTORS. */
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
    for (long j = 0; j < columns; j += 16 * VECTORS)
        for (long k = 0; k < inner; k += DEPTH) { /* a panel of b, which all rows of a meet while a core's cache has it */
            const long width = columns - j < 16 * VECTORS ? columns - j : 16 * VECTORS, whole = (width + 15) / 16 * 16;
            const long depth = inner - k < DEPTH ? inner - k : DEPTH;
            const T *panel = b + k * bk + j * bn;
            const int turned = bn != 1 || width % 16 || (bk >= FAR_ROWS && rows >= 16);
            if (turned) pack(packed, whole, panel, bk, bn, depth, width);
            multiply(rows, width, depth, a + k * ak, am, ak, turned ? packed : panel, turned ? whole : bk, c + j, columns,
                     k > 0);
        }
}
