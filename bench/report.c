#include "report.h"

#include <stdio.h>

/* Below this, times are those of a busy machine. */
#define ON_CPU 0.97

/* Everything that both forms tell of one side. */
typedef struct line {
    bench_summary ns;                 /* per cell and query head */
    double bytes;                     /* per cell and KV head */
    double speed, most, share, limit; /* GB/s at the median and at best, percent, ns at the bandwidth */
} line;

static line line_of(const bench_options *o, const bench_result *r, const bench_side_result *side,
                    double bandwidth)
{
    double cells = (double)o->n_cells * o->n_heads_kv;
    double unit = 1e9 / (cells * r->group * (double)o->n_queries);
    line l = {{side->seconds.min * unit, side->seconds.median * unit, side->seconds.max * unit},
              side->bytes / cells,
              0,
              0,
              0,
              0};
    l.speed = side->bytes / side->seconds.median * 1e-9;
    l.most = side->bytes / side->seconds.min * 1e-9;
    if (bandwidth > 0) {
        l.share = 100 * l.speed / bandwidth;
        l.limit = side->bytes / bandwidth * 1e-9 * unit;
    }
    return l;
}

static void print_row(const bench_result *r, const char *name, const line *l, double error)
{
    printf("%4d %5d  %-4s %8.3f %8.3f %8.3f ", r->dim, r->group, name, l->ns.min, l->ns.median, l->ns.max);
    if (l->limit > 0) {
        printf("%8.3f %9.1f %7.2f %6.1f%%", l->limit, l->bytes, l->speed, l->share);
    } else {
        printf("%8s %9.1f %7.2f %7s", "-", l->bytes, l->speed, "-");
    }
    printf(" %10.4f%%", 100 * error);
}

static void print_table(const bench_options *o, const bench_result *results, int n, bench_summary bandwidth,
                        size_t flush_bytes)
{
    double least = 1;
    printf("TaDA %s (%s kernels) and ggml f16 flash attention: %lld cells, %d KV heads, %lld quer%s, %d "
           "thread%s, "
           "%d times each\n",
           tada_version(), tada_kernels_name(), (long long)o->n_cells, o->n_heads_kv, (long long)o->n_queries,
           o->n_queries == 1 ? "y" : "ies", o->n_threads, o->n_threads == 1 ? "" : "s", o->repeat);
    printf("spec %s%s, hot tiles %.1f%%; ", o->spec_text, o->all_cold ? " (all cold)" : "",
           100 * results[0].hot);
    if (flush_bytes) {
        printf("cold caches; read bandwidth %.2f GB/s at best, median %.2f\n", bandwidth.max,
               bandwidth.median);
    } else {
        printf("warm caches\n");
    }
    if (o->huge_pages) {
        printf("huge pages for both caches, where the system gives them\n");
    }
    printf("\n                  ns per cell and query head  memory  bytes per            of    relative\n"
           " dim group side      min   median      max    limit   KV head    GB/s   limit   RMS error   "
           "ggml/TaDA: median    min\n");
    for (int i = 0; i < n; i++) {
        const bench_result *r = &results[i];
        line ours = line_of(o, r, &r->ours, bandwidth.max), ggml = line_of(o, r, &r->ggml, bandwidth.max);
        print_row(r, "TaDA", &ours, r->ours.error);
        printf("             %7.2f %7.2f\n", ggml.ns.median / ours.ns.median, ggml.ns.min / ours.ns.min);
        print_row(r, "ggml", &ggml, r->ggml.error);
        printf("\n");
        least = r->on_cpu < least ? r->on_cpu : least;
    }
    if (least < ON_CPU) {
        printf("\nOther work took up to %.0f%% of the time: run it again when the machine is idle.\n",
               100 * (1 - least));
    }
}

static void print_side(const char *name, const line *l, double error)
{
    printf("\"%s\":{\"ns_min\":%.6g,\"ns_median\":%.6g,\"ns_max\":%.6g,\"ns_limit\":%.6g,\"bytes\":%.6g,"
           "\"gb_s_median\":%.6g,\"gb_s_best\":%.6g,\"percent_of_limit\":%.6g,\"rms_error\":%.6g}",
           name, l->ns.min, l->ns.median, l->ns.max, l->limit, l->bytes, l->speed, l->most, l->share, error);
}

static void print_json(const bench_options *o, const bench_result *results, int n, bench_summary bandwidth,
                       size_t flush_bytes)
{
    /* A spec that parses holds no quotes. */
    printf("{\"version\":\"%s\",\"kernels\":\"%s\",\"cpu\":\"%s\",\"spec\":\"%s\",\"window\":%d,\"sinks\":%d,"
           "\"cells\":%lld,\"heads_kv\":%d,\"queries\":%lld,\"threads\":%d,\"layers\":%d,\"repeat\":%d,"
           "\"outlier\":%g,\"view\":%d,\"huge_pages\":%s,\"flush_bytes\":%zu,\"bandwidth_gb_s\":{\"min\":%."
           "6g,\"median\":"
           "%.6g,\"max\":%.6g},"
           "\"results\":[",
           tada_version(), tada_kernels_name(), tada_cpu_features(), o->spec_text, o->spec.window,
           o->spec.sinks, (long long)o->n_cells, o->n_heads_kv, (long long)o->n_queries, o->n_threads,
           o->n_layers, o->repeat, (double)o->outlier, o->view, o->huge_pages ? "true" : "false", flush_bytes,
           bandwidth.min, bandwidth.median, bandwidth.max);
    for (int i = 0; i < n; i++) {
        const bench_result *r = &results[i];
        line ours = line_of(o, r, &r->ours, bandwidth.max), ggml = line_of(o, r, &r->ggml, bandwidth.max);
        printf("%s\n{\"dim\":%d,\"group\":%d,\"hot_tiles\":%.6g,\"on_cpu\":%.6g,\"total_rms_error\":%.6g,"
               "\"ratio_median\":%.6g,"
               "\"ratio_min\":%.6g,",
               i ? "," : "", r->dim, r->group, r->hot, r->on_cpu, r->total_error,
               ggml.ns.median / ours.ns.median, ggml.ns.min / ours.ns.min);
        print_side("tada", &ours, r->ours.error);
        printf(",");
        print_side("ggml", &ggml, r->ggml.error);
        printf("}");
    }
    printf("\n]}\n");
}

void bench_report(const bench_options *o, const bench_result *results, int n, bench_summary bandwidth,
                  size_t flush_bytes)
{
    (o->json ? print_json : print_table)(o, results, n, bandwidth, flush_bytes);
}
