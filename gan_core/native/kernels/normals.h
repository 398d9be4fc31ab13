/* Random numbers from random bits. gan_core/lanes/normals.py has the same operations in numpy, with the same rounding. */

#include <math.h>
#include <string.h>

/* bits: PAIRS integers for radii, then PAIRS for angles -> numbers from N(0, 1), first of the cosines, then of the sines */
static inline void pairs(const int *bits, float *out) {
#pragma omp simd
    for (int i = 0; i < PAIRS; i++) {
        float u = (float)bits[i] * 0x1p-32f + 0.5f;
        u = u < 0x1p-25f ? 0x1p-25f : u;
        union { float value; int bits; } x = {u}, m;
        const int e = (x.bits - HALF_ROOT) >> 23;
        m.bits = x.bits - (e << 23);
        const float s = (m.value - 1.0f) / (m.value + 1.0f), z = s * s;
        const float p = (((LOG_4 * z + LOG_3) * z + LOG_2) * z + LOG_1) * z + 1.0f;
        const float radius = sqrtf((float)e * LOG_TWO + s * -4.0f * p);

        const unsigned angle = bits[PAIRS + i], quarter = (angle + 0x20000000u) >> 30;
        const float t = (float)(int)(angle - (quarter << 30)) * QUARTER_TURN, y = t * t;
        const float sine = ((SIN_3 * y + SIN_2) * y + SIN_1) * y * t + t;
        const float cosine = ((COS_3 * y + COS_2) * y + COS_1) * y * y + (y * -0.5f + 1.0f);
        const float a = quarter & 1 ? sine : cosine, b = quarter & 1 ? cosine : sine;
        out[i] = radius * ((quarter + 1) & 2 ? -a : a);
        out[PAIRS + i] = radius * (quarter & 2 ? -b : b);
    }
}

void normals(long count, const int *bits, float *out) {
    for (; count >= 2 * PAIRS; count -= 2 * PAIRS, bits += 2 * PAIRS, out += 2 * PAIRS) pairs(bits, out);
    if (count) {
        float last[2 * PAIRS];
        pairs(bits, last);
        memcpy(out, last, count * sizeof(float));
    }
}

#define CHUNK (2 * PAIRS) /* numbers that are drawn together */

/* a chunk of a stream: numbers from N(0, 1) where width is 0, else from U(low, low + width) with 24 random bits each; each
   word gives two, from its lower and then from its upper half */
static inline void chunk_of(const Stream *x, float low, float width, long chunk, float *out) {
    int bits[CHUNK] __attribute__((aligned(8)));
    philox(x, chunk * (CHUNK / 8), CHUNK / 8, (word *)bits);
    if (width == 0) {
        pairs(bits, out);
        return;
    }
#pragma omp simd
    for (int i = 0; i < CHUNK; i++) out[i] = (float)((uint32_t)bits[i] >> 8) * (0x1p-24f * width) + low;
}

/* `count` numbers of a stream, starting with number `from` */
void stream_numbers(const Stream *x, float low, float width, long from, long count, float *out) {
    for (long numbers; count > 0; from += numbers, count -= numbers, out += numbers) {
        const long before = from % CHUNK;
        numbers = CHUNK - before < count ? CHUNK - before : count;
        if (numbers == CHUNK) {
            chunk_of(x, low, width, from / CHUNK, out);
        } else {
            float chunk[CHUNK];
            chunk_of(x, low, width, from / CHUNK, chunk);
            memcpy(out, chunk + before, numbers * sizeof(float));
        }
    }
}
