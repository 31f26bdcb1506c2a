/* Functions of planes that are given any numbers: an error, and nothing has changed. */
#include "hostile.h"

static void run_two(void *pool, tada_work work, void *context)
{
    const int *n = pool;
    work(context, 0, *n);
    if (*n > 1) {
        work(context, *n - 1, *n);
    }
}

/* What a plane holds, as one number. */
static uint64_t sum_of(const some_planes *s)
{
    uint64_t hash = 0;
    assert_int_equal(tada_plane_read(s->k.plane, 0, (int64_t)CELLS * STREAMS, s->out, NULL, NULL), TADA_OK);
    for (size_t i = 0; i < (size_t)CELLS * STREAMS * WIDTH; i++) {
        hash = (hash ^ s->out[i]) * 1099511628211u;
    }
    return hash;
}

/* Refused: nothing is written. */
static void writing(void **state)
{
    (void)state;
    tell_signals();
    some_planes s = planes_make();
    uint64_t before = sum_of(&s);
    const size_t row = sizeof *s.rows * WIDTH;
    tada_error error = {""};
    for (int v = 0; v < N_HOSTILE; v++) {
        int64_t value = hostile[v];
        snprintf(now, sizeof now, "cell %lld", (long long)value);
        if (!in_range(value, 0, CELLS * STREAMS - 1)) {
            int64_t cells[2] = {1, value};
            is_refused(tada_plane_write(s.k.plane, s.pool, s.rows, TADA_F32, row, cells, 2, &error), &error);
        }
        tada_plane_mark_sinks(s.k.plane, &value, 1);
        if (value < 0) {
            snprintf(now, sizeof now, "%lld rows", (long long)value);
            is_refused(tada_plane_write(s.k.plane, s.pool, s.rows, TADA_F32, row, s.cells, value, &error),
                       &error);
            tada_plane_mark_sinks(s.k.plane, s.cells, value);
        }
        snprintf(now, sizeof now, "rows of type %lld", (long long)value);
        if (value == (int)value && !in_range(value, 0, 1)) {
            is_refused(
                tada_plane_write(s.k.plane, s.pool, s.rows, (enum tada_type)value, row, s.cells, 1, &error),
                &error);
        }
        /* The last of three rows would begin beyond all memory, or between two values. */
        snprintf(now, sizeof now, "a stride of %lld", (long long)value);
        if ((uint64_t)value > (uint64_t)INT64_MAX / 2 || value % 4 != 0) {
            is_refused(
                tada_plane_write(s.k.plane, s.pool, s.rows, TADA_F32, (size_t)value, s.cells, 3, &error),
                &error);
        }
    }
    assert_int_equal(tada_plane_write(s.k.plane, s.pool, s.rows, TADA_F32, row, s.cells, 0, NULL), TADA_OK);
    assert_true(sum_of(&s) == before);
    /* With one row, or none, the stride does not matter. */
    assert_int_equal(tada_plane_write(s.k.plane, s.pool, s.rows, TADA_F32, SIZE_MAX, s.cells, 1, NULL),
                     TADA_OK);
    planes_done(&s);
}

static void reading(void **state)
{
    (void)state;
    tell_signals();
    some_planes s = planes_make();
    const int64_t total = CELLS * STREAMS;
    tada_error error = {""};
    void *scratch = aligned_alloc(64, (tada_plane_read_scratch(s.k.plane) + 64) / 64 * 64);
    for (int v = 0; v < N_HOSTILE; v++) {
        for (int w = 0; w < N_HOSTILE; w++) {
            int64_t first = hostile[v], n = hostile[w];
            bool sound = in_range(n, 0, total) && in_range(first, 0, total - n);
            snprintf(now, sizeof now, "%lld cells from %lld on", (long long)n, (long long)first);
            enum tada_status status = tada_plane_read(s.k.plane, first, n, s.out, NULL, &error);
            enum tada_status in = tada_plane_read_in(s.k.plane, first, n, s.out, scratch, &error);
            assert_int_equal(status, in);
            if (sound) {
                assert_int_equal(status, TADA_OK);
            } else {
                is_refused(status, &error);
            }
        }
    }
    free(scratch);
    planes_done(&s);
}

static void streams(void **state)
{
    (void)state;
    tell_signals();
    some_planes s = planes_make();
    tada_error error = {""};
    for (int v = 0; v < N_HOSTILE; v++) {
        for (int way = 0; way < 2; way++) {
            int64_t from = way ? hostile[v] : 0, to = way ? 0 : hostile[v];
            snprintf(now, sizeof now, "a copy of stream %lld to %lld", (long long)from, (long long)to);
            enum tada_status status = tada_plane_copy_stream(s.k.plane, s.pool, from, to, NULL, &error);
            if (in_range(hostile[v], 0, STREAMS - 1)) {
                assert_int_equal(status, TADA_OK);
            } else {
                is_refused(status, &error);
            }
        }
    }
    planes_done(&s);
}

