/* Plans in memory and in files, and weights that steer adaptive widths. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 128, CELLS = 256 };

static enum tada_kind kind_of(int i)
{
    return i % 2 ? TADA_V : TADA_K;
}

/* K of layer 0, V of layer 0, K of layer 1, ... */
static tada_plan_plane plan_plane(const tada_plan *plan, int i)
{
    return *tada_plan_get_plane(plan, i / 2, kind_of(i));
}

static void set_plane(tada_plan *plan, int i, const tada_plan_plane *plane)
{
    tada_error error = {""};
    if (tada_plan_set_plane(plan, i / 2, kind_of(i), plane, &error) != TADA_OK) {
        fail_msg("%s", error.text);
    }
}

static tada_plan *make_plan(void)
{
    tada_spec spec = spec_of("tada");
    tada_plan *plan = tada_plan_create(2);
    assert_non_null(plan);
    for (int i = 0; i < 4; i++) {
        tada_plan_plane plane = {.width = WIDTH,
                                 .head_dim = i == 0 ? 32 : 0,
                                 .recipe = i % 2 ? spec.v : spec.k,
                                 .window = 64 * i,
                                 .window_bits = i == 2   ? 8
                                                : i == 3 ? 16
                                                         : 0};
        set_plane(plan, i, &plane);
    }
    tada_plan_info info = {.model = "a model", .method = "tada", .fingerprint = 7, .sinks = 4, .n_ctx = 512};
    assert_int_equal(tada_plan_set_info(plan, &info, NULL), TADA_OK);
    return plan;
}

static void layers_have_their_own_specs(void **state)
{
    (void)state;
    tada_plan *plan = make_plan();
    tada_plan_plane k_plane = plan_plane(plan, 2), v_plane = plan_plane(plan, 3);
    k_plane.recipe.quarters = 23;
    k_plane.recipe.bits = 5;
    v_plane.recipe.bits = 6;
    v_plane.recipe.scale = TADA_SCALE_16;
    set_plane(plan, 2, &k_plane);
    set_plane(plan, 3, &v_plane);
    tada_spec k = tada_plan_spec(plan, 1, TADA_K), v = tada_plan_spec(plan, 1, TADA_V);
    assert_int_equal(k.k.quarters, 23);
    assert_int_equal(v.v.bits, 6);
    assert_int_equal(k.window, 128);
    assert_int_equal(v.window, 192);
    assert_int_equal(k.window_bits, 8);
    assert_int_equal(v.window_bits, 16);
    assert_int_equal(k.refine, TADA_REFINE_ON);
    assert_int_equal(k.sinks, 4);
    assert_false(k.stock || k.plan);
    tada_plan_free(plan);
    tada_plan_free(NULL);
    assert_null(tada_plan_create(0));
    assert_null(tada_plan_create(TADA_PLAN_LAYERS + 1));
}

static void what_is_not_there_is_null(void **state)
{
    (void)state;
    tada_plan *plan = make_plan();
    tada_plan_plane plane = plan_plane(plan, 0);
    assert_int_equal(tada_plan_layers(plan), 2);
    assert_null(tada_plan_get_plane(plan, -1, TADA_K));
    assert_null(tada_plan_get_plane(plan, 2, TADA_K));
    assert_null(tada_plan_get_plane(plan, 0, (enum tada_kind)2));
    assert_int_equal(tada_plan_set_plane(plan, 2, TADA_V, &plane, NULL), TADA_E_ARGUMENT);
    assert_int_equal(tada_plan_set_plane(plan, 0, (enum tada_kind)2, &plane, NULL), TADA_E_ARGUMENT);
    assert_int_equal(tada_plan_points(plan), 0);
    assert_null(tada_plan_get_point(plan, 0));
    tada_plan_free(plan);
}

/* The call says why, and the plan stays as it was. */
static void refuses(enum tada_status status, const tada_error *error, const char *reason)
{
    assert_int_equal(status, TADA_E_ARGUMENT);
    if (!strstr(error->text, reason)) {
        fail_msg("'%s' does not say '%s'", error->text, reason);
    }
}

static void refuses_plane(int i, const tada_plan_plane *plane, const char *reason)
{
    tada_error error = {""};
    tada_plan *plan = make_plan();
    tada_plan_plane before = plan_plane(plan, i);
    refuses(tada_plan_set_plane(plan, i / 2, kind_of(i), plane, &error), &error, reason);
    assert_int_equal(tada_plan_set_plane(plan, i / 2, kind_of(i), plane, NULL), TADA_E_ARGUMENT);
    tada_plan_plane after = plan_plane(plan, i);
    assert_memory_equal(&before, &after, sizeof before);
    tada_plan_free(plan);
}

