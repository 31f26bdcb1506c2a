/* The steps of calibration that decide: an allocation, and what it is compared with. */
#include "allocation.h"
#include "calibration.h"
#include "output/plan_page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What planes can have. */
static const int k_quarters[] = {9,  10, 11, 12, 13, 14, 15, 16, 17, 18,
                                 19, 20, 21, 22, 23, 24, 26, 28, 32, 64},
                 v_quarters[] = {8, 12, 16, 20, 24, 32, 64};

/* Each bit quarters the square of an error. */
static double error_at(int plane, int quarters)
{
    return quarters == 64 ? 0 : pow(4, -(quarters - (plane % 2 ? V_PROBE : K_PROBE)) / 4.0);
}

/* The scratch that a context takes, in bytes, comes off the budget first. */
static double budget_bytes(const struct calibration *c, double budget)
{
    double f16;
    plan_bytes(c->plan, c->options->n_ctx, &f16);
    return budget * f16 - c->scratch;
}

/* The geometric mean, towards which measured sensitivities are damped. */
static double typical_sensitivity(const tada_plan *plan)
{
    double sum = 0;
    int n = 0;
    for (int i = 0; i < plan_planes(plan); i++) {
        const tada_plan_plane *plane = plan_plane(plan, i);
        if (plane->width > 0) {
            sum += log(fmax(plane->sensitivity, 1e-9));
            n++;
        }
    }
    return n ? exp(sum / n) : 1;
}

/* What one option of a plane is. */
struct setting {
    int quarters, window;
    double bytes, error;
};

static int by_bytes(const void *a, const void *b)
{
    const struct setting *x = a, *y = b;
    return x->bytes != y->bytes ? (x->bytes > y->bytes) - (x->bytes < y->bytes)
                                : (x->error < y->error) - (x->error > y->error);
}

static tada_recipe recipe_by(const struct calibration *c, const struct way *way, int plane, int quarters)
{
    tada_recipe recipe =
        way->choices ? choices_recipe(c->choices, plane, quarters) : recipe_of_quarters(plane, quarters);
    recipe.centring = way->choices ? recipe.centring : way->centring;
    return recipe;
}

/* All settings of plane i in the order of rising bytes; how many. */
static int list_settings(const struct calibration *c, const tada_plan *plan, int i, const struct way *way,
                         struct setting *settings)
{
    const int *list = i % 2 ? v_quarters : k_quarters;
    int n_quarters =
        i % 2 ? (int)(sizeof v_quarters / sizeof *v_quarters) : (int)(sizeof k_quarters / sizeof *k_quarters);
    int n_windows = way->choices ? CHOICES_WINDOWS : 1, n = 0;
    tada_shape shape = {.kind = i % 2 ? TADA_V : TADA_K,
                        .width = plan_plane(plan, i)->width,
                        .n_cells = c->options->n_ctx,
                        .n_streams = 1,
                        .head_dim = plan_plane(plan, i)->head_dim};
    tada_spec spec = tada_plan_spec(plan, i / 2, shape.kind);
    for (int j = 0; j < n_quarters && shape.width > 0; j++) {
        *(shape.kind == TADA_V ? &spec.v : &spec.k) = recipe_by(c, way, i, list[j]);
        for (int k = 0; k < n_windows; k++) {
            spec.window = way->choices ? choices_window(k) : way->window;
            double bytes = (double)tada_plane_bytes(&spec, &shape);
            double error = way->choices ? choices_error(c->choices, i, list[j], k) : error_at(i, list[j]);
            settings[n++] = (struct setting){list[j], spec.window, bytes, error};
        }
    }
    qsort(settings, (size_t)n, sizeof *settings, by_bytes);
    return n;
}

static int use_setting(const struct calibration *c, const struct way *way, int i,
                       const struct setting *setting, tada_plan *plan)
{
    tada_recipe recipe = recipe_by(c, way, i, setting->quarters);
    if (recipe.rotation == TADA_ROTATE_NONE && recipe.quarters) {
        /* They are of channels that are not rotated. */
        recipe.weights = plan_plane(plan, i)->recipe.weights;
    }
    return plan_set_recipe(plan, i, &recipe, setting->window);
}

bool calibration_allocate(const struct calibration *c, double budget, const struct way *way, tada_plan *plan)
{
    int n = plan_planes(plan);
    struct allocation_plane *options = calloc((size_t)n, sizeof *options);
    struct setting(*settings)[ALLOCATION_OPTIONS] = calloc((size_t)n, sizeof *settings);
    double typical = typical_sensitivity(plan);
    for (int i = 0; i < n && options && settings; i++) {
        double sensitivity = fmax(plan_plane(plan, i)->sensitivity, 1e-9) / typical;
        int n_settings = list_settings(c, plan, i, way, settings[i]);
        options[i].n = n_settings ? n_settings : 1;
        for (int j = 0; j < n_settings; j++) {
            options[i].bytes[j] = settings[i][j].bytes;
            options[i].error[j] = pow(sensitivity, way->damping) * typical * settings[i][j].error;
        }
    }
    bool fits = options && settings && allocation_solve(options, n, budget_bytes(c, budget));
    for (int i = 0; i < n && fits; i++) {
        if (plan_plane(plan, i)->width > 0) {
            fits = use_setting(c, way, i, &settings[i][options[i].choice], plan) == 0;
        }
    }
    free(options);
    free(settings);
    return fits;
}

void calibration_equal_spec(const struct calibration *c, double budget, char *spec, size_t size)
{
    double best = INFINITY, most = budget_bytes(c, budget), f16, sums[2] = {0};
    tada_plan *plan = tada_plan_copy(c->plan);
    *spec = '\0';
    for (int i = 0; plan && i < plan_planes(plan); i++) {
        sums[i % 2] += plan_plane(plan, i)->sensitivity;
    }
    for (int window = 0; plan && window <= 64; window += 64) {
        for (int v = 8; v <= 24; v += 4) {
            for (int k = 9; k <= 28; k++) {
                for (int i = 0; i < plan_planes(plan); i++) {
                    tada_recipe recipe = recipe_of_quarters(i, i % 2 ? v : k);
                    plan_set_recipe(plan, i, &recipe, window);
                }
                /* A window of 64 cells is worth about a quarter of the error. */
                double error = (sums[0] * error_at(0, k) + sums[1] * error_at(1, v)) * (window ? 0.75 : 1);
                if (error < best && plan_bytes(plan, c->options->n_ctx, &f16) <= most) {
                    best = error;
                    snprintf(spec, size, "tada:%g/%d:window=%d", k / 4.0, v / 4, window);
                }
            }
        }
    }
    tada_plan_free(plan);
}
