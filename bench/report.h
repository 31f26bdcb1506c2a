/* What a run found, as a table for people or as JSON for scripts. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "options.h"
#include "samples.h"

typedef struct bench_side_result {
    bench_summary seconds;
    double bytes; /* of K and V that it has to read once */
    double error; /* relative RMS to the exact attention over the rows that it holds */
} bench_side_result;

typedef struct bench_result {
    int dim, group;
    bench_side_result ours, ggml;
    double hot;         /* share of our tiles that are hot */
    double total_error; /* of ours to the exact attention over the f16 rows: with the loss of the codes */
    double on_cpu;      /* share of the time that this process was not kept waiting by others */
} bench_result;

/* bandwidth: GB/s, all zero when none was measured. */
void bench_report(const bench_options *options, const bench_result *results, int n, bench_summary bandwidth,
                  size_t flush_bytes);

#endif
