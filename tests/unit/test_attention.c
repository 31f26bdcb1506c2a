/* Attention against a plain evaluation in double on the rows that tada_plane_read returns. */
#include "attention_case.h"

static double slope_of(const tada_attention *a, int h)
{
    if (a->max_bias <= 0) {
        return 1;
    }
    int low = 1 << (int)floor(log2(a->n_heads));
    double m0 = pow(2, -(double)a->max_bias / low), m1 = pow(2, -(double)a->max_bias / 2 / low);
    return h < low ? pow(m0, h + 1) : pow(m1, 2 * (h - low) + 1);
}

static float *decoded(const tada_plane *plane, int64_t first, int64_t n, int width)
{
    uint16_t *rows = malloc(sizeof *rows * (size_t)(n * width + 1));
    float *x = malloc(sizeof *x * (size_t)(n * width + 1));
    assert_int_equal(tada_plane_read(plane, first, n, rows, threads_of(2), NULL), TADA_OK);
    for (int64_t i = 0; i < n * width; i++) {
        x[i] = (float)half_value(rows[i]);
    }
    free(rows);
    return x;
}

/* want[stream][query][head][v_dim]; where a row sees no cell, zeros. */
static double *plain(const test_case *c)
{
    const tada_attention *a = &c->a;
    double *want = calloc((size_t)(a->n_streams * a->n_queries * a->n_heads * a->v_dim), sizeof *want),
           *to = want;
    double *weight = malloc(sizeof *weight * (size_t)(a->n_cells + 1));
    for (int64_t s = 0; s < a->n_streams; s++) {
        int64_t k_first = (a->first_stream + s) * c->plane_cells[0] + a->first_cell;
        int64_t v_first = (a->first_stream + s) * c->plane_cells[c->view ? 0 : 1] + a->first_cell;
        int v_width = c->width[c->view ? 0 : 1];
        float *k = decoded(a->k, k_first, a->n_cells, c->width[0]),
              *v = decoded(a->v, v_first, a->n_cells, v_width);
        for (int64_t i = 0; i < a->n_queries; i++) {
            for (int h = 0; h < a->n_heads; h++, to += a->v_dim) {
                int kv = h / (a->n_heads / a->n_heads_kv);
                double slope = slope_of(a, h), max = a->sink_logits ? a->sink_logits[h] : -INFINITY, sum = 0;
                const float *q =
                    a->q +
                    ((size_t)s * a->q_stream + (size_t)i * a->q_query + (size_t)h * a->q_head) / sizeof *a->q;
                for (int64_t t = 0; t < a->n_cells; t++) {
                    const float *row = k + t * c->width[0] + a->k_column + kv * a->k_head_stride;
                    double dot = 0, m = 0;
                    if (a->mask) {
                        uint16_t mask =
                            a->mask[((size_t)(s % a->mask_streams) * a->mask_stream +
                                     (size_t)(h % a->mask_heads) * a->mask_head + (size_t)i * a->mask_query) /
                                        2 +
                                    (size_t)t];
                        m = mask == 0xfc00 ? -INFINITY : slope * half_value(mask);
                    }
                    if (isinf(m)) {
                        weight[t] = -INFINITY;
                        continue;
                    }
                    double part[4] = {0};
                    for (int d = 0; d < a->k_dim; d++) {
                        part[d % 4] += (double)q[d] * (double)row[d];
                    }
                    dot = part[0] + part[1] + part[2] + part[3];
                    dot *= (double)a->scale;
                    dot = a->softcap > 0 ? (double)a->softcap * tanh(dot / (double)a->softcap) : dot;
                    weight[t] = dot + m;
                    max = fmax(max, weight[t]);
                }
                sum = a->sink_logits ? exp(a->sink_logits[h] - max) : 0;
                for (int64_t t = 0; t < a->n_cells; t++) {
                    double w = isinf(weight[t]) ? 0 : exp(weight[t] - max);
                    const float *row = v + t * v_width + a->v_column + kv * a->v_head_stride;
                    sum += w;
                    for (int d = 0; d < a->v_dim && w > 0; d++) {
                        to[d] += w * (double)row[d];
                    }
                }
                for (int d = 0; d < a->v_dim && sum > 0; d++) {
                    to[d] /= sum;
                }
            }
        }
        free(k);
        free(v);
    }
    free(weight);
    return want;
}

/* Relative RMS of the output's error; values between the rows must be left alone. */
static double relative_error(const test_case *c, const double *want, const float *out)
{
    const tada_attention *a = &c->a;
    double error = 0, energy = 0;
    float *rest = malloc(c->out_size);
    memcpy(rest, out, c->out_size);
    for (int64_t s = 0; s < a->n_streams; s++) {
        for (int64_t i = 0; i < a->n_queries; i++) {
            for (int h = 0; h < a->n_heads; h++, want += a->v_dim) {
                size_t at =
                    ((size_t)s * a->out_stream + (size_t)i * a->out_query + (size_t)h * a->out_head) / 4;
                double row = 0;
                for (int d = 0; d < a->v_dim; d++) {
                    row += fabs(want[d]);
                    energy += want[d] * want[d];
                    error += (want[d] - out[at + d]) * (want[d] - out[at + d]);
                    if (!isfinite(out[at + d])) {
                        fail_msg("%s: not finite at stream %lld, query %lld, head %d", c->text, (long long)s,
                                 (long long)i, h);
                    }
                }
                for (int d = 0; d < a->v_dim && row == 0; d++) {
                    if (out[at + d] != 0) {
                        fail_msg("%s: stream %lld, query %lld, head %d should be zeros", c->text,
                                 (long long)s, (long long)i, h);
                    }
                }
                memset(rest + at, 0x77, sizeof *rest * (size_t)a->v_dim);
            }
        }
    }
    for (size_t i = 0; i < c->out_size; i++) {
        if (((unsigned char *)rest)[i] != 0x77) {
            fail_msg("%s: wrote between the rows of the output", c->text);
        }
    }
    free(rest);
    return energy > 0 ? sqrt(error / energy) : sqrt(error);
}

