/* Convolutions by minimal filtering (Winograd 1980), for two-dimensional maps as in Lavin & Gray 2016.

   A kernel of twice the stride has 2 x 2 taps in each plane of every stride-th pixel of the large map. For TILE x TILE
   pixels of the small map, POINTS x POINTS products are enough, where direct sums take 4 TILE x TILE: large = B^T x B,
   kernel = G w G^T, small = A^T (large * kernel) A, with the matrices of `winograd.py`. Products are summed over channels
   before A is applied, by one matrix product for each point. The convolution is linear in both factors, so the two other
   functions of `convolutions.h` are its transposes: exact derivatives, with the same points.

   Here maps are stored pixel by pixel, with channels in vectors; after the last pixel there is one that stands for all
   pixels outside. `from_large` and similar functions, and KERNEL, which is G, are defined before this text; the functions
   take POINTS x POINTS or TILE x TILE vectors from `places` to `others`. Transformed kernels are many more numbers than
   kernels: where a near cache would not hold them (`weights_kept` is not set), they are computed point by point. */

#define SQUARE (POINTS * POINTS)

typedef void Product(long, long, long, const T *, long, long, const T *, long, long, T *, T *, int);
Product *product_onto; /* of products.h */

/* From maps stored channel by channel to maps stored pixel by pixel; below, the way back. */
static void by_pixels(T *out, long width, const T *maps, long area, long channels) {
    pack(out, width, maps, 1, area, area, channels);
    memset(out + area * width, 0, width * sizeof(T));
}

static void by_channels(T *maps, const T *in, long width, long area, long channels) {
    pack(maps, area, in, 1, width, channels, area);
}

/* The distance of each point from the first. */
static void place_points(long pitch, long *places) {
    for (long i = 0; i < SQUARE; i++) places[i] = i * pitch;
}

/* The places of a tile's pixels in phase (a, b) of the large map; below, in the small map. */
static void place_large(const Map *m, long down, long across, long a, long b, long *places) {
    for (long i = 0; i < POINTS; i++)
        for (long j = 0; j < POINTS; j++) {
            const long y = (down * TILE + i) * m->stride + a - m->padding;
            const long x = (across * TILE + j) * m->stride + b - m->padding;
            const int inside = y >= 0 && y < m->height && x >= 0 && x < m->width;
            *places++ = (inside ? y * m->width + x : m->height * m->width) * m->wide_channels;
        }
}
static void place_small(const Map *m, long down, long across, long *places) {
    for (long y = down * TILE; y < (down + 1) * TILE; y++)
        for (long x = across * TILE; x < (across + 1) * TILE; x++)
            *places++ = (y < m->rows && x < m->columns ? y * m->columns + x : m->rows * m->columns) * m->wide_filters;
}

/* A kernel at a point: a weighted sum of some of its 2 x 2 taps in a phase. */
typedef struct {
    long count, tap[4];
    T by[4];
} Sum;
static Sum at_point(long p) {
    Sum sum = {0};
    for (long k = 0; k < 4; k++) {
        const T by = KERNEL[p / POINTS][k / 2] * KERNEL[p % POINTS][k % 2];
        if (by != 0) {
            sum.tap[sum.count] = k;
            sum.by[sum.count++] = by;
        }
    }
    return sum;
}

/* The places of the taps of phase (a, b) in a kernel whose taps are a pitch apart. */
INLINE void place_taps(const Map *m, long a, long b, long pitch, long *places) {
    for (long u = 0; u < 2; u++)
        for (long v = 0; v < 2; v++) *places++ = ((u * m->stride + a) * m->kernel + v * m->stride + b) * pitch;
}

/* Kernels at a point, for `numbers` channels or filters. `add_to_taps` is the transpose. */
#define TAP(k) (sum->by[k] * *(const wide_loose *)(taps + places[sum->tap[k]] + v))
INLINE void from_taps(const Sum *sum, const T *taps, const long *places, T *out, long numbers) {
    if (sum->count == 1)
        for (long v = 0; v < numbers; v += WIDTH) *(wide_loose *)(out + v) = TAP(0);
    else if (sum->count == 2)
        for (long v = 0; v < numbers; v += WIDTH) *(wide_loose *)(out + v) = TAP(0) + TAP(1);
    else
        for (long v = 0; v < numbers; v += WIDTH) *(wide_loose *)(out + v) = TAP(0) + TAP(1) + TAP(2) + TAP(3);
}
INLINE void add_to_taps(const Sum *sum, T *taps, const long *places, const T *in, long numbers) {
    for (long k = 0; k < sum->count; k++)
        for (long v = 0; v < numbers; v += WIDTH)
            *(wide_loose *)(taps + places[sum->tap[k]] + v) += sum->by[k] * *(const wide_loose *)(in + v);
}

