/* Vectors as long as the processor's registers, and how they are shuffled. Defined before this text: VECTOR_BYTES, WIDTH
   (float32 numbers in a register) and HAS_FMA, by gan_core/native/isa.py; the type T, and SINGLE where it is float. */

#include <string.h>
#define INLINE static inline __attribute__((always_inline))
#ifdef SINGLE
#define V WIDTH /* numbers in a register */
typedef int place;
#else
#define V (WIDTH / 2)
typedef long long place;
#endif

typedef T vec __attribute__((vector_size(VECTOR_BYTES)));
typedef T loose __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias)); /* at any address */
typedef place vec_places __attribute__((vector_size(VECTOR_BYTES)));
/* WIDTH numbers, the unit of tiles and of packed data: one register of float32, two of float64 */
typedef T wide __attribute__((vector_size(WIDTH * sizeof(T))));
typedef T wide_loose __attribute__((vector_size(WIDTH * sizeof(T)), aligned(sizeof(T)), may_alias));
typedef place wide_places __attribute__((vector_size(WIDTH * sizeof(T))));

/* type: vec or wide; a, b: two vectors; then the indices of the numbers taken from both */
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(type, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(type, a, b, ...) __builtin_shuffle(a, b, (type##_places){__VA_ARGS__})
#endif

/* the lower halves of two vecs, interleaved, and the upper halves */
#if V == 16
#define LOWER 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define UPPER 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif V == 8
#define LOWER 0, 8, 1, 9, 2, 10, 3, 11
#define UPPER 4, 12, 5, 13, 6, 14, 7, 15
#elif V == 4
#define LOWER 0, 4, 1, 5
#define UPPER 2, 6, 3, 7
#else
#define LOWER 0, 2
#define UPPER 1, 3
#endif

/* Reads only the first numbers of a wide, followed by zeros; and writes only these. */
#if defined(SINGLE) && defined(__AVX512F__) && VECTOR_BYTES == 64
#include <immintrin.h>
INLINE __mmask16 up_to(long count) { return count >= WIDTH ? 0xffff : count > 0 ? (1u << count) - 1 : 0; }
INLINE wide first_of(long count, const T *x) { return (wide)_mm512_maskz_loadu_ps(up_to(count), x); }
INLINE void put_first(long count, T *to, wide x) { _mm512_mask_storeu_ps(to, up_to(count), (__m512)x); }
#elif defined(SINGLE) && defined(__AVX2__) && VECTOR_BYTES == 32
#include <immintrin.h>
INLINE __m256i up_to(long count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
INLINE wide first_of(long count, const T *x) { return (wide)_mm256_maskload_ps(x, up_to(count)); }
INLINE void put_first(long count, T *to, wide x) { _mm256_maskstore_ps(to, up_to(count), (__m256)x); }
#else
INLINE wide first_of(long count, const T *x) {
    wide first = {0};
    memcpy(&first, x, (count < WIDTH ? count : WIDTH) * sizeof(T));
    return first;
}
INLINE void put_first(long count, T *to, wide x) {
    memcpy(to, &x, (count < WIDTH ? count : WIDTH) * sizeof(T));
}
#endif
