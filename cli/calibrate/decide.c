/* The last step of calibration: which plan is written, decided on text that was not learnt from. */
#include "calibration.h"
#include "engine/plans.h"
#include "output/note.h"
#include "output/output.h"
#include "output/plan_page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Plans and a simple spec; those that are only compared with: the default, q8_0 and q4_0. */
enum { MOST_CANDIDATES = 8, MOST_OTHERS = 3, BUDGETS = 4 };

/* Plans and specs that the second half of the text decides between, and stock caches to compare with. */
struct decision {
    struct trial trials[MOST_CANDIDATES + MOST_OTHERS];
    tada_plan *plans[MOST_CANDIDATES];
    char equal[64];
    int n, n_plans;
    int n_own; /* of the trials: those that can be written */
    size_t f16_bytes;
};

static void add_plan(struct decision *d, const char *name, tada_plan *plan)
{
    d->plans[d->n_plans++] = plan;
    d->trials[d->n++] = (struct trial){.spec = name, .plan = plan};
}

/* What people know, and what they have without a plan. */
static void add_others(const struct calibration *c, struct decision *d)
{
    static const char *const others[MOST_OTHERS] = {"tada", "q8_0", "q4_0"};
    char why[160];
    for (int i = 0; i < MOST_OTHERS; i++) {
        if (cache_is_possible(c->model, others[i], why, sizeof why)) {
            d->trials[d->n++] = (struct trial){.spec = others[i]};
        }
    }
}

/* Adds allocations of the budget in several ways. */
static int add_ways(const struct calibration *c, double budget, struct decision *d)
{
    /* For fewer heads a mean of 8 bits costs more than a bit a value, which is more than it can save. */
    enum { FEWEST_HEADS = 8 };
    static const struct {
        const char *name;
        struct way way;
    } ways[] = {{"plan, window 64", {0.75, 64, TADA_CENTRE_NONE, false}},
                {"plan, no window", {0.75, 0, TADA_CENTRE_NONE, false}},
                {"plan, even", {0.5, 64, TADA_CENTRE_NONE, false}},
                {"plan, choices", {0.75, .choices = true}},
                {"plan, choices, even", {0.5, .choices = true}},
                {"plan, head means", {0.75, 64, TADA_CENTRE_HEADS8, false}},
                {"plan, head means, even", {0.5, 0, TADA_CENTRE_HEADS8, false}}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (ways[i].way.centring != TADA_CENTRE_NONE && c->n_heads_kv < FEWEST_HEADS) {
            continue;
        }
        tada_plan *plan = tada_plan_copy(c->plan);
        if (!plan) {
            return cli_fail("Memory is too short for the plan: close other programs.");
        }
        if (calibration_allocate(c, budget, &ways[i].way, plan)) {
            add_plan(d, ways[i].name, plan);
        } else {
            tada_plan_free(plan);
        }
    }
    return 0;
}

/* The least that any plan can keep. */
static double least_budget(const struct calibration *c)
{
    tada_plan *plan = tada_plan_copy(c->plan);
    double budget = 0.1;
    while (plan && budget < 1 &&
           !calibration_allocate(c, budget, &(struct way){0.75, 0, TADA_CENTRE_NONE, false}, plan)) {
        budget += 0.005;
    }
    tada_plan_free(plan);
    return budget;
}

/* The same; EXIT_USAGE: the budget is too small for all of them. */
static int add_plans(const struct calibration *c, double budget, struct decision *d)
{
    int status = add_ways(c, budget, d);
    if (status == 0 && d->n_plans == 0) {
        cli_fail(
            "No cache of this model comes to %.1f %% at a context of %d: give %.1f%% or more with --budget.",
            100 * budget, c->options->n_ctx, 100 * least_budget(c));
        return EXIT_USAGE;
    }
    return status;
}

