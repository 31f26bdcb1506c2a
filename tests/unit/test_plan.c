/* Plans in memory, and weights that steer adaptive widths. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 128, CELLS = 256 };

static tada_plan *make_plan(void)
{
    tada_spec spec;
    assert_int_equal(tada_spec_parse("tada", &spec, NULL), TADA_OK);
    tada_plan *plan = tada_plan_create(2);
    assert_non_null(plan);
    for (int i = 0; i < 4; i++) {
        plan->planes[i].width = WIDTH;
        plan->planes[i].recipe = i % 2 ? spec.v : spec.k;
        plan->planes[i].window = 64 * i;
        plan->planes[i].window_bits = i == 2 ? 8 : i == 3 ? 16 : 0;
    }
    plan->sinks = 4;
    return plan;
}

static void layers_have_their_own_specs(void **state)
{
    (void)state;
    tada_plan *plan = make_plan();
    plan->planes[2].recipe.quarters = 23;
    plan->planes[2].recipe.bits = 5;
    plan->planes[3].recipe.bits = 6;
    assert_int_equal(tada_plan_check(plan, NULL), TADA_OK);
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

static void refuses(tada_plan *plan, const char *reason)
{
    tada_error error = {""};
    assert_int_equal(tada_plan_check(plan, &error), TADA_E_ARGUMENT);
    if (!strstr(error.text, reason)) {
        fail_msg("'%s' does not say '%s'", error.text, reason);
    }
    tada_plan_free(plan);
}

static void what_is_not_sound_is_refused(void **state)
{
    (void)state;
    tada_plan *plan = make_plan();
    plan->planes[1].recipe.quarters = 12;
    refuses(plan, "V of layer 0");
    plan = make_plan();
    plan->planes[2].recipe.bits = 7;
    plan->planes[2].recipe.quarters = 0;
    refuses(plan, "K of layer 1");
    plan = make_plan();
    plan->planes[0].width = 24;
    refuses(plan, "multiple of 16");
    plan = make_plan();
    plan->planes[0].window = 65;
    refuses(plan, "window");
    plan = make_plan();
    plan->planes[0].window_bits = 4;
    refuses(plan, "window_bits");
    plan = make_plan();
    plan->planes[3].sensitivity = NAN;
    refuses(plan, "sensitivity");
    plan = make_plan();
    plan->planes[2].width = 0;
    plan->planes[2].sensitivity = INFINITY;
    refuses(plan, "sensitivity");
    plan = make_plan();
    plan->planes[0].weights = calloc(WIDTH / 8, sizeof(float));
    plan->planes[0].weights[3] = -1;
    refuses(plan, "weights");
    plan = make_plan();
    plan->sinks = 65;
    refuses(plan, "sinks");
    plan = make_plan();
    plan->n_points = TADA_PLAN_POINTS + 1;
    refuses(plan, "points");
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
    tada_plan *plan = make_plan();
    plan->planes[0].window = 0;
    tada_spec spec = tada_plan_spec(plan, 0, TADA_K);
    pass(&spec, rows, plain);
    plan->planes[0].weights = calloc(WIDTH / 8, sizeof(float));
    for (int i = 0; i < WIDTH / 8; i++) {
        plan->planes[0].weights[i] = i % 8 < 4 ? 16 : 1;
    }
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

TEST_MAIN(cmocka_unit_test(layers_have_their_own_specs), cmocka_unit_test(what_is_not_sound_is_refused),
          cmocka_unit_test(a_plan_is_named_by_its_file), cmocka_unit_test(weights_say_where_errors_count))
