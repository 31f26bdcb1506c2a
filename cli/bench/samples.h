/* Repeated measurements of one thing. */
#ifndef TADA_CLI_BENCH_SAMPLES_H
#define TADA_CLI_BENCH_SAMPLES_H

enum { SAMPLES_MAX = 1000 };

struct spread {
    double min, median, max;
};

/* The spread of n values, 1 to SAMPLES_MAX, in any order. */
struct spread samples_spread(const double *values, int n);
/* The median of values[i] / base[i]. The two values of a pair were measured one after the other, in the same
 * state of the machine, so that this varies less than the ratio of the medians. */
double samples_ratio(const double *values, const double *base, int n);

#endif