static void refuses_info(const tada_plan_info *info, const char *reason)
{
    tada_error error = {""};
    tada_plan *plan = make_plan();
    refuses(tada_plan_set_info(plan, info, &error), &error, reason);
    assert_int_equal(tada_plan_get_info(plan)->sinks, 4);
    tada_plan_free(plan);
}

static void what_is_not_sound_is_refused(void **state)
{
    (void)state;
    static const float negative[WIDTH / 8] = {[3] = -1};
    tada_plan *plan = make_plan();
    tada_plan_plane good[4];
    for (int i = 0; i < 4; i++) {
        good[i] = plan_plane(plan, i);
    }
    const tada_plan_info good_info = *tada_plan_get_info(plan);
    tada_plan_free(plan);
#define REFUSES(i, member, value, reason)                                                                    \
    do {                                                                                                     \
        tada_plan_plane bad = good[i];                                                                       \
        bad.member = value;                                                                                  \
        refuses_plane(i, &bad, reason);                                                                      \
    } while (0)
    REFUSES(1, recipe.quarters, 12, "V of layer 0");
    REFUSES(1, recipe.bits, 7, "V of layer 0");
    REFUSES(2, recipe.group, 48, "K of layer 1");
    REFUSES(0, width, 24, "multiple of 16");
    REFUSES(0, width, -16, "multiple of 16");
    REFUSES(0, width, TADA_PLAN_WIDTH + 16, "multiple of 16");
    REFUSES(0, head_dim, 48, "head size");
    REFUSES(0, window, 65, "window");
    REFUSES(0, window_bits, 4, "window_bits");
    REFUSES(3, sensitivity, NAN, "sensitivity");
    REFUSES(3, sensitivity, -1, "sensitivity");
    REFUSES(0, recipe.weights, negative, "weights");
    tada_plan_plane none = {.width = 0, .sensitivity = INFINITY};
    refuses_plane(2, &none, "sensitivity");
    tada_plan_info info = good_info;
    info.sinks = 65;
    refuses_info(&info, "sinks");
    info = good_info;
    info.n_ctx = -1;
    refuses_info(&info, "context");
    info = good_info;
    memset(info.model, 'x', sizeof info.model);
    refuses_info(&info, "does not end");
    info = good_info;
    memset(info.method, 'x', sizeof info.method);
    refuses_info(&info, "does not end");
}

/* A plan is chosen by its points: one that is not a number would come before all others. */
static void points_are_numbers(void **state)
{
    (void)state;
    const tada_plan_point good = {.cache = "plan", .memory = 0.25, .kld = 0.001, .kld_se = 0.0001};
    static const double never[] = {NAN, INFINITY, -INFINITY};
    tada_plan *plan = make_plan();
    for (size_t i = 0; i < 3 * sizeof never / sizeof *never; i++) {
        tada_error error = {""};
        tada_plan_point bad = good;
        *(i % 3 == 0 ? &bad.memory : i % 3 == 1 ? &bad.kld : &bad.kld_se) = never[i / 3];
        refuses(tada_plan_add_point(plan, &bad, &error), &error, "numbers");
    }
    tada_plan_point negative = good;
    negative.memory = -0.25;
    assert_int_equal(tada_plan_add_point(plan, &negative, NULL), TADA_E_ARGUMENT);
    assert_int_equal(tada_plan_points(plan), 0);
    assert_int_equal(tada_plan_add_point(plan, &good, NULL), TADA_OK);
    tada_plan_free(plan);
}

/* ---- files ---- */

static void same_plans(const tada_plan *a, const tada_plan *b)
{
    const tada_plan_info *i = tada_plan_get_info(a), *j = tada_plan_get_info(b);
    assert_int_equal(tada_plan_layers(a), tada_plan_layers(b));
    assert_string_equal(i->model, j->model);
    assert_string_equal(i->method, j->method);
    assert_true(i->fingerprint == j->fingerprint && i->sinks == j->sinks && i->n_ctx == j->n_ctx);
    for (int p = 0; p < 2 * tada_plan_layers(a); p++) {
        tada_plan_plane x = plan_plane(a, p), y = plan_plane(b, p);
        assert_int_equal(!x.recipe.weights, !y.recipe.weights);
        if (x.recipe.weights) {
            assert_memory_equal(x.recipe.weights, y.recipe.weights, (size_t)x.width / 8 * sizeof(float));
        }
        x.window_bits = x.window_bits ? x.window_bits : 16; /* files say which */
        y.window_bits = y.window_bits ? y.window_bits : 16;
        y.recipe.weights = x.recipe.weights;
        assert_memory_equal(&x, &y, sizeof x);
    }
    assert_int_equal(tada_plan_points(a), tada_plan_points(b));
    for (int p = 0; p < tada_plan_points(a); p++) {
        assert_memory_equal(tada_plan_get_point(a, p), tada_plan_get_point(b, p), sizeof(tada_plan_point));
    }
}

