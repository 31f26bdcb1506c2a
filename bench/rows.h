/* The numbers that both sides work on: K and V rows in f16 as llama.cpp keeps them, queries, a mask of zeros.
 */
#ifndef BENCH_ROWS_H
#define BENCH_ROWS_H

#include "options.h"

typedef struct bench_rows {
    uint16_t *k, *v; /* [cells][heads_kv * dim]; where V is a part of K, v holds K, too */
} bench_rows;

/* Normally distributed, different for each layer, the same in each run. */
void bench_rows_fill(bench_rows *rows, const bench_options *options, int dim, int layer);
/* Values of a head of V. */
int bench_v_dim(const bench_options *options, int dim);
/* [queries][heads][dim] */
float *bench_queries(const bench_options *options, int dim, int n_heads);

void bench_half_to_float(const uint16_t *from, float *to, int64_t n);

#endif
