/*
 * Functions of tada.h that are given any numbers: an error, or nothing done, and never a signal. Here specs,
 * shapes and plans; what of them is sound is said anew.
 */
#include "hostile.h"

static const tada_recipe k_recipe = {.bits = 4, .group = 64, .search = TADA_SEARCH_ERROR, .quarters = 16};
static const tada_recipe v_recipe = {.bits = 3,
                                     .group = 64,
                                     .rotation = TADA_ROTATE_HADAMARD,
                                     .axis = TADA_AXIS_TOKEN,
                                     .scale = TADA_SCALE_8,
                                     .search = TADA_SEARCH_ERROR};

static tada_spec good_spec(void)
{
    return (tada_spec){.k = k_recipe, .v = v_recipe, .window = 64, .sinks = 4};
}

static bool is_one_of(int value, const int *values, int n)
{
    for (int i = 0; i < n; i++) {
        if (values[i] == value) {
            return true;
        }
    }
    return false;
}

static bool sound_recipe(const tada_recipe *r, enum tada_kind kind)
{
    static const int bits[] = {2, 3, 4, 5, 6, 8, 16}, cells[] = {16, 32, 64};
    if (!in_range((int)r->centring, 0, 3) || !in_range((int)r->rotation, 0, 1) ||
        !in_range((int)r->axis, 0, 1) || !in_range((int)r->scale, 0, 2) || !in_range((int)r->search, 0, 1)) {
        return false;
    }
    if (r->quarters != 0) {
        return kind == TADA_K && in_range(r->quarters, 8, 32) && r->bits == r->quarters / 4 &&
               r->axis == TADA_AXIS_CHANNEL && r->group == 64 && r->scale == TADA_SCALE_16;
    }
    if (!is_one_of(r->bits, bits, 7)) {
        return false;
    }
    return r->axis == TADA_AXIS_CHANNEL ? is_one_of(r->group, cells, 3) && r->scale != TADA_SCALE_8
                                        : in_range(r->group, 16, 256) && r->group % 16 == 0;
}

static bool sound_spec(const tada_spec *s, enum tada_kind kind)
{
    return !s->stock && in_range((int)s->refine, 0, 1) && s->window >= 0 && s->window % 64 == 0 &&
           in_range(s->sinks, 0, 64) &&
           (s->window_bits == 0 || s->window_bits == 8 || s->window_bits == 16) &&
           sound_recipe(kind == TADA_K ? &s->k : &s->v, kind);
}

/* Whether a shape is one, however large. */
static bool sound_shape(const tada_shape *s)
{
    return in_range((int)s->kind, 0, 1) && in_range(s->width, 1, 1 << 20) &&
           in_range(s->n_cells, 1, (int64_t)1 << 40) && in_range(s->n_streams, 1, 1 << 20) &&
           (s->head_dim == 0 || (s->head_dim > 0 && s->head_dim % 16 == 0 && s->width % s->head_dim == 0));
}

static double f16_bytes(const tada_shape *s)
{
    return (double)s->n_cells * (double)s->n_streams * (double)s->width * 2;
}

/* Rows of all kinds of a small plane go in, through codes, and come out. */
static void use_plane(const tada_spec *spec, const tada_shape *shape)
{
    size_t bytes = tada_plane_bytes(spec, shape), row = (size_t)shape->width * 4;
    int64_t n = shape->n_cells < CELLS ? shape->n_cells : CELLS;
    tada_error error = {""};
    tada_plane *plane = NULL;
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    float *rows = malloc((size_t)n * row);
    uint16_t *out = malloc((size_t)n * row);
    int64_t cells[CELLS];
    tada_pool *pool = tada_pool_create();
    fill(rows, n, shape->width, 0);
    for (int64_t i = 0; i < n; i++) {
        cells[i] = i;
    }
    enum tada_status status = tada_plane_create(spec, shape, memory, bytes, &plane, &error);
    if (status != TADA_OK) {
        /* Such as rows that no groups can be made of. */
        if (status != TADA_E_UNSUPPORTED) {
            fail_msg("%s: %s", now, error.text);
        }
    } else {
        assert_int_equal(tada_plane_write(plane, pool, rows, TADA_F32, row, cells, n, NULL), TADA_OK);
        assert_int_equal(tada_plane_settle(plane, NULL, NULL), TADA_OK);
        assert_int_equal(tada_plane_read(plane, 0, n, out, NULL, NULL), TADA_OK);
    }
    tada_plane_free(plane);
    tada_pool_free(pool);
    free(memory);
    free(rows);
    free(out);
}

