#include "samples.h"

#include <stdlib.h>
#include <time.h>

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double bench_clock(void)
{
    return seconds(CLOCK_MONOTONIC);
}

double bench_thread_clock(void)
{
    return seconds(CLOCK_THREAD_CPUTIME_ID);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

bench_summary bench_summarise(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, compare);
    return (bench_summary){values[0], (values[(n - 1) / 2] + values[n / 2]) / 2, values[n - 1]};
}