/* Adds what the paper's random search finds. */
static int add_search(struct calibration *c, double budget, struct decision *d)
{
    tada_plan *plan = tada_plan_copy(c->plan);
    int status = plan ? calibration_search(c, budget, plan)
                      : cli_fail("Memory is too short for the plan: close other programs.");
    if (status != 0) {
        tada_plan_free(plan);
        return status;
    }
    add_plan(d, "plan", plan);
    return 0;
}

/* All that is decided between, and what is only compared with. */
static int add_candidates(struct calibration *c, double budget, struct decision *d)
{
    int status = c->options->paper ? add_search(c, budget, d) : add_plans(c, budget, d);
    if (status != 0) {
        return status;
    }
    if (c->options->paper) {
        snprintf(d->equal, sizeof d->equal, "tada:paper");
    } else {
        calibration_equal_spec(c, budget, d->equal, sizeof d->equal);
    }
    if (*d->equal) {
        d->trials[d->n++] = (struct trial){.spec = d->equal};
    }
    d->n_own = d->n;
    add_others(c, d);
    return 0;
}

static int decide_between(struct calibration *c, double budget, struct decision *d)
{
    struct trial_text text = {.tokens = c->tokens + c->n_tokens / 2,
                              .n_windows = 1,
                              .n_ctx = c->check,
                              .n_ubatch = 32,
                              .n_threads = c->options->n_threads,
                              .reference = "f16"};
    memset(d, 0, sizeof *d);
    int status = add_candidates(c, budget, d);
    c->work.detail = "checking the plans";
    return status == 0 ? trials_run(c->model, &text, d->trials, d->n, &c->work, &d->f16_bytes) : status;
}

static void free_decision(struct decision *d)
{
    for (int i = 0; i < d->n_plans; i++) {
        tada_plan_free(d->plans[i]);
    }
}

/* Of f16's bytes at the context that the plan is for. */
static double memory_of(const struct calibration *c, const struct decision *d, const struct trial *trial)
{
    double f16, bytes;
    tada_spec spec;
    tada_plan *plan = trial->plan ? NULL : tada_plan_copy(c->plan);
    if (!trial->plan && (tada_spec_parse(trial->spec, &spec, NULL) != TADA_OK || spec.stock || !plan)) {
        tada_plan_free(plan);
        return d->f16_bytes ? (double)trial->bytes / (double)d->f16_bytes : 0;
    }
    if (plan) {
        plan_follow(plan, &spec);
    }
    bytes = plan_bytes(trial->plan ? trial->plan : plan, c->options->n_ctx, &f16) + (double)trial->scratch;
    tada_plan_free(plan);
    return bytes / f16;
}

/* Of those that are the plan's own, the one with the least divergence. */
static int best_of(const struct calibration *c, const struct decision *d)
{
    int best = 0;
    for (int i = 1; i < d->n_own && !c->options->paper; i++) {
        double kld = d->trials[i].kld.value;
        best = kld < d->trials[best].kld.value || !isfinite(d->trials[best].kld.value) ? i : best;
    }
    return best;
}

/* The plan to write: the best candidate; when a simple spec is better, that spec. `d` keeps the others. Of
 * what a cache breaks there is nothing to tell but that. */
static tada_plan *conclude_decision(struct calibration *c, struct decision *d, int *best, tada_error *error)
{
    *best = best_of(c, d);
    snprintf(error->text, sizeof error->text, "Memory is too short for the plan: close other programs.");
    tada_plan *plan = tada_plan_copy(d->trials[*best].plan ? d->trials[*best].plan : c->plan);
    tada_spec spec;
    if (plan && !d->trials[*best].plan && tada_spec_parse(d->trials[*best].spec, &spec, NULL) == TADA_OK) {
        plan_follow(plan, &spec);
    }
    for (int i = 0; plan && i < d->n; i++) {
        tada_plan_point point = {.memory = memory_of(c, d, &d->trials[i]),
                                 .kld = d->trials[i].kld.value,
                                 .kld_se = d->trials[i].kld.error};
        snprintf(point.cache, sizeof point.cache, "%s", i == *best ? "plan" : d->trials[i].spec);
        if ((i == *best || isfinite(point.kld)) && tada_plan_add_point(plan, &point, error) != TADA_OK) {
            tada_plan_free(plan);
            plan = NULL;
        }
    }
    return plan;
}

