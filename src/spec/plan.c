/* Plans: the recipes of all planes of one model. A plan is sound at all times, as what is set is checked. */
#include "codec/recipe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct tada_plan {
    tada_plan_info info;
    int n_layers, n_points;
    int room; /* for points */
    tada_plan_point *points;
    tada_plan_plane *planes; /* [n_layers][2]: K, V; their weights are the plan's own */
};

tada_plan *tada_plan_create(int n_layers)
{
    if (n_layers < 1 || n_layers > TADA_PLAN_LAYERS) {
        return NULL;
    }
    tada_plan *plan = calloc(1, sizeof *plan);
    tada_plan_plane *planes = calloc((size_t)n_layers * 2, sizeof *planes);
    if (!plan || !planes) {
        free(plan);
        free(planes);
        return NULL;
    }
    plan->n_layers = n_layers;
    plan->planes = planes;
    return plan;
}

static void free_weights(const float *weights)
{
    free((void *)(uintptr_t)weights); /* of ours, which only callers must not change */
}

void tada_plan_free(tada_plan *plan)
{
    if (!plan) {
        return;
    }
    for (int i = 0; i < plan->n_layers * 2; i++) {
        free_weights(plan->planes[i].recipe.weights);
    }
    free(plan->planes);
    free(plan->points);
    free(plan);
}

tada_plan *tada_plan_copy(const tada_plan *plan)
{
    tada_plan *copy = tada_plan_create(plan->n_layers);
    bool done = copy != NULL;
    for (int i = 0; i < plan->n_layers * 2 && done; i++) {
        done = tada_plan_set_plane(copy, i / 2, (enum tada_kind)(i % 2), &plan->planes[i], NULL) == TADA_OK;
    }
    for (int i = 0; i < plan->n_points && done; i++) {
        done = tada_plan_add_point(copy, &plan->points[i], NULL) == TADA_OK;
    }
    if (!done) {
        tada_plan_free(copy);
        return NULL;
    }
    copy->info = plan->info;
    return copy;
}

int tada_plan_layers(const tada_plan *plan)
{
    return plan->n_layers;
}

const tada_plan_info *tada_plan_get_info(const tada_plan *plan)
{
    return &plan->info;
}

