/* The numbers that both sides work on: K and V rows in f16 as llama.cpp keeps them, queries, a mask of zeros.
 */
#ifndef BENCH_ROWS_H
#define BENCH_ROWS_H

#include "options.h"

typedef struct bench_rows {
    uint16_t *k, *v; /* [cells][heads_kv * dim] */
} bench_rows;

/* Normally distributed, different for each layer, the same in each run. */
void bench_rows_fill(bench_rows *rows, const bench_options *options, int dim, int layer);
/* [queries][heads][dim] */
float *bench_queries(const bench_options *options, int dim, int n_heads);

void bench_half_to_float(const uint16_t *from, float *to, int64_t n);

#endif
