/*
 * The intrinsics of AVX-512 and VNNI that the kernels use, for a CPU that has AVX2 only: so that their sets
 * can be tested there. Included ahead of the files of these sets (-DTADA_EMULATED=ON); EMULATED_512 and
 * EMULATED_VNNI say what is to be there. gcc and clang keep a vector of 64 bytes in memory or in two
 * registers.
 */
#ifndef TADA_EMULATED_AVX512_H
#define TADA_EMULATED_AVX512_H

/* Before the macros below, which would have it offer what the CPU does not have. */
#include <immintrin.h>

#include <stdint.h>
#include <string.h>

#define EMULATED static inline __attribute__((always_inline))

/* ---- dot products of AVX-VNNI ---- */

/* Bytes without a sign times those with one, four to a sum, which wraps; no two products leave 32 bits. */
EMULATED __m256i emulated_dpbusd(__m256i sum, __m256i a, __m256i b)
{
    __m256i even = _mm256_and_si256(a, _mm256_set1_epi16(255)), odd = _mm256_srli_epi16(a, 8);
    __m256i products = _mm256_madd_epi16(even, _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
    products = _mm256_add_epi32(products, _mm256_madd_epi16(odd, _mm256_srai_epi16(b, 8)));
    return _mm256_add_epi32(sum, products);
}

EMULATED __m256i emulated_dpwssd(__m256i sum, __m256i a, __m256i b)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

#if defined(EMULATED_VNNI) && !defined(EMULATED_512)
#define __AVXVNNI__ 1
#define _mm256_dpbusd_avx_epi32 emulated_dpbusd
#define _mm256_dpwssd_avx_epi32 emulated_dpwssd
#endif

#if defined(EMULATED_512)
#define __AVX512F__ 1
#if defined(EMULATED_VNNI)
#define __AVX512VNNI__ 1
#endif

typedef __m512 emulated_f;
typedef __m512d emulated_d;
typedef __m512i emulated_i;

typedef union emulated {
    emulated_f f;
    emulated_d d;
    emulated_i i;
    __m128 f4[4];
    __m256 f2[2];
    __m256d d2[2];
    __m256i i2[2];
    float floats[16];
    int64_t i64[8];
    int32_t i32[16];
    int16_t i16[32];
    int8_t i8[64];
} emulated;

/* ---- what each half does for itself ---- */

#define HALVES_1(to, from, name)                                                                             \
    EMULATED emulated_##to emulated_##name(emulated_##from a)                                                \
    {                                                                                                        \
        emulated x = {.from = a}, y;                                                                         \
        y.to##2 [0] = _mm256_##name(x.from##2 [0]);                                                          \
        y.to##2 [1] = _mm256_##name(x.from##2 [1]);                                                          \
        return y.to;                                                                                         \
    }
#define HALVES_2(type, name)                                                                                 \
    EMULATED emulated_##type emulated_##name(emulated_##type a, emulated_##type b)                           \
    {                                                                                                        \
        emulated x = {.type = a}, y = {.type = b};                                                           \
        x.type##2 [0] = _mm256_##name(x.type##2 [0], y.type##2 [0]);                                         \
        x.type##2 [1] = _mm256_##name(x.type##2 [1], y.type##2 [1]);                                         \
        return x.type;                                                                                       \
    }
#define HALVES_3(type, name, half)                                                                           \
    EMULATED emulated_##type emulated_##name(emulated_##type a, emulated_##type b, emulated_##type c)        \
    {                                                                                                        \
        emulated x = {.type = a}, y = {.type = b}, z = {.type = c};                                          \
        x.type##2 [0] = half(x.type##2 [0], y.type##2 [0], z.type##2 [0]);                                   \
        x.type##2 [1] = half(x.type##2 [1], y.type##2 [1], z.type##2 [1]);                                   \
        return x.type;                                                                                       \
    }
#define HALVES_SHIFT(name, count)                                                                            \
    EMULATED __m512i emulated_##name(__m512i a, count by)                                                    \
    {                                                                                                        \
        emulated x = {.i = a};                                                                               \
        x.i2[0] = _mm256_##name(x.i2[0], by);                                                                \
        x.i2[1] = _mm256_##name(x.i2[1], by);                                                                \
        return x.i;                                                                                          \
    }

HALVES_1(f, i, cvtepi32_ps)
HALVES_1(i, f, cvtps_epi32)
HALVES_1(i, f, cvttps_epi32)
#define _mm512_cvtepi32_ps emulated_cvtepi32_ps
#define _mm512_cvtps_epi32 emulated_cvtps_epi32
#define _mm512_cvttps_epi32 emulated_cvttps_epi32

HALVES_2(f, add_ps)
HALVES_2(f, max_ps)
HALVES_2(f, min_ps)
HALVES_2(f, mul_ps)
HALVES_2(f, sub_ps)
HALVES_2(f, unpackhi_ps)
HALVES_2(f, unpacklo_ps)
HALVES_2(d, unpackhi_pd)
HALVES_2(d, unpacklo_pd)
HALVES_3(f, fmadd_ps, _mm256_fmadd_ps)
#define _mm512_add_ps emulated_add_ps
#define _mm512_max_ps emulated_max_ps
#define _mm512_min_ps emulated_min_ps
#define _mm512_mul_ps emulated_mul_ps
#define _mm512_sub_ps emulated_sub_ps
#define _mm512_unpackhi_ps emulated_unpackhi_ps
#define _mm512_unpacklo_ps emulated_unpacklo_ps
#define _mm512_unpackhi_pd emulated_unpackhi_pd
#define _mm512_unpacklo_pd emulated_unpacklo_pd
#define _mm512_fmadd_ps emulated_fmadd_ps

HALVES_2(i, add_epi16)
HALVES_2(i, add_epi32)
HALVES_2(i, madd_epi16)
HALVES_2(i, max_epi32)
HALVES_2(i, mulhrs_epi16)
HALVES_2(i, mullo_epi16)
HALVES_2(i, packs_epi32)
HALVES_2(i, shuffle_epi8)
HALVES_2(i, sub_epi32)
HALVES_3(i, dpbusd_epi32, emulated_dpbusd)
HALVES_3(i, dpwssd_epi32, emulated_dpwssd)
#define _mm512_add_epi16 emulated_add_epi16
#define _mm512_add_epi32 emulated_add_epi32
#define _mm512_madd_epi16 emulated_madd_epi16
#define _mm512_max_epi32 emulated_max_epi32
#define _mm512_mulhrs_epi16 emulated_mulhrs_epi16
#define _mm512_mullo_epi16 emulated_mullo_epi16
#define _mm512_packs_epi32 emulated_packs_epi32
#define _mm512_shuffle_epi8 emulated_shuffle_epi8
#define _mm512_sub_epi32 emulated_sub_epi32
#define _mm512_dpbusd_epi32 emulated_dpbusd_epi32
#define _mm512_dpwssd_epi32 emulated_dpwssd_epi32

HALVES_SHIFT(sll_epi16, __m128i)
HALVES_SHIFT(srl_epi16, __m128i)
HALVES_SHIFT(slli_epi16, int)
HALVES_SHIFT(slli_epi32, int)
HALVES_SHIFT(srai_epi32, int)
HALVES_SHIFT(srli_epi16, int)
HALVES_SHIFT(srli_epi32, int)
#define _mm512_sll_epi16 emulated_sll_epi16
#define _mm512_srl_epi16 emulated_srl_epi16
#undef _mm512_slli_epi16
#undef _mm512_slli_epi32
#undef _mm512_srai_epi32
#undef _mm512_srli_epi16
#undef _mm512_srli_epi32
#define _mm512_slli_epi16(a, by) emulated_slli_epi16(a, (int)(by))
#define _mm512_slli_epi32(a, by) emulated_slli_epi32(a, (int)(by))
#define _mm512_srai_epi32(a, by) emulated_srai_epi32(a, (int)(by))
#define _mm512_srli_epi16(a, by) emulated_srli_epi16(a, (int)(by))
#define _mm512_srli_epi32(a, by) emulated_srli_epi32(a, (int)(by))

/* ---- what both compilers do with any vector ---- */

typedef int16_t emulated_i16 __attribute__((vector_size(64)));
typedef int32_t emulated_i32 __attribute__((vector_size(64)));
typedef int8_t emulated_i8 __attribute__((vector_size(64)));

#undef _mm512_setr4_ps
#undef _mm512_setr_epi32
#undef _mm512_setr_epi64
#undef _mm512_setr_ps
#define _mm512_and_si512(a, b) ((__m512i)((__m512i)(a) & (__m512i)(b)))
#define _mm512_or_si512(a, b) ((__m512i)((__m512i)(a) | (__m512i)(b)))
#define _mm512_castpd_ps(a) ((__m512)(__m512d)(a))
#define _mm512_castps_pd(a) ((__m512d)(__m512)(a))
#define _mm512_castps_si512(a) ((__m512i)(__m512)(a))
#define _mm512_castsi512_ps(a) ((__m512)(__m512i)(a))
#define _mm512_set1_epi16(a) ((__m512i)((int16_t)(a) - (emulated_i16){0}))
#define _mm512_set1_epi32(a) ((__m512i)((int32_t)(a) - (emulated_i32){0}))
#define _mm512_set1_epi64(a) ((__m512i)((long long)(a) - (__m512i){0}))
#define _mm512_set1_epi8(a) ((__m512i)((int8_t)(a) - (emulated_i8){0}))
#define _mm512_set1_ps(a) ((__m512)((float)(a) - (__m512){0}))
#define _mm512_setr4_ps(a, b, c, d) ((__m512){a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d})
#define _mm512_setr_epi32(...) ((__m512i)(emulated_i32){__VA_ARGS__})
#define _mm512_setr_epi64(...) ((__m512i){__VA_ARGS__})
#define _mm512_setr_ps(...) ((__m512){__VA_ARGS__})
#define _mm512_setzero_si512() ((__m512i){0})

/* ---- memory ---- */

EMULATED __m512 emulated_loadu_ps(const void *from)
{
    __m512 x;
    memcpy(&x, from, sizeof x);
    return x;
}

EMULATED void emulated_storeu_ps(void *to, __m512 x)
{
    memcpy(to, &x, sizeof x);
}

#define _mm512_loadu_ps emulated_loadu_ps
#define _mm512_loadu_si512(from) ((__m512i)emulated_loadu_ps(from))
#define _mm512_storeu_ps emulated_storeu_ps
#define _mm512_storeu_si512(to, x) emulated_storeu_ps(to, (__m512)(__m512i)(x))

/* ---- from and to other widths ---- */

EMULATED __m512i emulated_broadcast_i32x4(__m128i a)
{
    __m256i half = _mm256_broadcastsi128_si256(a);
    return (emulated){.i2 = {half, half}}.i;
}

EMULATED __m512 emulated_cvtph_ps(__m256i a)
{
    __m256 low = _mm256_cvtph_ps(_mm256_castsi256_si128(a));
    return (emulated){.f2 = {low, _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1))}}.f;
}

