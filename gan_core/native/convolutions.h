/* Convolutions of a lane's maps, and their derivatives: products that read a map where it lies.

   Of a large map every stride-th pixel is put together, stride * stride planes a channel. There a convolution has stride 1:
   a tap of the kernel is a place further on, and the columns of a tile are pixels that follow each other. Some images
   lie side by side in a plane, so that few sums are made for the zeros of the padding between them, which nobody reads. */

/* A Map (gan_core/native/convolutions.py): the maps' sizes, and what follows from them:
     together           images that lie side by side
     apart              numbers from one of them to the next
     lines              rows of a plane
     pitch, plane       numbers from a plane's row to the next, and of a plane
     vectors            of sixteen numbers, from a plane's first pixel to its last
     origin, padded     of a plane of the small map with zeros around: where its first pixel is, how many numbers it has
     chunk              planes whose weights' gradients are summed in registers
     weights            numbers of them, packed
     after_...          what is behind planes, padded maps and chunks in the memory that is given */

#define TAPS (LARGEST_KERNEL * LARGEST_KERNEL)

INLINE long less(long a, long b) { return a < b ? a : b; }

/* Rows of few pixels: as they are, every second one read, every second one written. */
#if defined(SINGLE) && defined(__AVX512F__)
#include <immintrin.h>
INLINE __mmask16 first(long count) { return count < 16 ? (1u << count) - 1 : 0xffff; }
INLINE void copy_row(T *to, const T *from, long count) {
    for (; count > 0; count -= 16, to += 16, from += 16)
        _mm512_mask_storeu_ps(to, first(count), _mm512_maskz_loadu_ps(first(count), from));
}
INLINE void take_second(T *to, const T *from, long count) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    for (; count > 0; count -= 16, to += 16, from += 32) {
        const long read = 2 * less(count, 16) - 1;
        const __m512 low = _mm512_maskz_loadu_ps(first(read), from);
        const __m512 high = read > 16 ? _mm512_maskz_loadu_ps(first(read - 16), from + 16) : low;
        _mm512_mask_storeu_ps(to, first(count), _mm512_permutex2var_ps(low, even, high));
    }
}
INLINE void put_second(T *to, const T *from, long count) {
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    for (; count > 0; count -= 8, to += 16, from += 8) {
        const long n = less(count, 8);
        const __m512 read = _mm512_maskz_loadu_ps(first(n), from);
        _mm512_mask_storeu_ps(to, 0x5555 & first(2 * n), _mm512_permutexvar_ps(twice, read));
    }
}
#else
INLINE void copy_row(T *to, const T *from, long count) {
    for (long j = 0; j < count; j++) to[j] = from[j];
}
INLINE void take_second(T *to, const T *from, long count) {
    for (long j = 0; j < count; j++) to[j] = from[2 * j];
}
INLINE void put_second(T *to, const T *from, long count) {
    for (long j = 0; j < count; j++) to[2 * j] = from[j];
}
#endif

/* One image of the large map -> its place in planes, whose borders are zeros already. */
static void to_planes(const Map *m, const T *x, T *out) {
    const long s = m->stride, p = m->padding, area = m->height * m->width;
    for (long a = 0; a < s; a++)
        for (long b = 0; b < s; b++, out += m->plane) {
            const long top = (p - a + s - 1) / s, left = (p - b + s - 1) / s; /* in the plane, of its first pixel */
            const long i0 = top * s + a - p, j0 = left * s + b - p;           /* and in the image */
            const long lines = less((m->height - i0 + s - 1) / s, m->lines - top);
            const long across = less((m->width - j0 + s - 1) / s, m->apart - left);
            for (long c = 0; c < m->channels; c++)
                for (long i = 0; i < lines; i++) {
                    const T *from = x + c * area + (i0 + i * s) * m->width + j0;
                    T *to = out + c * s * s * m->plane + (top + i) * m->pitch + left;
                    if (s == 2)
                        take_second(to, from, across);
                    else
                        for (long j = 0; j < across; j++) to[j] = from[s * j];
                }
        }
}

/* One image of the small map -> its place in planes, a channel `each` numbers from the next. */
static void to_rows(const Map *m, const T *y, T *out, long each) {
    for (long o = 0; o < m->filters; o++)
        for (long i = 0; i < m->rows; i++, y += m->columns)
            copy_row(out + o * each + i * m->pitch, y, m->columns);
}

/* Where in a channel's planes the taps of the kernel lie. */
static void place_taps(const Map *m, long *places) {
    const long s = m->stride;
    for (long i = 0; i < m->kernel; i++)
        for (long j = 0; j < m->kernel; j++)
            *places++ = (i % s * s + j % s) * m->plane + i / s * m->pitch + j / s;
}

/* Weights [rows, depth] with these strides -> panels of PANEL rows, by columns: in the order in which tiles read them. */
static T *pack_panels(T *out, long rows, long depth, const T *w, long down, long across) {
    for (long i = 0; i < rows; i += PANEL)
        for (long k = 0; k < depth; k++)
            for (long r = i; r < less(i + PANEL, rows); r++) *out++ = w[r * down + k * across];
    return out;
}