/* All functions that take a spec and a shape, which may be unsound. */
static void try_plane(const tada_spec *spec, const tada_shape *shape)
{
    static const int64_t some_rows[] = {INT64_MIN, -1, 0, 1, 1000, INT64_MAX - 1, INT64_MAX};
    static _Alignas(64) uint8_t little[64];
    bool sound = sound_shape(shape) && sound_spec(spec, shape->kind);
    /* What no 64 bits can count is refused; what they can, and no memory holds, may be. */
    double most_tiles = (double)shape->n_cells / 64 * (double)shape->n_streams;
    bool certain = f16_bytes(shape) < 0x1p56 && most_tiles < 0x1p29, impossible = f16_bytes(shape) >= 0x1p63;
    tada_plane_parts parts = {.codes = 1};
    size_t bytes = tada_plane_bytes(spec, shape);
    bool measured = tada_plane_measure(spec, shape, &parts);
    if (measured != (bytes > 0) || parts.codes + parts.window + parts.sinks + parts.table != bytes) {
        fail_msg("%s: the parts are not the whole", now);
    }
    if (bytes > 0 && (!sound || impossible)) {
        fail_msg("%s: %zu bytes", now, bytes);
    }
    if (bytes == 0 && sound && certain) {
        fail_msg("%s is refused, though it is sound", now);
    }
    if (bytes > 0) {
        double tiles = ((double)shape->n_cells + 63) / 64 * (double)shape->n_streams;
        assert_true((double)bytes <=
                    (tiles + (double)shape->n_streams) * (128.0 * shape->width + 128) + 1024);
        assert_true((double)bytes >= f16_bytes(shape) / 16);
    }
    for (size_t i = 0; i < sizeof some_rows / sizeof *some_rows; i++) {
        size_t batch = tada_plane_batch_bytes(spec, shape, some_rows[i]);
        if (batch > 0 && (bytes == 0 || some_rows[i] < 1)) {
            fail_msg("%s: a batch of %lld rows takes %zu bytes", now, (long long)some_rows[i], batch);
        }
    }
    tada_error error = {""};
    tada_plane *plane = NULL;
    enum tada_status status = tada_plane_create(spec, shape, little, sizeof little, &plane, &error);
    if (bytes == 0) {
        is_refused(status, &error);
    } else if (bytes > sizeof little) {
        assert_int_not_equal(status, TADA_OK);
    }
    assert_null(plane);
    if (bytes > 0 && bytes < 8 << 20) {
        use_plane(spec, shape);
    }
}

static const number shape_numbers[] = {
    NUMBER(tada_shape, kind, ENUM), NUMBER(tada_shape, width, INT), NUMBER(tada_shape, n_cells, INT64),
    NUMBER(tada_shape, n_streams, INT64), NUMBER(tada_shape, head_dim, INT)};
enum { N_SHAPE = sizeof shape_numbers / sizeof *shape_numbers };

static void shapes(void **state)
{
    (void)state;
    tell_signals();
    for (int i = 0; i < N_SHAPE; i++) {
        for (int v = 0; v < n_values(&shape_numbers[i]); v++) {
            for (int kind = 0; kind < 2; kind++) {
                for (int window_bits = 8; window_bits <= 16; window_bits += 8) {
                    tada_spec spec = good_spec();
                    tada_shape shape = {(enum tada_kind)kind, WIDTH, CELLS, STREAMS, 0};
                    spec.window_bits = window_bits;
                    if (set_number(&shape, &shape_numbers[i], v)) {
                        try_plane(&spec, &shape);
                    }
                }
            }
        }
    }
}

