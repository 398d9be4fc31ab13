/* The parts of which gan_core/execution/source.py makes programs, for one lane. The type T (float or double) is defined
   before this text. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define CACHE_LINE_BYTES 64

/* Matrix products (`products.h`): rows, columns, inner; a and b with their strides; the result, by rows; memory. The
   rounded one rounds its factors to bfloat16. */
typedef void Product(long, long, long, const T *, long, long, const T *, long, long, T *, T *);
Product *product, *rounded_product;

/* Convolutions and their derivatives (`convolutions.h`): the sizes of the maps, two tensors, the result, and memory. */
typedef void Convolution(const Map *, const T *, const T *, T *, T *);
Convolution *convolve, *convolve_transposed, *convolution_weight;
Convolution *winograd_convolve, *winograd_convolve_transposed, *winograd_convolution_weight;
Convolution *rounded_convolve, *rounded_convolve_transposed, *rounded_convolution_weight;

INLINE T maximum_of(T a, T b) { return a > b || a != a ? a : b; } /* NaN where either is NaN */

#ifndef HAS_FMA /* without an instruction that rounds once, doing so would be a call of a library */
INLINE T fma_of(T x, T y, T z) { return x * y + z; }
#elif defined(SINGLE)
#define fma_of __builtin_fmaf
#else
#define fma_of __builtin_fma
#endif

#ifdef SINGLE
#define rint_of __builtin_rintf
#define sqrt_of __builtin_sqrtf
#define log_of logf

INLINE float of_bits(unsigned bits) {
    union { unsigned bits; float value; } u = {bits};
    return u.value;
}
INLINE unsigned bits_of(float value) {
    union { float value; unsigned bits; } u = {value};
    return u.bits;
}
INLINE float two_to(int n) { return of_bits((unsigned)(n + 127) << 23); }

#define TO_WHOLE (12582912.0f + 127) /* 1.5 * 2^23 and an exponent's offset: a small number plus this one is rounded */

/* For x = n ln 2 + r in [-87.33, 88]: returns 2^n, and e^r - 1 in `rest`. */
INLINE float parts_of_exp(float x, float *rest) {
    const float t = fma_of(x, 1.44269504088896341f, TO_WHOLE), n = t - TO_WHOLE;
    const float r = fma_of(n, -1.42860682e-6f, fma_of(n, -0.693145752f, x));
    float p = 1.388251665e-3f;
    p = fma_of(p, r, 8.366547525e-3f);
    p = fma_of(p, r, 4.166720062e-2f);
    p = fma_of(p, r, 1.666654348e-1f);
    p = fma_of(p, r, 4.999999702e-1f);
    *rest = fma_of(p, r * r, r);
    return of_bits(bits_of(t) << 23);
}

/* exp(x) and exp(x) - 1 for such an x, in half the time of `exp_of` */
INLINE float near_exp_of(float x) {
    float rest;
    const float scale = parts_of_exp(x, &rest);
    return fma_of(rest, scale, scale);
}
INLINE float near_expm1_of(float x) {
    float rest;
    const float scale = parts_of_exp(x, &rest);
    return fma_of(rest, scale, scale - 1.0f);
}

/* Cephes' expf: n ln 2 is subtracted in two parts, and the rest goes through a polynomial. 2^n is multiplied in two
   factors, since n can be 128. */
INLINE float exp_of(float x) {
    float y = x > 89.0f ? 89.0f : x;
    y = y < -104.0f ? -104.0f : y;
    float n = rint_of(y * 1.44269504088896341f);
    float r = fma_of(n, 2.12194440e-4f, fma_of(n, -0.693359375f, y));
    float p = 1.9875691500e-4f;
    p = fma_of(p, r, 1.3981999507e-3f);
    p = fma_of(p, r, 8.3334519073e-3f);
    p = fma_of(p, r, 4.1665795894e-2f);
    p = fma_of(p, r, 1.6666665459e-1f);
    p = fma_of(p, r, 5.0000001201e-1f);
    p = fma_of(p, r * r, r) + 1.0f;
    int whole = (int)n, half = whole >> 1;
    return p * two_to(half) * two_to(whole - half);
}

/* Cephes' tanhf */
INLINE float tanh_of(float x) {
    const float a = __builtin_fabsf(x), b = a > 20.0f ? 20.0f : a, z = x * x;
    float p = -5.70498872745e-3f;
    p = fma_of(p, z, 2.06390887954e-2f);
    p = fma_of(p, z, -5.37397155531e-2f);
    p = fma_of(p, z, 1.33314422036e-1f);
    p = fma_of(p, z, -3.33332819422e-1f);
    const float inner = fma_of(p * z, a, a), outer = 1.0f - 2.0f / (near_exp_of(2.0f * b) + 1.0f);
    return __builtin_copysignf(a < 0.625f ? inner : outer, x);
}

