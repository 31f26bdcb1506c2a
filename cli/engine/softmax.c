/* Softmax and KL divergence in double. */
#include "softmax.h"

#include <math.h>

struct softmax softmax_of(const float *logits, int n)
{
    struct softmax softmax = {0};
    for (int i = 1; i < n; i++) {
        softmax.top = logits[i] > logits[softmax.top] ? i : softmax.top;
    }
    double max = logits[softmax.top], sum = 1; /* of the largest one */
    for (int i = 0; i < n; i++) {
        sum += i == softmax.top ? 0 : exp(logits[i] - max);
    }
    softmax.log_sum = max + log(sum);
    return softmax;
}

double divergence_between(const float *base, const struct softmax *base_softmax, const float *logits,
                          const struct softmax *softmax, int n)
{
    double sum = 0, shift = softmax->log_sum - base_softmax->log_sum;
    for (int i = 0; i < n; i++) {
        double probability = exp(base[i] - base_softmax->log_sum);
        if (probability > 0) { /* logits may be minus infinity */
            sum += probability * ((double)base[i] - logits[i] + shift);
        }
    }
    return sum;
}

double divergence_of(const float *base, const float *logits, int n, bool *same)
{
    struct softmax base_softmax = softmax_of(base, n), softmax = softmax_of(logits, n);
    *same = base_softmax.top == softmax.top;
    return divergence_between(base, &base_softmax, logits, &softmax, n);
}
