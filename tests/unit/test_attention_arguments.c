/* Attention that is given any numbers: an error, or the memory that it takes, and never a signal. */
#include "hostile.h"

static const number attention_numbers[] = {
    NUMBER(tada_attention, k_column, INT),       NUMBER(tada_attention, v_column, INT),
    NUMBER(tada_attention, k_dim, INT),          NUMBER(tada_attention, v_dim, INT),
    NUMBER(tada_attention, k_head_stride, INT),  NUMBER(tada_attention, v_head_stride, INT),
    NUMBER(tada_attention, n_heads, INT),        NUMBER(tada_attention, n_heads_kv, INT),
    NUMBER(tada_attention, first_stream, INT64), NUMBER(tada_attention, n_streams, INT64),
    NUMBER(tada_attention, first_cell, INT64),   NUMBER(tada_attention, n_cells, INT64),
    NUMBER(tada_attention, n_queries, INT64),    NUMBER(tada_attention, mask_heads, INT),
    NUMBER(tada_attention, mask_streams, INT),   NUMBER(tada_attention, q_query, SIZE),
    NUMBER(tada_attention, q_head, SIZE),        NUMBER(tada_attention, q_stream, SIZE),
    NUMBER(tada_attention, mask_query, SIZE),    NUMBER(tada_attention, mask_head, SIZE),
    NUMBER(tada_attention, mask_stream, SIZE),   NUMBER(tada_attention, out_query, SIZE),
    NUMBER(tada_attention, out_head, SIZE),      NUMBER(tada_attention, out_stream, SIZE),
    NUMBER(tada_attention, scale, FLOAT),        NUMBER(tada_attention, max_bias, FLOAT),
    NUMBER(tada_attention, softcap, FLOAT)};
enum { N_ATTENTION = sizeof attention_numbers / sizeof *attention_numbers };

static bool within_row(int column, int stride, int dim, int heads)
{
    return column >= 0 && stride >= 0 && dim >= 1 &&
           (double)column + (double)(heads - 1) * (double)stride + (double)dim <= WIDTH;
}

/* Whether sizes and places are sound: all that tada_attention_bytes looks at. */
static bool sound_sizes(const tada_attention *a)
{
    return a->n_heads_kv >= 1 && in_range(a->n_heads, 1, 1 << 16) && a->n_heads % a->n_heads_kv == 0 &&
           within_row(a->k_column, a->k_head_stride, a->k_dim, a->n_heads_kv) &&
           within_row(a->v_column, a->v_head_stride, a->v_dim, a->n_heads_kv) &&
           in_range(a->n_streams, 0, STREAMS) && in_range(a->first_stream, 0, STREAMS - a->n_streams) &&
           in_range(a->n_cells, 0, CELLS) && in_range(a->first_cell, 0, CELLS - a->n_cells) &&
           a->n_queries >= 0 && (!a->mask || (a->mask_heads >= 1 && a->mask_streams >= 1));
}

/* Where the last byte is that the strides of an operand lead to; 1e30 where they are no strides. */
static double end_of(const tada_attention *a, size_t query, size_t head, size_t stream, double values,
                     size_t value)
{
    if ((query % value && a->n_queries > 1) || (head % value && a->n_heads > 1) ||
        (stream % value && a->n_streams > 1)) {
        return 1e30;
    }
    return (double)(a->n_queries - 1) * (double)query + (double)(a->n_heads - 1) * (double)head +
           (double)(a->n_streams - 1) * (double)stream + values * (double)value;
}

static double largest_end(const tada_attention *a)
{
    double q = end_of(a, a->q_query, a->q_head, a->q_stream, a->k_dim, 4);
    double out = end_of(a, a->out_query, a->out_head, a->out_stream, a->v_dim, 4);
    double mask = a->mask ? end_of(a, a->mask_query, a->mask_heads > 1 ? a->mask_head : 0,
                                   a->mask_streams > 1 ? a->mask_stream : 0, (double)a->n_cells, 2)
                          : 0;
    return fmax(fmax(q, out), mask);
}

/* Bytes of q, of out, and of the mask, that are there. */
enum { MOST = 1 << 20 };

