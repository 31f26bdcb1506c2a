/*
 * Attention through the public header, with the set under test: every head size and width of codes, both
 * axes of scales, many sizes of a group of heads, with and without outliers. What is compared with is a plain
 * evaluation in double on the decoded rows. Odd shapes, streams, views and strides are the
 * subject of unit/test_attention.c.
 */
#include "numbers.h"
#include "plane/plane.h"
#include "sets.h"
#include "tests.h"

enum { MOST_CELLS = 840, MOST_GROUP = 16, MOST_QUERIES = 3 };

enum masks { MASK_NONE, MASK_CAUSAL, MASK_HOLES, MASK_BIAS, MASKS };

typedef struct shared {
    int dim, bits, heads_kv;
    int cells; /* the last tile is not full */
    bool outliers, token_k, token_v;
    test_plane k, v;
    tada_pool *pool;
    double *rows[2]; /* [cells][heads_kv * dim] */
} shared;

/* What the codes of cold tiles stand for, not rounded to f16, and the rows of hot tiles; both at once must be
 * what the plane reads as. */
static double *decoded_rows(const tada_plane *plane, int cells)
{
    const tada_codec *c = &plane->codec;
    int dim = c->layout.head_dim, width = c->layout.width;
    float *values = malloc(sizeof *values * (size_t)(TADA_TILE_CELLS * dim)),
          *row = malloc(sizeof *row * dim);
    float *scratch = malloc(sizeof *scratch * tada_plane_scratch(plane));
    uint16_t *read = malloc(sizeof *read * (size_t)(cells * width));
    double *rows = malloc(sizeof *rows * (size_t)(cells * width));
    assert_int_equal(tada_plane_read(plane, 0, cells, read, threads_of(1), NULL), TADA_OK);
    for (int tile = 0; tile * TADA_TILE_CELLS < cells; tile++) {
        for (int h = 0; h < c->layout.n_heads; h++) {
            if (!plane->tiles[tile].hot) {
                tada_cold cold = tada_layer_cold(plane, &plane->tiles[tile].codes);
                tada_tile_decode_head(c, &cold, UINT64_MAX, h, values, scratch);
            }
            for (int t = 0; t < TADA_TILE_CELLS && tile * TADA_TILE_CELLS + t < cells; t++) {
                size_t at = (size_t)((tile * TADA_TILE_CELLS + t) * width + h * dim);
                for (int d = 0; d < dim; d++) {
                    row[d] = values[c->kind == TADA_K ? d * TADA_TILE_CELLS + t : t * dim + d];
                }
                if (c->layout.rotation > 1 && !plane->tiles[tile].hot) {
                    tada_kernels_get()->hadamard(row, dim, c->layout.rotation);
                }
                for (int d = 0; d < dim; d++) {
                    double value = plane->tiles[tile].hot ? half_value(read[at + d]) : (double)row[d];
                    assert_int_equal(half_round(value), read[at + d]);
                    rows[at + d] = value;
                }
            }
        }
    }
    free(values);
    free(row);
    free(scratch);
    free(read);
    return rows;
}

static test_plane make_plane(const shared *s, enum tada_kind kind, double **rows)
{
    char spec[100];
    int width = s->heads_kv * s->dim, cells = (s->cells + 63) / 64 * 64;
    float *x = malloc(sizeof *x * (size_t)(cells * width));
    snprintf(spec, sizeof spec, "tada:%d:window=0:sinks=0:axis=%s:rotate=%s", s->bits,
             (kind == TADA_K ? s->token_k : s->token_v) ? "token" : "channel",
             random_below(2) ? "hadamard" : "none");
    test_plane p = plane_of(spec, kind, width, cells, 1, s->dim);
    fill(x, cells, width, kind == TADA_K && s->outliers);
    write_rows(p.plane, s->pool, x, TADA_F32, width, 0, cells, cells);
    *rows = decoded_rows(p.plane, s->cells);
    free(x);
    return p;
}

static void fill_mask(uint16_t *mask, int queries, int cells, int kind)
{
    for (int i = 0; i < queries; i++) {
        int seen = 1 + random_below(cells);
        for (int t = 0; t < cells; t++) {
            bool hidden = kind == MASK_CAUSAL ? t >= seen : kind == MASK_HOLES && random_below(3) > 0;
            double bias = kind == MASK_BIAS ? -fabs((double)random_normal()) : 0;
            mask[i * cells + t] = hidden && t > 0 ? 0xfc00 : half_round(bias);
        }
    }
}

/* Output of one head and query, in double. */
static void plain(const shared *s, const float *q, double scale, int head, const uint16_t *mask, double *out)
{
    double weight[MOST_CELLS], top = -INFINITY, sum = 0;
    size_t width = (size_t)(s->heads_kv * s->dim);
    memset(out, 0, (size_t)s->dim * sizeof *out);
    for (int t = 0; t < s->cells; t++) {
        const double *k = s->rows[TADA_K] + (size_t)t * width + head * s->dim;
        double part[4] = {0};
        for (int d = 0; d < s->dim; d += 4) {
            for (int i = 0; i < 4; i++) {
                part[i] += (double)q[d + i] * k[d + i];
            }
        }
        bool hidden = mask && mask[t] == 0xfc00;
        weight[t] = hidden ? -INFINITY : (part[0] + part[1] + part[2] + part[3]) * scale;
        weight[t] += mask && !hidden ? half_value(mask[t]) : 0;
        top = fmax(top, weight[t]);
    }
    for (int t = 0; t < s->cells; t++) {
        const double *v = s->rows[TADA_V] + (size_t)t * width + head * s->dim;
        double w = isinf(weight[t]) ? 0 : exp(weight[t] - top);
        sum += w;
        for (int d = 0; d < s->dim && w > 0; d++) {
            out[d] += w * v[d];
        }
    }
    for (int d = 0; d < s->dim; d++) {
        out[d] /= sum;
    }
}

