/*
 * Every architecture of llama.cpp, stock against plug-in, on the models of models.txt.
 *   test_architectures LIBRARIES PLUGIN MODELS LLAMA_ARCH_CPP TABLE [--update | MODEL...]
 * LIBRARIES: the folder of llama.cpp's libraries; TABLE: doc/reference/architectures.md, which --update
 * writes. Without a model all are run, and LLAMA_ARCH_CPP must name no architecture that MODELS lacks.
 *
 * A context is made with default flags. What must hold:
 * - What stock runs, the plug-in runs.
 * - tada:16 differs by rounding: by at most 0.4 % of the logits' spread and three times what stock differs
 * from itself when a prompt comes in smaller batches. Most of the 0.4 % is how ggml rounds the attention of
 * single tokens.
 * - tada:8 differs by at most 3 %; where a model chooses by what it reads (!against), by at most what stock
 *   does with q8_0.
 * - What no flash attention reads is as in stock, to the bit; what it reads is compressed.
 * - No slow way that models.txt does not name.
 * - With tada:8 neither cache nor cache, scratch and compute buffers together take more than with f16.
 */
#include "run.h"
#include "table.h"

#include "ggml.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SEED = 1 };
static const double rounding_bound = 0.004, rounding_factor = 3, tada_8_bound = 0.03;

static const char *libraries, *plugin;
static bool failed;

