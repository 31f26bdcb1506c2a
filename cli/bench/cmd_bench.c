/* tada bench: speed and memory of caches, side by side. */
#include "bench.h"
#include "commands.h"
#include "engine/plans.h"
#include "find/paths.h"
#include "options/arguments.h"
#include "options/numbers.h"
#include "options/options.h"
#include "options/rows.h"
#include "output/json.h"
#include "output/note.h"
#include "output/output.h"
#include "output/plot.h"
#include "output/progress.h"

#include <stdio.h>
#include <string.h>

enum { MAX_TOKENS = 1 << 24, MOST_DEFAULT_THREADS = 8 };

/* ---- options ---- */

/* Keeps the list in order, each once. */
static void insert_depth(struct bench_options *options, int depth)
{
    int place = options->n_depths;
    while (place > 0 && options->depths[place - 1] >= depth) {
        place--;
    }
    if (place < options->n_depths && options->depths[place] == depth) {
        return;
    }
    memmove(options->depths + place + 1, options->depths + place,
            (size_t)(options->n_depths - place) * sizeof *options->depths);
    options->depths[place] = depth;
    options->n_depths++;
}

static int take_depths(const char *command, const char *name, char *value, void *values)
{
    struct bench_options *options = values;
    options->n_depths = 0;
    for (char *item; (item = strsep(&value, ","));) {
        long long depth;
        if (!number_whole(item, 0, MAX_TOKENS, &depth)) {
            return cli_usage(command, "%s takes whole numbers from 0 to %d, not '%s'.", name, MAX_TOKENS,
                             item);
        }
        if (options->n_depths == BENCH_MAX_DEPTHS) {
            return cli_usage(command, "%s takes at most %d depths.", name, BENCH_MAX_DEPTHS);
        }
        insert_depth(options, (int)depth);
    }
    return 0;
}

static int add_caches(const char *command, const char *name, char *value, void *values)
{
    struct bench_options *options = values;
    int n_others = options->n_caches > 0 ? options->n_caches - 1 : 0;
    int status = take_caches(command, value, options->caches + 1, &n_others, BENCH_MAX_CACHES - 1);
    (void)name;
    options->caches[0] = "f16";
    options->n_caches = 1 + n_others;
    return status;
}

static int take_plot(const char *command, const char *name, char *value, void *values)
{
    struct bench_options *options = values;
    options->plot_path = value;
    return plot_is_known(value) ? 0
                                : cli_usage(command, "%s draws FILE.svg or FILE.png, not '%s'.", name, value);
}

static int bench_main(const struct command *self, int argc, char **argv);

#define FIELD(member) .field = offsetof(struct bench_options, member)

static const struct option_row rows[] = {
    ROW_MODEL(model_path),
    {.names = "-d, --depth",
     .aliases = "--n-depth",
     .value = "N,...",
     .help = "tokens that are in the cache already",
     .usual = "0,2048,8192",
     .kind = OPTION_TAKEN,
     .take = take_depths,
     .in_usage = true},
    ROW_CACHES(add_caches),
    ROW_THREADS(n_threads, "as many as this process has CPUs, at most 8"),
    {.names = "-r, --repeat",
     .aliases = "--repetitions",
     .value = "N",
     .help = "repetitions",
     .usual = "5",
     FIELD(n_repeat),
     .kind = OPTION_NUMBER,
     .least = 1,
     .most = SAMPLES_MAX},
    {.names = "-n, --decode",
     .aliases = "--n-gen",
     .value = "N",
     .help = "tokens decoded one by one in a repetition",
     .usual = "32",
     FIELD(n_tokens[BENCH_DECODE]),
     .kind = OPTION_NUMBER,
     .least = 1,
     .most = MAX_TOKENS},
    {.names = "-p, --prefill",
     .aliases = "--n-prompt",
     .value = "N",
     .help = "tokens computed in batches in a repetition",
     .usual = "512",
     FIELD(n_tokens[BENCH_PREFILL]),
     .kind = OPTION_NUMBER,
     .least = 1,
     .most = MAX_TOKENS},
    {.names = "--latency",
     .help = "also show how long single tokens take: the most telling with --decode 2000",
     FIELD(shows_latency),
     .kind = OPTION_SWITCH},
    ROW_JSON(json_path),
    {.names = "--plot",
     .value = "FILE",
     .help = "draw speed over depth, with gnuplot: FILE.svg or FILE.png; -: to standard output, as SVG",
     .take = take_plot,
     .kind = OPTION_FILE},
    ROW_FORCE(rules.replaces, "these files if they are"),
    ROW_HELP,
    {.names = "-c, --ctx-size",
     .kind = OPTION_REFUSED,
     .help = "--depth N is how much the cache holds; its context follows from that"},
    {.names = "-b, --batch-size, -ub, --ubatch, --ubatch-size",
     .kind = OPTION_REFUSED,
     .help = "batches are those of llama-bench, 2048 tokens in parts of 512; --prefill N makes smaller ones"},
    {.names = "-o, --output", .kind = OPTION_REFUSED, .help = "--json FILE writes the results to a file"},
    {0},
};

