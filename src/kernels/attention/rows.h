/* Attention: sums in an order of each set's own, so not the same bit for bit. Included by set.h.
 */

static void transpose_halves(const uint16_t *rows, size_t stride, int dim, float *out)
{
    float block[CELLS][16] = {{0}}, transposed[16][CELLS];
    for (int d = 0; d < dim; d += 16) {
        int width = dim - d < 16 ? dim - d : 16;
        for (int t = 0; t < CELLS; t++) {
            half_to_float(rows + (size_t)t * stride + d, block[t], width);
        }
        transpose_floats(block[0], CELLS, 16, transposed[0]);
        memcpy(out + (size_t)d * CELLS, transposed, (size_t)width * sizeof transposed[0]);
    }
}

/* rows x columns vectors of c in registers; both are constants at every call. */
ALWAYS_INLINE void multiply_block(const float *a, size_t lda, const float *b, size_t ldb, float *c,
                                  size_t ldc, int k, bool accumulate, int rows, int columns)
{
    vec sum[6][4];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int j = 0; j < columns; j++) {
            sum[r][j] = accumulate ? VEC_LOAD(c + (size_t)r * ldc + j * WIDTH) : VEC_SET(0.0f);
        }
    }
    for (int i = 0; i < k; i++) {
        vec bv[4];
        UNROLL
        for (int j = 0; j < columns; j++) {
            bv[j] = VEC_LOAD(b + (size_t)i * ldb + j * WIDTH);
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            vec av = VEC_SET(a[(size_t)r * lda + i]);
            UNROLL
            for (int j = 0; j < columns; j++) {
                sum[r][j] = VEC_FMA(av, bv[j], sum[r][j]);
            }
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int j = 0; j < columns; j++) {
            VEC_STORE(c + (size_t)r * ldc + j * WIDTH, sum[r][j]);
        }
    }
}

static void multiply(const float *a, size_t lda, const float *b, float *c, size_t ldc, int m, int n, int k,
                     bool accumulate)
{
    /* AVX-512 and NEON have registers for 6 x 4 sums, the others for 6 x 2. */
    enum { WIDE = WIDTH == 16 || WIDTH == 4 ? 4 : 2 };
    size_t ldb = (size_t)n;
    for (int j = 0; j < n;) {
        int columns = (n - j) / WIDTH >= WIDE ? WIDE : 1;
        const float *bj = b + j;
        for (int r = 0; r < m;) {
            const float *ar = a + (size_t)r * lda;
            float *cr = c + (size_t)r * ldc + j;
            if (columns == WIDE) {
                if (m - r >= 6) {
                    multiply_block(ar, lda, bj, ldb, cr, ldc, k, accumulate, 6, WIDE);
                    r += 6;
                } else if (m - r >= 3) {
                    multiply_block(ar, lda, bj, ldb, cr, ldc, k, accumulate, 3, WIDE);
                    r += 3;
                } else {
                    multiply_block(ar, lda, bj, ldb, cr, ldc, k, accumulate, 1, WIDE);
                    r += 1;
                }
            } else if (m - r >= 6) {
                multiply_block(ar, lda, bj, ldb, cr, ldc, k, accumulate, 6, 1);
                r += 6;
            } else {
                multiply_block(ar, lda, bj, ldb, cr, ldc, k, accumulate, 1, 1);
                r += 1;
            }
        }
        j += columns * WIDTH;
    }
}

/* Four rows at once, so that one tree of additions serves them all. */
#if defined(__AVX2__)
ALWAYS_INLINE vec join(vec a, vec b, bool top)
{
    return top ? VEC_MAX(a, b) : VEC_ADD(a, b);
}

ALWAYS_INLINE __m128 join4(__m128 a, __m128 b, bool top)
{
    return top ? _mm_max_ps(a, b) : _mm_add_ps(a, b);
}

ALWAYS_INLINE __m128 tree(const vec v[4], bool top)
{
    vec a = join(VEC_UNPACK(lo, v[0], v[1]), VEC_UNPACK(hi, v[0], v[1]), top);
    vec b = join(VEC_UNPACK(lo, v[2], v[3]), VEC_UNPACK(hi, v[2], v[3]), top);
    vec c = join(VEC_UNPACK_PAIRS(lo, a, b), VEC_UNPACK_PAIRS(hi, a, b), top);
#if defined(__AVX512F__)
    return join4(join4(_mm512_castps512_ps128(c), _mm512_extractf32x4_ps(c, 1), top),
                 join4(_mm512_extractf32x4_ps(c, 2), _mm512_extractf32x4_ps(c, 3), top), top);
#else
    return join4(_mm256_castps256_ps128(c), _mm256_extractf128_ps(c, 1), top);
#endif
}

