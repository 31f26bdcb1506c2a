/*
 * Calibration: finding the plan of a model. cmd_calibrate.c takes the steps, of which each has a function
 * here:
 * - observe (measure.c) runs the model once, for widths, weights and what recipes do to attention;
 * - measure (measure.c) finds the sensitivity of each plane;
 * - allocate (allocate.c) makes plans for a budget out of these; or search.c does, the paper's random search;
 * - decide (decide.c) compares plans on text that was not learnt from, and writes the best.
 */
#ifndef TADA_CLI_CALIBRATE_CALIBRATION_H
#define TADA_CLI_CALIBRATE_CALIBRATION_H

#include "choices.h"
#include "engine/trial.h"
#include "exam.h"
#include "recipes.h"
#include "new_file.h"

#include <stdint.h>

struct calibrate_options {
    const char *model_path, *text_path, *plan_path, *from_path, *report_path; /* NULL: not given */
    new_file_rules rules;                                                     /* of the plan and the report */
    const char *tasks_path; /* tasks that the random search is scored on; NULL: by KL divergence */
    double budget;          /* share of f16's bytes, 0 to 1; 0: not given */
    double max_kld;         /* nats; 0: not given */
    int n_ctx;              /* cells that the budget is meant for */
    int n_threads, n_trials;
    int n_sample; /* tokens that each plane is measured on; 0: by the size of the model */
    uint32_t seed;
    const char *method; /* tada or paper */
    bool paper;         /* the paper's random search */
};

struct calibration {
    const struct model *model;
    const struct calibrate_options *options;
    llama_token *tokens;
    int n_tokens;                /* the first half is learnt from, the second half decides */
    tada_plan *plan;             /* the plan in the making: widths, weights and sensitivities of all planes */
    int n_heads_kv;              /* KV heads of the layer that has the fewest */
    struct choices *choices;     /* of its planes; NULL with the random search */
    double scratch;              /* bytes beside the planes */
    int sample, check;           /* tokens of the window to learn from, and of the one to decide on */
    struct exam exam;            /* of the tasks; without tasks zeros */
    struct exam_score scores[2]; /* of the best plan of the random search, and of f16 */
    struct work work;
};

/* All print what is wrong and return an exit status, 0 when all is well. */

/* Finds widths and weights of the planes in the engine's own graphs. */
int calibration_observe(struct calibration *calibration);
/* The tokens that measuring the sensitivity of n_planes planes decodes. AT_ONCE planes share a reference. */
double calibration_tokens(const struct calibration *calibration, int n_planes);
/* How many planes have a sensitivity, at most. */
int calibration_planes(const struct calibration *calibration);
/* Measures sensitivities: what a plane adds to the KL divergence when it alone has few bits. They are saved
 * after every few planes, so that an interrupted calibration goes on where it was. */
int calibration_measure(struct calibration *calibration);
/* In what the allocations of one budget differ. */
struct way {
    double damping; /* sensitivities are raised to this power */
    int window;
    enum tada_centring centring;
    bool choices; /* recipe and window of each plane by its own errors; the two above do not count then */
};

/* Allocates a budget. plan: a copy of the plan in the making; gets recipes and windows. False: the budget is
 * too small, or memory too short. */
bool calibration_allocate(const struct calibration *calibration, double budget, const struct way *way,
                          tada_plan *plan);
/* Writes the best spec with equal bits in all layers within the budget; "": there is none. */
void calibration_equal_spec(const struct calibration *calibration, double budget, char *spec, size_t size);
/* The paper's random search over bits per layer. *best: gets the plan. With tasks it sets
 * calibration->scores. */
int calibration_search(struct calibration *calibration, double budget, tada_plan *best);
/* Checks that some of the tasks' prompts would be compressed. EXIT_USAGE: none would. */
int calibration_search_check(const struct calibration *calibration);
/* The tokens that the search decodes. */
double calibration_search_tokens(const struct calibration *calibration);

/* Whether the budget has room for a plan, as far as can be told before sensitivities are measured, which
 * takes most of the time. EXIT_USAGE: it has not. */
int calibration_check_budget(const struct calibration *calibration);
/* Decides, writes the plan and its page, and prints its memory and its KL divergence. */
int calibration_decide(struct calibration *calibration);
/* The tokens that deciding decodes. */
double calibration_decision_tokens(const struct calibration *calibration);

/* Runs trials on the sample that sensitivities are measured on. */
int calibration_try(struct calibration *calibration, struct trial *trials, int n);
/* Trials that share a reference. */
enum { AT_ONCE = 8 };
/* Whether something of what is measured was saved, and removing it. */
bool calibration_has_partial(const struct calibration *calibration);
void calibration_forget_partial(const struct calibration *calibration);

/* Gives all planes the recipes and windows of a spec, without weights. */
void plan_follow(tada_plan *plan, const tada_spec *spec);
/* Changes a plane. Prints what is wrong and returns an exit status. */
int plan_set(tada_plan *plan, int i, const tada_plan_plane *plane);
/* The same, of its recipe and window alone. */
int plan_set_recipe(tada_plan *plan, int i, const tada_recipe *recipe, int window);
/* The bytes of all planes at n_ctx cells. *f16_bytes: of the same rows in f16. */
double plan_bytes(const tada_plan *plan, int n_ctx, double *f16_bytes);

#endif
