/* An exam: how a cache does on a task set. */
#ifndef TADA_CLI_CALIBRATE_EXAM_H
#define TADA_CLI_CALIBRATE_EXAM_H

#include "engine/engine.h"
#include "engine/trial.h"
#include "tasks.h"

/* A prompt with an answer to it, as tokens. */
struct exam_text {
    llama_token *tokens;
    int n;        /* how many */
    int n_prompt; /* how many of them are the prompt: the answer follows */
};

struct exam {
    const struct model *model;
    const struct tasks *tasks;
    struct exam_text *texts; /* of all tasks in order: one for each choice, else one with the answer */
    int n_texts;
    int n_cells;        /* cells that the longest text needs, with what the model may write */
    int longest_prompt; /* in tokens */
};

struct exam_score {
    int n_right;
    double likelihood; /* mean over the tasks of the mean log-likelihood of the right answer's tokens, nats */
};

/* All print what is wrong and return an exit status, 0 when all is well. */

/* Tokenizes a task set, which must outlive the exam. exam_close frees it, also after an error. */
int exam_open(struct exam *exam, const struct model *model, const struct tasks *tasks);
void exam_close(struct exam *exam); /* of zeros: fine */

/*
 * Examines a cache, given by its spec or its plan (struct cache_options). Of offered answers, the one with
 * the largest log-likelihood is taken. Where the answer ends in "#### NUMBER", the model writes one,
 * greedily, and its last number counts. Any other answer is right when the model would write it, greedily.
 * `work` advances by exam_tokens. After Ctrl-C: EXIT_INTERRUPTED, and no score.
 */
int exam_take(const struct exam *exam, const char *spec, const tada_plan *plan, int n_threads,
              struct work *work, struct exam_score *score);
/* The tokens that examining a cache decodes, at most. window: cells of its window. */
double exam_tokens(const struct exam *exam, int window);

/* Whether a is better than b: more right answers, or as many and likelier ones. */
bool exam_is_better(const struct exam_score *a, const struct exam_score *b);

#endif
