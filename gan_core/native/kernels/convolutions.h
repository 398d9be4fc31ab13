/* Convolutions of one lane's feature maps and their derivatives: matrix products that read the maps in place.

   The pixels of a large map are regrouped into stride * stride planes a channel, each of every stride-th pixel. In these
   planes a convolution has stride 1: each tap of the kernel is an offset, and the columns of a tile are neighbouring pixels.
   Several images lie side by side in a plane, so that few sums are wasted on the padding between them.

   PAIRED: how many factors share the space of a number and are multiplied together: 1, or 2 rounded to bfloat16
   (`rounding.h`). A pair holds neighbouring channels or, for the gradients of weights, images. */

/* A Map (gan_core/native/kernels/convolutions.py) holds the sizes of the maps and the numbers that follow from them:
     together           images that lie side by side in a plane
     apart              distance from one of them to the next
     lines              rows of a plane
     pitch, plane       distance from a plane's row to the next, and from a plane to the next
     vectors            vectors of WIDTH numbers from a plane's first pixel to its last
     origin, padded     in a plane of the small map surrounded by zeros: the place of its first pixel, and its size
     chunk              planes over which gradients of weights are summed in registers
     weights            count of the packed weights
     after_...          where the memory after planes, padded maps and chunks begins */

#define TAPS (LARGEST_KERNEL * LARGEST_KERNEL)

INLINE long less(long a, long b) { return a < b ? a : b; }

/* Short rows of pixels: copied, every second number read, and every second number written. */
INLINE void copy_row(T *to, const T *from, long count) {
    for (; count >= WIDTH; count -= WIDTH, to += WIDTH, from += WIDTH) *(wide_loose *)to = *(const wide_loose *)from;
    if (count > 0) put_first(count, to, first_of(count, from));
}
#if defined(SINGLE) && defined(__AVX512F__) && VECTOR_BYTES == 64
INLINE void take_second(T *to, const T *from, long count) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    for (; count > 0; count -= WIDTH, to += WIDTH, from += 2 * WIDTH) {
        const long read = 2 * less(count, WIDTH) - 1;
        const __m512 low = _mm512_maskz_loadu_ps(up_to(read), from);
        const __m512 high = read > WIDTH ? _mm512_maskz_loadu_ps(up_to(read - WIDTH), from + WIDTH) : low;
        _mm512_mask_storeu_ps(to, up_to(count), _mm512_permutex2var_ps(low, even, high));
    }
}
INLINE void put_second(T *to, const T *from, long count) {
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    for (; count > 0; count -= WIDTH / 2, to += WIDTH, from += WIDTH / 2) {
        const long n = less(count, WIDTH / 2);
        const __m512 read = _mm512_maskz_loadu_ps(up_to(n), from);
        _mm512_mask_storeu_ps(to, 0x5555 & up_to(2 * n), _mm512_permutexvar_ps(twice, read));
    }
}
#else
INLINE void take_second(T *to, const T *from, long count) {
    for (long j = 0; j < count; j++) to[j] = from[2 * j];
}
INLINE void put_second(T *to, const T *from, long count) {
    for (long j = 0; j < count; j++) to[2 * j] = from[j];
}
#endif

/* Copies every step-th number of a row; or makes a row of pairs with `other`, which may be 0. */
#if PAIRED == 2
static void put_row(T *to, const T *from, const T *other, long step, long count) {
    for (long j = 0; j < count; j += WIDTH) {
        const __m512 second = other ? some(other + j * step, step, count - j) : _mm512_setzero_ps();
        _mm512_mask_storeu_epi32(to + j, up_to(count - j), pairs_of(some(from + j * step, step, count - j), second));
    }
}
INLINE void put(T *to, T one, T other) { *(pair *)to = pair_of(one, other); }
#else
INLINE void put_row(T *to, const T *from, const T *other, long step, long count) {
    (void)other;
    if (step == 1)
        copy_row(to, from, count);
    else if (step == 2)
        take_second(to, from, count);
    else
        for (long j = 0; j < count; j++) to[j] = from[step * j];
}
INLINE void put(T *to, T one, T other) {
    (void)other;
    *to = one;
}
#endif

/* The partner of the numbers at `at`: in another image (by 1), or in the next channel (by 2), or none. */
INLINE const T *beside(const T *other, long by, long channel, long channels, long at) {
    return other && (by == 1 || channel + 1 < channels) ? other + at : 0;
}

/* Writes one image of the large map, paired with `other`, to its place in planes whose borders are already zero. by: the
   number of channels that share a plane. */