INLINE float sigmoid_of(float x) {
    const float a = __builtin_fabsf(x), b = a > 87.33f ? 87.33f : a, e = near_exp_of(-b);
    return (x < 0 ? e : 1.0f) / (1.0f + e);
}

INLINE float elu_of(float x) {
    const float below = near_expm1_of(x < -50.0f ? -50.0f : x);
    return x > 0 ? x : below;
}

/* log(1 + x) for x in [0, 1]: twice the series of artanh(x / (2 + x)) */
INLINE float log1p_of(float x) {
    const float y = x / (2.0f + x), z = y * y;
    float p = 1.0f / 15;
    p = fma_of(p, z, 1.0f / 13);
    p = fma_of(p, z, 1.0f / 11);
    p = fma_of(p, z, 1.0f / 9);
    p = fma_of(p, z, 1.0f / 7);
    p = fma_of(p, z, 1.0f / 5);
    p = fma_of(p, z, 1.0f / 3);
    return fma_of(p * z, 2.0f * y, 2.0f * y);
}
#else
#define log1p_of log1p
#define rint_of rint
#define sqrt_of sqrt
#define log_of log
#define exp_of exp
#define tanh_of tanh
INLINE double sigmoid_of(double x) { return 1 / (1 + exp(-x)); }
INLINE double elu_of(double x) { return x > 0 ? x : exp(x) - 1; }
#endif

INLINE T softplus_of(T x) { return maximum_of(x, 0) + log1p_of(exp_of(x < 0 ? x : -x)); }

/* x [rows, columns] with strides down and across -> the logarithm of each row's softmax, by rows. */
INLINE void log_softmax(long rows, long columns, const T *x, long down, long across, T *out) {
    for (long i = 0; i < rows; i++, x += down, out += columns) {
        T most = x[0], total = 0;
        for (long j = 1; j < columns; j++) most = maximum_of(most, x[j * across]);
        for (long j = 0; j < columns; j++) total += exp_of(x[j * across] - most);
        for (long j = 0; j < columns; j++) out[j] = x[j * across] - most - log_of(total);
    }
}

/* The derivative of `log_softmax`: from the gradient of `out`, and `out`, both by rows. */
INLINE void log_softmax_back(long rows, long columns, const T *gradient, long down, long across, const T *out, T *back) {
    for (long i = 0; i < rows; i++, gradient += down, out += columns, back += columns) {
        T total = 0;
        for (long j = 0; j < columns; j++) total += gradient[j * across];
        for (long j = 0; j < columns; j++) back[j] = gradient[j * across] - exp_of(out[j]) * total;
    }
}

/* AdamW (Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2): rows of parameters and state, a pitch apart
   from lane to lane, and coefficients, one number a lane. */
typedef struct {
    T *trained;
    const T *gradient;
    T *mean, *square;
    float *steps;
    const double *lr, *beta1, *beta2, *weight_decay, *lr_share;
    long numbers, trained_pitch, gradient_pitch, mean_pitch, square_pitch;
    double eps;
} Optimizer;

/* share: the factor of the lane's learning rate in this step. Without weight decay `kept` is 1, which changes no bit. */
static __attribute__((noinline)) void adam(const Optimizer *x, long lane, double share) {
    const double step = x->steps[lane] += 1, lr = share * x->lr[lane];
    const T size = lr / (1 - pow(x->beta1[lane], step)), scale = 1 / sqrt(1 - pow(x->beta2[lane], step));
    const T kept = 1 - lr * x->weight_decay[lane];
    const T beta1 = x->beta1[lane], beta2 = x->beta2[lane], eps = x->eps;
    T *trained = x->trained + lane * x->trained_pitch;
    T *mean = x->mean + lane * x->mean_pitch, *square = x->square + lane * x->square_pitch;
    const T *gradient = x->gradient + lane * x->gradient_pitch;
#pragma omp simd
    for (long i = 0; i < x->numbers; i++) {
        const T g = gradient[i], m = mean[i] + (1 - beta1) * (g - mean[i]);
        const T s = beta2 * square[i] + (1 - beta2) * g * g;
        mean[i] = m;
        square[i] = s;
        trained[i] = fma_of(kept, trained[i], -(size * m / (sqrt_of(s) * scale + eps)));
    }
}
