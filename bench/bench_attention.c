/*
 * Decode attention over a compressed cache and over ggml's f16 cache, in one process and taking turns, so
 * that both meet the same machine. Between two measurements a large buffer is read: in a model the weights of
 * a layer pass through the caches before the same layer of the cache is needed again.
 */
#include "bandwidth.h"
#include "ggml_side.h"
#include "our_side.h"
#include "reference.h"
#include "report.h"

#include <stdlib.h>

enum { FLUSH_MIB = 256, FLUSH_CACHES = 4 };

static size_t flush_bytes(const bench_options *o)
{
    size_t least = (size_t)FLUSH_MIB << 20, caches = FLUSH_CACHES * bench_cache_bytes();
    return o->flush_mib >= 0 ? (size_t)o->flush_mib << 20 : caches > least ? caches : least;
}

static bench_rows rows_make(const bench_options *o, int dim)
{
    size_t n = (size_t)o->n_cells * (size_t)o->n_heads_kv * (size_t)dim;
    return (bench_rows){bench_alloc(n, sizeof(uint16_t)), bench_alloc(n, sizeof(uint16_t))};
}

static void rows_free(bench_rows *rows)
{
    free(rows->k);
    free(rows->v);
}

/* One untimed run of each side first: it makes the workspaces, and its results are checked. */
static void check(const bench_options *o, bench_our_side *ours, bench_ggml_side *ggml, const bench_rows *rows,
                  int n_heads, const float *q, float *out, bench_result *result)
{
    bench_rows decoded = rows_make(o, ours->dim);
    bench_our_side_read(ours, 0, &decoded);
    bench_our_side_run(ours, 0, n_heads, q, out);
    result->ours.error = bench_reference_error(o, &decoded, ours->dim, n_heads, q, out);
    result->total_error = bench_reference_error(o, rows, ours->dim, n_heads, q, out);
    bench_ggml_side_run(ggml, 0);
    bench_ggml_side_result(ggml, 0, out);
    result->ggml.error = bench_reference_error(o, rows, ours->dim, n_heads, q, out);
    rows_free(&decoded);
}

static void measure(const bench_options *o, bench_our_side *ours, bench_ggml_side *ggml,
                    bench_bandwidth *bandwidth, int n_heads, const float *q, float *out, bench_result *result)
{
    double *our_times = bench_alloc((size_t)o->repeat, sizeof *our_times);
    double *ggml_times = bench_alloc((size_t)o->repeat, sizeof *ggml_times);
    double begin = bench_clock(), begin_thread = bench_thread_clock();
    for (int i = 0; i < o->repeat; i++) {
        int layer = i % o->n_layers;
        bench_bandwidth_read(bandwidth);
        double start = bench_clock();
        bench_our_side_run(ours, layer, n_heads, q, out);
        our_times[i] = bench_clock() - start;

        bench_bandwidth_read(bandwidth);
        start = bench_clock();
        bench_ggml_side_run(ggml, layer);
        ggml_times[i] = bench_clock() - start;
    }
    result->on_cpu = (bench_thread_clock() - begin_thread) / (bench_clock() - begin);
    result->ours.seconds = bench_summarise(our_times, o->repeat);
    result->ggml.seconds = bench_summarise(ggml_times, o->repeat);
    free(our_times);
    free(ggml_times);
}

/* All groups of one head size, which share the caches. */
static void run_dim(const bench_options *o, int dim, bench_bandwidth *bandwidth, bench_result *results)
{
    bench_our_side ours;
    bench_ggml_side ggml;
    bench_rows rows = rows_make(o, dim);
    bench_our_side_open(&ours, o, bandwidth->threads, dim);
    bench_ggml_side_open(&ggml, o, dim);
    /* Layer 0 last: its rows are what the results are checked against. */
    for (int layer = o->n_layers - 1; layer >= 0; layer--) {
        bench_rows_fill(&rows, o, dim, layer);
        bench_our_side_write(&ours, layer, &rows);
        bench_ggml_side_write(&ggml, layer, &rows);
    }
    for (int i = 0; i < o->groups.n; i++) {
        bench_result *r = &results[i];
        int n_heads = o->n_heads_kv * o->groups.values[i];
        float *q = bench_queries(o, dim, n_heads);
        float *out = bench_alloc((size_t)o->n_queries * (size_t)n_heads * (size_t)dim, sizeof *out);
        *r = (bench_result){.dim = dim, .group = o->groups.values[i], .hot = bench_our_side_hot(&ours)};
        r->ours.bytes = bench_our_side_bytes(&ours);
        r->ggml.bytes = (double)o->n_cells * o->n_heads_kv * dim * (o->view ? 1 : 2) * sizeof(uint16_t);
        bench_ggml_side_prepare(&ggml, n_heads, q);
        check(o, &ours, &ggml, &rows, n_heads, q, out, r);
        measure(o, &ours, &ggml, bandwidth, n_heads, q, out, r);
        free(q);
        free(out);
    }
    bench_our_side_close(&ours);
    bench_ggml_side_close(&ggml);
    rows_free(&rows);
}

int main(int argc, char **argv)
{
    bench_options o;
    bench_result results[BENCH_LIST_MAX * BENCH_LIST_MAX];
    bench_bandwidth bandwidth;
    bench_summary speed = {0, 0, 0};
    bench_options_parse(&o, argc, argv);
    thread_team *team = team_create(o.n_threads);
    if (!team || team_lend(team)->n < o.n_threads) {
        bench_fail("the system does not give %d threads", o.n_threads);
    }
    /* As those of the plug-in's host do. */
    team_stay_awake(team);
    bench_bandwidth_open(&bandwidth, flush_bytes(&o), team_lend(team));
    for (int i = 0; i < o.dims.n; i++) {
        run_dim(&o, o.dims.values[i], &bandwidth, &results[i * o.groups.n]);
    }
    if (bandwidth.n) {
        speed = bench_summarise(bandwidth.speeds, bandwidth.n);
    }
    bench_report(&o, results, o.dims.n * o.groups.n, speed, bandwidth.bytes);
    bench_bandwidth_close(&bandwidth);
    team_free(team);
    return 0;
}
