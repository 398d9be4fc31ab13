/* Matrices transposed, or read with any strides. */

/* b [k, n] with any strides -> out [k, width], with zeros after the n-th column */
INLINE void pack(T *out, int width, const T *b, long bk, long bn, int k, int n) {
    if (bn == 1) {
        for (int i = 0; i < k; i++) {
            for (int j = 0; j < n; j++) out[i * width + j] = b[i * bk + j];
            for (int j = n; j < width; j++) out[i * width + j] = 0;
        }
        return;
    }
    int rows = bk == 1 ? k / V * V : 0, columns = bk == 1 ? n / V * V : 0;
    const int down = k > n; /* along the longer axis, since the processor prefetches only a few rows at a time */
    for (int far = 0; far < (down ? columns : rows); far += V)
        for (int near = 0; near < (down ? rows : columns); near += V) {
            /* a block of V by V: rows i and i + V/2 are interleaved, log2(V) times */
            const int i = down ? near : far, j = down ? far : near;
            vec from[V], to[V];
            for (int r = 0; r < V; r++) from[r] = *(const loose *)(b + (j + r) * bn + i);
            for (int stage = 1; stage < V; stage *= 2) {
#pragma GCC unroll 8
                for (int r = 0; r < V / 2; r++) {
                    to[2 * r] = SHUFFLE(vec, from[r], from[r + V / 2], LOWER);
                    to[2 * r + 1] = SHUFFLE(vec, from[r], from[r + V / 2], UPPER);
                }
                memcpy(from, to, sizeof from);
            }
            for (int r = 0; r < V; r++) *(loose *)(out + (i + r) * width + j) = from[r];
        }
    for (int i = 0; i < k; i++)
        for (int j = i < rows ? columns : 0; j < width; j++) out[i * width + j] = j < n ? b[i * bk + j * bn] : 0;
}
