/* What gan_core/training/watch.py sums, of one lane and in the same order. Before it stand the places of the sums, and the
   game as discriminator_loss and generator_loss, which are generated (gan_core/training/compiled/watching.py). */

typedef struct {
    double *sums;
    const T *d_row, *g_row, *smoothing;       /* [lanes, ...]; see gan_core/training/record.py */
    const T *real, *fake;                     /* the last step's samples [lanes, samples, numbers] */
    T *memory;                                /* of twice these numbers */
    double vanished_gradient, collapsed_deviation;
    long sums_pitch, d_row_pitch, g_row_pitch, smoothing_pitch, real_pitch, fake_pitch;
    long decisions, samples, numbers, scale;
} Watched;

/* D's step */
static void watch_discriminator(const Watched *x, long lane) {
    const long n = x->decisions;
    const T *real = x->d_row + lane * x->d_row_pitch, *fake = real + n, *rest = fake + n;
    const T smoothing = x->smoothing[lane * x->smoothing_pitch];
    const double loss = discriminator_loss(real, fake, smoothing, n);
    T above = 0;
#pragma omp simd reduction(+ : above)
    for (long i = 0; i < n; i++) above += real[i] > fake[i] ? (T)1 : (T)0;
    double *sums = x->sums + lane * x->sums_pitch;
    sums[d_steps] += 1;
    sums[d_loss] += loss;
    sums[d_loss_square] += loss * loss;
    sums[discriminator_accuracy] += (double)above / n;
    sums[penalty] += rest[0];
    sums[d_information] += rest[1];
    sums[d_gradient] += rest[2] / (T)x->scale;
}

/* An update of G. images: shown to D since the one before. */
static void watch_generator(const Watched *x, long lane, long images) {
    const long n = x->decisions;
    const T *fake = x->g_row + lane * x->g_row_pitch, norm = fake[n] / (T)x->scale;
    double *sums = x->sums + lane * x->sums_pitch;
    sums[g_steps] += 1;
    sums[g_loss] += generator_loss(fake, n);
    sums[g_gradient] += norm;
    sums[quiet_images] = norm < x->vanished_gradient ? sums[quiet_images] + images : 0;
}

/* The mean over numbers of the deviation over samples */
static double deviation(const Watched *x, const T *rows) {
    T *mean = x->memory, *square = mean + x->numbers, total = 0;
    memset(mean, 0, 2 * x->numbers * sizeof(T));
    for (long i = 0; i < x->samples; i++)
#pragma omp simd
        for (long j = 0; j < x->numbers; j++) mean[j] += rows[i * x->numbers + j];
#pragma omp simd
    for (long j = 0; j < x->numbers; j++) mean[j] /= x->samples;
    for (long i = 0; i < x->samples; i++)
#pragma omp simd
        for (long j = 0; j < x->numbers; j++) {
            const T centred = rows[i * x->numbers + j] - mean[j];
            square[j] += centred * centred;
        }
#pragma omp simd reduction(+ : total)
    for (long j = 0; j < x->numbers; j++) total += sqrt_of(square[j] / x->samples);
    return (double)total / x->numbers;
}

/* How much the last step's samples vary. images: shown to D since the last look. */
static void look(const Watched *x, long lane, long images) {
    const double real = deviation(x, x->real + lane * x->real_pitch), fake = deviation(x, x->fake + lane * x->fake_pitch);
    const double share = real > 0 ? fake / real : 1;
    double *sums = x->sums + lane * x->sums_pitch;
    sums[looks] += 1;
    sums[sample_deviation] += share;
    sums[still_images] = share < x->collapsed_deviation ? sums[still_images] + images : 0;
}