/* rows of packed weights times the pixels under `places`, in each of so many groups of planes -> c [rows, 16 vectors] */
static void multiply_pixels(long rows, long vectors, long groups, long taps, const long *places, const T *a, const T *b,
                            long group, T *c) {
    const long depth = groups * taps, width = 16 * vectors;
    for (long i = 0; i < rows; i += PANEL) {
        const long height = less(PANEL, rows - i), tiles = (vectors + WIDEST[height] - 1) / WIDEST[height];
        for (long t = 0; t < tiles; t++) { /* tiles of about one width */
            const long from = t * vectors / tiles, across = (t + 1) * vectors / tiles - from;
            pixel_tile(height, across, groups, taps, places, a + i * depth, b + 16 * from, group, c + i * width + 16 * from,
                       width);
        }
    }
}

/* x [images, channels, height, width], w [filters, channels, kernel, kernel] -> y [images, filters, rows, columns] */
void convolve(const Map *m, const T *x, const T *w, T *y, T *memory) {
    const long taps = m->kernel * m->kernel, group = m->stride * m->stride * m->plane, width = 16 * m->vectors;
    long places[TAPS];
    T *weights = memory + m->after_planes, *sums = weights + m->weights;
    place_taps(m, places);
    pack_panels(weights, m->filters, m->channels * taps, w, m->channels * taps, 1);
    memset(memory, 0, m->after_planes * sizeof(T));
    for (long n = 0; n < m->images; n += m->together) {
        const long count = less(m->together, m->images - n);
        for (long g = 0; g < count; g++, x += m->channels * m->height * m->width) to_planes(m, x, memory + g * m->apart);
        multiply_pixels(m->filters, m->vectors, m->channels, taps, places, weights, memory, group, sums);
        for (long g = 0; g < count; g++)
            for (long o = 0; o < m->filters; o++)
                for (long i = 0; i < m->rows; i++, y += m->columns) {
                    copy_row(y, sums + o * width + i * m->pitch + g * m->apart, m->columns);
                }
    }
}

/* y, w -> x, its transpose: each phase of the large map, the pixels whose places are equal modulo the stride, is a
   convolution of the small map with the weights that reach it. */
void convolve_transposed(const Map *m, const T *y, const T *w, T *x, T *memory) {
    const long s = m->stride, k = m->kernel, area = m->height * m->width;
    T *weights = memory + m->after_padded, *packed = weights, *sums = weights + m->weights;
    memset(memory, 0, m->after_padded * sizeof(T));
    for (long a = 0; a < s; a++)
        for (long b = 0; b < s; b++)
            for (long c = 0; c < m->channels; c += PANEL)
                for (long o = 0; o < m->filters; o++)
                    for (long i = a; i < k; i += s)
                        for (long j = b; j < k; j += s)
                            for (long r = c; r < less(c + PANEL, m->channels); r++)
                                *packed++ = w[((o * m->channels + r) * k + i) * k + j];
    for (long n = 0; n < m->images; n += m->together, x += m->together * m->channels * area) {
        const long count = less(m->together, m->images - n);
        for (long g = 0; g < count; g++, y += m->filters * m->rows * m->columns)
            to_rows(m, y, memory + m->origin + g * m->apart, m->padded);
        const T *weight = weights;
        for (long a = 0; a < s; a++)
            for (long b = 0; b < s; b++) {
                const long top = (m->padding - a + s - 1) / s, left = (m->padding - b + s - 1) / s;
                const long i0 = top * s + a - m->padding, j0 = left * s + b - m->padding; /* the phase's first pixel */
                const long lines = (m->height - i0 + s - 1) / s, across = (m->width - j0 + s - 1) / s;
                const long vectors = ((lines - 1) * m->pitch + (m->together - 1) * m->apart + across + 15) / 16;
                long places[TAPS], taps = 0;
                for (long i = a; i < k; i += s)
                    for (long j = b; j < k; j += s)
                        places[taps++] = m->origin + (top - i / s) * m->pitch + left - j / s;
                multiply_pixels(m->channels, vectors, m->filters, taps, places, weight, memory, m->padded, sums);
                weight += m->channels * m->filters * taps;
                for (long g = 0; g < count; g++)
                    for (long c = 0; c < m->channels; c++)
                        for (long i = 0; i < lines; i++) {
                            T *to = x + (g * m->channels + c) * area + (i0 + i * s) * m->width + j0;
                            const T *from = sums + c * vectors * 16 + i * m->pitch + g * m->apart;
                            if (s == 2)
                                put_second(to, from, across);
                            else
                                for (long j = 0; j < across; j++) to[s * j] = from[j];
                        }
            }
    }
}

/* x, y -> w: what the two maps have in common under each tap, over all images. */
void convolution_weight(const Map *m, const T *x, const T *y, T *w, T *memory) {
    const long taps = m->kernel * m->kernel, depth = m->channels * taps, group = m->stride * m->stride * m->plane;
    const long of_x = m->channels * group, width = 16 * m->vectors, of_y = m->filters * width;
    long places[TAPS];
    T *small = memory + m->after_chunk;
    place_taps(m, places);
    memset(memory, 0, (m->after_chunk + m->chunk * of_y) * sizeof(T));
    memset(w, 0, m->filters * depth * sizeof(T));
    for (long n = 0; n < m->images; n += m->chunk * m->together) {
        const long left = less(m->chunk * m->together, m->images - n), count = (left + m->together - 1) / m->together;
        if (left % m->together) memset(small + (count - 1) * of_y, 0, of_y * sizeof(T)); /* images of before */
        for (long i = 0; i < left; i++, x += m->channels * m->height * m->width, y += m->filters * m->rows * m->columns) {
            const long at = i / m->together, beside = i % m->together * m->apart;
            to_planes(m, x, memory + at * of_x + beside);
            to_rows(m, y, small + at * of_y + beside, width);
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