/* Transforms images tile by tile between pixels of the large map and its points [points, images x tiles, phases x
   channels]; below, between pixels of the small map and its points [points, images x tiles, filters]. back: in the
   direction of the derivative. */
INLINE void over_large(const Map *m, long images, T *pixels, T *points, int back) {
    const long s = m->stride, tiles = m->tiles_down * m->tiles_across, of_image = (m->height * m->width + 1) * m->wide_channels;
    long at[SQUARE], places[SQUARE];
    place_points(m->at_once * tiles * m->depth, at);
    for (long t = 0; t < tiles; t++)
        for (long phase = 0; phase < s * s; phase++) {
            place_large(m, t / m->tiles_across, t % m->tiles_across, phase / s, phase % s, places);
            for (long n = 0; n < images; n++) {
                T *of_tile = points + (n * tiles + t) * m->depth + phase * m->wide_channels;
                if (back)
                    add_to_large(of_tile, at, pixels + n * of_image, places, m->wide_channels);
                else
                    from_large(pixels + n * of_image, places, of_tile, at, m->wide_channels);
            }
        }
}
INLINE void over_small(const Map *m, long images, T *pixels, T *points, int back) {
    const long tiles = m->tiles_down * m->tiles_across, of_image = (m->rows * m->columns + 1) * m->wide_filters;
    long at[SQUARE], places[TILE * TILE];
    place_points(m->at_once * tiles * m->wide_filters, at);
    for (long t = 0; t < tiles; t++) {
        place_small(m, t / m->tiles_across, t % m->tiles_across, places);
        for (long n = 0; n < images; n++) {
            T *of_tile = points + (n * tiles + t) * m->wide_filters;
            if (back)
                from_small(pixels + n * of_image, places, of_tile, at, m->wide_filters);
            else
                to_small(of_tile, at, pixels + n * of_image, places, m->wide_filters);
        }
    }
}

/* From images to points. */
static void transform_large(const Map *m, long images, const T *x, T *memory) {
    const long area = m->height * m->width, wide = m->wide_channels;
    for (long n = 0; n < images; n++)
        by_pixels(memory + n * (area + 1) * wide, wide, x + n * m->channels * area, area, m->channels);
    over_large(m, images, memory, memory + m->of_large_points, 0);
}
static void transform_small(const Map *m, long images, const T *y, T *memory) {
    const long area = m->rows * m->columns, wide = m->wide_filters;
    for (long n = 0; n < images; n++)
        by_pixels(memory + m->of_small_pixels + n * (area + 1) * wide, wide, y + n * m->filters * area, area, m->filters);
    over_small(m, images, memory + m->of_small_pixels, memory + m->of_small_points, 1);
}

/* From w [filters, channels, kernel, kernel] to [filters, taps, channels], back, and to [channels, taps, filters]. */
static void by_taps(const Map *m, const T *w, T *memory) {
    const long taps = m->kernel * m->kernel, wide = m->wide_channels;
    for (long o = 0; o < m->filters; o++)
        pack(memory + m->of_taps + o * taps * wide, wide, w + o * m->channels * taps, 1, taps, taps, m->channels);
}
static void from_by_taps(const Map *m, T *w, const T *memory) {
    const long taps = m->kernel * m->kernel, wide = m->wide_channels;
    for (long o = 0; o < m->filters; o++)
        by_channels(w + o * m->channels * taps, memory + m->of_taps + o * taps * wide, wide, taps, m->channels);
}
static void by_filters(const Map *m, const T *w, T *memory) {
    const long numbers = m->channels * m->kernel * m->kernel;
    pack(memory + m->of_taps, m->wide_filters, w, 1, numbers, numbers, m->filters);
}

/* Weights at a point, [filters, phases x channels], from the result of `by_taps` or, with back, added to it. */
INLINE void over_weights(const Map *m, long p, T *memory, T *weights, int back) {
    const long s = m->stride, wide = m->wide_channels, of_filter = m->kernel * m->kernel * wide;
    const Sum sum = at_point(p);
    long places[4];
    for (long phase = 0; phase < s * s; phase++) {
        place_taps(m, phase / s, phase % s, wide, places);
        for (long o = 0; o < m->filters; o++) {
            T *taps = memory + m->of_taps + o * of_filter, *of_phase = weights + o * m->depth + phase * wide;
            if (back)
                add_to_taps(&sum, taps, places, of_phase, wide);
            else
                from_taps(&sum, taps, places, of_phase, wide);
        }
    }
}

