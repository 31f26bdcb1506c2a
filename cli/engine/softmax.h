/* The softmax of a row of logits. */
#ifndef TADA_CLI_ENGINE_SOFTMAX_H
#define TADA_CLI_ENGINE_SOFTMAX_H

struct softmax {
    double log_sum; /* log of the sum of exp of the logits */
    int top;        /* the most likely token; the first of equals */
};

/* Over n >= 1 values, in double: the log-likelihood of token i is logits[i] - log_sum. */
struct softmax softmax_of(const float *logits, int n);

#endif
