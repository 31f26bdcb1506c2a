/* How fast the kernels are. */
#ifndef TADA_TEST_BENCH_H
#define TADA_TEST_BENCH_H

#include "sets.h"

/*
 * Prints a row for each kernel and set: the best and the median time of a call, `rounds` times each with all
 * sets taking turns, the time for a value, and how much faster than the last set, which is the scalar one,
 * it is. names: kernels whose names start so; none: all. Returns the exit status.
 */
int bench_run(const kernel_set *sets, int n_sets, int rounds, bool json, const char *const *names,
              int n_names);

#endif
