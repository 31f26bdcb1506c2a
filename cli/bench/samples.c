/* Minimum, median and maximum. */
#include "samples.h"

#include "output/statistics.h"

#include <string.h>

struct spread samples_spread(const double *values, int n)
{
    double sorted[SAMPLES_MAX];
    memcpy(sorted, values, (size_t)n * sizeof *sorted);
    sort_samples(sorted, (size_t)n);
    return (struct spread){sorted[0], quantile_of(sorted, (size_t)n, 0.5), sorted[n - 1]};
}

double samples_ratio(const double *values, const double *base, int n)
{
    double ratios[SAMPLES_MAX];
    for (int i = 0; i < n; i++) {
        ratios[i] = values[i] / base[i];
    }
    return samples_spread(ratios, n).median;
}