/* Two numbers at once, since each of them may be sound and their product not. */
static void pairs_of_sizes(void **state)
{
    (void)state;
    tell_signals();
    char first[90];
    for (int i = 0; i < N_SHAPE; i++) {
        for (int j = 0; j < i; j++) {
            for (int v = 0; v < n_values(&shape_numbers[i]); v++) {
                tada_spec spec = good_spec();
                tada_shape one = {TADA_K, WIDTH, CELLS, STREAMS, 0};
                spec.window_bits = v % 2 ? 8 : 16;
                if (!set_number(&one, &shape_numbers[i], v)) {
                    continue;
                }
                snprintf(first, sizeof first, "%.80s", now);
                for (int w = 0; w < n_values(&shape_numbers[j]); w++) {
                    tada_shape shape = one;
                    if (set_number(&shape, &shape_numbers[j], w)) {
                        size_t length = strlen(now);
                        snprintf(now + length, sizeof now - length, ", %s", first);
                        if (f16_bytes(&shape) > 1e8 || !sound_shape(&shape)) {
                            try_plane(&spec, &shape);
                        }
                    }
                }
            }
        }
    }
}

static const number spec_numbers[] = {
    NUMBER(tada_spec, refine, ENUM),     NUMBER(tada_spec, window, INT),
    NUMBER(tada_spec, window_bits, INT), NUMBER(tada_spec, sinks, INT),
    NUMBER(tada_spec, k.bits, INT),      NUMBER(tada_spec, k.group, INT),
    NUMBER(tada_spec, k.centring, ENUM), NUMBER(tada_spec, k.rotation, ENUM),
    NUMBER(tada_spec, k.axis, ENUM),     NUMBER(tada_spec, k.scale, ENUM),
    NUMBER(tada_spec, k.search, ENUM),   NUMBER(tada_spec, k.quarters, INT),
    NUMBER(tada_spec, v.bits, INT),      NUMBER(tada_spec, v.group, INT),
    NUMBER(tada_spec, v.centring, ENUM), NUMBER(tada_spec, v.rotation, ENUM),
    NUMBER(tada_spec, v.axis, ENUM),     NUMBER(tada_spec, v.scale, ENUM),
    NUMBER(tada_spec, v.search, ENUM),   NUMBER(tada_spec, v.quarters, INT)};

static void specs(void **state)
{
    (void)state;
    tell_signals();
    static const tada_shape some[] = {{TADA_K, WIDTH, CELLS, STREAMS, 0},
                                      {TADA_V, WIDTH, CELLS, STREAMS, 32},
                                      {TADA_K, 640, 65, 1, 320},
                                      {TADA_V, 48, 129, 1, 16},
                                      {TADA_K, 1 << 20, (int64_t)1 << 40, 1, 0},
                                      {TADA_V, 16, 1, 1 << 20, 0}};
    for (size_t i = 0; i < sizeof spec_numbers / sizeof *spec_numbers; i++) {
        for (int v = 0; v < n_values(&spec_numbers[i]); v++) {
            for (size_t s = 0; s < sizeof some / sizeof *some; s++) {
                tada_spec spec = good_spec();
                if (set_number(&spec, &spec_numbers[i], v)) {
                    try_plane(&spec, &some[s]);
                }
            }
        }
    }
    tada_spec stock = good_spec();
    stock.stock = true;
    snprintf(now, sizeof now, "a stock spec");
    try_plane(&stock, &some[0]);
}

/* Widths that adapt have a whole part of their own: `bits` must be that, since both are read. */
static void contradictions(void **state)
{
    (void)state;
    tell_signals();
    for (int bits = -1; bits <= 17; bits++) {
        for (int quarters = -4; quarters <= 68; quarters++) {
            tada_spec spec = good_spec();
            const tada_shape shape = {TADA_K, WIDTH, CELLS, STREAMS, 0};
            spec.k.bits = bits;
            spec.k.quarters = quarters;
            snprintf(now, sizeof now, "%d bits and %d quarters", bits, quarters);
            assert_int_equal(tada_plane_bytes(&spec, &shape) > 0, sound_spec(&spec, TADA_K));
        }
    }
}