/* Relative RMS of the error of the output. */
static double check_group(const shared *s, int group)
{
    int queries = 1 + random_below(MOST_QUERIES), heads = s->heads_kv * group,
        mask_kind = random_below(MASKS);
    size_t dim = (size_t)s->dim, n = (size_t)(queries * heads) * dim;
    float *q = malloc(n * sizeof *q), *out = malloc(n * sizeof *out);
    double *want = malloc(dim * sizeof *want), error = 0, energy = 0;
    uint16_t mask[MOST_QUERIES * MOST_CELLS];
    numbers_fill(q, 1, 0, (int)n, NUMBERS_NORMAL);
    fill_mask(mask, queries, s->cells, mask_kind);
    tada_attention a = {.k = s->k.plane,
                        .v = s->v.plane,
                        .k_dim = s->dim,
                        .v_dim = s->dim,
                        .k_head_stride = s->dim,
                        .v_head_stride = s->dim,
                        .n_heads = heads,
                        .n_heads_kv = s->heads_kv,
                        .n_streams = 1,
                        .n_cells = s->cells,
                        .n_queries = queries,
                        .q = q,
                        .q_head = dim * sizeof *q,
                        .q_query = (size_t)heads * dim * sizeof *q,
                        .mask = mask_kind == MASK_NONE ? NULL : mask,
                        .mask_query = (size_t)s->cells * sizeof *mask,
                        .mask_heads = 1,
                        .mask_streams = 1,
                        .scale = 1.0f / sqrtf((float)s->dim),
                        .out = out,
                        .out_head = dim * sizeof *out,
                        .out_query = (size_t)heads * dim * sizeof *out};
    memset(out, 0xff, n * sizeof *out);
    assert_int_equal(tada_attention_run(&a, s->pool, threads_of(1), NULL), TADA_OK);
    for (int i = 0; i < queries; i++) {
        for (int h = 0; h < heads; h++) {
            size_t at = (size_t)(i * heads + h) * dim;
            plain(s, q + at, (double)a.scale, h / group, a.mask ? mask + i * s->cells : NULL, want);
            for (size_t d = 0; d < dim; d++) {
                error += pow(want[d] - (double)out[at + d], 2);
                energy += want[d] * want[d];
            }
        }
    }
    free(q);
    free(out);
    free(want);
    return sqrt(error / energy);
}

static double check_planes(shared *s)
{
    static const int groups[] = {1, 2, 3, 4, 5, 7, 8, MOST_GROUP};
    double worst = 0;
    s->pool = tada_pool_create();
    s->k = make_plane(s, TADA_K, &s->rows[TADA_K]);
    s->v = make_plane(s, TADA_V, &s->rows[TADA_V]);
    for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
        if (s->cells == MOST_CELLS && groups[g] > 5) {
            continue;
        }
        double error = check_group(s, groups[g]);
        case_is("attention of %d bits, K by %s, V by %s, head size %d, groups of %d, cells %d, outliers %d",
                s->bits, s->token_k ? "token" : "channel", s->token_v ? "token" : "channel", s->dim,
                groups[g], s->cells, s->outliers);
        /* Queries are rounded to 16 bits relative to the largest product of query and scale, so an outlier
         * costs all other channels precision. */
        if (!(error <= (s->outliers ? 2e-3 : 6e-4))) {
            fail_case("error %g", error);
        }
        worst = fmax(worst, error);
    }
    plane_done(&s->k);
    plane_done(&s->v);
    tada_pool_free(s->pool);
    free(s->rows[TADA_K]);
    free(s->rows[TADA_V]);
    return worst;
}

void test_attention(void **state)
{
    static const int widths[] = {2, 3, 4, 5, 6, 8};
    TEST_BEGIN(state);
    double worst[2] = {0, 0};
    for (int dim = 32; dim <= TADA_CODES_DIM; dim = next_dim(dim)) {
        for (size_t b = 0; b < sizeof widths / sizeof widths[0]; b++) {
            for (int axes = 0; axes < 4; axes++) {
                if (in_haste()) {
                    continue;
                }
                int outliers = random_below(2);
                /* In a long context several tiles are read together. */
                bool is_long = dim == 48;
                shared s = {.dim = dim,
                            .bits = widths[b],
                            .heads_kv = is_long ? 8 : 4,
                            .cells = is_long ? MOST_CELLS : 180,
                            .outliers = outliers,
                            .token_k = axes & 1,
                            .token_v = axes & 2};
                worst[outliers] = fmax(worst[outliers], check_planes(&s));
            }
        }
    }
    print_message("worst error: %.2g, with outliers %.2g\n", worst[0], worst[1]);
}