const struct command bench_command = {
    .name = "bench",
    .summary = "measure speed and memory of caches, side by side",
    .about =
        "Measures how fast a model decodes and prefills with each cache behind a text of each depth, and the "
        "memory that the cache takes. f16 is always measured; the other caches are compared with it. All "
        "caches take turns in one process, with random tokens; each test comes after one token that is not "
        "timed.\n",
    .options = rows,
    .notes =
        "MiB\tthe cache of a context for the deepest depth: buffers and working memory, all counted\n"
        "peakMiB\tthe most that a process with this cache alone would have in memory up to this depth: model "
        "and program, and by how much the process grew while this context was made and used; batches of less "
        "than 512 tokens (--prefill) take less\n"
        "decode, prefill\ttokens per second: median of the repetitions, and half of their range\n"
        "x f16\tspeed in units of that of f16: median of the ratios within a repetition\n"
        "ms a token\tof all decoded tokens, with --latency: median, 99th percentile, maximum\n"
        "slowest place\tthe place in a tile, 0 to 63, whose tokens take longest, as the median of their "
        "times "
        "in units of what the 64 tokens around take; with --decode 64 or more\n"
        "\n"
        "A cache that the model cannot have is a row that says so.\n"
        "\n"
        "JSON: {\"version\", \"model\", \"n_ctx\", \"threads\", \"repeat\", \"results\": [{\"cache\", "
        "\"depth\", "
        "\"repetitions\", \"kv_bytes\", \"memory_ratio\", \"peak_bytes\", \"decode\": {\"tokens\", \"min\", "
        "\"median\", "
        "\"max\", \"ratio\"}, \"prefill\": {...}, \"latency\": {\"median_ms\", \"p99_ms\", \"max_ms\", "
        "\"place\", \"place_ratio\"}}], "
        "\"impossible\": [{\"cache\", \"why\"}], \"complete\"}; "
        "peak_bytes "
        "is null where the system does not tell.\n"
        "\n"
        "Ctrl-C ends it after the batch at hand, with what was measured until then; a second one ends it at "
        "once. Other work on the computer disturbs: leave it alone.\n"
        "\n"
        "exit status: 0 success, 1 a problem, 2 wrong usage or input, 130 interrupted.\n",
    .measures = true,
    .run = bench_main,
};

/* Fills in what was not given, and finds what would fail after the long work. `place` must outlive the
 * options. */
static int complete_options(struct bench_options *options, struct place *place)
{
    if (options->n_threads == 0) {
        int n = count_cpus(); /* more than a few share the bandwidth of their memory */
        options->n_threads = n < MOST_DEFAULT_THREADS ? n : MOST_DEFAULT_THREADS;
    }
    int status = take_default_model("bench", &options->model_path, place);
    output_keep(&options->rules, options->model_path);
    output_keep_plans(&options->rules, options->caches, options->n_caches);
    status = status == 0 && options->plot_path ? plot_check() : status;
    return status == 0 ? output_check_both(options->json_path, options->plot_path, &options->rules) : status;
}

/* ---- work ---- */

static void warn_of_length(const struct model *model, const struct bench_options *options)
{
    int trained = model->engine->llama_model_n_ctx_train(model->llama);
    if (trained > 0 && options->depths[options->n_depths - 1] > trained) {
        cli_note("%s was trained on contexts of %d tokens: a depth beyond that tells about speed only.",
                 model->name, trained);
    }
}

static int bench_model(const struct model *model, const struct bench_options *options)
{
    struct bench bench;
    int status = bench_run(model, options, &bench);
    if (status == 0) {
        status = bench_report(&bench);
        status = status == 0 && !bench.complete ? EXIT_INTERRUPTED : status;
    }
    bench_free(&bench);
    return status;
}

static int bench_main(const struct command *self, int argc, char **argv)
{
    struct bench_options options = {0};
    struct place place;
    struct engine engine;
    struct model model;
    int status;
    if (!options_parse(self, argc, argv, &options, &status)) {
        return status;
    }
    status = complete_options(&options, &place);
    status = status == 0 ? engine_open(&engine) : status;
    status =
        status == 0 ? plans_check(engine.tool, options.model_path, options.caches, options.n_caches) : status;
    status = status == 0 ? model_open(&engine, options.model_path, &model) : status;
    if (status == 0) {
        interrupt_watch();
        int n_others = options.n_caches - 1; /* beside f16 */
        impossible_sift(&model, options.caches + 1, &n_others, &options.impossible);
        options.n_caches = 1 + n_others;
        warn_of_length(&model, &options);
        status = bench_model(&model, &options);
        model_close(&model);
    }
    return status;
}
