/* Random cases of attention: planes of any recipe, filled, with queries and masks of any layout. */
#ifndef TADA_TEST_ATTENTION_CASE_H
#define TADA_TEST_ATTENTION_CASE_H

#include "rope_case.h"

typedef struct test_case {
    char spec[120], text[400];
    tada_attention a;
    int width[2]; /* of K and V */
    int64_t plane_cells[2], plane_streams;
    int v_window; /* of V; -1: as the spec says */
    int data[2];  /* of K and V: what rows hold, see fill_plane */
    bool view;    /* V is a view of K */
    bool outliers, shifted;
    float *q, *out, *sinks;
    uint16_t *mask;
    size_t q_size, out_size;
    test_plane k, v;
    tada_pool *pool;
} test_case;

#define PICK(...) pick((const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

static inline int pick(const int *from, size_t n)
{
    return from[random_below((int)n)];
}

static inline bool chance(int percent)
{
    return random_below(100) < percent;
}

static inline void random_spec(bool sinks, char *spec, size_t size)
{
    static const char *const options[] = {"",
                                          ":axis=token",
                                          ":axis=channel",
                                          ":rotate=hadamard",
                                          ":rotate=none",
                                          ":k.rotate=hadamard:v.rotate=none",
                                          ":centre=tokens",
                                          ":centre=heads16",
                                          ":centre=heads8",
                                          ":scale=32",
                                          ":scale=32:search=minmax",
                                          ":group=16",
                                          ":group=32",
                                          ":v.group=128",
                                          ":v.axis=channel:k.axis=token",
                                          ":axis=channel:group=16:rotate=hadamard",
                                          ":centre=tokens:rotate=hadamard:scale=32",
                                          ":search=minmax"};
    if (sinks) {
        snprintf(spec, size, "tada:%d:window=0:sinks=%d:k.axis=%s:v.axis=%s:rotate=%s%s", PICK(2, 3, 4, 8),
                 PICK(1, 4, 5, 64), chance(50) ? "token" : "channel", chance(50) ? "token" : "channel",
                 chance(50) ? "hadamard" : "none", chance(30) ? ":centre=tokens" : "");
        return;
    }
    int kb = PICK(2, 3, 4, 5, 6, 8, 16), vb = PICK(2, 3, 4, 5, 6, 8, 16);
    int n = chance(10) ? snprintf(spec, size, "tada:paper")
                       : snprintf(spec, size, "tada:%d/%d%s", kb, vb,
                                  options[random_below(sizeof options / sizeof *options)]);
    if (chance(70)) {
        snprintf(spec + n, size - (size_t)n, ":window=%d:window_bits=%d:sinks=%d", PICK(0, 0, 64, 128),
                 PICK(8, 8, 16), PICK(0, 0, 1, 4, 4, 5, 64));
    }
}

/* One of the layouts of several dimensions of bytes that a caller may choose: any order, and gaps. */
static inline size_t strides(size_t values, size_t value, int64_t n_a, int64_t n_b, int64_t n_c, size_t *a,
                             size_t *b, size_t *c)
{
    values = (values + (chance(30) ? 5 : 0)) * value;
    if (chance(50)) {
        *a = values;
        *b = *a * (size_t)n_a + (chance(20) ? 3 * value : 0);
    } else {
        *b = values;
        *a = *b * (size_t)n_b;
        *c = *a * (size_t)n_a;
        return *c * (size_t)n_c;
    }
    *c = *b * (size_t)n_b + (chance(20) ? 7 * value : 0);
    return *c * (size_t)n_c;
}

/* Writes a plane with rows of various sizes, most cells in order, some never, some twice. */
static inline void fill_plane(const test_case *c, tada_plane *plane, int width, int64_t n_cells, int data)
{
    int64_t total = n_cells * c->plane_streams;
    float *x = malloc(sizeof *x * 128 * (size_t)width);
    int64_t cells[128];
    int holes = PICK(0, 0, 5, 40);
    for (int64_t at = 0; at < total;) {
        int64_t n = 1 + random_below(128);
        n = n < total - at ? n : total - at;
        int64_t used = 0;
        for (int64_t i = 0; i < n; i++) {
            if (!chance(holes)) {
                cells[used++] = chance(2) ? random_below((int)total) : at + i;
            }
        }
        fill(x, used, width, data);
        assert_int_equal(
            tada_plane_write(plane, c->pool, x, TADA_F32, sizeof *x * (size_t)width, cells, used, NULL),
            TADA_OK);
        at += n;
        if (at < total || chance(60)) {
            assert_int_equal(tada_plane_settle(plane, threads_of(2), NULL), TADA_OK);
        }
    }
    free(x);
}

