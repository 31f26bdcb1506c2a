/* Attention of one layer is computed again and again, each time with one plane of another recipe or window.
 */
#include "choices.h"

#include "output/progress.h"
#include "recipes.h"
#include "output/note.h"
#include "output/plan_page.h"
#include "team.h"

#include <math.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

/* ---- what is compared ---- */

struct candidate {
    const char *name;
    enum tada_centring centring;
    enum tada_rotation rotation;
    enum tada_axis axis;
    int fewest_heads; /* for fewer, its means cost more than they can save */
};

/* Those beside the usual recipe. Attention reads the codes of all of them as they are: means over tokens
 * where scales are by token would have it decode every tile first, ten times as slow. */
static const struct candidate candidates[2][CHOICES_MOST - 1] = {
    {{"rotated", TADA_CENTRE_NONE, TADA_ROTATE_HADAMARD, TADA_AXIS_CHANNEL, 1},
     {"centred over tokens", TADA_CENTRE_TOKENS, TADA_ROTATE_NONE, TADA_AXIS_CHANNEL, 1},
     {"by token and rotated", TADA_CENTRE_NONE, TADA_ROTATE_HADAMARD, TADA_AXIS_TOKEN, 1},
     {"centred over heads", TADA_CENTRE_HEADS8, TADA_ROTATE_NONE, TADA_AXIS_CHANNEL, 8}},
    {{"not rotated", TADA_CENTRE_NONE, TADA_ROTATE_NONE, TADA_AXIS_TOKEN, 1},
     {"by channel", TADA_CENTRE_NONE, TADA_ROTATE_NONE, TADA_AXIS_CHANNEL, 1},
     {"by channel and rotated", TADA_CENTRE_NONE, TADA_ROTATE_HADAMARD, TADA_AXIS_CHANNEL, 1},
     {"centred over heads", TADA_CENTRE_HEADS8, TADA_ROTATE_HADAMARD, TADA_AXIS_TOKEN, 8}}};

/* Quarters of a bit at which errors are measured; the middle one is where candidates are compared. */
static const int points[2][CHOICES_POINTS] = {{K_PROBE, 16, 24}, {V_PROBE, 12, 20}};
enum { MIDDLE = 1 };

static const int windows[CHOICES_WINDOWS] = {0, TADA_TILE_CELLS, 2 * TADA_TILE_CELLS};

int choices_window(int i)
{
    return windows[i];
}

/* False: there is no such recipe. */
static bool candidate_recipe(int plane, int number, int quarters, tada_recipe *recipe)
{
    *recipe = recipe_of_quarters(plane, quarters);
    if (number == 0) {
        return true;
    }
    const struct candidate *candidate = &candidates[plane % 2][number - 1];
    recipe->centring = candidate->centring;
    recipe->rotation = candidate->rotation;
    recipe->axis = candidate->axis;
    if (candidate->axis == TADA_AXIS_CHANNEL) {
        recipe->scale = TADA_SCALE_16; /* shorter words may be for tokens only */
    }
    if (candidate->axis == TADA_AXIS_TOKEN && recipe->quarters) {
        recipe->quarters = 0; /* widths do not adapt by token */
        return quarters % 4 == 0 && quarters != 28;
    }
    return true;
}

/* ---- attention with one plane compressed ---- */

/* Rows and queries of one layer. */
struct scene {
    tada_attention attention; /* with planes that are not compressed */
    tada_shape shapes[2];
    uint16_t *rows[2];
    float *weights; /* of K */
    float *exact, *out;
    size_t n_out;
    tada_pool *pool;
    const tada_threads *threads;
};