EMULATED __m512i emulated_cvtepu8_epi16(__m256i a)
{
    __m256i low = _mm256_cvtepu8_epi16(_mm256_castsi256_si128(a));
    return (emulated){.i2 = {low, _mm256_cvtepu8_epi16(_mm256_extracti128_si256(a, 1))}}.i;
}

/* The low bits of each lane, whatever the others are. */
EMULATED __m256i emulated_cvtepi32_epi16(__m512i a)
{
    emulated x = {.i = a}, y;
    for (int l = 0; l < 16; l++) {
        y.i16[l] = x.i16[2 * l];
    }
    return y.i2[0];
}

EMULATED __m128i emulated_cvtepi32_epi8(__m512i a)
{
    emulated x = {.i = a}, y;
    for (int l = 0; l < 16; l++) {
        y.i8[l] = x.i8[4 * l];
    }
    return _mm256_castsi256_si128(y.i2[0]);
}

EMULATED __m256i emulated_castsi512_si256(__m512i a)
{
    return (emulated){.i = a}.i2[0];
}

EMULATED __m128 emulated_extractf32x4_ps(__m512 a, int which)
{
    return (emulated){.f = a}.f4[which];
}

#undef _mm512_extractf32x4_ps
#undef _mm512_cvtph_ps
#define _mm512_broadcast_i32x4 emulated_broadcast_i32x4
#define _mm512_cvtph_ps emulated_cvtph_ps
#define _mm512_cvtepu8_epi16 emulated_cvtepu8_epi16
#define _mm512_cvtepi32_epi16 emulated_cvtepi32_epi16
#define _mm512_cvtepi32_epi8 emulated_cvtepi32_epi8
#define _mm512_castsi512_si256 emulated_castsi512_si256
#define _mm512_castps512_ps128(a) emulated_extractf32x4_ps(a, 0)
#define _mm512_extractf32x4_ps emulated_extractf32x4_ps

