/* Attention on codes: integers all the way to the sum. Included by kernels_template.h. */

/* Largest folded integer: with it the sum over 256 codes of 8 bits still fits. */
static const float fold_top = 32000.0f;

static float fold(const float *x, const float *scale, const float *offset, int n, int16_t *folded,
                  float *bias)
{
    vec most = VEC_SET(0.0f), sum = VEC_SET(0.0f);
    float lane[WIDTH], top = 0;
    for (int i = 0; i < n; i += WIDTH) {
        vec y = VEC_LOAD(x + i);
        most = VEC_MAX(VEC_ABS(VEC_MUL(y, VEC_LOAD(scale + i))), most);
        sum = VEC_FMA(y, VEC_LOAD(offset + i), sum);
    }
    /* Not finite when some x is not. */
    *bias = VEC_SUM(sum);
    VEC_STORE(lane, most);
    for (int l = 0; l < WIDTH; l++) {
        top = lane[l] > top ? lane[l] : top;
    }
    float unit = top / fold_top;
    float inverse = unit > 0x1p-120f && unit < 0x1p120f ? 1.0f / unit : 0.0f;
    for (int i = 0; i < n; i += LANES) {
#if defined(__AVX2__)
        __m256i part[2];
        for (int h = 0; h < 2; h++) {
            __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i + 8 * h), _mm256_loadu_ps(scale + i + 8 * h));
            v = _mm256_mul_ps(v, _mm256_set1_ps(inverse));
            part[h] = _mm256_shuffle_epi32(_mm256_cvtps_epi32(v), 0xd8);
        }
        /* Packing goes lane by lane; what is not a number is cut to the range of 16 bits. */
        __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi32(part[0], part[1]), 0xd8);
        _mm256_storeu_si256((__m256i *)(void *)(folded + i), both);
#else
        static const int place[4] = {0, 2, 1, 3};
        for (int l = 0; l < LANES; l++) {
            float v = round_even(x[i + l] * scale[i + l] * inverse);
            v = v > -fold_top ? v : -fold_top; /* what is not a number ends here */
            folded[i + l / 4 * 4 + place[l % 4]] = (int16_t)(v < fold_top ? v : fold_top);
        }
#endif
    }
    return unit;
}

#if defined(__AVX512F__)
typedef __m512i veci;
enum { CODES = 64 };
#define INT_LOAD(p) _mm512_loadu_si512(p)
#define INT_AND _mm512_and_si512
#define INT_HIGH(x) _mm512_srli_epi16(x, 8)
#define INT_MADD _mm512_madd_epi16
#define INT_ADD _mm512_add_epi32
#define INT_SET _mm512_set1_epi32
#define INT_ZERO _mm512_setzero_si512
#define INT_FLOAT _mm512_cvtepi32_ps
#elif defined(__AVX2__)
typedef __m256i veci;
enum { CODES = 32 };
#define INT_LOAD(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define INT_AND _mm256_and_si256
#define INT_HIGH(x) _mm256_srli_epi16(x, 8)
#define INT_MADD _mm256_madd_epi16
#define INT_ADD _mm256_add_epi32
#define INT_SET _mm256_set1_epi32
#define INT_ZERO _mm256_setzero_si256
#define INT_FLOAT _mm256_cvtepi32_ps
#endif

#if defined(__AVX2__)

/* Codes of 16 columns take `PARTS` registers. */
enum { PARTS = 64 / CODES };

/*
 * Pairs of codes as 16-bit integers: the even bytes of a word are codes 0 and 2 of a column, the odd ones 1
 * and 3. `rows` and `vectors` are constants at every call.
 */
ALWAYS_INLINE void codes_block(const tada_dot *a, int row, int vector, int rows, int vectors)
{
    veci sum[4][4 * PARTS];
    const veci low = INT_SET(0x00ff00ff);
    const uint8_t *codes = a->codes + (size_t)vector * 64;
    const int16_t *x = a->x + (size_t)row * a->ldx;
    for (int r = 0; r < rows; r++) {
        for (int j = 0; j < vectors * PARTS; j++) {
            sum[r][j] = INT_ZERO();
        }
    }
    for (int i = 0; i < a->n_fours; i++) {
        for (int j = 0; j < vectors * PARTS; j++) {
            veci code = INT_LOAD(codes + j * CODES);
            veci even = INT_AND(code, low), odd = INT_HIGH(code);
            for (int r = 0; r < rows; r++) {
                int32_t pair[2];
                memcpy(pair, x + (size_t)r * a->ldx + 4 * (size_t)i, sizeof pair);
                veci both = INT_ADD(INT_MADD(even, INT_SET(pair[0])), INT_MADD(odd, INT_SET(pair[1])));
                sum[r][j] = INT_ADD(sum[r][j], both);
            }
        }
        codes += a->step;
    }
    for (int r = 0; r < rows; r++) {
        vec inverse = VEC_SET(a->inverse[row + r]), bias = VEC_SET(a->bias[row + r]);
        float *out = a->out + (size_t)(row + r) * a->ldo + (size_t)vector * 16;
        for (int j = 0; j < vectors * PARTS; j++) {
            int at = vector * 16 + j * WIDTH;
            vec y = VEC_FMA(bias, VEC_LOAD(a->offset + at), VEC_LOAD(out + j * WIDTH));
            vec scaled = VEC_FMA(inverse, VEC_LOAD(a->scale + at), VEC_SET(0.0f));
            VEC_STORE(out + j * WIDTH, VEC_FMA(scaled, INT_FLOAT(sum[r][j]), y));
        }
    }
}

static void codes_dot(const tada_dot *a)
{
    for (int r = 0; r < a->m;) {
        int left = a->m - r, rows = left >= 3 && left != 4 ? 3 : left >= 2 ? 2 : 1;
        for (int j = 0; j < a->n_vectors;) {
            int wide = a->n_vectors - j >= 2;
            if (rows == 3) {
                codes_block(a, r, j, 3, 1);
                j += 1;
            } else if (rows == 2) {
                if (wide) {
                    codes_block(a, r, j, 2, 2);
                } else {
                    codes_block(a, r, j, 2, 1);
                }
                j += wide ? 2 : 1;
            } else {
                if (wide) {
                    codes_block(a, r, j, 1, 2);
                } else {
                    codes_block(a, r, j, 1, 1);
                }
                j += wide ? 2 : 1;
            }
        }
        r += rows;
    }
}

#else

static void codes_dot(const tada_dot *a)
{
    static const int place[4] = {0, 2, 1, 3};
    for (int r = 0; r < a->m; r++) {
        for (int j = 0; j < 16 * a->n_vectors; j++) {
            const uint8_t *column = a->codes + (size_t)(j / 16) * 64 + (size_t)(j % 16) * 4;
            int32_t sum = 0;
            for (int i = 0; i < 4 * a->n_fours; i++) {
                sum += a->x[(size_t)r * a->ldx + (size_t)(i / 4 * 4 + place[i % 4])] *
                       column[(size_t)(i / 4) * a->step + (size_t)(i % 4)];
            }
            a->out[(size_t)r * a->ldo + (size_t)j] +=
                a->inverse[r] * a->scale[j] * (float)sum + a->bias[r] * a->offset[j];
        }
    }
}

#endif
