/* Rows of floats as integers that codes are multiplied by. Included by codes.h, which says how they
 * lie. */

/* 16 values as integers into 32 bytes; what is not a number ends up anywhere in range. */
ALWAYS_INLINE void fold16(const float *x, const float *scale, float inverse, int16_t *to)
{
#if defined(__AVX512F__) && BYTE_DOT
    __m512 v = _mm512_loadu_ps(x);
    v = scale ? _mm512_mul_ps(v, _mm512_loadu_ps(scale)) : v;
    __m512i low = _mm512_cvtps_epi32(_mm512_mul_ps(v, _mm512_set1_ps(inverse)));
    /* The low byte is signed, so the high one is that of the nearest multiple of 256. */
    __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(128));
    __m512i both = _mm512_mask_blend_epi8(0x2222222222222222ull, low, high);
    both = _mm512_shuffle_epi8(
        both, _mm512_broadcast_i32x4(_mm_setr_epi8(1, 5, 9, 13, 0, 4, 8, 12, 1, 5, 9, 13, 0, 4, 8, 12)));
    both = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 0, 2, 4, 6), both);
    _mm256_storeu_si256((__m256i *)(void *)to, _mm512_castsi512_si256(both));
#elif defined(__AVX2__)
    __m256i part[2];
    for (int h = 0; h < 2; h++) {
        __m256 v = _mm256_loadu_ps(x + 8 * h);
        v = scale ? _mm256_mul_ps(v, _mm256_loadu_ps(scale + 8 * h)) : v;
        part[h] = _mm256_cvtps_epi32(_mm256_mul_ps(v, _mm256_set1_ps(inverse)));
    }
#if BYTE_DOT
    const __m256i order =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(1, 5, 9, 13, 0, 4, 8, 12, 1, 5, 9, 13, 0, 4, 8, 12));
    for (int h = 0; h < 2; h++) {
        __m256i high = _mm256_add_epi32(part[h], _mm256_set1_epi32(128));
        __m256i both = _mm256_blendv_epi8(part[h], high, _mm256_set1_epi32(0xff00));
        both = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(both, order), 0x08);
        _mm_storeu_si128((__m128i *)(void *)(to + 8 * h), _mm256_castsi256_si128(both));
    }
#else
    /* Packing goes lane by lane and cuts to the range of 16 bits. */
    part[0] = _mm256_shuffle_epi32(part[0], 0xd8);
    part[1] = _mm256_shuffle_epi32(part[1], 0xd8);
    __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi32(part[0], part[1]), 0xd8);
    _mm256_storeu_si256((__m256i *)(void *)to, both);
#endif
#else
    static const int place[4] = {0, 2, 1, 3};
    for (int l = 0; l < LANES; l++) {
        float v = round_even((scale ? x[l] * scale[l] : x[l]) * inverse);
        v = v > -fold_top ? v : -fold_top;
        to[l / 4 * 4 + place[l % 4]] = (int16_t)(v < fold_top ? v : fold_top);
    }
#endif
}

/* 32 values. */
ALWAYS_INLINE void fold32(const float *x, const float *scale, float inverse, int16_t *to)
{
#if defined(__AVX512F__) && BYTE_DOT
    __m512i part[2];
    for (int h = 0; h < 2; h++) {
        __m512 v = _mm512_loadu_ps(x + 16 * h);
        v = scale ? _mm512_mul_ps(v, _mm512_loadu_ps(scale + 16 * h)) : v;
        part[h] = _mm512_cvtps_epi32(_mm512_mul_ps(v, _mm512_set1_ps(inverse)));
    }
    /* Packing goes lane by lane: a lane has four values of either half. */
    __m512i low = _mm512_packs_epi32(part[0], part[1]);
    __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(128));
    __m512i both = _mm512_mask_blend_epi8(0xaaaaaaaaaaaaaaaaull, low, high);
    both = _mm512_shuffle_epi8(
        both, _mm512_broadcast_i32x4(_mm_setr_epi8(1, 3, 5, 7, 0, 2, 4, 6, 9, 11, 13, 15, 8, 10, 12, 14)));
    both = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), both);
    _mm512_storeu_si512(to, both);
