/* Attention in double precision, to tell how exact a result is. */
#ifndef BENCH_REFERENCE_H
#define BENCH_REFERENCE_H

#include "rows.h"

/*
 * Relative root mean square error of out [queries][heads][dim] to the attention of q over rows. At most
 * REFERENCE_ROWS pairs of query and head are compared, spread evenly: all of a prefill would take minutes.
 */
enum { REFERENCE_ROWS = 64 };
double bench_reference_error(const bench_options *options, const bench_rows *rows, int dim, int n_heads,
                             const float *q, const float *out);

#endif
