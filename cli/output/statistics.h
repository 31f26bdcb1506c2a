/* Statistics of samples. */
#ifndef TADA_CLI_OUTPUT_STATISTICS_H
#define TADA_CLI_OUTPUT_STATISTICS_H

#include <stddef.h>

struct estimate {
    double value, error; /* error: its standard error; 0 of fewer than two samples */
};

/* Mean of n >= 1 samples, which count as independent. */
struct estimate mean_of(const double *samples, size_t n);
/* Share of n >= 1 samples that are hits, 0 to 1. */
struct estimate share_of(size_t n_hits, size_t n);
void sort_samples(double *samples, size_t n);
/* The quantile of n >= 1 sorted samples at `fraction`, 0 to 1; linear between two samples. */
double quantile_of(const double *sorted, size_t n, double fraction);

#endif