static tada_plane *make_candidate(const struct scene *s, enum tada_kind kind, const tada_recipe *recipe,
                                  int window, void **memory)
{
    enum { ROWS = 1024 };
    const tada_shape *shape = &s->shapes[kind];
    tada_spec spec;
    tada_plane *plane = NULL;
    tada_spec_parse("tada", &spec, NULL); /* with its sinks */
    spec.k = spec.v = *recipe;
    spec.window = window;
    size_t bytes = tada_plane_bytes(&spec, shape);
    *memory = bytes ? aligned_alloc(64, (bytes + 63) / 64 * 64) : NULL;
    if (!*memory || tada_plane_create(&spec, shape, *memory, bytes, &plane, NULL) != TADA_OK) {
        return NULL;
    }
    enum tada_status status = TADA_OK;
    for (int64_t at = 0; at < shape->n_cells && status == TADA_OK; at += ROWS) {
        int64_t cells[ROWS], n = shape->n_cells - at < ROWS ? shape->n_cells - at : ROWS;
        for (int64_t i = 0; i < n; i++) {
            cells[i] = at + i;
        }
        size_t row = (size_t)shape->width;
        status = tada_plane_write(plane, s->pool, s->rows[kind] + (size_t)at * row, TADA_F16, row * 2, cells,
                                  n, NULL);
        status = status == TADA_OK ? tada_plane_settle(plane, s->threads, NULL) : status;
    }
    if (status != TADA_OK) {
        tada_plane_free(plane);
        return NULL;
    }
    return plane;
}

/* What attention gives with this plane in place of the exact one. */
static bool attend_once(const struct scene *s, enum tada_kind kind, const tada_plane *plane, float *out)
{
    tada_attention a = s->attention;
    *(kind == TADA_K ? &a.k : &a.v) = plane;
    a.out = out;
    a.out_head = (size_t)a.v_dim * sizeof *out;
    a.out_query = a.out_head * (size_t)a.n_heads;
    a.out_stream = a.out_query * (size_t)a.n_queries;
    return tada_attention_run(&a, s->pool, s->threads, NULL) == TADA_OK;
}

/* The squared error of attention's output; 0: there is no such plane. */
static double error_of(const struct scene *s, enum tada_kind kind, tada_recipe recipe, int window)
{
    void *memory;
    recipe.weights = kind == TADA_K && recipe.rotation == TADA_ROTATE_NONE ? s->weights : NULL;
    tada_plane *plane = make_candidate(s, kind, &recipe, window, &memory);
    double sum = 0;
    if (plane && attend_once(s, kind, plane, s->out)) {
        for (size_t i = 0; i < s->n_out; i++) {
            double d = (double)s->out[i] - s->exact[i];
            sum += d * d;
        }
    }
    tada_plane_free(plane);
    free(memory);
    return sum;
}

static void measure_plane(const struct scene *s, enum tada_kind kind, struct plane_choices *plane)
{
    int n_heads = s->attention.n_heads_kv;
    tada_recipe recipe;
    for (int i = 0; i < CHOICES_POINTS; i++) {
        plane->points[i] += error_of(s, kind, recipe_of_quarters(kind, points[kind][i]), 0);
    }
    plane->candidates[0] = plane->windows[0] = plane->points[MIDDLE];
    for (int i = 1; i < CHOICES_WINDOWS; i++) {
        plane->windows[i] += error_of(s, kind, recipe_of_quarters(kind, points[kind][MIDDLE]), windows[i]);
    }
    for (int i = 1; i < CHOICES_MOST; i++) {
        if (n_heads >= candidates[kind][i - 1].fewest_heads &&
            candidate_recipe(kind, i, points[kind][MIDDLE], &recipe)) {
            plane->candidates[i] += error_of(s, kind, recipe, 0);
        }
    }
}

/* The planes that are not compressed; false: no memory, or nothing to see. */
static bool measure_scene(struct scene *s, struct plane_choices *planes)
{
    tada_recipe most = recipe_of_quarters(0, 64);
    void *memory[2] = {NULL, NULL};
    tada_plane *exact[2];
    for (int i = 0; i < 2; i++) {
        exact[i] = make_candidate(s, (enum tada_kind)i, &most, 0, &memory[i]);
    }
    s->attention.k = exact[0];
    s->attention.v = exact[1];
    bool done = exact[0] && exact[1] && attend_once(s, TADA_K, exact[0], s->exact);
    if (done) {
        measure_plane(s, TADA_K, &planes[0]);
        measure_plane(s, TADA_V, &planes[1]);
    }
    for (int i = 0; i < 2; i++) {
        tada_plane_free(exact[i]);
        free(memory[i]);
    }
    return done;
}