/* Heads of all sizes that a shape or tada_plane_set_head_dim can be given, and rows coded with them. */
static void head_sizes(void **state)
{
    (void)state;
    tell_signals();
    static const int widths[] = {16, 48, 64, 256, 1000, 1024, 4096, 1 << 16},
                     sizes[] = {0,   1,   3,   8,   16,   17,   32,   48,      64,      128,
                                250, 256, 500, 512, 1000, 1024, 2048, 1 << 16, 1 << 17, INT_MAX};
    static const char *const texts[] = {"tada:window=0", "tada:4:axis=token:group=256:window=0",
                                        "tada:paper:window=0",
                                        "tada:4:centre=heads8:rotate=hadamard:window=0"};
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        for (size_t h = 0; h < sizeof sizes / sizeof *sizes; h++) {
            for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
                tada_spec spec = spec_of(texts[t]);
                tada_shape shape = {(enum tada_kind)(h % 2), widths[w], 65, 1, sizes[h]};
                snprintf(now, sizeof now, "%s: %d values, heads of %d", texts[t], widths[w], sizes[h]);
                try_plane(&spec, &shape);
            }
        }
    }
    for (int kind = 0; kind < 2; kind++) {
        for (int v = 0; v < N_HOSTILE; v++) {
            test_plane p = plane_of("tada", (enum tada_kind)kind, WIDTH, CELLS, STREAMS, 0);
            snprintf(now, sizeof now, "head size %lld", (long long)hostile[v]);
            int head_dim = (int)hostile[v];
            bool divides = head_dim > 0 && WIDTH % head_dim == 0 && head_dim % 16 == 0;
            assert_int_equal(tada_plane_set_head_dim(p.plane, head_dim),
                             divides ? TADA_OK : TADA_E_UNSUPPORTED);
            plane_done(&p);
        }
    }
}

/* ---- plans ---- */

static const number plan_numbers[] = {NUMBER(tada_plan_info, sinks, INT), NUMBER(tada_plan_info, n_ctx, INT)};

static const number plan_plane_numbers[] = {NUMBER(tada_plan_plane, width, INT),
                                            NUMBER(tada_plan_plane, head_dim, INT),
                                            NUMBER(tada_plan_plane, window, INT),
                                            NUMBER(tada_plan_plane, window_bits, INT),
                                            NUMBER(tada_plan_plane, sensitivity, FLOAT),
                                            NUMBER(tada_plan_plane, recipe.bits, INT),
                                            NUMBER(tada_plan_plane, recipe.group, INT),
                                            NUMBER(tada_plan_plane, recipe.centring, ENUM),
                                            NUMBER(tada_plan_plane, recipe.rotation, ENUM),
                                            NUMBER(tada_plan_plane, recipe.axis, ENUM),
                                            NUMBER(tada_plan_plane, recipe.scale, ENUM),
                                            NUMBER(tada_plan_plane, recipe.search, ENUM),
                                            NUMBER(tada_plan_plane, recipe.quarters, INT)};

static tada_plan_plane good_plane(enum tada_kind kind)
{
    return (tada_plan_plane){
        .width = WIDTH, .head_dim = DIM, .recipe = kind == TADA_V ? v_recipe : k_recipe, .window = 64};
}

static tada_plan *good_plan(void)
{
    tada_plan *plan = tada_plan_create(2);
    for (int i = 0; i < 4; i++) {
        tada_plan_plane plane = good_plane((enum tada_kind)(i % 2));
        assert_int_equal(tada_plan_set_plane(plan, i / 2, (enum tada_kind)(i % 2), &plane, NULL), TADA_OK);
    }
    return plan;
}