static void print_result(const struct calibration *c, const tada_plan *plan, const struct decision *d,
                         int best)
{
    const char *spec = d->trials[best].spec;
    if (c->choices) {
        choices_print(c->choices, plan);
    }
    printf("%-24s %8s  %9s\n", "cache", "memory", "KLD");
    for (int i = 0; i < d->n; i++) {
        const struct trial *trial = &d->trials[i];
        printf("%-24s %6.1f %%  %9.5f +- %.5f\n", SHOWN(trial->spec), 100 * memory_of(c, d, trial),
               trial->kld.value, trial->kld.error);
    }
    if (!d->trials[best].plan) {
        printf("A simple spec was better than the plans: %s holds the same as %s.\n",
               SHOWN(c->options->plan_path), spec);
    } else if (!c->options->paper) {
        printf("The plan that was best is \"%s\".\n", SHOWN(spec));
    }
    if (c->exam.tasks) {
        printf(
            "Of %d tasks the plan has %d right, f16 %d; mean log-likelihood of a token of the answers %.4f "
            "and %.4f.\n",
            c->exam.tasks->n, c->scores[0].n_right, c->scores[1].n_right, c->scores[0].likelihood,
            c->scores[1].likelihood);
    }
    const char *path = SHOWN(c->options->plan_path);
    printf("Written: %s. Use it with --cache tada:@%s\n", path, path);
}

static int write_plan(struct calibration *c, struct decision *d)
{
    int best;
    tada_error error;
    tada_plan *plan = conclude_decision(c, d, &best, &error);
    if (!plan) {
        return cli_fail("%s", error.text);
    }
    const struct calibrate_options *options = c->options;
    int status = plan_save(plan, options->plan_path, &options->rules);
    if (status == 0) {
        calibration_forget_partial(c);
        if (!output_is_stdout(options->plan_path) && !output_is_stdout(options->report_path)) {
            print_result(c, plan, d, best);
        }
    }
    if (status == 0 && options->report_path) {
        status = plan_report_write(plan, options->report_path, &options->rules);
    }
    tada_plan_free(plan);
    return status;
}

/* The smallest budget whose plan is good enough, by halving. */
static int find_budget(struct calibration *c, double *budget)
{
    double low = least_budget(c), high = fmax(0.6, low);
    int status = 0;
    for (int i = 0; i < BUDGETS && status == 0; i++) {
        struct decision d;
        double middle = (low + high) / 2, least = INFINITY;
        status = decide_between(c, middle, &d);
        for (int j = 0; status == 0 && j < d.n_own; j++) {
            least = fmin(least, d.trials[j].kld.value);
        }
        *(least <= c->options->max_kld ? &high : &low) = middle;
        free_decision(&d);
    }
    *budget = high;
    return status;
}

int calibration_check_budget(const struct calibration *c)
{
    struct decision d = {.n = 0};
    bool is_known = !c->options->paper && c->options->max_kld <= 0;
    int status = is_known ? add_plans(c, c->options->budget, &d) : 0;
    free_decision(&d);
    return status;
}

double calibration_decision_tokens(const struct calibration *c)
{
    /* f16 is measured, too. */
    return (MOST_CANDIDATES + MOST_OTHERS + 1.0) * c->check * (c->options->max_kld > 0 ? 1 + BUDGETS : 1);
}

int calibration_decide(struct calibration *c)
{
    struct decision d = {0};
    double budget = c->options->budget;
    int status = c->options->max_kld > 0 ? find_budget(c, &budget) : 0;
    if (status == 0) {
        status = decide_between(c, budget, &d);
    }
    progress_clear(&c->work.progress);
    if (status == 0) {
        status = write_plan(c, &d);
    }
    free_decision(&d);
    return status;
}
