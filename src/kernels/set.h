/*
 * One source for every instruction set: plain C over short arrays that the compiler turns into vectors, and
 * vector types where it matters. Everything up to "attention only" is elementwise, so that it is the same bit
 * for bit on every set (-ffp-contract=off). The including file defines TADA_SET_NAME and TADA_SET_SYMBOL.
 */
#include "common/half.h"
#include "kernels.h"

#include <math.h>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(TADA_SET_NEON)
#include <arm_neon.h>
#endif
#include "kernels/simd/vector.h"

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
/* One stage within registers, y being x with the values of each pair swapped. Products with 1 and -1 are
 * exact, so that these are the same additions and subtractions as below. */
#define HADAMARD_STAGE(x, y, signs) VEC_FMA(x, signs, y)

/* The first stages, on the values of a register. */
ALWAYS_INLINE vec hadamard_within(vec x)
{
#if defined(__AVX512F__)
    const vec ones = _mm512_setr4_ps(1, -1, 1, -1), twos = _mm512_setr4_ps(1, 1, -1, -1);
    const vec fours = _mm512_setr_ps(1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1);
    const vec eights = _mm512_setr_ps(1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1);
    x = HADAMARD_STAGE(x, _mm512_permute_ps(x, 0xb1), ones);
    x = HADAMARD_STAGE(x, _mm512_permute_ps(x, 0x4e), twos);
    x = HADAMARD_STAGE(x, _mm512_shuffle_f32x4(x, x, 0xb1), fours);
    return HADAMARD_STAGE(x, _mm512_shuffle_f32x4(x, x, 0x4e), eights);
#else
    const vec ones = _mm256_setr_ps(1, -1, 1, -1, 1, -1, 1, -1);
    const vec twos = _mm256_setr_ps(1, 1, -1, -1, 1, 1, -1, -1);
    const vec fours = _mm256_setr_ps(1, 1, 1, 1, -1, -1, -1, -1);
    x = HADAMARD_STAGE(x, _mm256_permute_ps(x, 0xb1), ones);
    x = HADAMARD_STAGE(x, _mm256_permute_ps(x, 0x4e), twos);
    return HADAMARD_STAGE(x, _mm256_permute2f128_ps(x, x, 1), fours);
#endif
}

/* The first stages on `count` registers, a constant at every call: all that their values allow. */
ALWAYS_INLINE void hadamard_first(float *x, int count)
{
    vec v[8];
    UNROLL
    for (int i = 0; i < count; i++) {
        v[i] = hadamard_within(VEC_LOAD(x + i * WIDTH));
    }
    UNROLL
    for (int half = 1; half < count; half *= 2) {
        UNROLL
        for (int i = 0; i < count; i++) {
            if (!(i & half)) {
                vec a = v[i], b = v[i + half];
                v[i] = VEC_ADD(a, b);
                v[i + half] = VEC_SUB(a, b);
            }
        }
    }
    UNROLL
    for (int i = 0; i < count; i++) {
        VEC_STORE(x + i * WIDTH, v[i]);
    }
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
        for (int i = 0; block >= WIDTH && i < block; i += half) {
            if (block >= 8 * WIDTH) {
                hadamard_first(y + i, 8);
                half = 8 * WIDTH;
            } else if (block >= 4 * WIDTH) {
                hadamard_first(y + i, 4);
                half = 4 * WIDTH;
            } else {
                hadamard_first(y + i, 1);
                half = WIDTH;
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

/* Four columns of 4 rows, or of 8 rows with AVX2, to as many rows. */
ALWAYS_INLINE void transpose_block(const float *from, size_t columns, float *to, size_t rows)
{
#if defined(__AVX2__)
    __m256 x[4];
    UNROLL
    for (int i = 0; i < 4; i++) {
        x[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from + (size_t)i * columns)),
                                    _mm_loadu_ps(from + (size_t)(i + 4) * columns), 1);
    }
    __m256 a = _mm256_unpacklo_ps(x[0], x[1]), b = _mm256_unpackhi_ps(x[0], x[1]);
    __m256 c = _mm256_unpacklo_ps(x[2], x[3]), d = _mm256_unpackhi_ps(x[2], x[3]);
    _mm256_storeu_ps(to, _mm256_shuffle_ps(a, c, 0x44));
    _mm256_storeu_ps(to + rows, _mm256_shuffle_ps(a, c, 0xee));
    _mm256_storeu_ps(to + 2 * rows, _mm256_shuffle_ps(b, d, 0x44));
    _mm256_storeu_ps(to + 3 * rows, _mm256_shuffle_ps(b, d, 0xee));
#elif defined(TADA_SET_NEON)
    float32x4x2_t a = vtrnq_f32(vld1q_f32(from), vld1q_f32(from + columns));
    float32x4x2_t b = vtrnq_f32(vld1q_f32(from + 2 * columns), vld1q_f32(from + 3 * columns));
    vst1q_f32(to, vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0])));
    vst1q_f32(to + rows, vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1])));
    vst1q_f32(to + 2 * rows, vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0])));
    vst1q_f32(to + 3 * rows, vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1])));
#else
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) {
            to[(size_t)j * rows + i] = from[(size_t)i * columns + j];
        }
    }
#endif
}

static void transpose_floats(const float *from, int rows, int columns, float *to)
{
#if defined(__AVX2__)
    int step = 8;
#else
    int step = 4;
#endif
    for (int c = 0; c < columns; c += 4) {
        for (int r = 0; r < rows; r += step) {
            transpose_block(from + (size_t)r * columns + c, (size_t)columns, to + (size_t)c * rows + r,
                            (size_t)rows);
        }
    }
}

#include "kernels/simd/lanes.h"
#include "kernels/codec/quantise.h"

#include "kernels/attention/rows.h"
#include "kernels/attention/codes_common.h"
#if defined(TADA_SET_NEON)
#include "kernels/attention/codes_neon.h"
#else
#include "kernels/attention/codes.h"
#endif
#include "kernels/codec/unpack.h"
#include "kernels/attention/sections.h"
#include "kernels/attention/integers.h"

const tada_kernels TADA_SET_SYMBOL = {
    .name = TADA_SET_NAME,
    .codes_rows = TADA_ROWS,
    .half_to_float = half_to_float,
    .half_from_float = half_from_float,
    .hadamard = hadamard,
    .transpose_floats = transpose_floats,
    .quantise = quantise,
    .unpack = unpack,
    .factors = factors,
    .factors_narrow = factors_narrow,
    .join_factors = join_factors,
    .decode_k = decode_k,
    .decode_v = decode_v,
    .transpose_halves = transpose_halves,
    .multiply = multiply,
    .scores_rows = scores_rows,
    .values_rows = values_rows,
    .fold = fold,
    .codes_dot = codes_dot,
    .sections_dot = sections_dot,
#if defined(__AVX512F__)
    .joins_part = true,
#endif
    .softmax = softmax,
#if defined(__AVX2__)
    .integers_rows = TADA_ROWS + 1,
#else
    .integers_rows = TADA_INTEGERS_ROWS + 1,
#endif
    .code_tops = code_tops,
    .widen = widen,
    .integers_dot = integers_dot,
    .weights_to_integers = weights_to_integers,
    .rows_dot = rows_dot,
};