/* The same transposed, [phases x channels, filters], from the result of `by_filters`. Rows of padding channels are 0. */
static void turned_weights(const Map *m, long p, const T *memory, T *weights) {
    const long s = m->stride, wide = m->wide_filters;
    const Sum sum = at_point(p);
    long places[4];
    if (m->channels < m->wide_channels) memset(weights, 0, m->depth * wide * sizeof(T));
    for (long phase = 0; phase < s * s; phase++) {
        place_taps(m, phase / s, phase % s, wide, places);
        for (long c = 0; c < m->channels; c++)
            from_taps(&sum, memory + m->of_taps + c * m->kernel * m->kernel * wide, places,
                      weights + (phase * m->wide_channels + c) * wide, wide);
    }
}

/* As `convolve`. */
void winograd_convolve(const Map *m, const T *x, const T *w, T *y, T *memory) {
    const long tiles = m->tiles_down * m->tiles_across, wide = m->wide_filters, area = m->rows * m->columns;
    T *large = memory + m->of_large_points, *small = memory + m->of_small_points, *panel = memory + m->of_panel;
    by_filters(m, w, memory);
    for (long n = 0; n < m->images; n += m->at_once) {
        const long images = m->images - n < m->at_once ? m->images - n : m->at_once;
        transform_large(m, images, x + n * m->channels * m->height * m->width, memory);
        for (long p = 0; p < SQUARE; p++) {
            T *weights = memory + m->of_weights + m->weights_kept * p * m->depth * wide;
            if (n == 0 || !m->weights_kept) turned_weights(m, p, memory, weights);
            product_onto(images * tiles, wide, m->depth, large + p * m->at_once * tiles * m->depth, m->depth, 1, weights,
                         wide, 1, small + p * m->at_once * tiles * wide, panel, 0);
        }
        over_small(m, images, memory + m->of_small_pixels, small, 0);
        for (long i = 0; i < images; i++)
            by_channels(y + (n + i) * m->filters * area, memory + m->of_small_pixels + i * (area + 1) * wide, wide, area,
                        m->filters);
    }
}

/* As `convolve_transposed`. */
void winograd_convolve_transposed(const Map *m, const T *y, const T *w, T *x, T *memory) {
    const long tiles = m->tiles_down * m->tiles_across, wide = m->wide_channels, area = m->height * m->width;
    T *large = memory + m->of_large_points, *small = memory + m->of_small_points, *panel = memory + m->of_panel;
    by_taps(m, w, memory);
    for (long n = 0; n < m->images; n += m->at_once) {
        const long images = m->images - n < m->at_once ? m->images - n : m->at_once;
        transform_small(m, images, y + n * m->filters * m->rows * m->columns, memory);
        for (long p = 0; p < SQUARE; p++) {
            T *weights = memory + m->of_weights + m->weights_kept * p * m->filters * m->depth;
            if (n == 0 || !m->weights_kept) over_weights(m, p, memory, weights, 0);
            product_onto(images * tiles, m->depth, m->filters, small + p * m->at_once * tiles * m->wide_filters,
                         m->wide_filters, 1, weights, m->depth, 1, large + p * m->at_once * tiles * m->depth, panel, 0);
        }
        memset(memory, 0, images * (area + 1) * wide * sizeof(T));
        over_large(m, images, memory, large, 1);
        for (long i = 0; i < images; i++)
            by_channels(x + (n + i) * m->channels * area, memory + i * (area + 1) * wide, wide, area, m->channels);
    }
}

/* As `convolution_weight`. Where sums are kept at the points, they are transformed back after the last images. */
void winograd_convolution_weight(const Map *m, const T *x, const T *y, T *w, T *memory) {
    const long tiles = m->tiles_down * m->tiles_across, wide = m->wide_channels;
    T *large = memory + m->of_large_points, *small = memory + m->of_small_points, *panel = memory + m->of_panel;
    memset(memory + m->of_taps, 0, m->filters * m->kernel * m->kernel * wide * sizeof(T));
    for (long n = 0; n < m->images; n += m->at_once) {
        const long images = m->images - n < m->at_once ? m->images - n : m->at_once;
        transform_large(m, images, x + n * m->channels * m->height * m->width, memory);
        transform_small(m, images, y + n * m->filters * m->rows * m->columns, memory);
        for (long p = 0; p < SQUARE; p++) {
            T *sums = memory + m->of_weights + m->weights_kept * p * m->filters * m->depth;
            product_onto(m->filters, m->depth, images * tiles, small + p * m->at_once * tiles * m->wide_filters, 1,
                         m->wide_filters, large + p * m->at_once * tiles * m->depth, m->depth, 1, sums, panel,
                         m->weights_kept && n);
            if (!m->weights_kept || n + images == m->images) over_weights(m, p, memory, sums, 1);
        }
    }
    from_by_taps(m, w, memory);
}