/* ---- from what the plug-in saw ---- */

/* 0: nothing can be told of the layer. */
static int64_t cells_of(const tada_layer_statistics *statistics, int n_tokens)
{
    const tada_attention *a = &statistics->attention;
    bool sound = a->n_queries > 0 && a->first_stream == 0 && a->first_cell == 0 &&
                 statistics->head_dim % 16 == 0 && statistics->k_width % statistics->head_dim == 0;
    return sound ? (a->n_cells < n_tokens ? a->n_cells : n_tokens) : 0;
}

static int measure_layer(const struct engine *engine, int layer, const tada_layer_statistics *statistics,
                         int64_t n_cells, const tada_threads *threads, struct plane_choices *planes)
{
    const tada_attention *a = &statistics->attention;
    int widths[2] = {statistics->k_width, statistics->v_width};
    struct scene s = {.attention = *a, .threads = threads, .pool = tada_pool_create()};
    bool rows = true;
    s.attention.n_cells = n_cells;
    s.n_out = (size_t)a->n_queries * (size_t)a->n_heads * (size_t)a->v_dim;
    s.exact = malloc(s.n_out * sizeof *s.exact);
    s.out = malloc(s.n_out * sizeof *s.out);
    s.weights = calibration_weights(statistics);
    for (int i = 0; i < 2; i++) {
        bool known = i == 0 || widths[1] == widths[0];
        s.shapes[i] = (tada_shape){.kind = (enum tada_kind)i,
                                   .width = widths[i],
                                   .n_cells = n_cells,
                                   .n_streams = 1,
                                   .head_dim = known ? statistics->head_dim : a->v_dim};
        s.rows[i] = malloc((size_t)n_cells * (size_t)widths[i] * sizeof *s.rows[i]);
        rows = rows && s.rows[i] && engine->statistics_rows(layer, (enum tada_kind)i, 0, n_cells, s.rows[i]);
    }
    bool memory = s.pool && s.exact && s.out && s.weights && s.rows[0] && s.rows[1];
    if (memory && rows) {
        measure_scene(&s, planes);
    }
    tada_pool_free(s.pool);
    free(s.exact);
    free(s.out);
    free(s.weights);
    free(s.rows[0]);
    free(s.rows[1]);
    return memory ? 0 : cli_fail("Memory is too short for the statistics: close other programs.");
}

int choices_measure(const struct engine *engine, int n_tokens, int n_threads, struct choices *choices)
{
    thread_team *team = team_create(n_threads);
    int status = team ? 0 : cli_fail("Memory is too short for threads: close other programs.");
    for (int layer = 0; layer < TADA_PLAN_LAYERS && status == 0; layer++) {
        tada_layer_statistics statistics;
        int64_t n_cells = engine->statistics_get(layer, &statistics) ? cells_of(&statistics, n_tokens) : 0;
        if (interrupted()) {
            status = EXIT_INTERRUPTED;
        } else if (n_cells > 0) {
            status = measure_layer(engine, layer, &statistics, n_cells, team_lend(team),
                                   &choices->planes[2 * layer]);
        }
    }
    team_free(team);
    return status;
}

/* ---- what follows ---- */

/* Bytes of a plane without a window. */
static double recipe_bytes(const tada_plan *plan, int plane, const tada_recipe *recipe)
{
    tada_spec spec;
    const tada_plan_plane *planned = plan_plane(plan, plane);
    tada_shape shape = {.kind = (enum tada_kind)(plane % 2),
                        .width = planned->width,
                        .n_cells = tada_plan_get_info(plan)->n_ctx,
                        .n_streams = 1,
                        .head_dim = planned->head_dim};
    tada_spec_parse("tada", &spec, NULL);
    spec.k = spec.v = *recipe;
    spec.window = 0;
    return (double)tada_plane_bytes(&spec, &shape);
}