static inline bool make_plane(const test_case *c, enum tada_kind kind, int width, int64_t n_cells,
                              int head_dim, test_plane *p)
{
    tada_spec spec = spec_of(c->spec);
    /* V may have another window than K. */
    spec.window = kind == TADA_V && c->v_window >= 0 ? c->v_window : spec.window;
    tada_shape shape = {kind, width, n_cells, c->plane_streams, 0};
    size_t bytes = tada_plane_bytes(&spec, &shape);
    p->memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    memset(p->memory, 0xa5, bytes);
    if (tada_plane_create(&spec, &shape, p->memory, bytes, &p->plane, NULL) == TADA_E_UNSUPPORTED) {
        free(p->memory);
        *p = (test_plane){0};
        return false;
    }
    assert_non_null(p->plane);
    /* The head size of this attention, none, or one of a different model; refusals are fine. */
    int told = random_below(4) ? head_dim : random_below(2) ? 0 : PICK(16, 32, 48, 64, 128);
    if (told) {
        tada_plane_set_head_dim(p->plane, told);
    }
    return true;
}

/* Shifts a plane several times, most tiles as a whole, by a rope that mostly fits its heads. */
static inline void shift_plane(const test_case *c)
{
    const tada_attention *a = &c->a;
    int64_t total = c->plane_cells[0] * c->plane_streams;
    int dim = chance(80) ? a->k_dim / 2 * 2 : 2 + random_below(a->k_dim / 2) / 2 * 2;
    tada_rope rope = rope_of(a->k_head_stride, a->n_heads_kv, a->k_column, dim);
    rope.column += random_below(a->k_dim - dim + 1);
    int32_t *deltas = malloc((size_t)total * sizeof *deltas);
    for (int turn = 1 + random_below(3); turn > 0; turn--) {
        int32_t distance = random_below(200) - 150;
        for (int64_t i = 0; i < total; i++) {
            distance = i % 64 == 0 && chance(20) ? random_below(200) - 100 : chance(99) ? distance : 0;
            deltas[i] = distance;
        }
        assert_int_equal(tada_plane_shift(c->k.plane, &rope, deltas, threads_of(2), NULL), TADA_OK);
    }
    free(deltas);
}

/* What queries see. kind: 1 and 3, all before them; 2, the last hundred; 4, cells at random; 5, their own
 * sequence. */
static inline void write_masks(const test_case *c, int kind)
{
    const tada_attention *a = &c->a;
    /* Of kind 5, queries of several sequences take turns, so many in a row each. */
    int64_t n_seq = 1 + random_below(6), turn = 1 + random_below(4), part = a->n_cells / n_seq + 1;
    for (int64_t s = 0; s < a->mask_streams; s++) {
        for (int h = 0; h < a->mask_heads; h++) {
            for (int64_t i = 0; i < a->n_queries; i++) {
                uint16_t *row =
                    c->mask +
                    ((size_t)s * a->mask_stream + (size_t)h * a->mask_head + (size_t)i * a->mask_query) / 2;
                bool nothing = kind >= 3 && chance(20);
                int64_t here = a->n_cells - a->n_queries + i, behind = kind == 2 ? 100 : a->n_cells;
                for (int64_t t = 0; t < a->n_cells; t++) {
                    double m = 0;
                    if (kind == 4) {
                        m = chance(60) ? -INFINITY : 2 * random_normal();
                    } else if (kind == 5) {
                        m = t / part == i / turn % n_seq ? 0 : -INFINITY;
                    } else if (t > here || t < here - behind) {
                        m = -INFINITY;
                    } else if (a->max_bias > 0) {
                        m = -(double)(here - t);
                    }
                    row[t] = nothing || isinf(m) ? 0xfc00 : half_round(m);
                }
            }
        }
    }
}

