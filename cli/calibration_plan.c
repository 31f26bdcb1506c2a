/* The steps of calibration that decide: an allocation, and what it is compared with. */
#include "allocation.h"
#include "calibration.h"
#include "cli.h"
#include "random.h"

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
    for (int i = 0; i < 2 * plan->n_layers; i++) {
        if (plan->planes[i].width > 0) {
            sum += log(fmax(plan->planes[i].sensitivity, 1e-9));
            n++;
        }
    }
    return n ? exp(sum / n) : 1;
}

static void fill_options(const tada_plan *plan, int i, int n_ctx, double sensitivity,
                         enum tada_centring centring, struct allocation_plane *options)
{
    enum tada_kind kind = i % 2 ? TADA_V : TADA_K;
    const int *list = i % 2 ? v_quarters : k_quarters;
    int n =
        i % 2 ? (int)(sizeof v_quarters / sizeof *v_quarters) : (int)(sizeof k_quarters / sizeof *k_quarters);
    tada_shape shape = {.kind = kind,
                        .width = plan->planes[i].width,
                        .n_cells = n_ctx,
                        .n_streams = 1,
                        .head_dim = plan->planes[i].head_dim};
    options->n = shape.width > 0 ? n : 1;
    for (int j = 0; j < n && shape.width > 0; j++) {
        tada_recipe recipe = recipe_of_quarters(i, list[j]);
        recipe.centring = centring;
        tada_spec spec = {.k = recipe, .v = recipe, .window = plan->planes[i].window, .sinks = plan->sinks};
        options->bytes[j] = (double)tada_plane_bytes(&spec, &shape);
        options->error[j] = sensitivity * error_at(i, list[j]);
    }
}

bool calibration_allocate(const struct calibration *c, double budget, const struct way *way, tada_plan *plan)
{
    int n = 2 * plan->n_layers;
    struct allocation_plane *options = calloc((size_t)n, sizeof *options);
    double typical = typical_sensitivity(plan);
    for (int i = 0; i < n && options; i++) {
        double sensitivity = fmax(plan->planes[i].sensitivity, 1e-9) / typical;
        plan->planes[i].window = way->window;
        fill_options(plan, i, c->options->n_ctx, pow(sensitivity, way->damping) * typical, way->centring,
                     &options[i]);
    }
    bool fits = options && allocation_solve(options, n, budget_bytes(c, budget));
    for (int i = 0; i < n && fits; i++) {
        if (plan->planes[i].width > 0) {
            plan->planes[i].recipe =
                recipe_of_quarters(i, (i % 2 ? v_quarters : k_quarters)[options[i].choice]);
            plan->planes[i].recipe.centring = way->centring;
        }
    }
    free(options);
    return fits;
}

void calibration_equal_spec(const struct calibration *c, double budget, char *spec, size_t size)
{
    double best = INFINITY, most = budget_bytes(c, budget), f16, sums[2] = {0};
    tada_plan *plan = plan_copy(c->plan);
    *spec = '\0';
    for (int i = 0; plan && i < 2 * plan->n_layers; i++) {
        sums[i % 2] += plan->planes[i].sensitivity;
    }
    for (int window = 0; plan && window <= 64; window += 64) {
        for (int v = 8; v <= 24; v += 4) {
            for (int k = 9; k <= 28; k++) {
                for (int i = 0; i < 2 * plan->n_layers; i++) {
                    plan->planes[i].recipe = recipe_of_quarters(i, i % 2 ? v : k);
                    plan->planes[i].window = window;
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

/* ---- the paper's random search ---- */

static void set_bits(tada_plan *plan, const int *bits)
{
    for (int i = 0; i < 2 * plan->n_layers; i++) {
        plan->planes[i].recipe.bits = bits[i / 2];
    }
}

/* Bits per layer at random: the first draw that nearly fills the budget, or of many the one that comes
 * closest. */
static bool draw_bits(const struct calibration *c, double budget, uint64_t *state, tada_plan *plan)
{
    enum { DRAWS = 2000 };
    static const int choices[] = {2, 4, 8};
    int bits[plan->n_layers], best[plan->n_layers];
    double f16, most = -1;
    for (int draw = 0; draw < DRAWS && most < budget - 0.02; draw++) {
        for (int layer = 0; layer < plan->n_layers; layer++) {
            bits[layer] = choices[(int)(random_share(state) * 3) % 3];
        }
        set_bits(plan, bits);
        double memory = (plan_bytes(plan, c->options->n_ctx, &f16) + c->scratch) / f16;
        if (memory <= budget && memory > most) {
            most = memory;
            memcpy(best, bits, sizeof best);
        }
    }
    if (most >= 0) {
        set_bits(plan, best);
    }
    return most >= 0;
}

int calibration_search(struct calibration *c, double budget, tada_plan *best)
{
    uint64_t state = c->options->seed;
    double least = INFINITY;
    int status = 0;
    tada_spec paper;
    tada_spec_parse("tada:paper", &paper, NULL);
    plan_follow(best, &paper);
    c->work.detail = "random search";
    for (int start = 0; start < c->options->n_trials && status == 0; start += AT_ONCE) {
        int n = c->options->n_trials - start < AT_ONCE ? c->options->n_trials - start : AT_ONCE;
        tada_plan *plans[AT_ONCE] = {NULL};
        struct trial trials[AT_ONCE] = {0};
        for (int i = 0; i < n && status == 0; i++) {
            plans[i] = plan_copy(best);
            if (!plans[i]) {
                status = cli_fail("Memory is too short for the plan: close other programs.");
            } else if (!draw_bits(c, budget, &state, plans[i])) {
                cli_fail("No mix of 2, 4 and 8 bits by the paper's recipe comes to %.1f %% with the heads of "
                         "this model: use a larger --budget.",
                         100 * budget);
                status = EXIT_USAGE;
            }
            trials[i] = (struct trial){.spec = "plan", .plan = plans[i]};
        }
        if (status == 0) {
            status = calibration_try(c, trials, n);
        }
        for (int i = 0; i < n; i++) {
            for (int p = 0; status == 0 && trials[i].kld.value < least && p < 2 * best->n_layers; p++) {
                best->planes[p].recipe = plans[i]->planes[p].recipe;
            }
            least = status == 0 ? fmin(least, trials[i].kld.value) : least;
            tada_plan_free(plans[i]);
        }
    }
    return status;
}