/* Threads that are none, and more than there is anything to do for. */
static void threads(void **state)
{
    (void)state;
    tell_signals();
    some_planes s = planes_make();
    static const int counts[] = {0, -1, INT_MIN, 1, 2, 1000, 1 << 20, INT_MAX};
    static float out[STREAMS * HEADS * 3 * DIM];
    static uint8_t chosen[CELLS * STREAMS];
    memset(chosen, 1, sizeof chosen);
    for (int i = 0; i < 2 * (int)(sizeof counts / sizeof *counts); i++) {
        int n = counts[i / 2];
        tada_threads lent = {n, i % 2 ? run_two : NULL, &n};
        bool sound = n >= 1 && i % 2;
        tada_attention a = attention_over(&s, out);
        tada_error errors[5] = {{""}};
        enum tada_status status[5];
        snprintf(now, sizeof now, "%d threads, %s function", n, i % 2 ? "a" : "no");
        status[0] = tada_plane_read(s.k.plane, 0, CELLS, s.out, &lent, &errors[0]);
        status[1] = tada_plane_edit(s.k.plane, chosen, negate_rows, &(int){WIDTH}, &lent, &errors[1]);
        status[2] = tada_plane_copy_stream(s.k.plane, s.pool, 0, 1, &lent, &errors[2]);
        status[3] = tada_attention_run(&a, s.pool, &lent, &errors[3]);
        assert_int_equal(tada_plane_write(s.k.plane, s.pool, s.rows, TADA_F32, sizeof *s.rows * WIDTH,
                                          s.cells, (int64_t)CELLS * STREAMS, NULL),
                         TADA_OK);
        status[4] = tada_plane_settle(s.k.plane, &lent, &errors[4]);
        for (int j = 0; j < 5; j++) {
            if (!sound) {
                is_refused(status[j], &errors[j]);
            } else if (status[j] != TADA_OK && status[j] != TADA_E_MEMORY) {
                fail_msg("%s, %d: %s", now, j, errors[j].text);
            }
        }
        assert_int_equal(tada_plane_settle(s.k.plane, NULL, NULL), TADA_OK);
    }
    planes_done(&s);
}

static void settling(void **state)
{
    (void)state;
    tell_signals();
    some_planes s = planes_make();
    tada_settling *settling = tada_settling_create();
    tada_plane *planes[] = {s.k.plane, s.v.plane};
    tada_error error = {""};
    /* Not begun. */
    assert_int_equal(tada_settling_scratch(settling), 0);
    tada_settling_work(settling, s.out);
    tada_settling_end(settling);
    for (int v = 0; v < N_HOSTILE; v++) {
        int n = (int)hostile[v];
        snprintf(now, sizeof now, "%d planes", n);
        if (n < 0) {
            is_refused(tada_settling_begin(settling, planes, n, &error), &error);
            tada_settling_end(settling);
        }
    }
    assert_int_equal(tada_settling_begin(settling, planes, 0, NULL), TADA_OK);
    tada_settling_end(settling);
    tada_settling_free(settling);
    planes_done(&s);
}

static const number rope_numbers[] = {
    NUMBER(tada_rope, column, INT),       NUMBER(tada_rope, n_dims, INT),
    NUMBER(tada_rope, n_heads, INT),      NUMBER(tada_rope, head_stride, INT),
    NUMBER(tada_rope, pairs, ENUM),       NUMBER(tada_rope, n_ctx_orig, INT),
    NUMBER(tada_rope, freq_base, FLOAT),  NUMBER(tada_rope, freq_scale, FLOAT),
    NUMBER(tada_rope, ext_factor, FLOAT), NUMBER(tada_rope, attn_factor, FLOAT),
    NUMBER(tada_rope, beta_fast, FLOAT),  NUMBER(tada_rope, beta_slow, FLOAT)};

static bool sound_rope(const tada_rope *r)
{
    return in_range(r->n_dims, 2, 1024) && r->n_dims % 2 == 0 && r->n_heads >= 1 && r->column >= 0 &&
           (r->n_heads == 1 || r->head_stride >= r->n_dims) && in_range((int)r->pairs, 0, 1) &&
           (double)r->column + (double)(r->n_heads - 1) * (double)r->head_stride + (double)r->n_dims <= WIDTH;
}

