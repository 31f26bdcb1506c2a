/*
 * Attention on integers: for many rows, the codes of a head become integers of 16 bits once, so that what is
 * left to do for each row is to multiply and to add. Included by set.h.
 */

/* Sums of a row's weights as integers, at most: with integers of 16 bits their sum stays within 32 bits. */
static const float integers_sum = 65500.0f, integers_top = 32767.0f;

#if defined(__AVX512F__)
/* 16 columns of 4 rows: the codes of two rows to a column side by side, twice. */
ALWAYS_INLINE void widen64(const uint8_t *bytes, __m512i raise, __m512i factor, __m512i offset,
                           int16_t *first, int16_t *second)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    __m512i half[2];
    UNROLL
    for (int h = 0; h < 2; h++) {
        __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)(bytes + 32 * h));
        half[h] = _mm512_mullo_epi16(_mm512_cvtepu8_epi16(x), raise);
        half[h] = _mm512_add_epi16(_mm512_mulhrs_epi16(half[h], factor), offset);
    }
    _mm512_storeu_si512(first, _mm512_permutex2var_epi32(half[0], even, half[1]));
    _mm512_storeu_si512(second, _mm512_permutex2var_epi32(half[0], odd, half[1]));
}
#elif defined(__AVX2__)
ALWAYS_INLINE void widen64(const uint8_t *bytes, __m256i raise, __m256i factor, __m256i offset,
                           int16_t *first, int16_t *second)
{
    UNROLL
    for (int i = 0; i < 2; i++) {
        __m256 half[2];
        UNROLL
        for (int h = 0; h < 2; h++) {
            __m128i y = _mm_loadu_si128((const __m128i *)(const void *)(bytes + 32 * i + 16 * h));
            __m256i x = _mm256_mullo_epi16(_mm256_cvtepu8_epi16(y), raise);
            half[h] = _mm256_castsi256_ps(_mm256_add_epi16(_mm256_mulhrs_epi16(x, factor), offset));
        }
        __m256i even = _mm256_castps_si256(_mm256_shuffle_ps(half[0], half[1], 0x88));
        __m256i odd = _mm256_castps_si256(_mm256_shuffle_ps(half[0], half[1], 0xdd));
        _mm256_storeu_si256((__m256i *)(void *)(first + 16 * i), _mm256_permute4x64_epi64(even, 0xd8));
        _mm256_storeu_si256((__m256i *)(void *)(second + 16 * i), _mm256_permute4x64_epi64(odd, 0xd8));
    }
}
#endif

static void code_tops(const uint8_t *from, int rows, int columns, int group, uint8_t *tops)
{
    for (int four = 0; four < rows / 4; four++) {
        for (int g = 0; g < columns / group; g++) {
            uint8_t *to = tops + g * rows + 4 * four;
#if defined(__AVX2__)
            __m256i most = _mm256_setzero_si256();
            for (int i = 0; i < group * 4; i += 32) {
                const void *line = from + i;
                most = _mm256_max_epu8(most, _mm256_loadu_si256((const __m256i *)line));
            }
            __m128i x = _mm_max_epu8(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
            x = _mm_max_epu8(x, _mm_shuffle_epi32(x, 0x4e));
            int four_tops = _mm_cvtsi128_si32(_mm_max_epu8(x, _mm_shuffle_epi32(x, 0xb1)));
            memcpy(to, &four_tops, 4);
#else
            memset(to, 0, 4);
            for (int i = 0; i < group * 4; i++) {
                to[i % 4] = from[i] > to[i % 4] ? from[i] : to[i % 4];
            }
#endif
            from += group * 4;
        }
    }
}

static void widen(const tada_widen *w)
{
    size_t pair = 2 * (size_t)w->columns;
    const uint8_t *from = w->codes;
    for (int four = 0; four < w->rows / 4; four++) {
        for (int column = 0; column < w->columns; column += 16, from += 64) {
            size_t at = (size_t)(column / w->group * w->rows + 4 * four);
            int16_t *to = w->integers + (size_t)(2 * four) * pair + 2 * column;
#if defined(__AVX2__)
            int64_t raise, factor, offset;
            memcpy(&raise, w->raise + at, sizeof raise);
            memcpy(&factor, w->factor + at, sizeof factor);
            memcpy(&offset, w->offset + at, sizeof offset);
#if defined(__AVX512F__)
            widen64(from, _mm512_set1_epi64(raise), _mm512_set1_epi64(factor), _mm512_set1_epi64(offset), to,
                    to + pair);
#else
            widen64(from, _mm256_set1_epi64x(raise), _mm256_set1_epi64x(factor), _mm256_set1_epi64x(offset),
                    to, to + pair);
#endif
#else
            for (int i = 0; i < 64; i++) {
                int32_t product = from[i] * w->raise[at + (size_t)(i % 4)] * w->factor[at + (size_t)(i % 4)];
                int32_t word = ((product + (1 << 14)) >> 15) + w->offset[at + (size_t)(i % 4)];
                to[(size_t)(i % 4 / 2) * pair + (size_t)(i / 4 * 2 + i % 2)] = (int16_t)word;
            }
#endif
        }
    }
}

/* 64 values, none negative, as integers. */
ALWAYS_INLINE void weights64_to_integers(const float *x, float factor, int16_t *to)
{
#if defined(__AVX512F__)
    UNROLL
    for (int i = 0; i < CELLS; i += 16) {
        __m512i y = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(factor)));
        _mm256_storeu_si256((__m256i *)(void *)(to + i), _mm512_cvtepi32_epi16(y));
    }