static inline void make_masks(test_case *c)
{
    tada_attention *a = &c->a;
    int kind = random_below(6);
    if (kind == 0) {
        return;
    }
    a->mask_heads = chance(25) ? a->n_heads : chance(10) ? 2 : 1;
    a->mask_streams = chance(50) ? (int)a->n_streams : 1;
    size_t bytes = strides((size_t)a->n_cells, 2, a->n_queries, a->mask_heads, a->mask_streams,
                           &a->mask_query, &a->mask_head, &a->mask_stream);
    c->mask = malloc(bytes);
    /* NaN in the gaps: they are not for reading. */
    memset(c->mask, 0xff, bytes);
    write_masks(c, kind);
    a->mask = c->mask;
}

/* Heads, cells, queries and streams: so many that the plain evaluation is not too expensive. */
static inline void choose_sizes(bool sinks, test_case *c)
{
    tada_attention *a = &c->a;
    static const int heads[][2] = {{1, 1}, {4, 4}, {8, 2}, {9, 3}, {8, 1}, {12, 4}, {50, 1}};
    int pair = chance(sinks ? 15 : 3) ? 6 : random_below(6);
    a->n_heads = heads[pair][0];
    a->n_heads_kv = heads[pair][1];
    a->k_dim = PICK(32, 64, 64, 80, 96, 128, 128, 256, 40, 7);
    a->v_dim = chance(70) ? a->k_dim : PICK(32, 64, 80, 96, 128, 256, 24, 1);
    c->view = chance(10);
    if (c->view) {
        /* Also of a size that is not read on codes, as latent attention has it. */
        a->k_dim = chance(40) ? 576 : a->k_dim;
        a->v_dim = a->k_dim > 32 && chance(80) ? a->k_dim - (a->k_dim > 64 ? 64 : 16) : a->k_dim;
    }
    a->n_cells = sinks ? PICK(65, 130, 200, 1500) : PICK(1, 63, 64, 65, 200, 200, 1000, 1000, 0, 1500);
    a->n_queries = PICK(1, 1, 2, 7, 16, 17, 33, 130);
    a->n_streams = PICK(1, 1, 3);
    a->first_cell = sinks ? PICK(0, 0, 0, 3) : PICK(0, 0, 32, 64, 100);
    a->first_stream = chance(30);
    while ((double)a->n_cells * (double)a->n_queries * (double)a->n_streams * a->n_heads *
               (a->k_dim + a->v_dim) >
           4e6) {
        if (a->n_queries > 1) {
            a->n_queries = (a->n_queries + 1) / 2;
        } else {
            a->n_streams = 1;
            a->n_cells /= 2;
        }
    }
}

/* Where the heads lie in rows of the planes: usually side by side from column 0; else with a gap, or off the
 * heads of the plane. */
static inline void choose_rows(test_case *c)
{
    tada_attention *a = &c->a;
    c->plane_streams = a->first_stream + a->n_streams + chance(30);
    c->plane_cells[0] = a->first_cell + a->n_cells + PICK(0, 1, 64, 200);
    c->plane_cells[0] += c->plane_cells[0] == 0;
    c->plane_cells[1] = chance(85) || c->view ? c->plane_cells[0] : c->plane_cells[0] + random_below(130);
    bool odd = chance(15);
    a->k_head_stride = a->k_dim + (odd ? PICK(0, 16, 5) : 0);
    a->v_head_stride = c->view ? a->k_head_stride : a->v_dim + (odd ? PICK(0, 16, 3) : 0);
    a->k_column = odd ? PICK(0, 16, a->k_dim, 9) : 0;
    a->v_column = odd && !c->view ? PICK(0, 32, a->v_dim, 9) : c->view ? a->k_column : 0;
    c->width[0] = a->k_column + a->n_heads_kv * a->k_head_stride + (odd ? random_below(20) : 0);
    c->width[1] = a->v_column + a->n_heads_kv * a->v_head_stride + (odd ? random_below(20) : 0);
    for (int i = 0; odd && i < 2; i++) {
        c->width[i] = (c->width[i] + 15) / 16 * 16;
    }
}

