/* What tada bench found: a table, JSON, a plot. */
#include "bench.h"
#include "latency.h"
#include "output/json.h"
#include "output/note.h"
#include "output/output.h"
#include "output/plot.h"
#include "output/statistics.h"
#include "tada.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

static const double mib = 1048576;

/* Of a depth with at least one complete repetition. */
static struct spread spread_of(const struct bench *bench, int d, int i, enum bench_test test)
{
    return samples_spread(bench->results[d][i].speeds[test], bench->n_done[d]);
}

static double ratio_of(const struct bench *bench, int d, int i, enum bench_test test)
{
    return samples_ratio(bench->results[d][i].speeds[test], bench->results[d][0].speeds[test],
                         bench->n_done[d]);
}

static double memory_ratio_of(const struct bench *bench, int d, int i)
{
    return memory_ratio(bench->results[d][i].kv_bytes, bench->results[d][0].kv_bytes);
}

/* False: memory is short. */
static bool find_latency(const struct bench *bench, int d, int i, struct latency *latency)
{
    const struct bench_options *options = bench->options;
    return latency_of(bench->results[d][i].seconds, bench->n_done[d], options->n_tokens[BENCH_DECODE],
                      options->depths[d], latency);
}

/* ---- table ---- */

/* Median and half of the range in per cent, which one repetition does not have. */
static void print_speed(const struct bench *bench, int d, int i, enum bench_test test)
{
    struct spread spread = spread_of(bench, d, i, test);
    char range[16] = "";
    if (bench->n_done[d] > 1 && spread.median > 0) {
        snprintf(range, sizeof range, "+-%.0f%%", 50 * (spread.max - spread.min) / spread.median);
    }
    printf("  %7.1f %-6s %5.2f", spread.median, range, ratio_of(bench, d, i, test));
}

static void print_row(const struct bench *bench, int d, int i, int width)
{
    const struct bench_result *result = &bench->results[d][i];
    printf("%-*s  %7.1f %5.1f", width, SHOWN(bench->options->caches[i]), (double)result->kv_bytes / mib,
           100 * memory_ratio_of(bench, d, i));
    if (result->peak_bytes >= 0) {
        printf("  %7.0f", (double)result->peak_bytes / mib);
    } else {
        printf("  %7s", "-");
    }
    print_speed(bench, d, i, BENCH_DECODE);
    print_speed(bench, d, i, BENCH_PREFILL);
    putchar('\n');
}

static void print_latency(const struct bench *bench, int d, int width)
{
    printf("\n%-*s  %30s  %15s\n%-*s  %10s%10s%10s\n", width, "", "ms a token", "slowest place", width,
           "cache", "median", "p99", "max");
    for (int i = 0; i < bench->options->n_caches; i++) {
        struct latency latency;
        printf("%-*s", width, SHOWN(bench->options->caches[i]));
        if (!find_latency(bench, d, i, &latency)) {
            puts("  memory is short");
            continue;
        }
        printf("  %10.2f%10.2f%10.2f", latency.median, latency.p99, latency.max);
        if (latency.place >= 0) {
            printf("  %7d x %5.2f", latency.place, latency.place_ratio);
        }
        putchar('\n');
    }
}

/* 80 columns with a cache of 12 characters. */
static void print_table(const struct bench *bench)
{
    const struct bench_options *options = bench->options;
    int width = 5;
    for (int i = 0; i < options->n_caches; i++) {
        int length = (int)strlen(options->caches[i]);
        width = length > width ? length : width;
    }
    printf("%s: context %d, %d thread%s\n", SHOWN(bench->model->name), bench->n_ctx, options->n_threads,
           plural(options->n_threads));
    printf("tokens/s: %d tokens decoded, %d prefilled; median, half of the range, times f16\n",
           options->n_tokens[BENCH_DECODE], options->n_tokens[BENCH_PREFILL]);
    for (int d = 0; d < options->n_depths && bench->n_done[d] > 0; d++) {
        printf("\ndepth %d, %d repetition%s%s\n", options->depths[d], bench->n_done[d],
               plural(bench->n_done[d]), bench->n_done[d] < options->n_repeat ? " (interrupted)" : "");
        printf("%-*s  %7s %5s  %7s  %7s %6s %5s  %7s %6s %5s\n", width, "cache", "MiB", "% f16", "peakMiB",
               "decode", "", "x f16", "prefill", "", "x f16");
        for (int i = 0; i < options->n_caches; i++) {
            print_row(bench, d, i, width);
        }
        impossible_print(&options->impossible, width);
        if (options->shows_latency) {
            print_latency(bench, d, width);
        }
    }
    if (bench->results[0][0].peak_bytes < 0) {
        puts("\nPeak memory is not known here: /proc/self/clear_refs cannot be written.");
    }
}

/* ---- JSON ---- */