static bool sound_plan_plane(const tada_plan_plane *p, enum tada_kind kind)
{
    return p->sensitivity >= 0 && p->sensitivity < INFINITY &&
           (p->width == 0 || (in_range(p->width, 16, 65536) && p->width % 16 == 0 &&
                              (p->head_dim == 0 ||
                               (p->head_dim > 0 && p->head_dim % 16 == 0 && p->width % p->head_dim == 0)) &&
                              in_range(p->window, 0, 1 << 20) && p->window % 64 == 0 &&
                              (p->window_bits == 0 || p->window_bits == 8 || p->window_bits == 16) &&
                              sound_recipe(&p->recipe, kind)));
}

static void check_set(enum tada_status status, const tada_error *error, bool sound)
{
    if (!sound) {
        is_refused(status, error);
    } else if (status != TADA_OK) {
        fail_msg("%s: %s", now, error->text);
    }
}

static void plans(void **state)
{
    (void)state;
    tell_signals();
    tada_plan *set = good_plan();
    for (size_t i = 0; i < sizeof plan_numbers / sizeof *plan_numbers; i++) {
        for (int v = 0; v < N_HOSTILE; v++) {
            tada_error error = {""};
            tada_plan_info info = {.sinks = 4};
            if (set_number(&info, &plan_numbers[i], v)) {
                check_set(tada_plan_set_info(set, &info, &error), &error,
                          in_range(info.sinks, 0, 64) && info.n_ctx >= 0);
            }
        }
    }
    for (size_t i = 0; i < sizeof plan_plane_numbers / sizeof *plan_plane_numbers; i++) {
        for (int v = 0; v < n_values(&plan_plane_numbers[i]); v++) {
            for (int at = 0; at < 4; at++) {
                tada_error error = {""};
                enum tada_kind kind = (enum tada_kind)(at % 2);
                tada_plan_plane plane = good_plane(kind);
                if (set_number(&plane, &plan_plane_numbers[i], v)) {
                    check_set(tada_plan_set_plane(set, at / 2, kind, &plane, &error), &error,
                              sound_plan_plane(&plane, kind));
                }
            }
        }
    }
    tada_plan_free(set);
    for (int v = 0; v < N_HOSTILE; v++) {
        int n = (int)hostile[v];
        snprintf(now, sizeof now, "a plan for %d layers", n);
        tada_plan *made = tada_plan_create(n);
        assert_int_equal(made != NULL, in_range(n, 1, TADA_PLAN_LAYERS));
        tada_plan_free(made);
        /* The spec of what is not there is one that every function refuses. */
        tada_plan *plan = good_plan();
        for (int kind = 0; kind < 2; kind++) {
            for (int way = 0; way < 2; way++) {
                snprintf(now, sizeof now, "%s %d of a plan", way ? "kind" : "layer", n);
                tada_spec spec = way ? tada_plan_spec(plan, 1, (enum tada_kind)n)
                                     : tada_plan_spec(plan, n, (enum tada_kind)kind);
                tada_shape shape = {(enum tada_kind)kind, WIDTH, CELLS, STREAMS, 0};
                assert_int_equal(tada_plane_bytes(&spec, &shape) > 0, in_range(n, 0, 1));
                assert_int_equal(tada_plan_get_plane(plan, way ? 1 : n, (enum tada_kind)(way ? n : kind)) !=
                                     NULL,
                                 in_range(n, 0, 1));
            }
        }
        assert_null(tada_plan_get_point(plan, n));
        tada_plan_free(plan);
    }
}

static void names(void **state)
{
    (void)state;
    tell_signals();
    for (int v = 0; v < N_HOSTILE; v++) {
        snprintf(now, sizeof now, "status %lld", (long long)hostile[v]);
        assert_non_null(tada_status_name((enum tada_status)(int)hostile[v]));
    }
    static const char *const sets[] = {"", "scala", "scalars", "\xff", "avx2,scalar"};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        assert_int_equal(tada_kernels_select(sets[i]), TADA_E_UNSUPPORTED);
    }
    assert_true(tada_model_fingerprint("", 0) != 0);
}

TEST_MAIN(cmocka_unit_test(names), cmocka_unit_test(shapes), cmocka_unit_test(pairs_of_sizes),
          cmocka_unit_test(specs), cmocka_unit_test(contradictions), cmocka_unit_test(head_sizes),
          cmocka_unit_test(plans))