/* Shifts by any rope and any distance. */
static void shifting(void **state)
{
    (void)state;
    tell_signals();
    some_planes s = planes_make();
    static int32_t deltas[CELLS * STREAMS];
    for (size_t i = 0; i < sizeof rope_numbers / sizeof *rope_numbers; i++) {
        for (int v = 0; v < n_values(&rope_numbers[i]); v++) {
            tada_rope rope = {0, DIM, WIDTH / DIM, DIM, TADA_ROPE_HALVES, 4096, 10000, 1, v % 2 ? 1 : 0,
                              1, 32,  1,           NULL};
            tada_error error = {""};
            if (!set_number(&rope, &rope_numbers[i], v)) {
                continue;
            }
            for (int j = 0; j < CELLS * STREAMS; j++) {
                deltas[j] = (int32_t)hostile[(v + (j / 64 % 2 ? j : 0)) % N_HOSTILE];
            }
            enum tada_status status = tada_plane_shift(s.k.plane, &rope, deltas, NULL, &error);
            if (!sound_rope(&rope)) {
                is_refused(status, &error);
            } else if (status != TADA_OK) {
                fail_msg("%s: %s", now, error.text);
            }
        }
    }
    planes_done(&s);
}

/* What is wrong with a plane is told by the name of the member. */
static void reasons(void **state)
{
    (void)state;
    const tada_spec good = spec_of("tada");
    const tada_shape sound = {.kind = TADA_K, .width = 128, .n_cells = 256, .n_streams = 1, .head_dim = 64};
    tada_spec stock = spec_of("q8_0"), window = good, bits = good, refine = good, sinks = good, recipe = good,
              widths = good;
    window.window = 65;
    bits.window_bits = 4;
    refine.refine = (enum tada_refine)2;
    sinks.sinks = 65;
    recipe.k.group = 48;
    widths.v.quarters = 14;
    tada_shape kind = sound, width = sound, cells = sound, streams = sound, head = sound, many = sound,
               v = sound;
    kind.kind = (enum tada_kind)2;
    width.width = 0;
    cells.n_cells = 0;
    streams.n_streams = -1;
    head.head_dim = 48;
    many.n_cells = (int64_t)1 << 40;
    many.n_streams = 1 << 20;
    many.width = 1 << 20;
    many.head_dim = 0;
    v.kind = TADA_V;
    const struct {
        const tada_spec *spec;
        const tada_shape *shape;
        const char *words;
    } cases[] = {{&good, &kind, "kind"},         {&good, &width, "width"},    {&good, &cells, "n_cells"},
                 {&good, &streams, "n_streams"}, {&good, &head, "head_dim"},  {&good, &many, "memory"},
                 {&stock, &sound, "stock"},      {&window, &sound, "window"}, {&bits, &sound, "window_bits"},
                 {&refine, &sound, "refine"},    {&sinks, &sound, "sinks"},   {&recipe, &sound, "group"},
                 {&widths, &v, "quarters"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tada_error error = {""};
        tada_plane *plane = NULL;
        assert_int_equal(tada_plane_bytes(cases[i].spec, cases[i].shape), 0);
        assert_int_equal(tada_plane_create(cases[i].spec, cases[i].shape, NULL, 0, &plane, &error),
                         TADA_E_ARGUMENT);
        if (!strstr(error.text, cases[i].words)) {
            fail_msg("'%s' does not say '%s'", error.text, cases[i].words);
        }
    }
}

static void memory_of_planes(void **state)
{
    (void)state;
    tell_signals();
    tada_spec spec = spec_of("tada");
    tada_shape shape = {TADA_K, WIDTH, CELLS, STREAMS, DIM};
    size_t bytes = tada_plane_bytes(&spec, &shape);
    uint8_t *memory = aligned_alloc(64, (bytes + 127) / 64 * 64);
    tada_plane *plane = NULL;
    tada_error error = {""};
    static const size_t some[] = {0, 1, 63, 64};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        snprintf(now, sizeof now, "%zu bytes", some[i]);
        is_refused(tada_plane_create(&spec, &shape, memory, some[i], &plane, &error), &error);
    }
    is_refused(tada_plane_create(&spec, &shape, memory, bytes - 1, &plane, &error), &error);
    for (int i = 1; i < 64; i++) {
        is_refused(tada_plane_create(&spec, &shape, memory + i, bytes, &plane, &error), &error);
    }
    assert_null(plane);
    free(memory);
}

TEST_MAIN(cmocka_unit_test(writing), cmocka_unit_test(reading), cmocka_unit_test(streams),
          cmocka_unit_test(threads), cmocka_unit_test(settling), cmocka_unit_test(shifting),
          cmocka_unit_test(reasons), cmocka_unit_test(memory_of_planes))
