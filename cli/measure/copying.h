/*
 * Copying: a document of JSON objects with random paths, hashes and numbers, which ends with some of them
 * once more. The start of each value is given, the rest is to be repeated. No instruction is needed: a model
 * that sees the start of a value for the second time goes on with what followed it.
 */
#ifndef TADA_CLI_MEASURE_COPYING_H
#define TADA_CLI_MEASURE_COPYING_H

#include "along.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    COPY_DEPTHS = 3,
    COPY_LEAST_CTX = 512, /* less holds too few objects */
    COPY_MOST_CASES = 60, /* of one document */
};

/* Percent of the context that an object lies back. Near ones are kept finer by some caches. */
extern const int copy_depths[COPY_DEPTHS];

/* An object that is to be told again. */
struct copy_case {
    int depth;      /* index of copy_depths */
    int back;       /* tokens */
    int first, end; /* its tokens in the document */
};

struct copy_document {
    llama_token *tokens; /* n_ctx or fewer */
    bool *asked;         /* [n_ctx]: the token is to be told, where its object is told again */
    int n;
    struct copy_case cases[COPY_MOST_CASES];
    int n_cases;
};

/* What a cache made of a case, when it was told the right tokens before each. */
struct copy_score {
    /* Of the right token over the likeliest other one, in nats: mean and least over its tokens. The least is
     * above zero exactly when a greedy answer would be right, token by token. */
    double margin, least;
    bool exact;
};

/* Scores of many cases: those of a case side by side, one a cache, the first of f16. */
struct copy_scores {
    struct copy_score *scores; /* [n_cases][n_caches] */
    int *depths;               /* [n_cases] */
    double back[COPY_DEPTHS];  /* sum of tokens */
    int n_cases, n_caches;
};

struct copy_summary {
    int n, exact;  /* cases, and those that are right */
    int lost, won; /* right with f16 and not here, and the other way round */
    struct estimate margin, least;
    struct estimate margin_lost; /* of f16 less this one's, case by case */
};

/* These print what is wrong and return an exit status, 0 when all is well. */

/* The same for the same seed. copy_free frees it, also after an error. A model whose objects fill the context
 * too soon: EXIT_USAGE, as an error of `command`. */
int copy_make(const char *command, const struct model *model, int n_ctx, uint64_t seed,
              struct copy_document *document);
void copy_free(struct copy_document *document);
/* Has all caches read it, and adds what each made of its cases. After Ctrl-C EXIT_INTERRUPTED, nothing is
 * added. */
int copy_read(struct along *along, const struct copy_document *document, struct copy_scores *scores);
void copy_scores_free(struct copy_scores *scores);

/* Of a cache at a depth; depth -1: at all. */
struct copy_summary copy_summarise(const struct copy_scores *scores, int cache, int depth);
/* Mean tokens that the cases of a depth lie back. */
double copy_back(const struct copy_scores *scores, int depth);

#endif
