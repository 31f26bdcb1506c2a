/* TaDA's part: planes filled as the plug-in fills them, and attention over them. */
#ifndef BENCH_OUR_SIDE_H
#define BENCH_OUR_SIDE_H

#include "rows.h"
#include "team.h"

typedef struct bench_layer {
    tada_plane *k, *v;
    void *k_memory, *v_memory;
    size_t k_bytes, v_bytes;
} bench_layer;

typedef struct bench_our_side {
    const bench_options *options;
    const tada_threads *threads;
    int dim;
    bench_layer *layers;
    tada_pool *pool;
    uint16_t *mask; /* zeros */
} bench_our_side;

void bench_our_side_open(bench_our_side *side, const bench_options *options, const tada_threads *threads,
                         int dim);
void bench_our_side_write(bench_our_side *side, int layer, const bench_rows *rows);
/* What the planes of a layer hold now, decoded. */
void bench_our_side_read(const bench_our_side *side, int layer, bench_rows *rows);
void bench_our_side_run(const bench_our_side *side, int layer, int n_heads, const float *q, float *out);
/* Share of tiles that are hot. */
double bench_our_side_hot(const bench_our_side *side);
/* Bytes of K and V that attention has to read for one layer. */
double bench_our_side_bytes(const bench_our_side *side);
void bench_our_side_close(bench_our_side *side);

#endif
