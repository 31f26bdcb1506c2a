/* tada bench: options and results, which its files share. */
#ifndef TADA_CLI_BENCH_BENCH_H
#define TADA_CLI_BENCH_BENCH_H

#include "engine/impossible.h"
#include "samples.h"
#include "new_file.h"

#include <stdbool.h>
#include <stdint.h>

enum { BENCH_MAX_CACHES = 17, BENCH_MAX_DEPTHS = 32, BENCH_SEED = 1 };

enum bench_test { BENCH_DECODE, BENCH_PREFILL, BENCH_N_TESTS };

struct bench_options {
    const char *model_path, *json_path, *plot_path; /* NULL: not given */
    new_file_rules rules;                           /* of these files */
    const char *caches[BENCH_MAX_CACHES];           /* specs, checked, all different; the first is "f16" */
    int n_caches;
    struct impossible impossible; /* caches that the model cannot have, taken out of `caches` */
    int depths[BENCH_MAX_DEPTHS]; /* cells that are filled before a test; ascending */
    int n_depths;
    int n_tokens[BENCH_N_TESTS]; /* of each test */
    int n_threads, n_repeat;     /* n_repeat <= SAMPLES_MAX */
    bool shows_latency;
};

/* What was measured of one cache at one depth. */
struct bench_result {
    size_t kv_bytes;
    int64_t peak_bytes;            /* of resident memory; -1: this system does not tell */
    double *speeds[BENCH_N_TESTS]; /* tokens/s of each repetition */
    float *seconds;                /* of each decoded token: [n_repeat][tokens] */
};

struct bench {
    const struct bench_options *options;
    const struct model *model;
    int n_ctx;
    struct bench_result results[BENCH_MAX_DEPTHS][BENCH_MAX_CACHES];
    int n_done[BENCH_MAX_DEPTHS]; /* complete repetitions */
    bool complete;                /* false: Ctrl-C came */
    double *samples;              /* what `speeds` point into, owned */
    float *seconds;               /* and `seconds` */
};

/* bench.c: measures. Prints what is wrong and returns an exit status. After Ctrl-C it returns 0, with what
 * was done until then. The model must stay open. bench_free frees *bench, whatever was returned. */
int bench_run(const struct model *model, const struct bench_options *options, struct bench *bench);
void bench_free(struct bench *bench);

/* report.c: writes the JSON file and the plot that were asked for, and prints the table. Returns an exit
 * status. */
int bench_report(const struct bench *bench);

#endif