ALWAYS_INLINE void sums_of_four(const vec v[4], float out[4])
{
    _mm_storeu_ps(out, tree(v, false));
}
ALWAYS_INLINE void tops_of_four(const vec v[4], float out[4])
{
    _mm_storeu_ps(out, tree(v, true));
}
#else
ALWAYS_INLINE void sums_of_four(const vec v[4], float out[4])
{
    for (int r = 0; r < 4; r++) {
        out[r] = VEC_SUM(v[r]);
    }
}
ALWAYS_INLINE void tops_of_four(const vec v[4], float out[4])
{
    for (int r = 0; r < 4; r++) {
        out[r] = VEC_TOP(v[r]);
    }
}
#endif

/* The rows of one head lie apart, so that no prefetcher of the hardware follows them: for a vector of values,
 * its line some rows ahead. Beyond the last row nothing is lost. */
ALWAYS_INLINE void fetch_row(const uint16_t *values, size_t stride)
{
    __builtin_prefetch(values + 12 * stride);
}

/* rows x cells scores, four at most; both are constants at every call. */
ALWAYS_INLINE void scores_block(const float *a, int dim, const uint16_t *k, size_t stride, float *scores,
                                size_t lds, int rows, int cells)
{
    vec sum[4];
    float total[4], tail[4] = {0};
    int d = 0;
    UNROLL
    for (int i = 0; i < 4; i++) {
        sum[i] = VEC_SET(0.0f);
    }
    for (; d + WIDTH <= dim; d += WIDTH) {
        UNROLL
        for (int c = 0; c < cells; c++) {
            fetch_row(k + (size_t)c * stride + d, stride);
            vec kv = VEC_HALF(k + (size_t)c * stride + d);
            UNROLL
            for (int r = 0; r < rows; r++) {
                vec *s = &sum[r * cells + c];
                *s = VEC_FMA(VEC_LOAD(a + (size_t)r * (size_t)dim + d), kv, *s);
            }
        }
    }
    for (; d < dim; d++) {
        for (int i = 0; i < rows * cells; i++) {
            float kd = tada_half_to_float(k[(size_t)(i % cells) * stride + (size_t)d]);
            tail[i] += a[(size_t)(i / cells) * (size_t)dim + (size_t)d] * kd;
        }
    }
    sums_of_four(sum, total);
    UNROLL
    for (int i = 0; i < rows * cells; i++) {
        scores[(size_t)(i / cells) * lds + (size_t)(i % cells)] = total[i] + tail[i];
    }
}

static void scores_rows(const float *a, int m, int dim, const uint16_t *rows, size_t stride, int n,
                        float *scores, size_t lds)
{
    for (int r = 0; r < m;) {
        int block = m - r >= 4 ? 4 : m - r, t = 0;
        const float *ar = a + (size_t)r * (size_t)dim;
        float *to_row = scores + (size_t)r * lds;
        for (; block == 1 && t + 4 <= n; t += 4) {
            scores_block(ar, dim, rows + (size_t)t * stride, stride, to_row + t, lds, 1, 4);
        }
        for (; block == 2 && t + 2 <= n; t += 2) {
            scores_block(ar, dim, rows + (size_t)t * stride, stride, to_row + t, lds, 2, 2);
        }
        for (; t < n; t++) {
            const uint16_t *k = rows + (size_t)t * stride;
            switch (block) {
            case 4:
                scores_block(ar, dim, k, stride, to_row + t, lds, 4, 1);
                break;
            case 3:
                scores_block(ar, dim, k, stride, to_row + t, lds, 3, 1);
                break;
            case 2:
                scores_block(ar, dim, k, stride, to_row + t, lds, 2, 1);
                break;
            default:
                scores_block(ar, dim, k, stride, to_row + t, lds, 1, 1);
            }
        }
        r += block;
    }
}