/* Whether a string ends within the array that it is in. */
static bool is_ended(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

enum tada_status tada_plan_set_info(tada_plan *plan, const tada_plan_info *info, tada_error *error)
{
    if (info->n_ctx < 0) {
        return tada_fail(error, TADA_E_ARGUMENT, "The plan has a context of %d: make one with 0 or more.",
                         info->n_ctx);
    }
    if (info->sinks < 0 || info->sinks > TADA_TILE_CELLS) {
        return tada_fail(error, TADA_E_ARGUMENT, "The plan has %d sinks: make one with 0 to %d.", info->sinks,
                         TADA_TILE_CELLS);
    }
    if (!is_ended(info->model, sizeof info->model) || !is_ended(info->method, sizeof info->method)) {
        return tada_fail(error, TADA_E_ARGUMENT,
                         "The name of the plan's model or method does not end: end it with a zero byte.");
    }
    plan->info = *info;
    return TADA_OK;
}

/* ---- planes ---- */

static bool is_plane(const tada_plan *plan, int layer, enum tada_kind kind)
{
    return layer >= 0 && layer < plan->n_layers && (kind == TADA_K || kind == TADA_V);
}

static const char *plane_problem(const tada_plan_plane *plane, enum tada_kind kind)
{
    if (!(plane->sensitivity >= 0 && plane->sensitivity < INFINITY)) {
        return "the sensitivity must be a number from 0";
    }
    if (plane->width == 0) {
        return NULL;
    }
    if (plane->width < 0 || plane->width > TADA_PLAN_WIDTH || plane->width % 16 != 0) {
        return "the width of a row must be a multiple of 16 up to 65536";
    }
    if (plane->head_dim < 0 ||
        (plane->head_dim && (plane->width % plane->head_dim || plane->head_dim % 16))) {
        return "the head size must be 0 or a multiple of 16 that divides the width of a row";
    }
    if (plane->window < 0 || plane->window % TADA_TILE_CELLS != 0 || plane->window > 1 << 20) {
        return "the window must be a multiple of 64 up to 1048576";
    }
    if (kind == TADA_V && plane->recipe.quarters) {
        return "adaptive widths are for K";
    }
    if (tada_window_bits_problem(plane->window_bits)) {
        return tada_window_bits_problem(plane->window_bits);
    }
    for (int i = 0; plane->recipe.weights && i < plane->width / 8; i++) {
        if (!(plane->recipe.weights[i] >= 0 && plane->recipe.weights[i] < INFINITY)) {
            return "weights must be numbers from 0";
        }
    }
    return tada_recipe_problem(&plane->recipe);
}

const tada_plan_plane *tada_plan_get_plane(const tada_plan *plan, int layer, enum tada_kind kind)
{
    return is_plane(plan, layer, kind) ? &plan->planes[2 * layer + kind] : NULL;
}

enum tada_status tada_plan_set_plane(tada_plan *plan, int layer, enum tada_kind kind,
                                     const tada_plan_plane *plane, tada_error *error)
{
    if (!is_plane(plan, layer, kind)) {
        return tada_fail(error, TADA_E_ARGUMENT, "The plan has no K or V of layer %d: it has %d layers.",
                         layer, plan->n_layers);
    }
    const char *problem = plane_problem(plane, kind);
    if (problem) {
        return tada_fail(error, TADA_E_ARGUMENT, "The plan is not sound for %c of layer %d: %s.",
                         kind == TADA_V ? 'V' : 'K', layer, problem);
    }
    size_t bytes = plane->recipe.weights ? (size_t)plane->width / 8 * sizeof(float) : 0;
    float *weights = bytes ? malloc(bytes) : NULL;
    if (bytes && !weights) {
        return tada_fail(error, TADA_E_MEMORY, "Memory is too short for the plan: close other programs.");
    }
    if (weights) {
        memcpy(weights, plane->recipe.weights, bytes);
    }
    tada_plan_plane *own = &plan->planes[2 * layer + kind];
    const float *before = own->recipe.weights;
    *own = *plane; /* which may be the plan's own */
    own->recipe.weights = weights;
    free_weights(before);
    return TADA_OK;
}

tada_spec tada_plan_spec(const tada_plan *plan, int layer, enum tada_kind kind)
{
    if (!is_plane(plan, layer, kind)) {
        return (tada_spec){0};
    }
    const tada_plan_plane *k = &plan->planes[2 * layer], *v = k + 1;
    tada_spec spec = {.k = k->recipe, .v = v->recipe, .sinks = plan->info.sinks};
    spec.v.weights = NULL;
    spec.window = kind == TADA_K ? k->window : v->window;
    spec.window_bits = kind == TADA_K ? k->window_bits : v->window_bits;
    return spec;
}

/* ---- points ---- */

int tada_plan_points(const tada_plan *plan)
{
    return plan->n_points;
}

const tada_plan_point *tada_plan_get_point(const tada_plan *plan, int i)
{
    return i >= 0 && i < plan->n_points ? &plan->points[i] : NULL;
}

enum tada_status tada_plan_add_point(tada_plan *plan, const tada_plan_point *point, tada_error *error)
{
    tada_plan_point copy = *point; /* which may be the plan's own */
    if (!is_ended(copy.cache, sizeof copy.cache)) {
        return tada_fail(error, TADA_E_ARGUMENT,
                         "The name of a point's cache does not end: end it with a zero byte.");
    }
    if (!(copy.memory >= 0 && isfinite(copy.memory) && isfinite(copy.kld) && isfinite(copy.kld_se))) {
        return tada_fail(error, TADA_E_ARGUMENT,
                         "What was measured of %.60s must be numbers, its memory from 0: measure it again.",
                         copy.cache);
    }
    if (plan->n_points == plan->room) {
        int room = plan->room < INT32_MAX / 2 ? 2 * plan->room + 8 : INT32_MAX;
        tada_plan_point *points =
            plan->n_points < room ? realloc(plan->points, (size_t)room * sizeof *points) : NULL;
        if (!points) {
            return tada_fail(error, TADA_E_MEMORY, "Memory is too short for the plan: close other programs.");
        }
        plan->points = points;
        plan->room = room;
    }
    plan->points[plan->n_points++] = copy;
    return TADA_OK;
}

uint64_t tada_model_fingerprint(const void *norm, size_t size)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ ((const uint8_t *)norm)[i]) * 1099511628211u;
    }
    return hash;
}
