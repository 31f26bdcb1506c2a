/*
 * Speed and memory of caches, measured so that they can be compared: all contexts are alive at once and take
 * turns, so that whatever slows the machine down for a while slows all of them.
 */
#include "bench.h"

#include "footprint.h"
#include "output/note.h"
#include "output/progress.h"
#include "output/random.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* As llama-bench has them. */
enum { N_BATCH = 2048, N_UBATCH = 512 };
/* Filling is not timed: in smaller steps, Ctrl-C is heard sooner. */
enum { N_FILL = 128 };

enum { STOPPED = -1 }; /* in place of an exit status: Ctrl-C came */

/* A kind of work: tokens, and how long they took. */
struct work {
    double total, done, seconds;
};

struct run {
    struct bench *bench;
    struct cache caches[BENCH_MAX_CACHES];
    struct footprint footprints[BENCH_MAX_CACHES];
    int64_t resident; /* of the process before it had a cache; -1: peaks are not known */
    llama_token *tokens;
    struct work work[BENCH_N_TESTS];
    struct progress progress;
};

static int batch_size(enum bench_test test)
{
    return test == BENCH_DECODE ? 1 : N_BATCH;
}

/* ---- progress ---- */

static void count_work(struct run *run)
{
    const struct bench_options *options = run->bench->options;
    for (int test = 0; test < BENCH_N_TESTS; test++) {
        run->work[test].total =
            (double)options->n_depths * options->n_repeat * options->n_caches * options->n_tokens[test];
    }
    run->work[BENCH_PREFILL].total +=
        (double)options->n_caches * options->depths[options->n_depths - 1]; /* the filling */
}

/* Weighs the tokens of each kind with the time that they took so far. */
static void show_step(struct run *run, const char *detail)
{
    const double guess = 8; /* a decoded token takes as long as so many prefilled ones */
    const struct work *decode = &run->work[BENCH_DECODE], *prefill = &run->work[BENCH_PREFILL];
    double prefill_cost = prefill->done > 0 ? prefill->seconds / prefill->done : 1;
    double decode_cost = decode->done > 0 ? decode->seconds / decode->done : guess * prefill_cost;
    progress_show(&run->progress, decode->done * decode_cost + prefill->done * prefill_cost,
                  decode->total * decode_cost + prefill->total * prefill_cost, detail);
}

/* ---- steps ---- */

/* Computes n tokens at positions first..., `step` at a time, with logits of the last of each step. seconds:
 * of each step, or NULL. */
static int compute_tokens(struct run *run, struct cache *cache, enum bench_test test, int first, int n,
                          int step, float *seconds)
{
    struct work *work = &run->work[test];
    for (int i = 0; i < n; i += step) {
        if (interrupted()) {
            return STOPPED;
        }
        int part = n - i < step ? n - i : step;
        double start = clock_seconds();
        int status = cache_decode(cache, run->tokens + first + i, part, first + i, 1);
        if (status != 0) {
            return status;
        }
        double took = clock_seconds() - start;
        if (seconds) {
            seconds[i / step] = (float)took;
        }
        work->seconds += took;
        work->done += part;
        show_step(run, cache->spec);
    }
    return 0;
}

/* The same test once, from `depth` on and back to it. seconds: of each batch, or NULL. */
static int time_test(struct run *run, struct cache *cache, enum bench_test test, int depth, double *speed,
                     float *seconds)
{
    int n = run->bench->options->n_tokens[test];
    /* Untimed: what comes with a change of the batch or of the context. */
    int status = cache_decode(cache, run->tokens + depth, 1, depth, 1);
    status = status == 0 ? cache_rewind(cache, depth) : status;
    if (status != 0) {
        return status;
    }
    double start = clock_seconds();
    status = compute_tokens(run, cache, test, depth, n, batch_size(test), seconds);
    *speed = n / (clock_seconds() - start);
    return status == 0 ? cache_rewind(cache, depth) : status;
}

static void begin_footprint(struct run *run, int i)
{
    if (run->resident >= 0 && !footprint_begin(&run->footprints[i])) {
        run->resident = -1;
    }
}

static void end_footprint(struct run *run, int i)
{
    if (run->resident >= 0) {
        footprint_end(&run->footprints[i]);
    }
}

/* Both tests of cache i; what it holds and took until now is part of the result. */
static int measure_cache(struct run *run, int i, int depth_index, int repetition)
{
    struct bench_result *result = &run->bench->results[depth_index][i];
    int depth = run->bench->options->depths[depth_index];
    int64_t n_decoded = run->bench->options->n_tokens[BENCH_DECODE];
    int status = 0;
    begin_footprint(run, i);
    for (int k = 0; k < BENCH_N_TESTS && status == 0; k++) {
        enum bench_test test = k == 0 ? BENCH_PREFILL : BENCH_DECODE;
        float *seconds = test == BENCH_DECODE ? result->seconds + n_decoded * repetition : NULL;
        status = time_test(run, &run->caches[i], test, depth, &result->speeds[test][repetition], seconds);
    }
    end_footprint(run, i);
    result->kv_bytes = cache_bytes(&run->caches[i]);
    result->peak_bytes = run->resident >= 0 ? run->resident + run->footprints[i].peak : -1;
    return status;
}

static int fill_caches(struct run *run, int from, int to)
{
    int status = 0;
    for (int i = 0; i < run->bench->options->n_caches && status == 0; i++) {
        begin_footprint(run, i);
        status = compute_tokens(run, &run->caches[i], BENCH_PREFILL, from, to - from, N_FILL, NULL);
        end_footprint(run, i);
    }
    return status;
}