#elif defined(__AVX2__)
    for (int i = 0; i < CELLS; i += 16) {
        __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(factor)));
        __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i + 8), _mm256_set1_ps(factor)));
        __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
        _mm256_storeu_si256((__m256i *)(void *)(to + i), both);
    }
#else
    for (int i = 0; i < CELLS; i++) {
        float y = round_even(x[i] * factor);
        to[i] = (int16_t)(y < integers_top ? y : integers_top);
    }
#endif
}

static void weights_to_integers(const float *weights, size_t ldw, int m, const float *totals,
                                int16_t *integers, float *inverse)
{
    for (int r = 0; r < m; r++) {
        /* No weight is larger than 1, nor than the sum. */
        float by_sum = totals[r] * (1.0f / integers_sum),
              by_top = fminf(totals[r], 1.0f) * (1.0f / integers_top);
        /* Not finite when a weight is not: then so is the sum. */
        float unit = by_sum > by_top || !(by_sum <= by_top) ? by_sum : by_top;
        float factor = fold_inverse(unit);
        weights64_to_integers(weights + (size_t)r * ldw, factor, integers + (size_t)r * CELLS);
        inverse[r] = factor > 0 || !(unit <= 1.0f) ? unit : 0.0f;
    }
}

/* n: a constant where it matters, as b then stays in registers. */
ALWAYS_INLINE void rows_dot_of(const float *a, size_t lda, int m, int n, const float *b, float *out)
{
    for (int first = 0; first < m; first += 4) {
        int rows = m - first < 4 ? m - first : 4;
        vec sum[4];
        float total[4];
        UNROLL
        for (int r = 0; r < 4; r++) {
            const float *x = a + (size_t)(first + (r < rows ? r : rows - 1)) * lda;
            sum[r] = VEC_SET(0.0f);
            UNROLL
            for (int i = 0; i < n; i += WIDTH) {
                sum[r] = VEC_FMA(VEC_LOAD(x + i), VEC_LOAD(b + i), sum[r]);
            }
        }
        sums_of_four(sum, total);
        memcpy(out + first, total, (size_t)rows * sizeof *out);
    }
}

/* out[r] = sum(a[r][i] * b[i]). */
static void rows_dot(const float *a, size_t lda, int m, int n, const float *b, float *out)
{
    if (n == 64) {
        rows_dot_of(a, lda, m, 64, b, out);
    } else {
        rows_dot_of(a, lda, m, n, b, out);
    }
}

#if defined(__AVX2__)

/* Sums that are kept in registers, in rows and vectors. */
enum { integers_high = 6, integers_wide = WIDTH == 16 ? 4 : 2 };

