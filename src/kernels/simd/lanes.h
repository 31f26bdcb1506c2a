/*
 * The lanes of a block, PART of them in a register. Both compilers have + - * / and comparisons for such
 * vectors on every set; a comparison gives -1 or 0 a lane. Included once by set.h.
 */
#ifndef TADA_KERNELS_SIMD_LANES_H
#define TADA_KERNELS_SIMD_LANES_H

#if defined(__AVX2__) || defined(TADA_SET_NEON)
typedef vec lanes;
enum { PART = WIDTH };
#else
typedef float lanes __attribute__((vector_size(16)));
enum { PART = 4 };
#endif
typedef int32_t flags __attribute__((vector_size(PART * 4)));

/* The second operand where one is not a number, which the instructions for this do on x86 only. */
#if defined(__AVX512F__)
#define LOWER(a, b) _mm512_min_ps(a, b)
#define HIGHER(a, b) _mm512_max_ps(a, b)
#define FLAGS_HIGHER(a, b) (flags) _mm512_max_epi32((__m512i)(a), (__m512i)(b))
#define ANY(m) (_mm512_test_epi32_mask((__m512i)(m), (__m512i)(m)) != 0)
#elif defined(__AVX2__)
#define LOWER(a, b) _mm256_min_ps(a, b)
#define HIGHER(a, b) _mm256_max_ps(a, b)
#define FLAGS_HIGHER(a, b) (flags) _mm256_max_epi32((__m256i)(a), (__m256i)(b))
#define ANY(m) (!_mm256_testz_si256((__m256i)(m), (__m256i)(m)))
#else
#define LOWER(a, b) lanes_pick((flags)((a) < (b)), a, b)
#define HIGHER(a, b) lanes_pick((flags)((a) > (b)), a, b)
#define FLAGS_HIGHER(a, b) flags_pick((flags)((a) > (b)), a, b)
#if defined(TADA_SET_NEON)
#define ANY(m) (vmaxvq_u32((uint32x4_t)(m)) != 0)
#else
#define ANY(m) (((m)[0] | (m)[1] | (m)[2] | (m)[3]) != 0)
#endif
#endif

ALWAYS_INLINE lanes lanes_load(const float *x)
{
    lanes value;
    memcpy(&value, x, sizeof value);
    return value;
}

ALWAYS_INLINE lanes lanes_all(float x)
{
    return x - (lanes){0};
}

ALWAYS_INLINE flags flags_pick(flags m, flags a, flags b)
{
    return (m & a) | (~m & b);
}

ALWAYS_INLINE lanes lanes_pick(flags m, lanes a, lanes b)
{
    return (lanes)flags_pick(m, (flags)a, (flags)b);
}

ALWAYS_INLINE lanes lanes_abs(lanes x)
{
    return (lanes)((flags)x & 0x7fffffff);
}

/* As round_even. */
ALWAYS_INLINE lanes lanes_round(lanes x)
{
    return (x + round_magic) - round_magic;
}

/* Integers from 0 to 255. */
ALWAYS_INLINE void lanes_store_bytes(lanes x, uint8_t *bytes)
{
#if defined(__AVX512F__)
    _mm_storeu_si128((__m128i *)(void *)bytes, _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(x)));
#elif defined(__AVX2__)
    __m256i n = _mm256_cvttps_epi32(x);
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(n), _mm256_extracti128_si256(n, 1));
    _mm_storel_epi64((__m128i *)(void *)bytes, _mm_packus_epi16(words, words));
#else
    flags n = __builtin_convertvector(x, flags);
    for (int l = 0; l < PART; l++) {
        bytes[l] = (uint8_t)n[l];
    }
#endif
}

#endif