/* sinks: cases in which the first tile is cold, but for its first cells. */
static void run_cases(bool sinks)
{
    const char *only = getenv("TADA_KERNELS");
    int n_cases = (getenv("TADA_LONG") ? 4000 : sinks ? 300 : 500) / quick(), skipped = 0;
    double worst = 0, sum = 0;
    char where[400] = "";
    for (int n = 0; n < n_cases; n++) {
        test_case c;
        if (!make_case(sinks, &c)) {
            skipped++;
            case_done(&c);
            continue;
        }
        double *want = plain(&c);
        float *first = NULL;
        const char *tier = tiers[random_below(N_TIERS)];
        if (only) {
            assert_int_equal(tada_kernels_select(only), TADA_OK);
        } else if (tada_kernels_select(tier) != TADA_OK) {
            assert_int_equal(tada_kernels_select("scalar"), TADA_OK);
        }
        c.out = malloc(c.out_size);
        for (int threads = 1; threads <= 3; threads++) {
            tada_error error = {""};
            memset(c.out, 0x77, c.out_size);
            c.a.out = c.out;
            if (tada_attention_run(&c.a, c.pool, threads_of(threads), &error) != TADA_OK) {
                fail_msg("%s: %s", c.text, error.text);
            }
            double size = relative_error(&c, want, c.out);
            /* With outliers in K the softmax is sharp, and the rows that are read are rounded to f16. */
            if (!(size <= (c.outliers ? 1e-2 : 2e-3))) {
                fail_msg("case %d, %s, %d threads, %s: error %g", n, tada_kernels_name(), threads, c.text,
                         size);
            }
            if (size > worst) {
                worst = size;
                snprintf(where, sizeof where, "%s", c.text);
            }
            if (!first) {
                sum += size;
                first = malloc(c.out_size);
                memcpy(first, c.out, c.out_size);
            } else if (memcmp(first, c.out, c.out_size) != 0) {
                fail_msg("case %d, %s: %d threads give another result than one", n, c.text, threads);
            }
        }
        free(first);
        free(want);
        case_done(&c);
    }
    print_message("%d cases, %d of them not supported; relative error: mean %.2g, worst %.2g (%s)\n", n_cases,
                  skipped, sum / n_cases, worst, where);
    assert_true(10 * skipped < n_cases);
    assert_true(sum / n_cases < 3e-4);
}

static void against_plain(void **state)
{
    (void)state;
    run_cases(false);
}

static void with_sinks(void **state)
{
    (void)state;
    run_cases(true);
}

/* Shapes that do not fit are refused with a text; no output is touched. */
static void refuses(void **state)
{
    (void)state;
    test_plane k = plane_of("tada", TADA_K, 128, 100, 1, 64), v = plane_of("tada", TADA_V, 128, 100, 1, 64);
    tada_pool *pool = tada_pool_create();
    float q[128] = {1}, out[128];
    uint16_t mask[100] = {0};
    tada_attention good = attention_of(k.plane, v.plane, 64, 2, 2, 100, 1, q, out);
    add_mask(&good, mask);
    assert_int_equal(tada_attention_run(&good, pool, threads_of(1), NULL), TADA_OK);
    for (int i = 0; i < 128; i++) {
        /* Nothing was written yet. */
        assert_true(out[i] == 0);
    }
    tada_attention bad[14];
    for (int i = 0; i < 14; i++) {
        bad[i] = good;
    }
    bad[0].n_heads = 3;
    bad[1].n_heads_kv = 0;
    bad[2].k_dim = 65;
    bad[3].v_column = 1;
    bad[4].n_cells = 101;
    bad[5].first_cell = 1;
    bad[6].first_cell = -1;
    bad[7].n_streams = 2;
    bad[8].first_stream = -1;
    bad[9].mask_heads = 0;
    bad[10].mask_streams = 0;
    bad[11].v_dim = 0;
    bad[12].n_queries = -1;
    bad[13].k_head_stride = -64;
    for (int i = 0; i < 14; i++) {
        tada_error error = {""};
        memset(out, 0x77, sizeof out);
        if (tada_attention_run(&bad[i], pool, threads_of(1), &error) != TADA_E_ARGUMENT) {
            fail_msg("bad argument %d was accepted", i);
        }
        assert_true(strlen(error.text) > 10);
        for (size_t j = 0; j < sizeof out; j++) {
            assert_int_equal(((unsigned char *)out)[j], 0x77);
        }
    }
    assert_int_equal(tada_kernels_select("quux"), TADA_E_UNSUPPORTED);
    plane_done(&k);
    plane_done(&v);
    tada_pool_free(pool);
}

TEST_MAIN(cmocka_unit_test(refuses), cmocka_unit_test(against_plain), cmocka_unit_test(with_sinks))
