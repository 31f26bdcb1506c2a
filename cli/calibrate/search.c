/* The paper's random search over bits per layer, scored by KL divergence or on a task set. */
#include "calibration.h"
#include "output/note.h"
#include "output/plan_page.h"
#include "output/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void set_bits(tada_plan *plan, const int *bits)
{
    for (int i = 0; i < plan_planes(plan); i++) {
        tada_plan_plane plane = *plan_plane(plan, i);
        plane.recipe.bits = bits[i / 2];
        plan_set(plan, i, &plane);
    }
}

/* Bits per layer at random: the first draw that nearly fills the budget, or of many the one that comes
 * closest. */
static bool draw_bits(const struct calibration *c, double budget, uint64_t *state, tada_plan *plan)
{
    enum { DRAWS = 2000 };
    static const int choices[] = {2, 4, 8};
    int bits[TADA_PLAN_LAYERS], best[TADA_PLAN_LAYERS];
    double f16, most = -1;
    for (int draw = 0; draw < DRAWS && most < budget - 0.02; draw++) {
        for (int layer = 0; layer < tada_plan_layers(plan); layer++) {
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

static int draw_plan(const struct calibration *c, double budget, uint64_t *state, const tada_plan *like,
                     tada_plan **plan)
{
    *plan = tada_plan_copy(like);
    if (!*plan) {
        return cli_fail("Memory is too short for the plan: close other programs.");
    }
    if (!draw_bits(c, budget, state, *plan)) {
        cli_fail("No mix of 2, 4 and 8 bits by the paper's recipe comes to %.1f %% with the heads of "
                 "this model: use a larger --budget.",
                 100 * budget);
        return EXIT_USAGE;
    }
    return 0;
}

static void take_recipes(const tada_plan *from, tada_plan *to)
{
    for (int i = 0; i < plan_planes(to); i++) {
        plan_set_recipe(to, i, &plan_plane(from, i)->recipe, plan_plane(to, i)->window);
    }
}

static int search_by_divergence(struct calibration *c, double budget, tada_plan *best)
{
    uint64_t state = c->options->seed;
    double least = INFINITY;
    int status = 0;
    for (int start = 0; start < c->options->n_trials && status == 0; start += AT_ONCE) {
        int n = c->options->n_trials - start < AT_ONCE ? c->options->n_trials - start : AT_ONCE;
        tada_plan *plans[AT_ONCE] = {NULL};
        struct trial trials[AT_ONCE] = {0};
        for (int i = 0; i < n && status == 0; i++) {
            status = draw_plan(c, budget, &state, best, &plans[i]);
            trials[i] = (struct trial){.spec = "plan", .plan = plans[i]};
        }
        if (status == 0) {
            status = calibration_try(c, trials, n);
        }
        for (int i = 0; i < n; i++) {
            if (status == 0 && trials[i].kld.value < least) {
                take_recipes(plans[i], best);
                least = trials[i].kld.value;
            }
            tada_plan_free(plans[i]);
        }
    }
    return status;
}

static int search_by_tasks(struct calibration *c, double budget, tada_plan *best)
{
    uint64_t state = c->options->seed;
    struct exam_score score;
    int n_threads = c->options->n_threads;
    int status = exam_take(&c->exam, "f16", NULL, n_threads, &c->work, &c->scores[1]);
    for (int i = 0; i < c->options->n_trials && status == 0; i++) {
        tada_plan *plan;
        char detail[128];
        snprintf(detail, sizeof detail, "random search: trial %d of %d, best %d of %d right", i + 1,
                 c->options->n_trials, c->scores[0].n_right, c->exam.tasks->n);
        c->work.detail = detail;
        status = draw_plan(c, budget, &state, best, &plan);
        if (status == 0) {
            status = exam_take(&c->exam, "plan", plan, n_threads, &c->work, &score);
        }
        if (status == 0 && (i == 0 || exam_is_better(&score, &c->scores[0]))) {
            c->scores[0] = score;
            take_recipes(plan, best);
        }
        tada_plan_free(plan);
        c->work.detail = "";
    }
    return status;
}

/* A prompt that fits in the window is never compressed: all plans would score the same. */
int calibration_search_check(const struct calibration *c)
{
    tada_spec paper;
    tada_spec_parse("tada:paper", &paper, NULL);
    int least = paper.window + 2 * TADA_TILE_CELLS;
    if (c->exam.longest_prompt >= least) {
        return 0;
    }
    cli_fail("The prompts have at most %d tokens, of which nothing would be compressed: give --tasks with "
             "prompts of at least %d, such as several solved tasks before each.",
             c->exam.longest_prompt, least);
    return EXIT_USAGE;
}

double calibration_search_tokens(const struct calibration *c)
{
    tada_spec paper;
    tada_spec_parse("tada:paper", &paper, NULL);
    return c->exam.tasks
               ? exam_tokens(&c->exam, 0) + c->options->n_trials * exam_tokens(&c->exam, paper.window)
               : calibration_tokens(c, c->options->n_trials);
}

int calibration_search(struct calibration *c, double budget, tada_plan *best)
{
    tada_spec paper;
    tada_spec_parse("tada:paper", &paper, NULL);
    plan_follow(best, &paper);
    c->work.detail = "random search";
    return c->exam.tasks ? search_by_tasks(c, budget, best) : search_by_divergence(c, budget, best);
}