static void try_attention(const some_planes *s, const tada_attention *a, float *out)
{
    static const int counts[] = {1, 0, -1, INT_MIN, INT_MAX};
    bool sound = sound_sizes(a), something = sound && a->n_queries > 0 && a->n_streams > 0;
    double end = something ? largest_end(a) : 0;
    tada_spec k_spec = spec_of("tada"), v_spec = k_spec;
    tada_shape k_shape = {TADA_K, WIDTH, CELLS, STREAMS, DIM}, v_shape = {TADA_V, WIDTH, CELLS, STREAMS, DIM};
    /* Only sizes count. */
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        size_t bytes = tada_attention_bytes(a, &k_spec, &k_shape, &v_spec, &v_shape, counts[i]);
        if (bytes > 0 && (!something || counts[i] < 1)) {
            fail_msg("%s, %d threads: %zu bytes", now, counts[i], bytes);
        }
        if (bytes == 0 && something && counts[i] == 1 && a->n_queries < 100000) {
            fail_msg("%s is refused, though it is sound", now);
        }
    }
    tada_attention_job *job = NULL;
    tada_error error = {""};
    enum tada_status status = tada_attention_plan(a, &job, &error);
    bool there = end < MOST && (double)a->n_queries * a->n_heads < 100000;
    if (!sound || end > 0x1p63) {
        is_refused(status, &error);
        assert_null(job);
        is_refused(tada_attention_run(a, s->pool, NULL, &error), &error);
        int64_t cells[16];
        assert_int_equal(tada_attention_sinks(a, cells, 16), 0);
    } else if (status == TADA_OK && there) {
        void *shared = aligned_alloc(64, tada_attention_job_shared(job) + 64);
        void *scratch = aligned_alloc(64, tada_attention_job_scratch(job) + 64);
        tada_attention_look(job, NULL);
        /* No such threads: nothing happens. */
        static const int nobody[][2] = {{0, 0},       {-1, 1},      {0, -1},
                                        {1, 1},       {INT_MAX, 1}, {-1, -1},
                                        {INT_MIN, 4}, {5, INT_MIN}, {INT_MAX, INT_MAX},
                                        {0, INT_MIN}};
        for (size_t i = 0; i < sizeof nobody / sizeof *nobody; i++) {
            tada_attention_work(job, nobody[i][0], nobody[i][1], shared, scratch);
        }
        assert_true(!something || !tada_attention_is_done(job));
        tada_attention_work(job, INT_MAX - 1, INT_MAX, shared, scratch);
        tada_attention_work(job, 0, 1, shared, scratch);
        assert_true(tada_attention_is_done(job));
        free(shared);
        free(scratch);
        int64_t cells[16];
        for (int i = 0; i < N_HOSTILE; i++) {
            if (hostile[i] <= 16) {
                assert_in_range(tada_attention_sinks(a, cells, hostile[i]), 0, 16);
            }
        }
        assert_int_equal(tada_attention_run(a, s->pool, NULL, &error), TADA_OK);
    } else if (status != TADA_OK && there) {
        fail_msg("%s: %s", now, error.text);
    }
    tada_attention_job_free(job);
    (void)out;
}

static void attention(void **state)
{
    (void)state;
    tell_signals();
    some_planes s = planes_make();
    float *q = calloc(1, 2 * MOST), *out = calloc(1, 2 * MOST);
    uint16_t *mask = calloc(1, 2 * MOST);
    for (int with_mask = 0; with_mask < 3; with_mask++) {
        for (int i = 0; i < N_ATTENTION; i++) {
            for (int v = 0; v < n_values(&attention_numbers[i]); v++) {
                for (int queries = 1; queries <= 40; queries += 39) {
                    if (in_haste()) {
                        continue;
                    }
                    tada_attention a = attention_over(&s, out);
                    a.q = q;
                    a.n_queries = queries;
                    a.mask = with_mask ? mask : NULL;
                    a.mask_heads = with_mask == 2 ? HEADS : 1;
                    a.mask_streams = with_mask == 2 ? STREAMS : 1;
                    a.mask_query = CELLS * 2;
                    a.mask_head = CELLS * 80;
                    a.mask_stream = CELLS * 80 * HEADS;
                    a.q_head = a.out_head = DIM * 160;
                    a.q_stream = a.out_stream = DIM * 160 * HEADS;
                    if (set_number(&a, &attention_numbers[i], v)) {
                        size_t length = strlen(now);
                        snprintf(now + length, sizeof now - length, ", %d queries, mask %d", queries,
                                 with_mask);
                        try_attention(&s, &a, out);
                    }
                }
            }
        }
    }
    free(q);
    free(out);
    free(mask);
    planes_done(&s);
}

