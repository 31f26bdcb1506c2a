/* An exam: how a cache does on a task set. */
#ifndef TADA_CLI_CALIBRATE_EXAM_H
#define TADA_CLI_CALIBRATE_EXAM_H

#include "engine/engine.h"
#include "engine/trial.h"
#include "tasks.h"

/* A prompt with an answer to it, as tokens. */
struct exam_text {
    llama_token *tokens;
    int n, n_prompt; /* the answer begins at token n_prompt */
};

struct exam {
    const struct model *model;
    const struct tasks *tasks;
    struct exam_text *texts; /* of all tasks in order: one for each choice, else one with the answer */
    int n_texts;
    int n_cells;        /* that the longest text needs, with what the model may write */
    int longest_prompt; /* tokens */
};

struct exam_score {
    int n_right;
    double likelihood; /* mean over the tasks of the mean log-likelihood of the right answer's tokens, nats */
};

/* All print what is wrong and return an exit status, 0 when all is well. */

/* The texts of a task set, which must live on. exam_close frees them, also after an error. */
int exam_open(struct exam *exam, const struct model *model, const struct tasks *tasks);
void exam_close(struct exam *exam); /* of zeros: fine */

/*
 * Examines a cache, given by its spec or its plan (see struct cache_options). Offered answers are chosen from
 * by their log-likelihood. An answer that ends in "#### NUMBER" is worked out by the model, greedily, and the
 * last number that it writes counts. Any other one is right when the model would write it, greedily. `work`
 * goes on by exam_tokens. After Ctrl-C EXIT_INTERRUPTED, and no score.
 */
int exam_take(const struct exam *exam, const char *spec, const tada_plan *plan, int n_threads,
              struct work *work, struct exam_score *score);
/* Tokens that examining a cache decodes at most, with windows of so many cells. */
double exam_tokens(const struct exam *exam, int window);

/* Whether a is the better score: more right answers, then likelier ones. */
bool exam_is_better(const struct exam_score *a, const struct exam_score *b);

#endif
