/* Plans: the recipes of all planes of one model. */
#include "codec/recipe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

void tada_plan_free(tada_plan *plan)
{
    if (!plan) {
        return;
    }
    for (int i = 0; i < plan->n_layers * 2; i++) {
        free(plan->planes[i].weights);
    }
    free(plan->planes);
    free(plan);
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
    for (int i = 0; plane->weights && i < plane->width / 8; i++) {
        if (!(plane->weights[i] >= 0 && plane->weights[i] < INFINITY)) {
            return "weights must be numbers from 0";
        }
    }
    return tada_recipe_problem(&plane->recipe);
}

enum tada_status tada_plan_check(const tada_plan *plan, tada_error *error)
{
    if (plan->n_layers < 1 || plan->n_layers > TADA_PLAN_LAYERS) {
        return tada_fail(error, TADA_E_ARGUMENT, "The plan has %d layers: make one with 1 to %d.",
                         plan->n_layers, TADA_PLAN_LAYERS);
    }
    if (plan->n_ctx < 0) {
        return tada_fail(error, TADA_E_ARGUMENT, "The plan has a context of %d: make one with 0 or more.",
                         plan->n_ctx);
    }
    if (plan->sinks < 0 || plan->sinks > TADA_TILE_CELLS || plan->n_points < 0 ||
        plan->n_points > TADA_PLAN_POINTS) {
        return tada_fail(error, TADA_E_ARGUMENT,
                         "The plan has %d sinks and %d points: make one with up to %d and %d.", plan->sinks,
                         plan->n_points, TADA_TILE_CELLS, TADA_PLAN_POINTS);
    }
    for (int i = 0; i < plan->n_layers * 2; i++) {
        const char *problem = plane_problem(&plan->planes[i], i % 2 ? TADA_V : TADA_K);
        if (problem) {
            return tada_fail(error, TADA_E_ARGUMENT, "The plan is not sound for %c of layer %d: %s.",
                             i % 2 ? 'V' : 'K', i / 2, problem);
        }
    }
    return TADA_OK;
}

tada_spec tada_plan_spec(const tada_plan *plan, int layer, enum tada_kind kind)
{
    if (layer < 0 || layer >= plan->n_layers || (kind != TADA_K && kind != TADA_V)) {
        return (tada_spec){0};
    }
    const tada_plan_plane *k = &plan->planes[2 * layer], *v = k + 1;
    tada_spec spec = {.k = k->recipe, .v = v->recipe, .sinks = plan->sinks};
    spec.k.weights = k->weights;
    spec.v.weights = NULL;
    spec.window = kind == TADA_K ? k->window : v->window;
    spec.window_bits = kind == TADA_K ? k->window_bits : v->window_bits;
    return spec;
}

uint64_t tada_model_fingerprint(const void *norm, size_t size)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ ((const uint8_t *)norm)[i]) * 1099511628211u;
    }
    return hash;
}
