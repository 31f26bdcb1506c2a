/* Statistics of samples. */
#ifndef TADA_CLI_OUTPUT_STATISTICS_H
#define TADA_CLI_OUTPUT_STATISTICS_H

#include <stddef.h>

struct estimate {
    double value;
    double error; /* standard error of `value`; 0 with fewer than two samples */
};

/* The mean of n >= 1 samples, which count as independent. */
struct estimate mean_of(const double *samples, size_t n);
/* The share of n >= 1 samples that are hits, 0 to 1. */
struct estimate share_of(size_t n_hits, size_t n);
/* Of pairs that differ, `lost` in one way and `won` in the other: how likely at least so many are lost when
 * `excess` >= 0 more are expected to be lost than won; 0: both are equally likely (sign test, one side). */
double chance_of_loss(int lost, int won, double excess);
/* What a cache of these bytes keeps of one in f16; 1 where that has none: nothing is saved. */
double memory_ratio(size_t bytes, size_t f16_bytes);
/* Sorts n samples, the smallest first. */
void sort_samples(double *samples, size_t n);
/* The quantile of n >= 1 sorted samples at `fraction`, 0 to 1, interpolated between two samples. */
double quantile_of(const double *sorted, size_t n, double fraction);

#endif