ALWAYS_INLINE veci multiply_integers(veci sum, veci integers, veci x)
{
#if defined(__AVX512VNNI__)
    return _mm512_dpwssd_epi32(sum, integers, x);
#elif defined(__AVXVNNI__)
    return _mm256_dpwssd_avx_epi32(sum, integers, x);
#else
    return INT_ADD(sum, INT_MADD(integers, x));
#endif
}

/* rows x vectors of sums in registers; both are constants at every call. bias: of the columns of each vector.
 */
ALWAYS_INLINE void integers_block(const tada_integers_dot *a, const float *const *bias, int row, int column,
                                  int rows, int vectors)
{
    veci sum[integers_high][integers_wide];
    const int16_t *integers = a->integers + 2 * (size_t)column;
    const char *x = (const char *)(a->x + (size_t)row * a->ldx);
    size_t ldx = a->ldx * sizeof *a->x;
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int j = 0; j < vectors; j++) {
            sum[r][j] = INT_ZERO();
        }
    }
    for (int i = 0; i < a->n_pairs; i++) {
        veci pair[integers_wide];
        UNROLL
        for (int j = 0; j < vectors; j++) {
            pair[j] = INT_LOAD(integers + 2 * j * WIDTH);
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            veci both = spread(x + (size_t)r * ldx);
            UNROLL
            for (int j = 0; j < vectors; j++) {
                sum[r][j] = multiply_integers(sum[r][j], pair[j], both);
            }
        }
        integers += 2 * (size_t)a->n;
        x += 4;
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        vec unit = VEC_SET(a->inverse[row + r] * a->unit);
        float *out = a->out + (size_t)(row + r) * a->ldo + (size_t)column;
        UNROLL
        for (int j = 0; j < vectors; j++) {
            vec y = bias ? VEC_SET(bias[j][row + r]) : VEC_LOAD(out + j * WIDTH);
            VEC_STORE(out + j * WIDTH, VEC_FMA(unit, INT_FLOAT(sum[r][j]), y));
        }
    }
}

ALWAYS_INLINE void integers_rows(const tada_integers_dot *a, const float *const *bias, int column,
                                 int vectors)
{
    int r = 0;
    for (; r + integers_high <= a->m; r += integers_high) {
        integers_block(a, bias, r, column, integers_high, vectors);
    }
    for (; r + 2 <= a->m; r += 2) {
        integers_block(a, bias, r, column, 2, vectors);
    }
    for (; r < a->m; r++) {
        integers_block(a, bias, r, column, 1, vectors);
    }
}

ALWAYS_INLINE void integers_columns(const tada_integers_dot *a, int column, int vectors)
{
    const float *bias[integers_wide];
    for (int j = 0; a->bias && j < vectors; j++) {
        bias[j] = a->bias + (column + j * WIDTH) / a->group * a->m;
    }
    if (a->bias) {
        integers_rows(a, bias, column, vectors);
    } else {
        integers_rows(a, NULL, column, vectors);
    }
}

static void integers_dot(const tada_integers_dot *a)
{
    int column = 0;
    for (; column + integers_wide * WIDTH <= a->n; column += integers_wide * WIDTH) {
        integers_columns(a, column, integers_wide);
    }
    for (; column < a->n; column += WIDTH) {
        integers_columns(a, column, 1);
    }
}

#else

static void integers_dot(const tada_integers_dot *a)
{
    for (int r = 0; r < a->m; r++) {
        const int16_t *x = a->x + (size_t)r * a->ldx;
        float *out = a->out + (size_t)r * a->ldo;
        for (int j = 0; j < a->n; j += 16) {
            int32_t sum[16] = {0};
            for (int i = 0; i < a->n_pairs; i++) {
                const int16_t *integers = a->integers + ((size_t)i * (size_t)a->n + (size_t)j) * 2;
                for (int l = 0; l < 16; l++) {
                    sum[l] += integers[2 * l] * x[2 * i] + integers[2 * l + 1] * x[2 * i + 1];
                }
            }
            for (int l = 0; l < 16; l++) {
                float y = a->bias ? a->bias[j / a->group * a->m + r] : out[j + l];
                out[j + l] = a->inverse[r] * a->unit * (float)sum[l] + y;
            }
        }
    }
}

#endif
