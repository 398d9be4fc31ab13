/* Convolutions with fewer multiplications: the minimal filtering of Winograd (1980), for maps as Lavin & Gray 2016.

   Put together every stride-th pixel of the large map and a kernel of twice the stride has 2 x 2 taps in each of these
   planes. Of TILE x TILE pixels of the small map that are sums of 2 x 2 taps, POINTS x POINTS products are enough,
   where the plain way takes 4 TILE x TILE: large = B^T x B, kernel = G w G^T, small = A^T (their product) A, with the
   matrices of `winograd.py`. Over channels, products add up before A: one product of matrices for each of the points.
   The map is linear in each of both factors, so the two others of `convolutions.h` are its transposes: exact
   derivatives, with the same points.

   Maps lie by pixels here, channels in vectors; behind the last pixel is one that stands for all that lie outside.
   `from_large` and its like are written before; each takes POINTS x POINTS, TILE x TILE or 2 x 2 vectors from places
   to others. */

#define SQUARE (POINTS * POINTS)

typedef void Product(long, long, long, const T *, long, long, const T *, long, long, T *, T *);
Product *product; /* of products.h */

/* A channel's numbers in a row of memory -> a pixel's. */
static void by_pixels(T *out, long width, const T *maps, long area, long channels) {
    pack(out, width, maps, 1, area, area, channels);
    memset(out + area * width, 0, width * sizeof(T));
}

static void by_channels(T *maps, const T *in, long width, long area, long channels) {
    pack(maps, area, in, 1, width, channels, area);
}

/* Of the points: how far each is from the first. */
static void place_points(long pitch, long *places) {
    for (long i = 0; i < SQUARE; i++) places[i] = i * pitch;
}

/* Of a tile's pixels in the large map's phase (a, b), and in the small map. */
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

/* Where the taps of phase (a, b) are in a kernel by taps. */
static void place_taps(const Map *m, long a, long b, long *places) {
    for (long u = 0; u < 2; u++)
        for (long v = 0; v < 2; v++) *places++ = ((u * m->stride + a) * m->kernel + v * m->stride + b) * m->wide_channels;
}

/* Tile by tile, of so many images: pixels of the large map <-> its points, [points, images x tiles, phases x channels]; and
   of the small one, [points, images x tiles, filters]. back: against the arrow of `convolve`. */
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

/* Images -> points. */
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

/* w [filters, channels, kernel, kernel] -> [points, filters, phases x channels]. */
static void transform_weights(const Map *m, const T *w, T *memory) {
    const long taps = m->kernel * m->kernel, s = m->stride, wide = m->wide_channels;
    T *by_taps = memory + m->of_taps, *out = memory + m->of_weights;
    long at[SQUARE], places[4];
    place_points(m->filters * m->depth, at);
    for (long o = 0; o < m->filters; o++, out += m->depth) {
        pack(by_taps, wide, w + o * m->channels * taps, 1, taps, taps, m->channels);
        for (long phase = 0; phase < s * s; phase++) {
            place_taps(m, phase / s, phase % s, places);
            from_taps(by_taps, places, out + phase * wide, at, wide);
        }
    }
}

/* As `convolve`. */
void winograd_convolve(const Map *m, const T *x, const T *w, T *y, T *memory) {
    const long tiles = m->tiles_down * m->tiles_across, of_weight = m->filters * m->depth, wide = m->wide_filters;
    const long area = m->rows * m->columns;
    T *large = memory + m->of_large_points, *small = memory + m->of_small_points, *turned = memory + m->of_turned;
    T *panel = memory + m->of_panel;
    transform_weights(m, w, memory);
    for (long p = 0; p < SQUARE; p++)
        pack(turned + p * m->depth * wide, wide, memory + m->of_weights + p * of_weight, 1, m->depth, m->depth, m->filters);
    for (long n = 0; n < m->images; n += m->at_once) {
        const long images = m->images - n < m->at_once ? m->images - n : m->at_once;
        transform_large(m, images, x + n * m->channels * m->height * m->width, memory);
        for (long p = 0; p < SQUARE; p++)
            product(images * tiles, wide, m->depth, large + p * m->at_once * tiles * m->depth, m->depth, 1,
                    turned + p * m->depth * wide, wide, 1, small + p * m->at_once * tiles * wide, panel);
        over_small(m, images, memory + m->of_small_pixels, small, 0);
        for (long i = 0; i < images; i++)
            by_channels(y + (n + i) * m->filters * area, memory + m->of_small_pixels + i * (area + 1) * wide, wide, area,
                        m->filters);
    }
}

/* As `convolve_transposed`. */
void winograd_convolve_transposed(const Map *m, const T *y, const T *w, T *x, T *memory) {
    const long tiles = m->tiles_down * m->tiles_across, of_weight = m->filters * m->depth, wide = m->wide_channels;
    const long area = m->height * m->width;
    T *large = memory + m->of_large_points, *small = memory + m->of_small_points, *panel = memory + m->of_panel;
    transform_weights(m, w, memory);
    for (long n = 0; n < m->images; n += m->at_once) {
        const long images = m->images - n < m->at_once ? m->images - n : m->at_once;
        transform_small(m, images, y + n * m->filters * m->rows * m->columns, memory);
        for (long p = 0; p < SQUARE; p++)
            product(images * tiles, m->depth, m->filters, small + p * m->at_once * tiles * m->wide_filters, m->wide_filters,
                    1, memory + m->of_weights + p * of_weight, m->depth, 1, large + p * m->at_once * tiles * m->depth, panel);
        memset(memory, 0, images * (area + 1) * wide * sizeof(T));
        over_large(m, images, memory, large, 1);
        for (long i = 0; i < images; i++)
            by_channels(x + (n + i) * m->channels * area, memory + i * (area + 1) * wide, wide, area, m->channels);
    }
}

/* As `convolution_weight`. */
void winograd_convolution_weight(const Map *m, const T *x, const T *y, T *w, T *memory) {
    const long tiles = m->tiles_down * m->tiles_across, of_weight = m->filters * m->depth, wide = m->wide_channels;
    const long taps = m->kernel * m->kernel, s = m->stride;
    T *weights = memory + m->of_weights, *made = memory + m->of_turned, *by_taps = memory + m->of_taps;
    T *panel = memory + m->of_panel;
    for (long n = 0; n < m->images; n += m->at_once) {
        const long images = m->images - n < m->at_once ? m->images - n : m->at_once;
        transform_large(m, images, x + n * m->channels * m->height * m->width, memory);
        transform_small(m, images, y + n * m->filters * m->rows * m->columns, memory);
        for (long p = 0; p < SQUARE; p++) {
            T *sums = weights + p * of_weight;
            product(m->filters, m->depth, images * tiles, memory + m->of_small_points + p * m->at_once * tiles * m->wide_filters,
                    1, m->wide_filters, memory + m->of_large_points + p * m->at_once * tiles * m->depth, m->depth, 1,
                    n ? made : sums, panel);
            if (n)
#pragma omp simd
                for (long i = 0; i < of_weight; i++) sums[i] += made[i];
        }
    }
    long at[SQUARE], places[4];
    place_points(of_weight, at);
    for (long o = 0; o < m->filters; o++, weights += m->depth) {
        for (long phase = 0; phase < s * s; phase++) {
            place_taps(m, phase / s, phase % s, places);
            to_taps(weights + phase * wide, at, by_taps, places, wide);
        }
        by_channels(w + o * m->channels * taps, by_taps, wide, taps, m->channels);
    }
}
