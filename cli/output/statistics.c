/* Means, shares and quantiles. */
#include "statistics.h"

#include <math.h>
#include <stdlib.h>

struct estimate mean_of(const double *samples, size_t n)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += samples[i];
    }
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        squares += (samples[i] - mean) * (samples[i] - mean);
    }
    return (struct estimate){mean, n > 1 ? sqrt(squares / (double)(n - 1) / (double)n) : 0};
}

struct estimate share_of(size_t n_hits, size_t n)
{
    double share = (double)n_hits / (double)n;
    return (struct estimate){share, n > 1 ? sqrt(share * (1 - share) / (double)(n - 1)) : 0};
}

double chance_of_loss(int lost, int won, double excess)
{
    int n = lost + won;
    double sum = 0, share = n > 0 ? (1 + excess / n) / 2 : 1; /* of the losses */
    if (share >= 1) {
        return 1;
    }
    for (int k = lost; k <= n; k++) {
        sum += exp(lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0) + k * log(share) +
                   (n - k) * log1p(-share));
    }
    return sum < 1 ? sum : 1;
}

static int compare_samples(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double memory_ratio(size_t bytes, size_t f16_bytes)
{
    return f16_bytes > 0 ? (double)bytes / (double)f16_bytes : 1;
}

void sort_samples(double *samples, size_t n)
{
    qsort(samples, n, sizeof *samples, compare_samples);
}

double quantile_of(const double *sorted, size_t n, double fraction)
{
    double place = fraction * (double)(n - 1);
    size_t below = (size_t)place;
    size_t above = below + 1 < n ? below + 1 : below;
    return sorted[below] + (place - (double)below) * (sorted[above] - sorted[below]);
}