static int measure_depth(struct run *run, int depth_index)
{
    const struct bench_options *options = run->bench->options;
    int from = depth_index > 0 ? options->depths[depth_index - 1] : 0;
    int status = fill_caches(run, from, options->depths[depth_index]);
    for (int repetition = 0; repetition < options->n_repeat && status == 0; repetition++) {
        for (int k = 0; k < options->n_caches && status == 0; k++) {
            /* None is always the first. */
            status = measure_cache(run, (repetition + k) % options->n_caches, depth_index, repetition);
        }
        run->bench->n_done[depth_index] += status == 0;
    }
    return status;
}

/* ---- all of it ---- */

static void make_tokens(struct run *run, int n)
{
    uint64_t state = BENCH_SEED;
    for (int i = 0; i < n; i++) {
        run->tokens[i] = (llama_token)(random_next(&state) % (uint64_t)run->bench->model->n_vocab);
    }
}

static struct cache_options cache_options_of(const struct run *run, int i, int n_ctx)
{
    const struct bench_options *options = run->bench->options;
    return (struct cache_options){.spec = options->caches[i],
                                  .n_ctx = n_ctx,
                                  .n_batch = N_BATCH,
                                  .n_ubatch = N_UBATCH,
                                  .n_threads = options->n_threads};
}

/* Computes a little in a context that goes away again: what every process needs that computes with this
 * model is in memory then, and whether the model can take back tokens is known before the long work. */
static int warm_up(struct run *run)
{
    enum { N_CTX = 256, N = 64 }; /* no context is smaller */
    const struct bench_options *options = run->bench->options;
    struct cache_options small = cache_options_of(run, 0, N_CTX);
    struct cache cache;
    int status = cache_open(run->bench->model, &small, &cache);
    status = status == 0 ? cache_decode(&cache, run->tokens, N, 0, 1) : status;
    if (status == 0 && options->depths[options->n_depths - 1] > 0) {
        status = cache_rewind(&cache, N / 2);
    }
    cache_close(&cache);
    malloc_trim(0); /* else the first context would be given memory that counts as resident already */
    run->resident = footprint_resident();
    return status;
}

static int open_caches(struct run *run)
{
    int status = 0;
    for (int i = 0; i < run->bench->options->n_caches && status == 0; i++) {
        struct cache_options options = cache_options_of(run, i, run->bench->n_ctx);
        begin_footprint(run, i);
        status = cache_open(run->bench->model, &options, &run->caches[i]);
        end_footprint(run, i);
    }
    return status;
}

static bool allocate_samples(struct run *run)
{
    struct bench *bench = run->bench;
    const struct bench_options *options = bench->options;
    size_t n = (size_t)options->n_repeat, n_decoded = n * (size_t)options->n_tokens[BENCH_DECODE];
    size_t n_results = (size_t)options->n_depths * (size_t)options->n_caches;
    bench->samples = calloc(n_results * BENCH_N_TESTS * n, sizeof(double));
    bench->seconds = calloc(n_results * n_decoded, sizeof(float));
    run->tokens = calloc((size_t)bench->n_ctx, sizeof *run->tokens);
    if (!bench->samples || !bench->seconds || !run->tokens) {
        return false;
    }
    double *next = bench->samples;
    float *seconds = bench->seconds;
    for (int d = 0; d < options->n_depths; d++) {
        for (int i = 0; i < options->n_caches; i++) {
            for (int test = 0; test < BENCH_N_TESTS; test++) {
                bench->results[d][i].speeds[test] = next;
                next += n;
            }
            bench->results[d][i].seconds = seconds;
            seconds += n_decoded;
        }
    }
    return true;
}

static int measure_rounds(struct run *run)
{
    int status = warm_up(run);
    status = status == 0 ? open_caches(run) : status;
    for (int d = 0; d < run->bench->options->n_depths && status == 0; d++) {
        status = measure_depth(run, d);
    }
    return status;
}

int bench_run(const struct model *model, const struct bench_options *options, struct bench *bench)
{
    int longest = options->n_tokens[BENCH_DECODE] > options->n_tokens[BENCH_PREFILL]
                      ? options->n_tokens[BENCH_DECODE]
                      : options->n_tokens[BENCH_PREFILL];
    struct run *run = calloc(1, sizeof *run);
    memset(bench, 0, sizeof *bench);
    bench->options = options;
    bench->model = model;
    bench->n_ctx = (options->depths[options->n_depths - 1] + longest + 255) / 256 * 256;
    if (run) {
        run->bench = bench;
    }
    if (!run || !allocate_samples(run)) {
        if (run) {
            free(run->tokens);
        }
        free(run);
        return cli_fail("Memory is short: close other programs or repeat less often.");
    }
    make_tokens(run, bench->n_ctx);
    count_work(run);
    progress_start(&run->progress, "bench");
    int status = measure_rounds(run);
    progress_clear(&run->progress);
    for (int i = 0; i < options->n_caches; i++) {
        cache_close(&run->caches[i]);
    }
    bench->complete = status == 0;
    free(run->tokens);
    free(run);
    return status == STOPPED ? 0 : status;
}

void bench_free(struct bench *bench)
{
    free(bench->samples);
    free(bench->seconds);
    bench->samples = NULL;
    bench->seconds = NULL;
}
