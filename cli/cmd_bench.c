/* tada bench: speed and memory of caches, side by side. */
#include "bench.h"
#include "cli.h"
#include "output.h"
#include "plot.h"
#include "progress.h"
#include "tada.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char bench_help[] =
    "usage: tada bench [-m MODEL] [--depth N[,N...]] [--cache SPEC[,SPEC...]] [OPTIONS...]\n"
    "\n"
    "Measures how fast a model decodes and prefills with each cache behind a text of each depth, and the\n"
    "memory that the cache takes. f16 is always measured; the other caches are compared with it. All caches\n"
    "take turns in one process, with random tokens; each test comes after one token that is not timed.\n"
    "\n"
    "options:\n"
    "  -m, --model MODEL  GGUF file (default: the model that the TaDA build fetched)\n"
    "  --depth N,...      tokens that are in the cache already (default: 0,2048,8192)\n"
    "  --cache SPEC,...   caches, as in 'tada help run' (default: q8_0,q4_0,tada)\n"
    "  -t, --threads N    threads (default: as many as this process has CPUs, at most 8)\n"
    "  --repeat N         repetitions (default: 5)\n"
    "  --decode N         tokens decoded one by one in a repetition (default: 32)\n"
    "  --prefill N        tokens computed in batches in a repetition (default: 512)\n"
    "  --json FILE        write the results to a file; '-': to standard output, in place of the table\n"
    "  --plot FILE.svg    draw speed over depth, with gnuplot\n"
    "  -h, --help         print this help and exit\n"
    "\n"
    "memory MiB  the cache of a context for the deepest depth: buffers and working memory, all counted\n"
    "peak MiB    the most that a process with this cache alone would have in memory up to this depth: model\n"
    "            and program, and by how much the process grew while this context was made and used; "
    "batches\n"
    "            of less than 512 tokens (--prefill) take less\n"
    "tok/s       tokens per second: median (minimum-maximum) of the repetitions\n"
    "x f16       speed in units of that of f16: median of the ratios within a repetition\n"
    "\n"
    "JSON: {\"version\", \"model\", \"n_ctx\", \"threads\", \"repeat\", \"results\": [{\"cache\", "
    "\"depth\",\n"
    "\"repetitions\", \"kv_bytes\", \"memory_ratio\", \"peak_bytes\", \"decode\": {\"tokens\", \"min\", "
    "\"median\",\n"
    "\"max\", \"ratio\"}, \"prefill\": {...}}], \"complete\"}; peak_bytes is null where the system does not "
    "tell.\n"
    "\n"
    "Ctrl-C ends it after the batch at hand, with what was measured until then; a second one ends it at\n"
    "once. Other work on the computer disturbs: leave it alone.\n"
    "\n"
    "exit status: 0 success, 1 a problem, 2 wrong usage or input, 130 interrupted.\n";

enum { MAX_TOKENS = 1 << 24, MAX_THREADS = 512, INTERRUPTED = 130 };

/* ---- options ---- */

/* "N" with min <= N <= max; false: it is something else. */
static bool parse_number(const char *text, int min, int max, int *number)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (end == text || *end || errno || value < min || value > max) {
        return false;
    }
    *number = (int)value;
    return true;
}

static int take_number(const char *option, const char *text, int min, int max, int *number)
{
    return parse_number(text, min, max, number)
               ? 0
               : cli_usage("bench", "%s takes a whole number from %d to %d, not '%s'.", option, min, max,
                           text);
}

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

/* `list` is changed. */
static int take_depths(char *list, struct bench_options *options)
{
    options->n_depths = 0;
    for (char *item; (item = strsep(&list, ","));) {
        int depth = 0, status = take_number("--depth", item, 0, MAX_TOKENS, &depth);
        if (status != 0) {
            return status;
        }
        if (options->n_depths == BENCH_MAX_DEPTHS) {
            return cli_usage("bench", "--depth takes at most %d depths.", BENCH_MAX_DEPTHS);
        }
        insert_depth(options, depth);
    }
    return 0;
}

static bool is_listed(const struct bench_options *options, const char *spec)
{
    for (int i = 0; i < options->n_caches; i++) {
        if (strcmp(options->caches[i], spec) == 0) {
            return true;
        }
    }
    return false;
}

/* `list` is changed, and must live on: the specs are parts of it. */
static int take_caches(char *list, struct bench_options *options)
{
    options->caches[0] = "f16";
    options->n_caches = 1;
    for (char *item; (item = strsep(&list, ","));) {
        tada_spec spec;
        tada_error error = {""};
        if (tada_spec_parse(item, &spec, &error) != TADA_OK) {
            return cli_usage("bench", "%s", error.text);
        }
        if (is_listed(options, item)) {
            continue;
        }
        if (options->n_caches == BENCH_MAX_CACHES) {
            return cli_usage("bench", "--cache takes at most %d caches beside f16.", BENCH_MAX_CACHES - 1);
        }
        options->caches[options->n_caches++] = item;
    }
    return 0;
}