/* The number of the best candidate of a plane. */
static int best_candidate(const tada_plan *plan, int plane, const struct plane_choices *c)
{
    /* A candidate must have at most this share of the usual recipe's error: a smaller gain may be chance. */
    const double clearly = 0.95;
    int middle = points[plane % 2][MIDDLE], best = 0;
    tada_recipe recipe = recipe_of_quarters(plane, middle);
    double least = clearly * c->candidates[0], usual = recipe_bytes(plan, plane, &recipe);
    for (int i = 1; i < CHOICES_MOST; i++) {
        if (c->candidates[i] == 0 || !candidate_recipe(plane, i, middle, &recipe)) {
            continue;
        }
        /* What bytes beyond the usual ones would be worth as bits: each quarters the error. */
        double more = recipe_bytes(plan, plane, &recipe) - usual;
        double bits = 8 * more / ((double)plan_plane(plan, plane)->width * tada_plan_get_info(plan)->n_ctx);
        double error = c->candidates[i] * pow(4, bits);
        if (error < least) {
            least = error;
            best = i;
        }
    }
    return best;
}

void choices_take(const tada_plan *plan, struct choices *choices)
{
    for (int i = 0; i < plan_planes(plan); i++) {
        struct plane_choices *c = &choices->planes[i];
        c->best = plan_plane(plan, i)->width > 0 && c->candidates[0] > 0 ? best_candidate(plan, i, c) : 0;
    }
}

tada_recipe choices_recipe(const struct choices *choices, int plane, int quarters)
{
    tada_recipe recipe;
    if (quarters == 64 || !candidate_recipe(plane, choices->planes[plane].best, quarters, &recipe)) {
        recipe = recipe_of_quarters(plane, quarters);
    }
    return recipe;
}

/* The error at so many quarters of a bit, over that at the first point. Between two points its logarithm
 * is a straight line; beyond the last one it falls by 6 dB a bit. */
static double error_law(const struct plane_choices *c, int kind, int quarters)
{
    int i = 0;
    while (i + 2 < CHOICES_POINTS && quarters > points[kind][i + 1]) {
        i++;
    }
    const int *at = &points[kind][i];
    const double *error = &c->points[i];
    if (!(error[0] > 0 && error[1] > 0 && c->points[0] > 0)) {
        return pow(4, -(quarters - points[kind][0]) / 4.0);
    }
    double slope = log(error[1] / error[0]) / (at[1] - at[0]), beyond = -log(4) / 4;
    double inside = quarters < at[0] ? 0 : quarters > at[1] ? at[1] - at[0] : quarters - at[0];
    return error[0] / c->points[0] * exp(slope * inside + beyond * (quarters - at[0] - inside));
}

double choices_error(const struct choices *choices, int plane, int quarters, int window)
{
    const struct plane_choices *c = &choices->planes[plane];
    if (quarters == 64) {
        return 0;
    }
    double usual = c->candidates[0];
    double windowed = usual > 0 && c->windows[window] > 0 ? c->windows[window] / usual : 1;
    tada_recipe recipe;
    bool fits = candidate_recipe(plane, c->best, quarters, &recipe);
    double chosen = usual > 0 && fits ? c->candidates[c->best] / usual : 1;
    return error_law(c, plane % 2, quarters) * windowed * chosen;
}

void choices_print(const struct choices *choices, const tada_plan *plan)
{
    const char *separator = "Planes that another recipe fits better: ";
    for (int kind = 0; kind < 2; kind++) {
        for (int j = 1; j < CHOICES_MOST; j++) {
            int n = 0;
            for (int layer = 0; layer < tada_plan_layers(plan); layer++) {
                n += choices->planes[2 * layer + kind].best == j;
            }
            if (n > 0) {
                printf("%s%d %c %s", separator, n, "KV"[kind], candidates[kind][j - 1].name);
                separator = ", ";
            }
        }
    }
    puts(*separator == ',' ? "." : "No plane is fit better by another recipe.");
}