/* Planes that no memory holds: what attention over them takes is told, or that it would fail. */
static void sizes_of_attention(void **state)
{
    (void)state;
    tell_signals();
    static const uint16_t mask;
    static const number numbers[] = {
        NUMBER(tada_attention, n_queries, INT64),  NUMBER(tada_attention, n_streams, INT64),
        NUMBER(tada_attention, n_cells, INT64),    NUMBER(tada_attention, n_heads, INT),
        NUMBER(tada_attention, mask_streams, INT), NUMBER(tada_attention, mask_heads, INT)};
    enum { N = sizeof numbers / sizeof *numbers };
    tada_spec spec = spec_of("tada");
    tada_shape k_shape = {TADA_K, 1 << 10, (int64_t)1 << 38, 1 << 10, 64}, v_shape = k_shape;
    v_shape.kind = TADA_V;
    char first[90];
    for (int i = 0; i < N; i++) {
        for (int j = 0; j <= i; j++) {
            for (int v = (i + j) % 3; v < N_HOSTILE; v += 3) {
                tada_attention one = {.k_dim = 64,
                                      .v_dim = 64,
                                      .n_heads = 64,
                                      .n_heads_kv = i % 2 ? 1 : 16,
                                      .k_head_stride = 64,
                                      .v_head_stride = 64,
                                      .n_streams = 1 << 10,
                                      .n_cells = (int64_t)1 << 38,
                                      .n_queries = 512,
                                      .mask = v % 2 ? &mask : NULL,
                                      .mask_heads = 1,
                                      .mask_streams = 1 << 10};
                if (!set_number(&one, &numbers[i], v)) {
                    continue;
                }
                snprintf(first, sizeof first, "%.80s", now);
                for (int w = v % 16; w < (i == j ? v % 16 + 1 : N_HOSTILE); w += 16) {
                    tada_attention a = one;
                    if (i != j && !set_number(&a, &numbers[j], w)) {
                        continue;
                    }
                    size_t length = strlen(now);
                    snprintf(now + length, sizeof now - length, ", %s", first);
                    int threads = w % 2 ? INT_MAX : 4;
                    size_t bytes = tada_attention_bytes(&a, &spec, &k_shape, &spec, &v_shape, threads);
                    if (bytes > INT64_MAX) {
                        fail_msg("%s: %zu bytes", now, bytes);
                    }
                }
            }
        }
    }
}

/* What tada_attention_init makes is the usual attention; heads that rows cannot be cut into are refused. */
static void usual_attention(void **state)
{
    (void)state;
    enum { QUERIES = 3, KV = WIDTH / DIM, OUT = STREAMS * QUERIES * HEADS * DIM };
    some_planes s = planes_make();
    float by_init[OUT], by_hand[OUT];
    tada_attention a, b = {.k = s.k.plane,
                           .v = s.v.plane,
                           .k_dim = DIM,
                           .v_dim = DIM,
                           .k_head_stride = DIM,
                           .v_head_stride = DIM,
                           .n_heads = HEADS,
                           .n_heads_kv = KV,
                           .n_streams = STREAMS,
                           .n_cells = CELLS,
                           .n_queries = QUERIES,
                           .q = s.rows,
                           .q_query = HEADS * DIM * 4,
                           .q_head = DIM * 4,
                           .q_stream = QUERIES * HEADS * DIM * 4,
                           .scale = 1 / sqrtf(DIM),
                           .out = by_hand,
                           .out_query = HEADS * DIM * 4,
                           .out_head = DIM * 4,
                           .out_stream = QUERIES * HEADS * DIM * 4};
    tada_attention_init(&a, s.k.plane, s.v.plane, HEADS, KV, QUERIES);
    a.q = s.rows;
    a.out = by_init;
    assert_int_equal(tada_attention_run(&a, s.pool, NULL, NULL), TADA_OK);
    assert_int_equal(tada_attention_run(&b, s.pool, NULL, NULL), TADA_OK);
    assert_memory_equal(by_init, by_hand, sizeof by_init);
    for (int v = 0; v < N_HOSTILE; v++) {
        int heads = (int)hostile[v];
        tada_error error = {""};
        snprintf(now, sizeof now, "%d heads", heads);
        tada_attention_init(&a, s.k.plane, s.v.plane, heads, heads, hostile[v]);
        if (heads < 1 || WIDTH % heads != 0) {
            a.n_queries = 1;
            is_refused(tada_attention_run(&a, s.pool, NULL, &error), &error);
        }
    }
    planes_done(&s);
}

TEST_MAIN(cmocka_unit_test(attention), cmocka_unit_test(sizes_of_attention),
          cmocka_unit_test(usual_attention))