/* With weights, and more points than any table has. */
static tada_plan *full_plan(void)
{
    enum { POINTS = 300 };
    float weights[WIDTH / 8];
    tada_plan *plan = make_plan();
    for (int i = 0; i < 4; i += 2) {
        tada_plan_plane plane = plan_plane(plan, i);
        for (int j = 0; j < WIDTH / 8; j++) {
            weights[j] = (float)(i + j);
        }
        plane.recipe.weights = weights;
        set_plane(plan, i, &plane);
    }
    for (int i = 0; i < POINTS; i++) {
        tada_plan_point point = {.memory = i, .kld = 0.5 * i, .kld_se = 0.25 * i};
        snprintf(point.cache, sizeof point.cache, "tada:%d", i);
        assert_int_equal(tada_plan_add_point(plan, &point, NULL), TADA_OK);
    }
    return plan;
}

static void plans_survive_files(void **state)
{
    (void)state;
    tada_plan *plan = full_plan(), *copy = tada_plan_copy(plan), *back = NULL;
    void *bytes;
    size_t size;
    same_plans(plan, copy);
    assert_int_equal(tada_plan_save_memory(plan, &bytes, &size, NULL), TADA_OK);
    assert_int_equal(tada_plan_load_memory(bytes, size, &back, NULL), TADA_OK);
    same_plans(plan, back);
    tada_plan_free(back);
    FILE *file = tmpfile();
    char path[64];
    assert_int_equal(tada_plan_save(plan, fileno(file), NULL), TADA_OK);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(file));
    assert_int_equal(tada_plan_load(path, &back, NULL), TADA_OK);
    same_plans(plan, back);
    tada_plan_free(back);
    fclose(file);
    tada_plan_free(copy);
    tada_plan_free(plan);
    free(bytes);
}

static void planes_may_be_set_to_themselves(void **state)
{
    (void)state;
    tada_plan *plan = full_plan(), *copy = tada_plan_copy(plan);
    for (int i = 0; i < 4; i++) {
        const tada_plan_plane *own = tada_plan_get_plane(plan, i / 2, kind_of(i));
        assert_int_equal(tada_plan_set_plane(plan, i / 2, kind_of(i), own, NULL), TADA_OK);
    }
    same_plans(plan, copy);
    tada_plan_free(copy);
    tada_plan_free(plan);
}

/* However a file is damaged, it is read or refused with a reason; cut short, it is always refused. */
static void damaged_files_are_refused(void **state)
{
    (void)state;
    tada_plan *plan = full_plan(), *back;
    uint8_t *bytes;
    size_t size;
    int n_sound = 0;
    assert_int_equal(tada_plan_save_memory(plan, (void **)&bytes, &size, NULL), TADA_OK);
    for (size_t at = 0; at < size; at++) {
        tada_error error = {""};
        assert_int_equal(tada_plan_load_memory(bytes, at, &back, &error), TADA_E_FILE);
        assert_null(back);
        assert_true(strlen(error.text) > 10);
        bytes[at] ^= (uint8_t)(1 << at % 8);
        enum tada_status status = tada_plan_load_memory(bytes, size, &back, NULL);
        assert_true(status == TADA_OK ? back != NULL : status == TADA_E_FILE && !back);
        n_sound += status == TADA_OK;
        tada_plan_free(back);
        bytes[at] ^= (uint8_t)(1 << at % 8);
    }
    assert_true(n_sound > 0 && n_sound < (int)size);
    free(bytes);
    tada_plan_free(plan);
}

static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    static const char *const paths[] = {"", "/", "/dev/null", "/no/such/file", "/proc/self/exe"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        tada_error error = {""};
        tada_plan *plan;
        assert_int_equal(tada_plan_load(paths[i], &plan, &error), TADA_E_FILE);
        assert_null(plan);
        assert_true(strlen(error.text) > 10);
    }
    tada_plan *plan = make_plan();
    tada_error error = {""};
    assert_int_equal(tada_plan_save(plan, -1, &error), TADA_E_FILE);
    assert_non_null(strstr(error.text, "cannot be written"));
    tada_plan_free(plan);
}