/* `rows` and `columns` (in vectors) are constants at every call. */
ALWAYS_INLINE void values_block(const float *w, size_t lds, const uint16_t *v, size_t stride, int n, float *c,
                                size_t ldc, int rows, int columns)
{
    vec sum[4][4];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int j = 0; j < columns; j++) {
            sum[r][j] = VEC_LOAD(c + (size_t)r * ldc + j * WIDTH);
        }
    }
    for (int t = 0; t < n; t++) {
        vec value[4];
        UNROLL
        for (int j = 0; j < columns; j++) {
            fetch_row(v + (size_t)t * stride + j * WIDTH, stride);
            value[j] = VEC_HALF(v + (size_t)t * stride + j * WIDTH);
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            vec weight = VEC_SET(w[(size_t)r * lds + (size_t)t]);
            UNROLL
            for (int j = 0; j < columns; j++) {
                sum[r][j] = VEC_FMA(weight, value[j], sum[r][j]);
            }
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int j = 0; j < columns; j++) {
            VEC_STORE(c + (size_t)r * ldc + j * WIDTH, sum[r][j]);
        }
    }
}

static void values_rows(const float *weights, size_t lds, int m, int dim, const uint16_t *rows, size_t stride,
                        int n, float *c, size_t ldc)
{
    for (int r = 0; r < m;) {
        int block = m - r >= 2 ? 2 : 1, d = 0;
        const float *w = weights + (size_t)r * lds;
        float *cr = c + (size_t)r * ldc;
        for (; d + 4 * WIDTH <= dim; d += 4 * WIDTH) {
            if (block == 2) {
                values_block(w, lds, rows + d, stride, n, cr + d, ldc, 2, 4);
            } else {
                values_block(w, lds, rows + d, stride, n, cr + d, ldc, 1, 4);
            }
        }
        for (; d + WIDTH <= dim; d += WIDTH) {
            if (block == 2) {
                values_block(w, lds, rows + d, stride, n, cr + d, ldc, 2, 1);
            } else {
                values_block(w, lds, rows + d, stride, n, cr + d, ldc, 1, 1);
            }
        }
        for (; d < dim; d++) {
            for (int i = 0; i < block; i++) {
                for (int t = 0; t < n; t++) {
                    cr[(size_t)i * ldc + d] +=
                        w[(size_t)i * lds + (size_t)t] * tada_half_to_float(rows[(size_t)t * stride + d]);
                }
            }
        }
        r += block;
    }
}

/* exp for x <= 0 and a little above; relative error 3e-7; 0 below -87, even where what is left out below is
 * not finite. As 2^n * 2^f with f in [-1/2, 1/2]: the polynomial of least relative error that is 1 at 0. */
ALWAYS_INLINE vec exp_vec(vec x)
{
    static const float terms[] = {9.67151299e-3f, 5.55073358e-2f, 2.40222424e-1f, 6.93147004e-1f, 1.0f};
    vec shifted = VEC_FMA(x, VEC_SET(1.44269504f), VEC_SET(round_magic)); /* n in its low bits */
    vec f = VEC_FMA(x, VEC_SET(1.44269504f), VEC_SUB(VEC_SET(round_magic), shifted));
    vec p = VEC_SET(1.32647273e-3f);
    for (size_t i = 0; i < sizeof terms / sizeof terms[0]; i++) {
        p = VEC_FMA(p, f, VEC_SET(terms[i]));
    }
    return VEC_WHERE(x, VEC_SET(-87.0f), VEC_TIMES_POWER(p, shifted));
}

static void scale_values(float *x, float factor, int n)
{
    for (int i = 0; i < n; i += WIDTH) {
        VEC_STORE(x + i, VEC_MUL(VEC_LOAD(x + i), VEC_SET(factor)));
    }
}

/* cap * tanh(x), given x, n values. */
ALWAYS_INLINE void softcap_row(float *x, float cap, int n)
{
    for (int i = 0; i < n; i += WIDTH) {
        float e[WIDTH];
        VEC_STORE(e, exp_vec(VEC_MUL(VEC_ABS(VEC_LOAD(x + i)), VEC_SET(-2.0f))));
        for (int l = 0; l < WIDTH; l++) {
            float t = cap * ((1.0f - e[l]) / (1.0f + e[l]));
            x[i + l] = x[i + l] < 0 ? -t : t;
        }
    }
}

/* Largest of n scores, lane by lane, with the mask added first. */
ALWAYS_INLINE vec mask_row(float *x, const float *mask, float slope, int n)
{
    vec most[4] = {VEC_SET(-INFINITY), VEC_SET(-INFINITY), VEC_SET(-INFINITY), VEC_SET(-INFINITY)};
    for (int i = 0; i < n; i += 4 * WIDTH) {
        UNROLL
        for (int j = 0; j < 4; j++) {
            vec y = VEC_LOAD(x + i + j * WIDTH);
            if (mask) {
                y = VEC_FMA(VEC_SET(slope), VEC_LOAD(mask + i + j * WIDTH), y);
                VEC_STORE(x + i + j * WIDTH, y);
            }
            most[j] = VEC_MAX(y, most[j]);
        }
    }
    return VEC_MAX(VEC_MAX(most[0], most[1]), VEC_MAX(most[2], most[3]));
}

