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
