/* The softmax of a row of logits. */
#ifndef TADA_CLI_ENGINE_SOFTMAX_H
#define TADA_CLI_ENGINE_SOFTMAX_H

#include <stdbool.h>

struct softmax {
    double log_sum; /* log of the sum of exp of the logits */
    int top;        /* the most likely token; the first of equals */
};

/* Of n >= 1 logits, computed in double. The log-likelihood of token i is logits[i] - log_sum. */
struct softmax softmax_of(const float *logits, int n);

/* The KL divergence, in nats, of the softmax of n logits from that of `base`, computed in double. */
double divergence_between(const float *base, const struct softmax *base_softmax, const float *logits,
                          const struct softmax *softmax, int n);
/* The same, with both softmaxes computed here. *same: both have the same most likely token. */
double divergence_of(const float *base, const float *logits, int n, bool *same);

#endif
