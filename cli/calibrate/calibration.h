/* Calibration: finding the plan of a model. What its steps share. */
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
    const char *tasks_path; /* that the random search is scored on; NULL: by KL divergence */
    double budget;          /* of f16's bytes, 0 to 1; 0: not given */
    double max_kld;         /* nats; 0: not given */
    int n_ctx;              /* that the budget is meant for */
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
    int n_tokens;            /* the first half is calibrated on, the second half decides */
    tada_plan *plan;         /* the one that is being made: widths, weights and sensitivities of all planes */
    int n_heads_kv;          /* the fewest of any layer */
    struct choices *choices; /* of its planes; NULL with the random search */
    double scratch;          /* bytes beside the planes */
    int sample, check;       /* tokens of a window to learn from, and of one to decide on */
    struct exam exam;        /* without tasks: zeros */
    struct exam_score scores[2]; /* of the best plan of the random search, and of f16 */
    struct work work;
};

/* All print what is wrong and return an exit status, 0 when all is well. */

/* Widths and weights of the planes, from the engine's own graphs. */
int calibration_observe(struct calibration *calibration);
/* Tokens that measuring the sensitivity of so many planes takes: eight at once share the reference. */
double calibration_tokens(const struct calibration *calibration, int n_planes);
/* K and V of each layer: at most so many have a sensitivity. */
int calibration_planes(const struct calibration *calibration);
/* Sensitivities: what a plane alone adds to the KL divergence with few bits. Saved after every few planes, so
 * that an interrupted calibration goes on where it was. */
int calibration_measure(struct calibration *calibration);
/* What allocations of one budget differ in. */
struct way {
    double damping; /* the power to which measured sensitivities count */
    int window;
    enum tada_centring centring;
    bool choices; /* recipe and window of each plane by its own errors; the two above do not count then */
};

/* The allocation for a budget. plan: a copy that gets recipes and windows. False: the budget is too small. */
bool calibration_allocate(const struct calibration *calibration, double budget, const struct way *way,
                          tada_plan *plan);
/* The best spec with equal bits in all layers within the budget; "" when there is none. */
void calibration_equal_spec(const struct calibration *calibration, double budget, char *spec, size_t size);
/* The paper's: random search over bits per layer; on tasks it fills in the scores. */
int calibration_search(struct calibration *calibration, double budget, tada_plan *best);
/* Whether anything of the tasks' prompts would be compressed; else EXIT_USAGE. */
int calibration_search_check(const struct calibration *calibration);
/* Tokens that it takes. */
double calibration_search_tokens(const struct calibration *calibration);

/* Decides, writes the plan and its report, and prints what it is worth. */
int calibration_decide(struct calibration *calibration);
/* Tokens that deciding takes. */
double calibration_decision_tokens(const struct calibration *calibration);

/* Runs trials on the sample that sensitivities are measured on. */
int calibration_try(struct calibration *calibration, struct trial *trials, int n);
/* Trials that share a reference. */
enum { AT_ONCE = 8 };
/* Removes what was saved of what is measured. */
void calibration_forget_partial(const struct calibration *calibration);

/* All planes as the spec says, without weights. */
void plan_follow(tada_plan *plan, const tada_spec *spec);
/* A plan with the planes, weights and sensitivities of another; NULL: memory is short. */
tada_plan *plan_copy(const tada_plan *plan);
/* Bytes of all planes at n_ctx cells, and of the same in f16. */
double plan_bytes(const tada_plan *plan, int n_ctx, double *f16_bytes);

#endif
