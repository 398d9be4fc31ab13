/* A block of training steps, lane after lane, in one call. The programs of a step are defined before this text: fakes,
   discriminator, generator, and where G is updated first (GENERATOR_FIRST) generator_and_fakes. */

typedef struct {
    T *const *given[4]; /* of the programs, in that order */
    const long *pitch[4];
    T *memory;
    const Optimizer *generator, *discriminator;
    const Watched *watched;
    const void *samples;       /* rows of `features` numbers, or bytes */
    const long *const *orders; /* of each lane: which samples its steps show */
    T *real, *latents, *generator_latents;
    const T *bank, *const *generator_banks; /* latents of the block's steps; those of G's updates in a step; or none: */
    void (*draw)(const void *stream, float low, float width, long from, long count, float *out);
    const uint64_t *seeds; /* of lanes */
    const unsigned char *turns; /* [steps, updates, lanes]: whether G is updated */
    const long *since_last;     /* images shown to D from one turn of a lane's G to the next */
    const double *lr_shares;    /* [steps, lanes], or none: all of it */
    T *average;                 /* or none */
    const T *weights, *average_weights; /* [lanes, averaged] of G; [steps, lanes, averages] */
    long lanes, first, steps, updates;  /* first: of these steps in the block */
    long batch, features, bytes, latent_numbers;
    long real_pitch, latents_pitch, generator_latents_pitch, bank_pitch;
    long average_pitch, weights_pitch, averaged, averages; /* average: [lanes, averages, averaged] */
    long look_images; /* shown to D since the last look at the samples; 0: not now */
    long fakes_purpose, generator_purpose, block_images; /* of the latents' streams */
    float low, width;                                    /* of their numbers */
} Block;

/* what the next step reads, into the second cache */
INLINE void expect(const void *from, long bytes) {
    for (long i = 0; i < bytes; i += CACHE_LINE_BYTES) __builtin_prefetch((const char *)from + i, 0, 2);
}

INLINE void show(const Block *x, long lane, long step) {
    const long *order = x->orders[lane] + step * x->batch, size = x->bytes ? 1 : sizeof(T);
    const long next = step + 1 < x->first + x->steps ? x->batch : 0; /* the order is known to the block's end */
    T *out = x->real + lane * x->real_pitch;
    if (x->features == 1 && !x->bytes) {
        for (long i = 0; i < x->batch; i++) out[i] = ((const T *)x->samples)[order[i]];
        return;
    }
    for (long i = 0; i < x->batch; i++, out += x->features) {
        expect((const char *)x->samples + order[i + next] * x->features * size, x->features * size);
        if (x->bytes) {
            const unsigned char *sample = (const unsigned char *)x->samples + order[i] * x->features;
            for (long j = 0; j < x->features; j++) out[j] = (float)sample[j] / 127.5f - 1.0f;
        } else {
            memcpy(out, (const T *)x->samples + order[i] * x->features, x->features * sizeof(T));
        }
    }
}

INLINE void feed(const Block *x, long lane, long step, const T *bank, T *out) {
    const long numbers = x->batch * x->latent_numbers;
    const T *from = bank + lane * x->bank_pitch + step * numbers;
    memcpy(out, from, numbers * sizeof(T));
    expect(from + numbers, numbers * sizeof(T));
}

#define DRAWN 512 /* numbers that are drawn in float32 before they are turned into T */

/* the latents of a step, for the j-th time, as `fill_step_latents` draws them for the block */
INLINE void draw(const Block *x, long lane, long purpose, long j, long step, T *out) {
    const uint64_t stream[5] = {x->seeds[lane], purpose, x->block_images, j, 0};
    const long numbers = x->batch * x->latent_numbers, from = step * numbers;
    if (sizeof(T) == sizeof(float)) {
        x->draw(stream, x->low, x->width, from, numbers, (float *)out);
        return;
    }
    for (long i = 0; i < numbers; i += DRAWN) {
        float part[DRAWN];
        const long count = numbers - i < DRAWN ? numbers - i : DRAWN;
        x->draw(stream, x->low, x->width, from + i, count, part);
        for (long k = 0; k < count; k++) out[i + k] = part[k];
    }
}

INLINE void feed_fakes(const Block *x, long lane, long step) {
    T *out = x->latents + lane * x->latents_pitch;
    if (x->draw) draw(x, lane, x->fakes_purpose, 0, step, out);
    else feed(x, lane, step, x->bank, out);
}

INLINE void feed_generator(const Block *x, long lane, long step, long j) {
    T *out = x->generator_latents + lane * x->generator_latents_pitch;
    if (x->draw) draw(x, lane, x->generator_purpose, j, step, out);
    else feed(x, lane, step, x->generator_banks[j], out);
}

INLINE double lr_share(const Block *x, long lane, long s) { return x->lr_shares ? x->lr_shares[s * x->lanes + lane] : 1; }

INLINE void update_generator(const Block *x, long lane, long s) {
    for (long j = 0; j < x->updates; j++) {
        const long turn = s * x->updates + j;
        const int goes = x->turns[turn * x->lanes + lane];
#ifdef GENERATOR_FIRST
        if (j == 0 && !goes) fakes(lane, x->given[0], x->pitch[0], x->memory);
#endif
        if (!goes) continue;
        feed_generator(x, lane, x->first + s, j);
#ifdef GENERATOR_FIRST
        if (j == 0) generator_and_fakes(lane, x->given[3], x->pitch[3], x->memory);
        else generator(lane, x->given[2], x->pitch[2], x->memory);
#else
        generator(lane, x->given[2], x->pitch[2], x->memory);
#endif
        watch_generator(x->watched, lane, j ? 0 : x->since_last[lane]);
        adam(x->generator, lane, lr_share(x, lane, s));
    }
}

/* as torch.lerp */
INLINE void move_average(const Block *x, long lane, long which, T weight) {
    T *average = x->average + lane * x->average_pitch + which * x->averaged;
    const T *now = x->weights + lane * x->weights_pitch;
    const T share = weight < (T)0.5 ? weight : weight - 1;
#pragma omp simd
    for (long i = 0; i < x->averaged; i++)
        average[i] = fma_of(share, now[i] - average[i], weight < (T)0.5 ? average[i] : now[i]);
}

static void train_lane(const Block *x, long lane) {
    for (long s = 0; s < x->steps; s++) {
        show(x, lane, x->first + s);
        feed_fakes(x, lane, x->first + s);
#ifdef GENERATOR_FIRST
        update_generator(x, lane, s);
#else
        fakes(lane, x->given[0], x->pitch[0], x->memory);
#endif
        discriminator(lane, x->given[1], x->pitch[1], x->memory);
        watch_discriminator(x->watched, lane);
        adam(x->discriminator, lane, lr_share(x, lane, s));
#ifndef GENERATOR_FIRST
        update_generator(x, lane, s);
#endif
        for (long which = 0; which < x->averages; which++)
            move_average(x, lane, which, x->average_weights[(s * x->lanes + lane) * x->averages + which]);
    }
    if (x->look_images) look(x->watched, lane, x->look_images);
}

void program(const Block *x) {
    for (long lane = 0; lane < x->lanes; lane++) train_lane(x, lane);
}