/* False: the spec cannot have such a plane. */
static inline bool make_planes(test_case *c)
{
    tada_attention *a = &c->a;
    c->pool = tada_pool_create();
    c->data[0] = PICK(0, 0, 0, 1, 6);
    c->data[1] = PICK(0, 0, 0, 1, 3, 6);
    c->outliers = c->data[0] == 1;
    if (!make_plane(c, TADA_K, c->width[0], c->plane_cells[0], a->k_dim, &c->k)) {
        return false;
    }
    fill_plane(c, c->k.plane, c->width[0], c->plane_cells[0], c->data[0]);
    c->shifted = a->k_dim > 1 && chance(25);
    if (c->shifted) {
        shift_plane(c);
    }
    a->k = a->v = c->k.plane;
    if (!c->view) {
        if (!make_plane(c, TADA_V, c->width[1], c->plane_cells[1], a->v_dim, &c->v)) {
            return false;
        }
        fill_plane(c, c->v.plane, c->width[1], c->plane_cells[1], c->data[1]);
        a->v = c->v.plane;
    }
    return true;
}

static inline void make_queries(test_case *c)
{
    tada_attention *a = &c->a;
    c->q_size = strides((size_t)a->k_dim, 4, a->n_queries, a->n_heads, a->n_streams, &a->q_query, &a->q_head,
                        &a->q_stream);
    c->q = malloc(c->q_size);
    for (size_t i = 0; i < c->q_size / 4; i++) {
        c->q[i] = random_normal();
    }
    a->q = c->q;
    c->out_size = strides((size_t)a->v_dim, 4, a->n_queries, a->n_heads, a->n_streams, &a->out_query,
                          &a->out_head, &a->out_stream);
}

static inline void make_sink_logits(test_case *c)
{
    tada_attention *a = &c->a;
    if (chance(15)) {
        c->sinks = malloc(sizeof(float) * (size_t)a->n_heads);
        for (int h = 0; h < a->n_heads; h++) {
            c->sinks[h] = 3 * random_normal();
        }
        a->sink_logits = c->sinks;
    }
}

/* What a failure says of the case. */
static inline void describe_case(test_case *c)
{
    const tada_attention *a = &c->a;
    snprintf(c->text, sizeof c->text,
             "%s, window of V %d, heads %d/%d, K %d at %d + %d, V %d at %d + %d%s, cells %lld + %lld of "
             "%lld, queries %lld, "
             "streams %lld + "
             "%lld, mask %d heads %d streams %d, bias %g, cap %g, sinks %d, data %d/%d%s",
             c->spec, c->v_window, a->n_heads, a->n_heads_kv, a->k_dim, a->k_column, a->k_head_stride,
             a->v_dim, a->v_column, a->v_head_stride, c->view ? " (view)" : "", (long long)a->first_cell,
             (long long)a->n_cells, (long long)c->plane_cells[0], (long long)a->n_queries,
             (long long)a->first_stream, (long long)a->n_streams, a->mask != NULL, a->mask_heads,
             a->mask_streams, a->max_bias, a->softcap, a->sink_logits != NULL, c->data[0], c->data[1],
             c->shifted ? ", shifted" : "");
}

/* False: there is no such case, as the spec cannot have these planes. */
static inline bool make_case(bool sinks, test_case *c)
{
    tada_attention *a = &c->a;
    memset(c, 0, sizeof *c);
    random_spec(sinks, c->spec, sizeof c->spec);
    c->v_window = !sinks && chance(30) ? PICK(0, 64, 128, 192) : -1;
    choose_sizes(sinks, c);
    choose_rows(c);
    a->scale = 1.0f / sqrtf((float)a->k_dim);
    a->max_bias = chance(20) ? 8.0f : 0.0f;
    a->softcap = chance(20) ? (float)PICK(5, 30, 50) : 0.0f;
    if (!make_planes(c)) {
        return false;
    }
    make_queries(c);
    make_masks(c);
    make_sink_logits(c);
    describe_case(c);
    return true;
}

static inline void case_done(test_case *c)
{
    plane_done(&c->k);
    plane_done(&c->v);
    tada_pool_free(c->pool);
    free(c->q);
    free(c->out);
    free(c->mask);
    free(c->sinks);
}

#endif