static void a_plan_is_named_by_its_file(void **state)
{
    (void)state;
    tada_spec spec;
    assert_int_equal(tada_spec_parse("tada:@some where/a:b.gguf", &spec, NULL), TADA_OK);
    assert_true(spec.plan);
    assert_string_equal(tada_spec_plan_path("tada:@some where/a:b.gguf"), "some where/a:b.gguf");
    assert_null(tada_spec_plan_path("tada:4"));
    assert_int_equal(tada_spec_parse("tada:@", &spec, NULL), TADA_E_ARGUMENT);
    assert_int_equal(tada_spec_parse("tada", &spec, NULL), TADA_OK);
    assert_false(spec.plan);
}

/* Rows of K through a plane; decoded rows in `out`. */
static void pass(const tada_spec *spec, const uint16_t *rows, uint16_t *out)
{
    tada_shape shape = {.kind = TADA_K, .width = WIDTH, .n_cells = CELLS, .n_streams = 1};
    size_t bytes = tada_plane_bytes(spec, &shape);
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    tada_pool *pool = tada_pool_create();
    tada_plane *plane;
    int64_t cells[CELLS];
    for (int i = 0; i < CELLS; i++) {
        cells[i] = i;
    }
    assert_int_equal(tada_plane_create(spec, &shape, memory, bytes, &plane, NULL), TADA_OK);
    assert_int_equal(tada_plane_set_head_dim(plane, 64), TADA_OK);
    assert_int_equal(tada_plane_write(plane, pool, rows, TADA_F16, WIDTH * 2, cells, CELLS, NULL), TADA_OK);
    assert_int_equal(tada_plane_settle(plane, threads_of(1), NULL), TADA_OK);
    tada_plane_stats stats;
    tada_plane_get_stats(plane, &stats);
    assert_true(stats.cold > 0);
    assert_int_equal(tada_plane_read(plane, 0, CELLS, out, threads_of(1), NULL), TADA_OK);
    tada_plane_free(plane);
    tada_pool_free(pool);
    free(memory);
}

/* Of the first or second half of each head, over the tiles that are cold. */
static double error_of(const uint16_t *a, const uint16_t *b, int half)
{
    double sum = 0;
    for (int t = 0; t < CELLS - 64; t++) {
        for (int d = 0; d < WIDTH; d++) {
            double x = half_value(a[t * WIDTH + d]) - half_value(b[t * WIDTH + d]);
            sum += d % 64 / 32 == half ? x * x : 0;
        }
    }
    return sum;
}

static void weights_say_where_errors_count(void **state)
{
    (void)state;
    static uint16_t rows[CELLS * WIDTH], plain[CELLS * WIDTH], steered[CELLS * WIDTH], again[CELLS * WIDTH];
    random_init();
    for (int i = 0; i < CELLS * WIDTH; i++) {
        rows[i] = half_round(random_normal());
    }
    float weights[WIDTH / 8];
    tada_plan *plan = make_plan();
    tada_plan_plane plane = plan_plane(plan, 0);
    tada_spec spec = tada_plan_spec(plan, 0, TADA_K);
    pass(&spec, rows, plain);
    for (int i = 0; i < WIDTH / 8; i++) {
        weights[i] = i % 8 < 4 ? 16 : 1;
    }
    plane.recipe.weights = weights;
    set_plane(plan, 0, &plane);
    spec = tada_plan_spec(plan, 0, TADA_K);
    pass(&spec, rows, steered);
    /* Four times the error in one half for a quarter in the other: a bit up, a bit down. */
    assert_true(error_of(rows, steered, 0) < 0.5 * error_of(rows, plain, 0));
    assert_true(error_of(rows, steered, 1) > 2 * error_of(rows, plain, 1));
    /* What was decoded encodes to the same with the same weights. */
    pass(&spec, steered, again);
    assert_memory_equal(again, steered, sizeof steered);
    tada_plan_free(plan);
}

TEST_MAIN(cmocka_unit_test(layers_have_their_own_specs), cmocka_unit_test(what_is_not_there_is_null),
          cmocka_unit_test(what_is_not_sound_is_refused), cmocka_unit_test(points_are_numbers),
          cmocka_unit_test(plans_survive_files), cmocka_unit_test(planes_may_be_set_to_themselves),
          cmocka_unit_test(damaged_files_are_refused), cmocka_unit_test(what_is_no_file_is_refused),
          cmocka_unit_test(a_plan_is_named_by_its_file), cmocka_unit_test(weights_say_where_errors_count))
