/*
 * One source for every instruction set: plain C over short arrays that the compiler turns into vectors, and
 * vector types where it matters. Everything up to "attention only" is elementwise, so that it is the same bit
 * for bit on every set (-ffp-contract=off). The including file defines TADA_SET_NAME and TADA_SET_SYMBOL.
 */
#include "../half.h"
#include "../kernels.h"

#include <math.h>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(TADA_SET_NEON)
#include <arm_neon.h>
#endif
#include "vector.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Unrolled before gcc decides what lives in registers: arrays of sums must. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 24")
#endif

enum { LANES = TADA_LANES, CELLS = TADA_TILE_CELLS };

/* 1.5 * 2^23: adding and taking it away rounds |x| < 2^22 to the nearest integer, ties to even. */
static const float round_magic = 12582912.0f;

static inline float round_even(float x)
{
    return (x + round_magic) - round_magic;
}

static void half_to_float(const uint16_t *from, float *to, int64_t n)
{
    int64_t i = 0;
#if defined(__F16C__)
    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(from + i))));
    }
#elif defined(TADA_SET_NEON)
    for (; i + 4 <= n; i += 4) {
        vst1q_f32(to + i, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from + i))));
    }
#endif
    for (; i < n; i++) {
        to[i] = tada_half_to_float(from[i]);
    }
}

static void half_from_float(const float *from, uint16_t *to, int64_t n)
{
    int64_t i = 0;
#if defined(__F16C__)
    for (; i + 8 <= n; i += 8) {
        _mm_storeu_si128((__m128i *)(void *)(to + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
    }
#elif defined(TADA_SET_NEON)
    for (; i + 4 <= n; i += 4) {
        vst1_u16(to + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(from + i))));
    }
#endif
    for (; i < n; i++) {
        to[i] = tada_half_from_float(from[i]);
    }
}

#if defined(__AVX2__)
/* The first three stages on 8 values: the same additions and subtractions as below. */
ALWAYS_INLINE __m256 hadamard8(__m256 x)
{
    __m256 y = _mm256_permute_ps(x, 0xb1);
    x = _mm256_blend_ps(_mm256_add_ps(x, y), _mm256_sub_ps(y, x), 0xaa);
    y = _mm256_permute_ps(x, 0x4e);
    x = _mm256_blend_ps(_mm256_add_ps(x, y), _mm256_sub_ps(y, x), 0xcc);
    y = _mm256_permute2f128_ps(x, x, 1);
    return _mm256_blend_ps(_mm256_add_ps(x, y), _mm256_sub_ps(y, x), 0xf0);
}
#elif defined(TADA_SET_NEON)
/* The first two stages on 16 values, each register with one of every four: as below, too. */
ALWAYS_INLINE void hadamard4x4(float *x)
{
    float32x4x4_t y = vld4q_f32(x), z;
    float32x4_t a = vaddq_f32(y.val[0], y.val[1]), b = vsubq_f32(y.val[0], y.val[1]);
    float32x4_t c = vaddq_f32(y.val[2], y.val[3]), d = vsubq_f32(y.val[2], y.val[3]);
    z.val[0] = vaddq_f32(a, c);
    z.val[1] = vaddq_f32(b, d);
    z.val[2] = vsubq_f32(a, c);
    z.val[3] = vsubq_f32(b, d);
    vst4q_f32(x, z);
}
#endif

static void hadamard(float *x, int n, int block)
{
    float norm = 1.0f / sqrtf((float)block);
    for (int start = 0; start < n; start += block) {
        float *y = x + start;
        int half = 1;
#if defined(__AVX2__)
        for (int i = 0; block >= 8 && i < block; i += 8) {
            _mm256_storeu_ps(y + i, hadamard8(_mm256_loadu_ps(y + i)));
            half = 8;
        }
        for (; half >= 8 && half < block; half *= 2) {
            for (int i = 0; i < block; i += 2 * half) {
                for (int j = i; j < i + half; j += 8) {
                    __m256 a = _mm256_loadu_ps(y + j), b = _mm256_loadu_ps(y + j + half);
                    _mm256_storeu_ps(y + j, _mm256_add_ps(a, b));
                    _mm256_storeu_ps(y + j + half, _mm256_sub_ps(a, b));
                }
            }
        }
#elif defined(TADA_SET_NEON)
        for (int i = 0; block >= 16 && i < block; i += 16) {
            hadamard4x4(y + i);
            half = 4;
        }
#endif
        for (; half < block; half *= 2) {
            for (int i = 0; i < block; i += 2 * half) {
                for (int j = i; j < i + half; j++) {
                    float a = y[j], b = y[j + half];
                    y[j] = a + b;
                    y[j + half] = a - b;
                }
            }
        }
        for (int i = 0; i < block; i++) {
            y[i] *= norm;
        }
    }
}

#include "lanes.h"
#include "codec_template.h"

#include "attention_template.h"
#if defined(TADA_SET_NEON)
#include "codes_neon.h"
#else
#include "codes_template.h"
#endif

const tada_kernels TADA_SET_SYMBOL = {
    .name = TADA_SET_NAME,
    .codes_rows = TADA_ROWS,
    .half_to_float = half_to_float,
    .half_from_float = half_from_float,
    .hadamard = hadamard,
    .quantise = quantise,
    .unpack = unpack,
    .factors = factors,
    .decode_k = decode_k,
    .decode_v = decode_v,
    .transpose = transpose,
    .multiply = multiply,
    .scores_rows = scores_rows,
    .values_rows = values_rows,
    .fold = fold,
    .codes_dot = codes_dot,
    .softmax = softmax,
};