/* The CPUs that this process may run on; more than a few share their memory's bandwidth. */
static int default_threads(void)
{
    enum { MOST = 8 };
    cpu_set_t cpus;
    int n = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    return n < MOST ? n : MOST;
}

enum option_code {
    OPTION_DEPTH = 256,
    OPTION_CACHE,
    OPTION_REPEAT,
    OPTION_DECODE,
    OPTION_PREFILL,
    OPTION_JSON,
    OPTION_PLOT
};

static int take_option(int code, char *value, struct bench_options *options)
{
    switch (code) {
    case 'm':
        options->model_path = value;
        return 0;
    case 't':
        return take_number("--threads", value, 1, MAX_THREADS, &options->n_threads);
    case OPTION_DEPTH:
        return take_depths(value, options);
    case OPTION_CACHE:
        return take_caches(value, options);
    case OPTION_REPEAT:
        return take_number("--repeat", value, 1, SAMPLES_MAX, &options->n_repeat);
    case OPTION_DECODE:
        return take_number("--decode", value, 1, MAX_TOKENS, &options->n_tokens[BENCH_DECODE]);
    case OPTION_PREFILL:
        return take_number("--prefill", value, 1, MAX_TOKENS, &options->n_tokens[BENCH_PREFILL]);
    case OPTION_JSON:
        options->json_path = value;
        return 0;
    default:
        options->plot_path = value;
        return 0;
    }
}

/* *help: the help was asked for, and nothing else matters. */
static int parse(int argc, char **argv, struct bench_options *options, bool *help)
{
    static const struct option known[] = {
        {"model", required_argument, NULL, 'm'},
        {"threads", required_argument, NULL, 't'},
        {"depth", required_argument, NULL, OPTION_DEPTH},
        {"cache", required_argument, NULL, OPTION_CACHE},
        {"repeat", required_argument, NULL, OPTION_REPEAT},
        {"decode", required_argument, NULL, OPTION_DECODE},
        {"prefill", required_argument, NULL, OPTION_PREFILL},
        {"json", required_argument, NULL, OPTION_JSON},
        {"plot", required_argument, NULL, OPTION_PLOT},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int code;
    opterr = 0;
    while ((code = getopt_long(argc, argv, ":m:t:h", known, NULL)) != -1) {
        if (code == 'h') {
            *help = true;
            return 0;
        }
        if (code == ':') {
            return cli_usage("bench", "%s needs a value.", argv[optind - 1]);
        }
        if (code == '?') {
            return cli_usage("bench", "Unknown option '%s'.", argv[optind - 1]);
        }
        int status = take_option(code, optarg, options);
        if (status != 0) {
            return status;
        }
    }
    return optind < argc
               ? cli_usage("bench", "'%s' is not expected: 'tada bench' takes only options.", argv[optind])
               : 0;
}

/* What can be known to fail before the long work. */
static int check_files(struct bench_options *options, struct place *place)
{
    int status = 0;
    if (!options->model_path) {
        if (!find_default_model(place)) {
            return cli_usage("bench", "There is no default model here: give one with -m MODEL.");
        }
        options->model_path = place->path;
    }
    if (options->json_path && strcmp(options->json_path, "-") != 0) {
        status = output_check(options->json_path);
    }
    return status == 0 && options->plot_path ? plot_check(options->plot_path) : status;
}

/* ---- work ---- */

static void warn_of_length(const struct model *model, const struct bench_options *options)
{
    int trained = model->engine->llama_model_n_ctx_train(model->llama);
    if (trained > 0 && options->depths[options->n_depths - 1] > trained) {
        fprintf(
            stderr,
            "tada: %s was trained on contexts of %d tokens: a depth beyond that tells about speed only.\n",
            model->name, trained);
    }
}

static int bench_model(const struct model *model, const struct bench_options *options)
{
    struct bench bench;
    int status = bench_run(model, options, &bench);
    if (status == 0) {
        status = bench_report(&bench);
        status = status == 0 && !bench.complete ? INTERRUPTED : status;
    }
    bench_free(&bench);
    return status;
}

int bench_main(const struct command *self, int argc, char **argv)
{
    struct bench_options options = {.depths = {0, 2048, 8192},
                                    .n_depths = 3,
                                    .caches = {"f16", "q8_0", "q4_0", "tada"},
                                    .n_caches = 4,
                                    .n_tokens = {[BENCH_DECODE] = 32, [BENCH_PREFILL] = 512},
                                    .n_threads = default_threads(),
                                    .n_repeat = 5};
    struct place place;
    struct engine engine;
    struct model model;
    bool help = false;
    int status = parse(argc, argv, &options, &help);
    if (status == 0 && help) {
        fputs(self->help, stdout);
        return 0;
    }
    status = status == 0 ? check_files(&options, &place) : status;
    status = status == 0 ? engine_open(&engine) : status;
    status = status == 0 ? model_open(&engine, options.model_path, &model) : status;
    if (status == 0) {
        interrupt_watch();
        warn_of_length(&model, &options);
        status = bench_model(&model, &options);
        model_close(&model);
    }
    return status;
}