static void to_planes(const Map *m, const T *x, const T *other, long by, T *out) {
    const long s = m->stride, p = m->padding, area = m->height * m->width;
    for (long a = 0; a < s; a++)
        for (long b = 0; b < s; b++, out += m->plane) {
            const long top = (p - a + s - 1) / s, left = (p - b + s - 1) / s; /* the first pixel's place in the plane */
            const long i0 = top * s + a - p, j0 = left * s + b - p;           /* and in the image */
            const long lines = less((m->height - i0 + s - 1) / s, m->lines - top);
            const long across = less((m->width - j0 + s - 1) / s, m->apart - left);
            for (long c = 0; c < m->channels; c += by)
                for (long i = 0; i < lines; i++) {
                    const long at = c * area + (i0 + i * s) * m->width + j0;
                    T *to = out + c / by * s * s * m->plane + (top + i) * m->pitch + left;
                    put_row(to, x + at, beside(other, by, c, m->channels, at), s, across);
                }
        }
}

/* Writes one image of the small map likewise to its place in planes that are `each` numbers apart. */
static void to_rows(const Map *m, const T *y, const T *other, long by, T *out, long each) {
    for (long o = 0; o < m->filters; o += by)
        for (long i = 0; i < m->rows; i++) {
            const long at = (o * m->rows + i) * m->columns;
            put_row(out + o / by * each + i * m->pitch, y + at, beside(other, by, o, m->filters, at), 1, m->columns);
        }
}

/* The offsets of the kernel's taps in a channel's planes. */
static void place_taps(const Map *m, long *places) {
    const long s = m->stride;
    for (long i = 0; i < m->kernel; i++)
        for (long j = 0; j < m->kernel; j++)
            *places++ = (i % s * s + j % s) * m->plane + i / s * m->pitch + j / s;
}

/* Weights [rows, channels, taps] -> panels of PANEL rows, by columns, which is the order in which tiles read them. */
static void pack_panels(T *out, long rows, long channels, long taps, const T *w) {
    for (long i = 0; i < rows; i += PANEL)
        for (long c = 0; c < channels; c += PAIRED)
            for (long t = 0; t < taps; t++)
                for (long r = i; r < less(i + PANEL, rows); r++) {
                    const T *one = w + (r * channels + c) * taps + t;
                    put(out++, *one, c + 1 < channels ? one[taps] : 0);
                }
}

/* c [rows, WIDTH x vectors]: packed weights times the pixels at `places`, summed over groups of planes. */
static void multiply_pixels(long rows, long vectors, long groups, long taps, const long *places, const T *a, const T *b,
                            long group, T *c) {
    const long depth = groups * taps, width = WIDTH * vectors;
    for (long i = 0; i < rows; i += PANEL) {
        const long height = less(PANEL, rows - i), tiles = (vectors + WIDEST[height] - 1) / WIDEST[height];
        for (long t = 0; t < tiles; t++) { /* tiles of about equal width */
            const long from = t * vectors / tiles, across = (t + 1) * vectors / tiles - from;
            pixel_tile(height, across, groups, taps, places, a + i * depth, b + WIDTH * from, group, c + i * width + WIDTH * from,
                       width);
        }
    }
}

/* x [images, channels, height, width], w [filters, channels, kernel, kernel] -> y [images, filters, rows, columns] */
void convolve(const Map *m, const T *x, const T *w, T *y, T *memory) {
    const long taps = m->kernel * m->kernel, group = m->stride * m->stride * m->plane, width = WIDTH * m->vectors;
    long places[TAPS];
    T *weights = memory + m->after_planes, *sums = weights + m->weights;
    const long area = m->height * m->width, groups = (m->channels + PAIRED - 1) / PAIRED;
    place_taps(m, places);
    pack_panels(weights, m->filters, m->channels, taps, w);
    memset(memory, 0, m->after_planes * sizeof(T));
    for (long n = 0; n < m->images; n += m->together) {
        const long count = less(m->together, m->images - n);
        for (long g = 0; g < count; g++, x += m->channels * area) to_planes(m, x, x + area, PAIRED, memory + g * m->apart);
        multiply_pixels(m->filters, m->vectors, groups, taps, places, weights, memory, group, sums);
        for (long g = 0; g < count; g++)
            for (long o = 0; o < m->filters; o++)
                for (long i = 0; i < m->rows; i++, y += m->columns) {
                    copy_row(y, sums + o * width + i * m->pitch + g * m->apart, m->columns);
                }
    }
}

/* y, w -> x, the transpose of `convolve`: each phase of the large map, that is the pixels at equal places modulo the stride,
   is a convolution of the small map with the weights that reach it. */