static cJSON *speed_object(const struct bench *bench, int d, int i, enum bench_test test)
{
    struct spread spread = spread_of(bench, d, i, test);
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "tokens", bench->options->n_tokens[test]);
    cJSON_AddNumberToObject(object, "min", spread.min);
    cJSON_AddNumberToObject(object, "median", spread.median);
    cJSON_AddNumberToObject(object, "max", spread.max);
    cJSON_AddNumberToObject(object, "ratio", ratio_of(bench, d, i, test));
    return object;
}

/* NULL: memory is short. */
static cJSON *latency_object(const struct bench *bench, int d, int i)
{
    struct latency latency;
    cJSON *object = find_latency(bench, d, i, &latency) ? cJSON_CreateObject() : NULL;
    if (object) {
        cJSON_AddNumberToObject(object, "median_ms", latency.median);
        cJSON_AddNumberToObject(object, "p99_ms", latency.p99);
        cJSON_AddNumberToObject(object, "max_ms", latency.max);
    }
    if (object && latency.place >= 0) {
        cJSON_AddNumberToObject(object, "place", latency.place);
        cJSON_AddNumberToObject(object, "place_ratio", latency.place_ratio);
    }
    return object;
}

static cJSON *result_object(const struct bench *bench, int d, int i)
{
    const struct bench_result *result = &bench->results[d][i];
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "cache", bench->options->caches[i]);
    cJSON_AddNumberToObject(object, "depth", bench->options->depths[d]);
    cJSON_AddNumberToObject(object, "repetitions", bench->n_done[d]);
    report_add_memory(object, result->kv_bytes, bench->results[d][0].kv_bytes);
    if (result->peak_bytes >= 0) {
        cJSON_AddNumberToObject(object, "peak_bytes", (double)result->peak_bytes);
    } else {
        cJSON_AddNullToObject(object, "peak_bytes");
    }
    cJSON_AddItemToObject(object, "decode", speed_object(bench, d, i, BENCH_DECODE));
    cJSON_AddItemToObject(object, "prefill", speed_object(bench, d, i, BENCH_PREFILL));
    cJSON_AddItemToObject(object, "latency", latency_object(bench, d, i));
    return object;
}

static int write_json(const struct bench *bench)
{
    const struct bench_options *options = bench->options;
    cJSON *report = cJSON_CreateObject();
    cJSON_AddStringToObject(report, "version", tada_version());
    report_add_text(report, "model", bench->model->name);
    cJSON_AddNumberToObject(report, "n_ctx", bench->n_ctx);
    cJSON_AddNumberToObject(report, "threads", options->n_threads);
    cJSON_AddNumberToObject(report, "repeat", options->n_repeat);
    cJSON *results = cJSON_AddArrayToObject(report, "results");
    for (int d = 0; d < options->n_depths && bench->n_done[d] > 0; d++) {
        for (int i = 0; i < options->n_caches; i++) {
            cJSON_AddItemToArray(results, result_object(bench, d, i));
        }
    }
    impossible_report(&options->impossible, report);
    cJSON_AddBoolToObject(report, "complete", bench->complete);
    int status = report_write(report, options->json_path, &options->rules);
    cJSON_Delete(report);
    return status;
}

/* ---- plot ---- */

static int write_plot(const struct bench *bench)
{
    static const char *const labels[BENCH_N_TESTS] = {"decode, tokens/s", "prefill, tokens/s"};
    double x[BENCH_MAX_DEPTHS], y[BENCH_N_TESTS][BENCH_MAX_CACHES * BENCH_MAX_DEPTHS];
    struct plot_panel panels[BENCH_N_TESTS];
    const struct bench_options *options = bench->options;
    int n = 0;
    while (n < options->n_depths && bench->n_done[n] > 0) {
        x[n] = options->depths[n];
        n++;
    }
    for (int test = 0; test < BENCH_N_TESTS; test++) {
        for (int i = 0; i < options->n_caches; i++) {
            for (int d = 0; d < n; d++) {
                y[test][i * n + d] = spread_of(bench, d, i, test).median;
            }
        }
        panels[test] = (struct plot_panel){.title = test == 0 ? bench->model->name : "",
                                           .x_label = "depth, tokens",
                                           .y_label = labels[test],
                                           .n_points = n,
                                           .n_lines = options->n_caches,
                                           .x = x,
                                           .names = options->caches,
                                           .y = y[test]};
    }
    return plot_write(options->plot_path, &options->rules, panels, BENCH_N_TESTS);
}

int bench_report(const struct bench *bench)
{
    const struct bench_options *options = bench->options;
    bool some = bench->n_done[0] > 0;
    int status = 0;
    if (!some) {
        cli_fail("It was interrupted before a first repetition was complete.");
    }
    if (options->json_path) {
        status = write_json(bench);
    }
    if (options->plot_path && some && status == 0) {
        status = write_plot(bench);
    }
    if (some && !output_is_stdout(options->json_path) && !output_is_stdout(options->plot_path)) {
        print_table(bench);
    }
    return status;
}