#else
    fold16(x, scale, inverse, to);
    fold16(x + 16, scale ? scale + 16 : NULL, inverse, to + 16);
#endif
}

/* A row of all tiles' rows. */
typedef struct fold_row {
    const float *x, *scale, *offset;
} fold_row;

/* Unit and bias of up to four rows from `first` on, and what the values are multiplied by to become integers.
 * `scaled` and, unless 0, n are constants at every call. */
ALWAYS_INLINE void measure_four(const tada_fold *f, const fold_row *row, int first, int rows, bool scaled,
                                int n, float *inverse)
{
    vec most[4], sum[4];
    float top[4], bias[4], unit[4];
    n = n ? n : f->n;
    UNROLL
    for (int r = 0; r < 4; r++) {
        /* Rows that are not there repeat the last one. */
        const fold_row *from = &row[r < rows ? r : rows - 1];
        most[r] = sum[r] = VEC_SET(0.0f);
        UNROLL
        for (int i = 0; i < n; i += WIDTH) {
            vec y = VEC_LOAD(from->x + i);
            most[r] = VEC_MAX(VEC_ABS(scaled ? VEC_MUL(y, VEC_LOAD(from->scale + i)) : y), most[r]);
            sum[r] = scaled ? VEC_FMA(y, VEC_LOAD(from->offset + i), sum[r]) : VEC_ADD(y, sum[r]);
        }
    }
    tops_of_four(most, top);
    sums_of_four(sum, bias);
    for (int r = 0; r < 4; r++) {
        unit[r] = fold_unit(top[r], f->n);
        inverse[r] = fold_inverse(unit[r]);
    }
    for (int r = 0; r < rows; r++) {
        f->inverse[first + r] = unit[r];
        f->bias[first + r] = bias[r]; /* not finite when some x is not */
    }
}

static const uint8_t *fold_measure(const tada_fold *f, const fold_row *row, int total, float *inverse)
{
    const uint8_t *next = f->next;
    size_t ahead = fetch_bytes(next, f->next_end, (size_t)(total + 3) / 2);
    for (int r = 0; r < total; r += 4) {
        int rows = total - r < 4 ? total - r : 4;
        next = next < f->next_end ? fetch(next, ahead) : next;
        if (f->scale && f->n == 64) {
            measure_four(f, row + r, r, rows, true, 64, inverse + r);
        } else if (f->scale) {
            measure_four(f, row + r, r, rows, true, 0, inverse + r);
        } else {
            measure_four(f, row + r, r, rows, false, 0, inverse + r);
        }
    }
    return next;
}

/* Two passes over all rows: within one row the second would wait for the first. What comes next is fetched in
 * both, as evenly as can be. */
static void fold(const tada_fold *f)
{
    int total = f->n_tiles * f->m, r = 0;
    fold_row row[TADA_ROWS];
    float inverse[TADA_ROWS + 3];
    for (int j = 0; j < f->n_tiles; j++) {
        size_t factors = f->scale ? (size_t)j * f->factors_tile : 0;
        for (int i = 0; i < f->m; i++, r++) {
            row[r].x = f->x + (size_t)j * f->x_tile + (size_t)i * f->ldx;
            row[r].scale = f->scale ? f->scale + factors : NULL;
            row[r].offset = f->scale ? f->offset + factors : NULL;
        }
    }
    const uint8_t *next = fold_measure(f, row, total, inverse);
    size_t ahead = fetch_bytes(next, f->next_end, (size_t)total);
    for (r = 0; r < total; r++) {
        next = next < f->next_end ? fetch(next, ahead) : next;
        int16_t *to = f->folded + (size_t)r * f->ldf;
        int i = 0;
        if (f->scale) {
            for (; i + 32 <= f->n; i += 32) {
                fold32(row[r].x + i, row[r].scale + i, inverse[r], to + i);
            }
        } else {
            for (; i + 32 <= f->n; i += 32) {
                fold32(row[r].x + i, NULL, inverse[r], to + i);
            }
        }
        if (i < f->n) {
            fold16(row[r].x + i, f->scale ? row[r].scale + i : NULL, inverse[r], to + i);
        }
    }
}
