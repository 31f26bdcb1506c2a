/* What divergence measures of one cache, token by token, and what that comes to. */
#ifndef TADA_CLI_EVAL_SCORES_H
#define TADA_CLI_EVAL_SCORES_H

#include "eval.h"
#include "output/statistics.h"

struct scores {
    const char *cache; /* its spec; "f16": the reference itself; "floor": f16 with another batch size */
    size_t bytes;      /* that the cache holds */
    /* Of every scored token: negative log-likelihood, KL divergence from the reference, and whether both have
     * the same most likely token. */
    double *nll, *kld;
    bool *same;
};

/* The order of all lists of scores. */
enum { REFERENCE = 0, FLOOR = 1, FIRST_CACHE = 2 };

struct summary {
    double ppl;
    struct estimate ppl_ratio, kld, top1;
    double kld_median, kld_p99, kld_p999;
    bool at_floor;       /* what is measured may be nothing but rounding */
    const char *verdict; /* in words, by the rule that scores_print states; "" for f16 and the floor */
};

/* Room for n tokens. */
int scores_open(struct scores *scores, const char *cache, size_t n);
void scores_close(struct scores *scores); /* of zeros, or closed already: fine */

/* Of the first n >= 1 tokens of n_scores lists. Returns an exit status. */
int scores_summarise(const struct scores *scores, int n_scores, size_t n, struct summary *summaries);
/* A table, and notes on what it cannot tell. */
void scores_print(const struct scores *scores, const struct summary *summaries, int n_scores,
                  const struct eval_options *options);
/* Adds an object for each list to the array `results`. */
void scores_report(const struct scores *scores, const struct summary *summaries, int n_scores, size_t n,
                   const struct eval_options *options, cJSON *results);

#endif
