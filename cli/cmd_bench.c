/* tada bench: speed and memory of caches, side by side. */
#include "arguments.h"
#include "bench.h"
#include "cli.h"
#include "plans.h"
#include "plot.h"
#include "progress.h"
#include "report.h"

#include <getopt.h>
#include <stdio.h>
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
    "  --cache SPEC,...   caches, as in 'tada help run'; may be repeated (default: q8_0,q4_0,tada)\n"
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

/* `list` is changed. */
static int take_depths(char *list, struct bench_options *options)
{
    options->n_depths = 0;
    for (char *item; (item = strsep(&list, ","));) {
        int depth = 0, status = take_int("bench", "--depth", item, 0, MAX_TOKENS, &depth);
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

/* `list` is changed, and must live on: the specs are parts of it. */
static int add_caches(char *list, struct bench_options *options)
{
    int n_others = options->n_caches > 0 ? options->n_caches - 1 : 0;
    int status = take_caches("bench", list, options->caches + 1, &n_others, BENCH_MAX_CACHES - 1);
    options->caches[0] = "f16";
    options->n_caches = 1 + n_others;
    return status;
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
        return take_int("bench", "--threads", value, 1, MAX_THREADS, &options->n_threads);
    case OPTION_DEPTH:
        return take_depths(value, options);
    case OPTION_CACHE:
        return add_caches(value, options);
    case OPTION_REPEAT:
        return take_int("bench", "--repeat", value, 1, SAMPLES_MAX, &options->n_repeat);
    case OPTION_DECODE:
        return take_int("bench", "--decode", value, 1, MAX_TOKENS, &options->n_tokens[BENCH_DECODE]);
    case OPTION_PREFILL:
        return take_int("bench", "--prefill", value, 1, MAX_TOKENS, &options->n_tokens[BENCH_PREFILL]);
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
    int code, status = 0;
    while (status == 0 && (status = next_option("bench", argc, argv, ":m:t:h", known, &code)) == 0 &&
           code != -1) {
        if (code == 'h') {
            *help = true;
            return 0;
        }
        status = take_option(code, optarg, options);
    }
    if (status == 0 && optind < argc) {
        status = cli_usage("bench", "'%s' is not expected: 'tada bench' takes only options.", argv[optind]);
    }
    return status;
}

/* Fills in what was not given, and finds what would fail after the long work. `place` must outlive the
 * options. */
static int complete_options(struct bench_options *options, struct place *place)
{
    static const char *const usual[] = {"f16", "q8_0", "q4_0", "tada"};
    if (options->n_caches == 0) {
        options->n_caches = sizeof usual / sizeof *usual;
        memcpy(options->caches, usual, sizeof usual);
    }
    if (options->n_threads == 0) {
        int n = count_cpus(); /* more than a few share the bandwidth of their memory */
        options->n_threads = n < MOST_DEFAULT_THREADS ? n : MOST_DEFAULT_THREADS;
    }
    int status = take_default_model("bench", &options->model_path, place);
    status = status == 0 ? report_check(options->json_path) : status;
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
        status = status == 0 && !bench.complete ? EXIT_INTERRUPTED : status;
    }
    bench_free(&bench);
    return status;
}

int bench_main(const struct command *self, int argc, char **argv)
{
    struct bench_options options = {.depths = {0, 2048, 8192},
                                    .n_depths = 3,
                                    .n_tokens = {[BENCH_DECODE] = 32, [BENCH_PREFILL] = 512},
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
    status = status == 0 ? complete_options(&options, &place) : status;
    status = status == 0 ? engine_open(&engine) : status;
    status =
        status == 0 ? plans_check(&engine, options.model_path, options.caches, options.n_caches) : status;
    status = status == 0 ? model_open(&engine, options.model_path, &model) : status;
    if (status == 0) {
        interrupt_watch();
        warn_of_length(&model, &options);
        status = bench_model(&model, &options);
        model_close(&model);
    }
    return status;
}
