/* Minimum, median and maximum. */
#include "samples.h"

#include <stdlib.h>
#include <string.h>

static int compare_values(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct spread samples_spread(const double *values, int n)
{
    double sorted[SAMPLES_MAX];
    memcpy(sorted, values, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, compare_values);
    return (struct spread){sorted[0], (sorted[(n - 1) / 2] + sorted[n / 2]) / 2, sorted[n - 1]};
}

double samples_ratio(const double *values, const double *base, int n)
{
    double ratios[SAMPLES_MAX];
    for (int i = 0; i < n; i++) {
        ratios[i] = values[i] / base[i];
    }
    return samples_spread(ratios, n).median;
}
