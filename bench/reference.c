#include "reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct head {
    const float *k, *v; /* [cells][dim] of one KV head */
    int64_t n_cells;
    int dim, v_dim; /* of V, the first v_dim values count */
} head;

static void attend(const head *h, const float *q, double *weights, double *out)
{
    double most = -INFINITY, total = 0, scale = 1 / sqrt(h->dim);
    for (int64_t c = 0; c < h->n_cells; c++) {
        double dot = 0;
        for (int d = 0; d < h->dim; d++) {
            dot += (double)q[d] * (double)h->k[c * h->dim + d];
        }
        weights[c] = dot * scale;
        most = fmax(most, weights[c]);
    }
    memset(out, 0, (size_t)h->v_dim * sizeof *out);
    for (int64_t c = 0; c < h->n_cells; c++) {
        double weight = exp(weights[c] - most);
        total += weight;
        for (int d = 0; d < h->v_dim; d++) {
            out[d] += weight * (double)h->v[c * h->dim + d];
        }
    }
    for (int d = 0; d < h->v_dim; d++) {
        out[d] /= total;
    }
}

static void load(const uint16_t *rows, int width, const head *h, int column, float *to)
{
    for (int64_t c = 0; c < h->n_cells; c++) {
        bench_half_to_float(rows + c * width + column, to + c * h->dim, h->dim);
    }
}

double bench_reference_error(const bench_options *o, const bench_rows *rows, int dim, int n_heads,
                             const float *q, const float *out)
{
    int group = n_heads / o->n_heads_kv, loaded = -1;
    int64_t n_rows = o->n_queries * n_heads, n_used = n_rows < REFERENCE_ROWS ? n_rows : REFERENCE_ROWS;
    size_t n_values = (size_t)o->n_cells * (size_t)dim;
    float *k = bench_alloc(n_values, sizeof *k), *v = bench_alloc(n_values, sizeof *v);
    double *weights = bench_alloc((size_t)o->n_cells, sizeof *weights);
    double *exact = bench_alloc((size_t)dim, sizeof *exact);
    double error = 0, size = 0;
    head h = {k, v, o->n_cells, dim, bench_v_dim(o, dim)};
    for (int64_t i = 0; i < n_used; i++) {
        /* By heads, then queries: each KV head is unpacked once. */
        int64_t row = i * n_rows / n_used;
        int query_head = (int)(row / o->n_queries);
        if (query_head / group != loaded) {
            loaded = query_head / group;
            load(rows->k, o->n_heads_kv * dim, &h, loaded * dim, k);
            load(rows->v, o->n_heads_kv * dim, &h, loaded * dim, v);
        }
        int64_t index = row % o->n_queries * n_heads + query_head, at = index * h.v_dim;
        attend(&h, q + index * dim, weights, exact);
        for (int d = 0; d < h.v_dim; d++) {
            double difference = (double)out[at + d] - exact[d];
            error += difference * difference;
            size += exact[d] * exact[d];
        }
    }
    free(k);
    free(v);
    free(weights);
    free(exact);
    return sqrt(error / size);
}
