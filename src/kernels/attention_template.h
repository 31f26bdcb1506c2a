/* Attention: sums in an order of each set's own, so not the same bit for bit. Included by kernels_template.h.
 */

static void transpose(const uint16_t *rows, size_t stride, int dim, float *out)
{
    for (int d0 = 0; d0 < dim; d0 += 16) {
        int width = dim - d0 < 16 ? dim - d0 : 16;
        for (int t0 = 0; t0 < CELLS; t0 += 16) {
            float block[16][16];
            for (int t = 0; t < 16; t++) {
                half_to_float(rows + (size_t)(t0 + t) * stride + d0, block[t], width);
            }
            for (int d = 0; d < width; d++) {
                float *to = out + (size_t)(d0 + d) * CELLS + t0;
                for (int t = 0; t < 16; t++) {
                    to[t] = block[t][d];
                }
            }
        }
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
    /* AVX-512 has registers for 6 x 4 sums, the others for 6 x 2. */
    enum { WIDE = WIDTH == 16 ? 4 : 2 };
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

/* `rows` is a constant at every call. */
ALWAYS_INLINE void scores_block(const float *a, int dim, const uint16_t *k, float *scores, int rows)
{
    vec sum[4];
    float tail[4] = {0};
    int d = 0;
    UNROLL
    for (int r = 0; r < rows; r++) {
        sum[r] = VEC_SET(0.0f);
    }
    for (; d + WIDTH <= dim; d += WIDTH) {
        vec kv = VEC_HALF(k + d);
        UNROLL
        for (int r = 0; r < rows; r++) {
            sum[r] = VEC_FMA(VEC_LOAD(a + (size_t)r * (size_t)dim + d), kv, sum[r]);
        }
    }
    for (; d < dim; d++) {
        float kd = tada_half_to_float(k[d]);
        UNROLL
        for (int r = 0; r < rows; r++) {
            tail[r] += a[(size_t)r * (size_t)dim + d] * kd;
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        scores[r * CELLS] = VEC_SUM(sum[r]) + tail[r];
    }
}

static void scores_rows(const float *a, int m, int dim, const uint16_t *rows, size_t stride, int from, int to,
                        float *scores)
{
    for (int r = 0; r < m;) {
        int block = m - r >= 4 ? 4 : m - r;
        const float *ar = a + (size_t)r * (size_t)dim;
        float *to_row = scores + (size_t)r * CELLS;
        for (int t = from; t < to; t++) {
            const uint16_t *k = rows + (size_t)t * stride;
            switch (block) {
            case 4:
                scores_block(ar, dim, k, to_row + t, 4);
                break;
            case 3:
                scores_block(ar, dim, k, to_row + t, 3);
                break;
            case 2:
                scores_block(ar, dim, k, to_row + t, 2);
                break;
            default:
                scores_block(ar, dim, k, to_row + t, 1);
            }
        }
        r += block;
    }
}

/* `rows` and `columns` (in vectors) are constants at every call. */
ALWAYS_INLINE void values_block(const float *w, const uint16_t *v, size_t stride, int from, int to, float *c,
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
    for (int t = from; t < to; t++) {
        vec value[4];
        UNROLL
        for (int j = 0; j < columns; j++) {
            value[j] = VEC_HALF(v + (size_t)t * stride + j * WIDTH);
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            vec weight = VEC_SET(w[r * CELLS + t]);
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

static void values_rows(const float *weights, int m, int dim, const uint16_t *rows, size_t stride, int from,
                        int to, float *c, size_t ldc)
{
    for (int r = 0; r < m;) {
        int block = m - r >= 2 ? 2 : 1, d = 0;
        const float *w = weights + (size_t)r * CELLS;
        float *cr = c + (size_t)r * ldc;
        for (; d + 4 * WIDTH <= dim; d += 4 * WIDTH) {
            if (block == 2) {
                values_block(w, rows + d, stride, from, to, cr + d, ldc, 2, 4);
            } else {
                values_block(w, rows + d, stride, from, to, cr + d, ldc, 1, 4);
            }
        }
        for (; d + WIDTH <= dim; d += WIDTH) {
            if (block == 2) {
                values_block(w, rows + d, stride, from, to, cr + d, ldc, 2, 1);
            } else {
                values_block(w, rows + d, stride, from, to, cr + d, ldc, 1, 1);
            }
        }
        for (; d < dim; d++) {
            for (int i = 0; i < block; i++) {
                for (int t = from; t < to; t++) {
                    cr[(size_t)i * ldc + d] +=
                        w[i * CELLS + t] * tada_half_to_float(rows[(size_t)t * stride + d]);
                }
            }
        }
        r += block;
    }
}

/* exp for x <= 0 and a little above; relative error 2e-7; 0 below -87. Cephes' polynomial on [-ln2/2, ln2/2].
 */
ALWAYS_INLINE vec exp_vec(vec x)
{
    static const float terms[] = {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f,
                                  5.0000001201e-1f};
    vec clamped = VEC_MAX(x, VEC_SET(-87.0f));
    vec n = VEC_SUB(VEC_FMA(clamped, VEC_SET(1.44269504f), VEC_SET(round_magic)), VEC_SET(round_magic));
    vec r = VEC_FMA(n, VEC_SET(-0.693359375f), clamped);
    r = VEC_FMA(n, VEC_SET(2.12194440e-4f), r);
    vec p = VEC_SET(1.9875691500e-4f);
    for (size_t i = 0; i < sizeof terms / sizeof terms[0]; i++) {
        p = VEC_FMA(p, r, VEC_SET(terms[i]));
    }
    p = VEC_FMA(VEC_MUL(p, r), r, VEC_ADD(r, VEC_SET(1.0f)));
    return VEC_WHERE(x, VEC_SET(-87.0f), VEC_MUL(p, VEC_POWER(n)));
}

static void scale_values(float *x, float factor, int n)
{
    for (int i = 0; i < n; i += WIDTH) {
        VEC_STORE(x + i, VEC_MUL(VEC_LOAD(x + i), VEC_SET(factor)));
    }
}

/* cap * tanh(x), given x. */
ALWAYS_INLINE void softcap_row(float *x, float cap)
{
    float e[CELLS];
    for (int i = 0; i < CELLS; i += WIDTH) {
        VEC_STORE(e + i, exp_vec(VEC_MUL(VEC_ABS(VEC_LOAD(x + i)), VEC_SET(-2.0f))));
    }
    for (int i = 0; i < CELLS; i++) {
        float t = cap * ((1.0f - e[i]) / (1.0f + e[i]));
        x[i] = x[i] < 0 ? -t : t;
    }
}

static void softmax(const tada_softmax *s)
{
    for (int r = 0; r < s->m; r++) {
        float *x = s->scores + (size_t)r * CELLS;
        vec most = VEC_SET(-INFINITY), sum = VEC_SET(0.0f);
        if (s->softcap > 0) {
            softcap_row(x, s->softcap);
        }
        if (s->mask) {
            const float *mask = s->mask + (size_t)(r / s->group) * CELLS;
            vec slope = VEC_SET(s->slope[r % s->group]);
            for (int i = 0; i < CELLS; i += WIDTH) {
                vec y = VEC_FMA(slope, VEC_LOAD(mask + i), VEC_LOAD(x + i));
                VEC_STORE(x + i, y);
                most = VEC_MAX(y, most);
            }
        } else {
            for (int i = 0; i < CELLS; i += WIDTH) {
                most = VEC_MAX(VEC_LOAD(x + i), most);
            }
        }
        float top = VEC_TOP(most);
        if (!(top > -INFINITY)) {
            memset(x, 0, CELLS * sizeof *x);
            continue;
        }
        if (top > s->max[r]) {
            float shrink = expf(s->max[r] - top);
            s->sum[r] *= shrink;
            scale_values(s->out + (size_t)r * (size_t)s->ldo, shrink, s->dim);
            if (s->turned) {
                scale_values(s->turned + (size_t)r * (size_t)s->ldo, shrink, s->dim);
            }
            s->max[r] = top;
        }
        vec max = VEC_SET(s->max[r]);
        for (int i = 0; i < CELLS; i += WIDTH) {
            vec e = exp_vec(VEC_SUB(VEC_LOAD(x + i), max));
            VEC_STORE(x + i, e);
            sum = VEC_ADD(sum, e);
        }
        s->sum[r] += VEC_SUM(sum);
    }
}