void convolve_transposed(const Map *m, const T *y, const T *w, T *x, T *memory) {
    const long s = m->stride, k = m->kernel, area = m->height * m->width, small = m->rows * m->columns;
    const long groups = (m->filters + PAIRED - 1) / PAIRED, next = m->channels * k * k; /* from one filter's weights to the next */
    T *weights = memory + m->after_padded, *packed = weights, *sums = weights + m->weights;
    memset(memory, 0, m->after_padded * sizeof(T));
    for (long a = 0; a < s; a++)
        for (long b = 0; b < s; b++)
            for (long c = 0; c < m->channels; c += PANEL)
                for (long o = 0; o < m->filters; o += PAIRED)
                    for (long i = a; i < k; i += s)
                        for (long j = b; j < k; j += s)
                            for (long r = c; r < less(c + PANEL, m->channels); r++) {
                                const T *one = w + ((o * m->channels + r) * k + i) * k + j;
                                put(packed++, *one, o + 1 < m->filters ? one[next] : 0);
                            }
    for (long n = 0; n < m->images; n += m->together, x += m->together * m->channels * area) {
        const long count = less(m->together, m->images - n);
        for (long g = 0; g < count; g++, y += m->filters * small)
            to_rows(m, y, y + small, PAIRED, memory + m->origin + g * m->apart, m->padded);
        const T *weight = weights;
        for (long a = 0; a < s; a++)
            for (long b = 0; b < s; b++) {
                const long top = (m->padding - a + s - 1) / s, left = (m->padding - b + s - 1) / s;
                const long i0 = top * s + a - m->padding, j0 = left * s + b - m->padding; /* the phase's first pixel */
                const long lines = (m->height - i0 + s - 1) / s, across = (m->width - j0 + s - 1) / s;
                const long vectors = ((lines - 1) * m->pitch + (m->together - 1) * m->apart + across + WIDTH - 1) / WIDTH;
                long places[TAPS], taps = 0;
                for (long i = a; i < k; i += s)
                    for (long j = b; j < k; j += s)
                        places[taps++] = m->origin + (top - i / s) * m->pitch + left - j / s;
                multiply_pixels(m->channels, vectors, groups, taps, places, weight, memory, m->padded, sums);
                weight += m->channels * groups * taps;
                for (long g = 0; g < count; g++)
                    for (long c = 0; c < m->channels; c++)
                        for (long i = 0; i < lines; i++) {
                            T *to = x + (g * m->channels + c) * area + (i0 + i * s) * m->width + j0;
                            const T *from = sums + c * vectors * WIDTH + i * m->pitch + g * m->apart;
                            if (s == 2)
                                put_second(to, from, across);
                            else
                                for (long j = 0; j < across; j++) to[s * j] = from[j];
                        }
            }
    }
}

/* x, y -> w, the gradient of the weights: the products of both maps under each tap, summed over all images. */
void convolution_weight(const Map *m, const T *x, const T *y, T *w, T *memory) {
    const long taps = m->kernel * m->kernel, depth = m->channels * taps, group = m->stride * m->stride * m->plane;
    const long of_x = m->channels * group, width = WIDTH * m->vectors, of_y = m->filters * width;
    long places[TAPS];
    T *small = memory + m->after_chunk;
    place_taps(m, places);
    memset(memory, 0, (m->after_chunk + m->chunk * of_y) * sizeof(T));
    memset(w, 0, m->filters * depth * sizeof(T));
    const long large_image = m->channels * m->height * m->width, small_image = m->filters * m->rows * m->columns;
    for (long n = 0; n < m->images; n += PAIRED * m->chunk * m->together) {
        const long left = less(PAIRED * m->chunk * m->together, m->images - n), stacks = (left + PAIRED - 1) / PAIRED;
        const long count = (stacks + m->together - 1) / m->together;
        if (stacks % m->together) memset(small + (count - 1) * of_y, 0, of_y * sizeof(T)); /* of earlier images */
        for (long i = 0; i < stacks; i++, x += PAIRED * large_image, y += PAIRED * small_image) {
            const long at = i / m->together, across = i % m->together * m->apart;
            const int alone = PAIRED * i + 1 >= left;
            to_planes(m, x, alone ? 0 : x + large_image, 1, memory + at * of_x + across);
            to_rows(m, y, alone ? 0 : y + small_image, 1, small + at * of_y + across, width);
        }
        for (long o = 0; o < m->filters; o += WEIGHT_ROWS)
            for (long c = 0; c < m->channels; c++)
                for (long j = 0; j < taps; j += WEIGHT_TAPS) {
                    const long height = less(WEIGHT_ROWS, m->filters - o);
                    const long across = less(WEIGHT_TAPS, taps - j);
                    weight_tile(height, across, count, m->vectors, small + o * width, width, of_y, memory + c * group, of_x,
                                places + j, w + o * depth + c * taps + j, depth);
                }
    }
}
