/* Numbers from random bits. Of N(0, 1): gan_core/normals.py has the same operations in numpy, each rounded alike. */

#include <math.h>
#include <string.h>

/* bits: PAIRS integers for radii, then as many for angles -> the cosines, then the sines */
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

#define WORDS PAIRS /* drawn together: the bits of twice as many numbers */

/* numbers of N(0, 1) */
void stream_normals(long count, const Stream *x, float *out) {
    int bits[2 * WORDS] __attribute__((aligned(8)));
    for (long i = 0; i < count; i += 2 * WORDS) {
        philox(x, i / 8, WORDS / 4, (word *)bits);
        normals(count - i < 2 * WORDS ? count - i : 2 * WORDS, bits, out + i);
    }
}

/* numbers of U(low, low + width): of each word's lower half, then of its upper one, 24 bits */
void stream_uniforms(long count, const Stream *x, float *out, float low, float width) {
    uint32_t bits[2 * WORDS] __attribute__((aligned(8)));
    for (long i = 0; i < count; i += 2 * WORDS) {
        const long numbers = count - i < 2 * WORDS ? count - i : 2 * WORDS;
        philox(x, i / 8, (numbers + 7) / 8, (word *)bits);
#pragma omp simd
        for (long j = 0; j < numbers; j++) out[i + j] = (float)(bits[j] >> 8) * (0x1p-24f * width) + low;
    }
}