/* ---- across lanes ---- */

EMULATED __m512 emulated_permute_ps(__m512 a, unsigned order)
{
    emulated x = {.f = a}, y;
    for (unsigned l = 0; l < 16; l++) {
        y.i32[l] = x.i32[l / 4 * 4 + (order >> l % 4 * 2 & 3)];
    }
    return y.f;
}

EMULATED __m512 emulated_shuffle_f32x4(__m512 a, __m512 b, unsigned order)
{
    emulated x = {.f = a}, y = {.f = b};
    return (emulated){
        .f4 = {x.f4[order & 3], x.f4[order >> 2 & 3], y.f4[order >> 4 & 3], y.f4[order >> 6 & 3]}}
        .f;
}

EMULATED __m512i emulated_permutexvar_epi64(__m512i order, __m512i a)
{
    emulated o = {.i = order}, x = {.i = a}, y;
    for (int l = 0; l < 8; l++) {
        y.i64[l] = x.i64[o.i64[l] & 7];
    }
    return y.i;
}

EMULATED __m512i emulated_permutex2var_epi32(__m512i a, __m512i order, __m512i b)
{
    emulated o = {.i = order}, from[2] = {{.i = a}, {.i = b}}, y;
    for (int l = 0; l < 16; l++) {
        y.i32[l] = from[o.i32[l] >> 4 & 1].i32[o.i32[l] & 15];
    }
    return y.i;
}

