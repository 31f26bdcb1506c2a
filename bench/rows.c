#include "rows.h"

#include "ggml.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE = 1 << 16 };

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint64_t seed(int n)
{
    return (uint64_t)(n + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

/* Drawn from a table, as logarithms would take longer than the measurements. */
static const float *normals(void)
{
    static float table[TABLE];
    static bool made;
    uint64_t state = seed(0);
    for (int i = 0; i < TABLE && !made; i++) {
        double u = (double)((next(&state) >> 11) + 1) / 9007199254740993.0;
        double v = (double)(next(&state) >> 11) / 9007199254740992.0;
        table[i] = (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
    }
    made = true;
    return table;
}

static void fill(uint16_t *to, int64_t n_rows, int n_heads, int dim, float outlier, uint64_t state)
{
    const float *table = normals();
    float *row = bench_alloc((size_t)n_heads * (size_t)dim, sizeof *row);
    for (int64_t r = 0; r < n_rows; r++) {
        for (int h = 0; h < n_heads; h++) {
            for (int d = 0; d < dim; d++) {
                row[h * dim + d] = table[next(&state) >> 48];
            }
            /* Another channel in each head, as in real models. */
            row[h * dim + (5 + 13 * h) % dim] *= outlier;
        }
        ggml_fp32_to_fp16_row(row, to + r * n_heads * dim, (int64_t)n_heads * dim);
    }
    free(row);
}

void bench_rows_fill(bench_rows *rows, const bench_options *o, int dim, int layer)
{
    fill(rows->k, o->n_cells, o->n_heads_kv, dim, o->outlier, seed(1 + 2 * layer));
    if (o->view) {
        memcpy(rows->v, rows->k, (size_t)o->n_cells * (size_t)dim * sizeof *rows->v);
    } else {
        fill(rows->v, o->n_cells, o->n_heads_kv, dim, 1, seed(2 + 2 * layer));
    }
}

int bench_v_dim(const bench_options *o, int dim)
{
    return o->view ? o->view : dim;
}

float *bench_queries(const bench_options *o, int dim, int n_heads)
{
    const float *table = normals();
    int64_t n = o->n_queries * n_heads * dim;
    float *q = bench_alloc((size_t)n, sizeof *q);
    uint64_t state = seed(1000);
    for (int64_t i = 0; i < n; i++) {
        q[i] = table[next(&state) >> 48];
    }
    return q;
}

void bench_half_to_float(const uint16_t *from, float *to, int64_t n)
{
    ggml_fp16_to_fp32_row(from, to, n);
}
