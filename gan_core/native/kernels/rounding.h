/* Factors rounded to bfloat16, two in the space of one number: a pair, with the first factor in the lower half. AVX512-BF16
   multiplies two registers of pairs and adds both products of each pair to a float32 sum. */

typedef unsigned pair __attribute__((may_alias));
typedef unsigned pairs __attribute__((vector_size(VECTOR_BYTES)));
typedef int pairs_places __attribute__((vector_size(VECTOR_BYTES)));

/* up to WIDTH numbers of x, every step-th, followed by zeros */
INLINE __m512 some(const float *x, long step, long count) {
    if (count <= 0) return _mm512_setzero_ps();
    if (step == 1) return _mm512_maskz_loadu_ps(up_to(count), x);
    if (step == 2) {
        const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        const long read = 2 * (count < WIDTH ? count : WIDTH) - 1;
        const __m512 low = _mm512_maskz_loadu_ps(up_to(read), x);
        const __m512 high = read > WIDTH ? _mm512_maskz_loadu_ps(up_to(read - WIDTH), x + WIDTH) : low;
        return _mm512_maskz_permutex2var_ps(up_to(count), low, even, high);
    }
    float gathered[WIDTH] = {0};
    for (long i = 0; i < count && i < WIDTH; i++) gathered[i] = x[i * step];
    return _mm512_loadu_ps(gathered);
}

/* WIDTH pairs, each of a number of `one` and the number of `other` at the same place */
INLINE __m512i pairs_of(__m512 one, __m512 other) {
    static const short TURNS[2 * WIDTH] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                    8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_permutexvar_epi16(_mm512_loadu_si512(TURNS), (__m512i)_mm512_cvtne2ps_pbh(other, one));
}

INLINE pair pair_of(float one, float other) {
    return _mm_cvtsi128_si32((__m128i)_mm_cvtneps_pbh(_mm_setr_ps(one, other, 0, 0)));
}