/* In the order that the compilers take: halves, then halves of those. */
EMULATED float emulated_reduce_add_ps(__m512 a)
{
    emulated x = {.f = a};
    for (int n = 8; n > 0; n /= 2) {
        for (int l = 0; l < n; l++) {
            x.floats[l] = x.floats[l] + x.floats[l + n];
        }
    }
    return x.floats[0];
}

/* Of halves the upper one first, as gcc does: the second counts where one is not a number. */
EMULATED float emulated_reduce_max_ps(__m512 all)
{
    emulated x = {.f = all};
    for (int n = 8; n > 0; n /= 2) {
        for (int l = 0; l < n; l++) {
            float a = n > 2 ? x.floats[l + n] : x.floats[l], b = n > 2 ? x.floats[l] : x.floats[l + n];
            x.floats[l] = a > b ? a : b;
        }
    }
    return x.floats[0];
}

#undef _mm512_permute_ps
#undef _mm512_shuffle_f32x4
#define _mm512_permute_ps emulated_permute_ps
#define _mm512_shuffle_f32x4 emulated_shuffle_f32x4
#define _mm512_permutexvar_epi64 emulated_permutexvar_epi64
#define _mm512_permutex2var_epi32 emulated_permutex2var_epi32
#define _mm512_reduce_add_ps emulated_reduce_add_ps
#define _mm512_reduce_max_ps emulated_reduce_max_ps

/* ---- masks and signs ---- */

EMULATED __m512 emulated_abs_ps(__m512 a)
{
    return (__m512)((emulated_i32)a & 0x7fffffff);
}

EMULATED __mmask16 emulated_cmp_ps_mask(__m512 a, __m512 b, int how)
{
    emulated x = {.f = a}, y = {.f = b};
    unsigned mask = 0;
    if (how != _CMP_GT_OQ) {
        __builtin_trap(); /* no other is used */
    }
    for (int l = 0; l < 16; l++) {
        mask |= (unsigned)(x.floats[l] > y.floats[l]) << l;
    }
    return (__mmask16)mask;
}

EMULATED __mmask16 emulated_test_epi32_mask(__m512i a, __m512i b)
{
    emulated x = {.i = a & b};
    unsigned mask = 0;
    for (int l = 0; l < 16; l++) {
        mask |= (unsigned)(x.i32[l] != 0) << l;
    }
    return (__mmask16)mask;
}

EMULATED __m512 emulated_maskz_mov_ps(__mmask16 mask, __m512 a)
{
    emulated x = {.f = a};
    for (int l = 0; l < 16; l++) {
        x.i32[l] = mask >> l & 1 ? x.i32[l] : 0;
    }
    return x.f;
}

EMULATED __m512i emulated_mask_blend_epi8(__mmask64 mask, __m512i a, __m512i b)
{
    emulated x = {.i = a}, y = {.i = b};
    for (int l = 0; l < 64; l++) {
        x.i8[l] = mask >> l & 1 ? y.i8[l] : x.i8[l];
    }
    return x.i;
}

#undef _mm512_cmp_ps_mask
#define _mm512_abs_ps emulated_abs_ps
#define _mm512_cmp_ps_mask emulated_cmp_ps_mask
#define _mm512_test_epi32_mask emulated_test_epi32_mask
#define _mm512_maskz_mov_ps emulated_maskz_mov_ps
#define _mm512_mask_blend_epi8 emulated_mask_blend_epi8

#endif

#endif
