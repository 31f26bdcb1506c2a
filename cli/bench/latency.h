/* How long single tokens take, one after the other, and where in a tile they are slow. */
#ifndef TADA_CLI_BENCH_LATENCY_H
#define TADA_CLI_BENCH_LATENCY_H

#include <stdbool.h>

struct latency {
    double median, p99, max; /* milliseconds */
    /* The place in a tile, 0 to 63, whose tokens take longest, and the median of their times in units of the
     * median of the 64 tokens around each. place -1: no repetition is as long as a tile. */
    int place;
    double place_ratio;
};

/* Of n_repeat >= 1 repetitions, each of n >= 1 tokens at positions depth, depth + 1, ...; seconds
 * [n_repeat][n]. False: memory is short. */
bool latency_of(const float *seconds, int n_repeat, int n, int depth, struct latency *latency);

#endif
