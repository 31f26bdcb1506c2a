/* ggml's part: an f16 cache and its flash attention on the CPU, as llama.cpp builds them. */
#ifndef BENCH_GGML_SIDE_H
#define BENCH_GGML_SIDE_H

#include "rows.h"

#include "ggml-backend.h"
#include "ggml.h"

typedef struct bench_ggml_side {
    const bench_options *options;
    int dim, n_heads;
    ggml_backend_t backend;
    struct ggml_context *cache, *compute;
    void *cache_memory;
    size_t cache_bytes;
    ggml_backend_buffer_t cache_buffer, compute_buffer;
    struct ggml_tensor **k, **v, *q, **results; /* of each layer, but for q */
    struct ggml_cgraph **graphs;
} bench_ggml_side;

/* Loads the CPU module and makes the caches of all layers. */
void bench_ggml_side_open(bench_ggml_side *side, const bench_options *options, int dim);
void bench_ggml_side_write(bench_ggml_side *side, int layer, const bench_rows *rows);
/* Builds the graphs for this many query heads, instead of those before. */
void bench_ggml_side_prepare(bench_ggml_side *side, int n_heads, const float *q);
void bench_ggml_side_run(const bench_ggml_side *side, int layer);
/* The result of the latest run of a layer: [queries][heads][dim]. */
void bench_ggml_side_result(const bench_ggml_side *side, int layer, float *out);
void bench_ggml_side_close(bench_ggml_side *side);

#endif