static void fail(const tiny_shape *shape, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fail(const tiny_shape *shape, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("FAILED  %s: ", shape->name);
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
    failed = true;
}

/* ---- what is compared ---- */

/* Of rows [first, first + n), relative to how far those of `want` are from their means. */
static double error_of_rows(const run_result *got, const run_result *want, int first, int n)
{
    double error = 0, energy = 0;
    for (int row = first; row < first + n; row++) {
        const float *a = got->logits + (size_t)row * want->width,
                    *b = want->logits + (size_t)row * want->width;
        double mean = 0;
        for (int i = 0; i < want->width; i++) {
            mean += (double)b[i] / want->width;
        }
        for (int i = 0; i < want->width; i++) {
            error += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
            energy += (b[i] - mean) * (b[i] - mean);
        }
    }
    return error == 0 ? 0 : isfinite(error) ? sqrt(error / energy) : INFINITY;
}

/* The larger one of prompt and single steps. */
static double error_of(const run_result *got, const run_result *want)
{
    double prompt = error_of_rows(got, want, 0, want->n_prompt);
    double steps = error_of_rows(got, want, want->n_prompt, want->n_steps);
    return prompt > steps ? prompt : steps;
}

/* What llama.cpp is told of a cache with the plug-in is what it takes if all of it gets compressed. */
static size_t cache_of(const run_result *result, const run_result *stock)
{
    return stock->cache - result->planes_f16 + result->planes;
}

static size_t total(const run_result *result, const run_result *stock)
{
    return cache_of(result, stock) + result->compute + result->scratch;
}

/* The line of a run's log that tells best why it ended: the last of the plug-in, else the last. */
static void last_words(const run_result *result, char *words, size_t size)
{
    char log[sizeof result->log], *rest;
    bool ours = false;
    strcpy(log, result->log);
    *words = 0;
    for (char *line = strtok_r(log, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        const char *said = strstr(line, "TADA: ");
        if (said || !ours) {
            snprintf(words, size, "%s", said ? said : line);
        }
        ours |= said != NULL;
    }
}

static bool done(const tiny_shape *shape, const char *what, const run_result *result)
{
    static const char *const ends[] = {"the model was not loaded", "no context was made",
                                       "not everything was computed"};
    if (result->stage != RUN_DONE || result->crashed) {
        char words[256];
        last_words(result, words, sizeof words);
        fail(shape, "%s: %s%s: %s", what, result->crashed ? "crashed; " : "",
             result->stage == RUN_DONE ? "when all was done" : ends[result->stage], words);
        return false;
    }
    return true;
}

/* ---- one architecture ---- */

typedef struct comparison {
    run_result *stock, *again, *tada_16, *tada_8, *q8_0;
} comparison;

static void check_slow_ways(const tiny_shape *shape, const run_result *result, table_row *row)
{
    char log[sizeof result->log], *rest;
    strcpy(log, result->log);
    for (char *line = strtok_r(log, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char operation[SHAPE_NAME_MAX];
        const char *said = strstr(line, "TADA: ");
        if (!said || !(strstr(said, "slow") || strstr(said, "generic path")) ||
            sscanf(said, "TADA: %31s", operation) != 1) {
            continue;
        }
        bool known = false;
        for (int i = 0; i < shape->n_slow; i++) {
            known |= strcmp(shape->slow[i], operation) == 0;
        }
        if (table_slow(row, operation) && !known) {
            fail(shape, "a slow way that models.txt does not name: %s", said);
        }
    }
}

static void check_errors(const tiny_shape *shape, const comparison *runs, double errors[3])
{
    double floor = error_of(runs->again, runs->stock), bound = rounding_bound + rounding_factor * floor;
    errors[0] = floor;
    errors[1] = error_of(runs->tada_16, runs->stock);
    errors[2] = error_of(runs->tada_8, runs->stock);
    if (errors[1] > bound) {
        fail(shape, "tada:16 differs by %.3f %%, more than %.3f %%", 100 * errors[1], 100 * bound);
    }
    double most = shape->against_q8_0 ? error_of(runs->q8_0, runs->stock) : tada_8_bound;
    if (errors[2] > most) {
        fail(shape, "tada:8 differs by %.3f %%, more than %.3f %%", 100 * errors[2], 100 * most);
    }
}

static void check_caches(const tiny_shape *shape, const comparison *runs, table_row *row)
{
    const run_result *stock = runs->stock, *ours = runs->tada_8;
    size_t attended = row->bytes[CACHE_ATTENDED], cache = cache_of(ours, stock);
    if (attended == 0 && (error_of(runs->tada_16, stock) > 0 || error_of(ours, stock) > 0)) {
        fail(shape, "no cache is read by flash attention, but the results are not those of stock");
    }
    if (ours->planes_f16 > attended || (ours->planes_f16 < attended && !shape->plain[0])) {
        fail(shape, "flash attention reads %zu bytes of cache, but %zu bytes are compressed", attended,
             ours->planes_f16);
    }
    table_compressed(row, ours->planes_f16);
    if (cache > stock->cache) {
        fail(shape, "the cache takes %zu bytes, with f16 %zu", cache, stock->cache);
    }
    if (total(ours, stock) > total(stock, stock)) {
        fail(shape, "cache %zu, scratch %zu and compute buffers %zu take %zu bytes more than with f16", cache,
             ours->scratch, ours->compute, total(ours, stock) - total(stock, stock));
    }
}

static double mib(size_t bytes)
{
    return (double)bytes / 0x100000;
}

static void report_time(const tiny_shape *shape, run_options options)
{
    run_result *stock = run_result_create(), *ours = run_result_create();
    if (!stock || !ours) {
        fail(shape, "out of memory");
        return;
    }
    options.time = true;
    options.plugin = NULL;
    run_shape(shape, &options, stock);
    options.plugin = plugin;
    run_shape(shape, &options, ours);
    if (!done(shape, "stock, at depth", stock) || !done(shape, "plug-in, at depth", ours)) {
        return;
    }
    printf("        %s: a token at depth %d takes %.2f ms of CPU with %s, %.2f with f16; memory %.2f of %.2f "
           "MiB\n",
           shape->name, shape->depth, ours->step_ms, options.spec, stock->step_ms, mib(total(ours, stock)),
           mib(total(stock, stock)));
    if (total(ours, stock) >= total(stock, stock)) {
        fail(shape, "at depth %d the plug-in takes no less memory than f16", shape->depth);
    }
}

static bool run_all(const tiny_shape *shape, run_options *options, const comparison *runs, table_row *row)
{
    run_shape(shape, options, runs->stock);
    if (!done(shape, "stock", runs->stock)) {
        return false;
    }
    options->watch = true;
    options->ubatch = runs->stock->whole ? 0 : 64;
    run_shape(shape, options, runs->again);
    options->watch = false;
    options->ubatch = 0;
    bool good = done(shape, "stock in small batches", runs->again);
    table_watch(row, runs->again);
    if (shape->against_q8_0) {
        options->type = GGML_TYPE_Q8_0;
        run_shape(shape, options, runs->q8_0);
        options->type = GGML_TYPE_F16;
        good = done(shape, "stock with q8_0", runs->q8_0) && good;
    }
    options->plugin = plugin;
    options->spec = "tada:16";
    run_shape(shape, options, runs->tada_16);
    good = done(shape, options->spec, runs->tada_16) && good;
    options->spec = "tada:8";
    run_shape(shape, options, runs->tada_8);
    return done(shape, options->spec, runs->tada_8) && good;
}

static void test_shape(const tiny_shape *shape, table_row *row)
{
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    run_options options = {.libraries = libraries, .type = GGML_TYPE_F16, .seed = SEED};
    comparison runs = {run_result_create(), run_result_create(), run_result_create(), run_result_create(),
                       run_result_create()};
    if (!runs.stock || !runs.again || !runs.tada_16 || !runs.tada_8 || !runs.q8_0) {
        fail(shape, "out of memory");
        return;
    }
    if (shape->without[0]) {
        run_shape(shape, &options, runs.stock);
        if (runs.stock->stage == RUN_DONE && !runs.stock->crashed) {
            fail(shape, "llama.cpp runs it: take !without out of models.txt");
        }
        printf("without %s: %s\n", shape->name, shape->without);
        return;
    }
    if (!run_all(shape, &options, &runs, row)) {
        return;
    }
    double errors[3] = {0};
    check_slow_ways(shape, runs.tada_16, row);
    check_slow_ways(shape, runs.tada_8, row);
    check_errors(shape, &runs, errors);
    check_caches(shape, &runs, row);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
    printf("%s %s: tada:16 %.3f %%, tada:8 %.3f %%, stock itself %.3f %%; cache %.2f of %.2f MiB, "
           "in all %.2f of %.2f; %.1f s\n",
           failed ? "       " : "ok     ", shape->name, 100 * errors[1], 100 * errors[2], 100 * errors[0],
           mib(cache_of(runs.tada_8, runs.stock)), mib(runs.stock->cache),
           mib(total(runs.tada_8, runs.stock)), mib(total(runs.stock, runs.stock)), seconds);
    if (runs.tada_8->cache != cache_of(runs.tada_8, runs.stock)) {
        printf("        %s: llama.cpp is told that the cache takes %.2f MiB\n", shape->name,
               mib(runs.tada_8->cache));
    }
    if (shape->against_q8_0) {
        printf("        %s: q8_0 %.3f %%\n", shape->name, 100 * error_of(runs.q8_0, runs.stock));
    }
    if (shape->depth) {
        report_time(shape, options);
    }
}

/* ---- all of them ---- */

/* A process for each architecture, as many at a time as there are CPUs. */
static bool test_shapes(const tiny_shape *const *shapes, int n, table_row *rows)
{
    static pid_t children[SHAPES_MAX];
    long most = sysconf(_SC_NPROCESSORS_ONLN);
    bool good = true;
    for (int started = 0, ended = 0; ended < n; ended++) {
        while (started < n && started - ended < most) {
            fflush(stdout);
            children[started] = fork();
            if (children[started] == 0) {
                test_shape(shapes[started], &rows[started]);
                fflush(stdout);
                _exit(failed);
            }
            started++;
        }
        int status = 1;
        pid_t child = wait(&status);
        for (int i = 0; i < started && !WIFEXITED(status); i++) {
            if (children[i] == child) {
                printf("FAILED  %s: the comparison crashed\n", shapes[i]->name);
            }
        }
        good = child > 0 && status == 0 && good;
    }
    return good;
}

int main(int argc, char **argv)
{
    static shape_list list;
    static const tiny_shape *shapes[SHAPES_MAX];
    int n = 0;
    bool update = argc > 6 && strcmp(argv[6], "--update") == 0, all = argc == 6 || update;
    if (argc < 6 || !shapes_read(argv[3], &list)) {
        fprintf(stderr,
                "test_architectures LIBRARIES PLUGIN MODELS LLAMA_ARCH_CPP TABLE [--update | MODEL...]\n");
        return 2;
    }
    libraries = argv[1], plugin = argv[2];
    bool good = !all || shapes_are_complete(&list, argv[4]);
    for (int i = 0; all && i < list.n; i++) {
        if (list.shapes[i].name[0] != '@') {
            shapes[n++] = &list.shapes[i];
        }
    }
    for (int i = 6; !all && i < argc; i++) {
        shapes[n++] = shapes_find(&list, argv[i]);
        if (!shapes[n - 1]) {
            fprintf(stderr, "models.txt has no %s\n", argv[i]);
            return 2;
        }
    }
    printf("seed %d\n", SEED);
    /* A pipe would be given lines of several processes at once. */
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    table_row *rows = mmap(NULL, n * sizeof *rows, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (rows == MAP_FAILED) {
        return 1;
    }
    for (int i = 0; i < n; i++) {
        table_begin(&rows[i], shapes[i]);
    }
    good = test_shapes(shapes, n, rows) && good;
    good = (update ? table_write(argv[5], rows, n) : table_check(argv[5], rows, n, all)) && good;
    return good ? 0 : 1;
}
