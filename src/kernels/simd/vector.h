/*
 * The vectors that the templates are written in: WIDTH floats a register, and the few operations on them that
 * every instruction set spells differently. Included once by set.h.
 */
#ifndef TADA_KERNELS_SIMD_VECTOR_H
#define TADA_KERNELS_SIMD_VECTOR_H

#if defined(__AVX512F__)
typedef __m512 vec;
enum { WIDTH = 16 };
#define VEC_LOAD _mm512_loadu_ps
#define VEC_STORE _mm512_storeu_ps
#define VEC_SET _mm512_set1_ps
#define VEC_FMA _mm512_fmadd_ps
#define VEC_HALF(p) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p)))
#define VEC_MAX _mm512_max_ps
/* lo or hi: the lower or higher two, or pair of two, of each four of a and b. */
#define VEC_UNPACK(half, a, b) _mm512_unpack##half##_ps(a, b)
#define VEC_UNPACK_PAIRS(half, a, b)                                                                         \
    _mm512_castpd_ps(_mm512_unpack##half##_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
#define VEC_ADD _mm512_add_ps
#define VEC_SUB _mm512_sub_ps
#define VEC_MUL _mm512_mul_ps
#define VEC_ABS _mm512_abs_ps
/* x * 2^n, n being the low bits of what a float became by adding the magic number of rounding; and x where
 * a > b, else 0. */
#define VEC_TIMES_POWER(x, n)                                                                                \
    _mm512_castsi512_ps(                                                                                     \
        _mm512_add_epi32(_mm512_castps_si512(x), _mm512_slli_epi32(_mm512_castps_si512(n), 23)))
#define VEC_WHERE(a, b, x) _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), x)
#elif defined(__AVX2__)
typedef __m256 vec;
enum { WIDTH = 8 };
#define VEC_LOAD _mm256_loadu_ps
#define VEC_STORE _mm256_storeu_ps
#define VEC_SET _mm256_set1_ps
#define VEC_FMA _mm256_fmadd_ps
#define VEC_HALF(p) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define VEC_MAX _mm256_max_ps
/* lo or hi: the lower or higher two, or pair of two, of each four of a and b. */
#define VEC_UNPACK(half, a, b) _mm256_unpack##half##_ps(a, b)
#define VEC_UNPACK_PAIRS(half, a, b)                                                                         \
    _mm256_castpd_ps(_mm256_unpack##half##_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)))
#define VEC_ADD _mm256_add_ps
#define VEC_SUB _mm256_sub_ps
#define VEC_MUL _mm256_mul_ps
#define VEC_ABS(x) _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x)
#define VEC_TIMES_POWER(x, n)                                                                                \
    _mm256_castsi256_ps(                                                                                     \
        _mm256_add_epi32(_mm256_castps_si256(x), _mm256_slli_epi32(_mm256_castps_si256(n), 23)))
#define VEC_WHERE(a, b, x) _mm256_and_ps(x, _mm256_cmp_ps(a, b, _CMP_GT_OQ))
#elif defined(TADA_SET_NEON)
typedef float32x4_t vec;
enum { WIDTH = 4 };
#define VEC_LOAD vld1q_f32
#define VEC_STORE vst1q_f32
#define VEC_SET vdupq_n_f32
#define VEC_FMA(a, b, c) vfmaq_f32(c, a, b)
#define VEC_HALF(p) vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)))
#define VEC_SUM vaddvq_f32
#define VEC_TOP vmaxnmvq_f32
/* As on x86: the second operand where the first is not a number. */
#define VEC_MAX vmaxnmq_f32
#define VEC_ADD vaddq_f32
#define VEC_SUB vsubq_f32
#define VEC_MUL vmulq_f32
#define VEC_ABS vabsq_f32
#define VEC_TIMES_POWER(x, n)                                                                                \
    vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(x), vshlq_n_u32(vreinterpretq_u32_f32(n), 23)))
#define VEC_WHERE(a, b, x) vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), vcgtq_f32(a, b)))
#else
typedef float vec;
enum { WIDTH = 1 };
#define VEC_LOAD(p) (*(p))
#define VEC_STORE(p, v) (*(p) = (v))
#define VEC_SET(x) (x)
#define VEC_FMA(a, b, c) ((a) * (b) + (c))
#define VEC_HALF(p) tada_half_to_float(*(p))
#define VEC_SUM(x) (x)
#define VEC_TOP(x) (x)
#define VEC_MAX(a, b) ((a) > (b) ? (a) : (b))
#define VEC_ADD(a, b) ((a) + (b))
#define VEC_SUB(a, b) ((a) - (b))
#define VEC_MUL(a, b) ((a) * (b))
#define VEC_ABS fabsf
static inline float times_power(float x, float n)
{
    union {
        float f;
        uint32_t i;
    } product = {x}, shift = {n};
    product.i += shift.i << 23;
    return product.f;
}
#define VEC_TIMES_POWER times_power
#define VEC_WHERE(a, b, x) ((a) > (b) ? (x) : 0.0f)
#endif

#endif