/* Scores to weights; their sum, lane by lane. */
ALWAYS_INLINE vec weigh_row(float *x, float max, int n)
{
    vec sum[4] = {VEC_SET(0.0f), VEC_SET(0.0f), VEC_SET(0.0f), VEC_SET(0.0f)};
    for (int i = 0; i < n; i += 4 * WIDTH) {
        UNROLL
        for (int j = 0; j < 4; j++) {
            vec e = exp_vec(VEC_SUB(VEC_LOAD(x + i + j * WIDTH), VEC_SET(max)));
            VEC_STORE(x + i + j * WIDTH, e);
            sum[j] = VEC_ADD(sum[j], e);
        }
    }
    return VEC_ADD(VEC_ADD(sum[0], sum[1]), VEC_ADD(sum[2], sum[3]));
}

/* A larger score than before has been seen in a row: what has been summed up so far shrinks. */
static void raise_max(const tada_softmax *s, int row, float top)
{
    float shrink = expf(s->max[row] - top);
    s->sum[row] *= shrink;
    scale_values(s->out + (size_t)row * (size_t)s->ldo, shrink, s->dim);
    if (s->rotated) {
        scale_values(s->rotated + (size_t)row * (size_t)s->ldo, shrink, s->dim);
    }
    s->max[row] = top;
}

/* The commonest step of prefill: four rows of one tile, all of which is seen, without branches but for larger
 * scores. False: it is none of these. */
ALWAYS_INLINE bool softmax_four(const tada_softmax *s, int first)
{
    float *x = s->scores + (size_t)first * s->lds;
    vec most[4], sum[4];
    float top[4], total[4];
    if (s->m - first < 4 || s->n != CELLS || s->mask || s->softcap > 0) {
        return false;
    }
    UNROLL
    for (int r = 0; r < 4; r++) {
        most[r] = mask_row(x + (size_t)r * s->lds, NULL, 0, CELLS);
    }
    tops_of_four(most, top);
    for (int r = 0; r < 4; r++) {
        if (top[r] > s->max[first + r]) {
            raise_max(s, first + r, top[r]);
        } else if (!(top[r] > -INFINITY)) {
            return false;
        }
    }
    UNROLL
    for (int r = 0; r < 4; r++) {
        sum[r] = weigh_row(x + (size_t)r * s->lds, s->max[first + r], CELLS);
    }
    sums_of_four(sum, total);
    UNROLL
    for (int r = 0; r < 4; r++) {
        s->sum[first + r] += total[r];
        s->cells_sum[first + r] = total[r];
    }
    return true;
}

/* Four rows at once, so that none waits for the largest score or the sum of another. */
static void softmax(const tada_softmax *s)
{
    for (int first = 0; first < s->m; first += 4) {
        if (softmax_four(s, first)) {
            continue;
        }
        int rows = s->m - first < 4 ? s->m - first : 4;
        float *x = s->scores + (size_t)first * s->lds;
        vec most[4], sum[4];
        float top[4], total[4];
        for (int r = 0; r < 4; r++) {
            most[r] = VEC_SET(-INFINITY);
            sum[r] = VEC_SET(0.0f);
        }
        for (int r = 0; r < rows; r++) {
            int row = first + r;
            if (s->softcap > 0) {
                softcap_row(x + (size_t)r * s->lds, s->softcap, s->n);
            }
            if (s->mask) {
                const float *mask = s->mask + (size_t)(row / s->group) * s->lds;
                most[r] = mask_row(x + (size_t)r * s->lds, mask, s->slope[row % s->group], s->n);
            } else {
                most[r] = mask_row(x + (size_t)r * s->lds, NULL, 0, s->n);
            }
        }
        tops_of_four(most, top);
        for (int r = 0; r < rows; r++) {
            if (top[r] > s->max[first + r]) {
                raise_max(s, first + r, top[r]);
            }
            if (top[r] > -INFINITY) {
                sum[r] = weigh_row(x + (size_t)r * s->lds, s->max[first + r], s->n);
            } else {
                memset(x + (size_t)r * s->lds, 0, (size_t)s->n * sizeof *x);
            }
        }
        sums_of_four(sum, total);
        for (int r = 0; r < rows; r++) {
            s->sum[first + r] += total[r];
            s->cells_sum[first + r] = total[r];
        }
    }
}
