/* tada eval: what a cache costs in quality. */
#include "arguments.h"
#include "cli.h"
#include "eval.h"
#include "plans.h"
#include "progress.h"
#include "report.h"
#include "tada.h"
#include "weights.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

const char eval_help[] =
    "usage: tada eval [-m MODEL] [-f TEXT] [--cache SPEC[,SPEC...]] [OPTIONS...]\n"
    "\n"
    "Measures how far the answers of a model with a compressed cache are from those with an f16 cache:\n"
    "memory, perplexity, KL divergence in nats and how often the most likely token is the same, with\n"
    "standard errors. All caches read the same text side by side; the second half of each window is\n"
    "scored. The row 'floor' is the f16 cache with twice the batch: rounding alone.\n"
    "\n"
    "options:\n"
    "  -m, --model MODEL   GGUF file (default: the one that the TaDA build fetched)\n"
    "  -f, --file TEXT     text to read (default: text that the model writes itself)\n"
    "  --cache SPEC,...    caches to measure; may be repeated (default: q8_0,q4_0,tada)\n"
    "  -c, --ctx-size N    tokens of a window and of the caches, a multiple of 256 (default: 4096)\n"
    "  --chunks N          windows to measure (default: 2; without -f: 1)\n"
    "  --ubatch N          tokens that are computed at once (default: 32): a large batch flatters caches\n"
    "                      that keep it exact\n"
    "  -t, --threads N     threads (default: all CPUs)\n"
    "  --seed N            of the text that the model writes (default: 1)\n"
    "  --weights f16       convert the weights to f16 first, in a temporary file in $TMPDIR: quantised\n"
    "                      weights amplify rounding and hide small errors\n"
    "  --json FILE         write the results to FILE, too; -: to standard output, instead of the table\n"
    "  -h, --help          print this help and exit\n"
    "\n"
    "tasks instead of the above:\n"
    "  --passkey           find a number in a long text, at several lengths and depths\n"
    "  --generate N        continue the text by N tokens: where each cache leaves the text of f16\n"
    "  --gsm8k FILE.jsonl  solve grade-school problems, with eight worked examples\n"
    "  --limit N           problems of that file (default: all)\n"
    "\n"
    "Ctrl-C prints what is done so far.\n"
    "\n"
    "exit status: 0 success, 1 a problem, 2 wrong usage or input, 130 interrupted.\n";

enum { CELLS_STEP = 256, MAX_CTX = 1 << 24, MAX_UBATCH = 4096 };

enum option_code {
    OPT_CACHE = 256,
    OPT_CHUNKS,
    OPT_UBATCH,
    OPT_SEED,
    OPT_WEIGHTS,
    OPT_JSON,
    OPT_PASSKEY,
    OPT_GENERATE,
    OPT_GSM8K,
    OPT_LIMIT
};

bool eval_is_quiet(const struct eval_options *options)
{
    return report_to_stdout(options->json_path);
}

/* ---- options ---- */

static int parse_seed(const char *text, uint32_t *seed)
{
    long long wide;
    int status = take_number("eval", "--seed", text, 0, UINT32_MAX, &wide);
    *seed = status == 0 ? (uint32_t)wide : *seed;
    return status;
}

static int parse_weights(struct eval_options *options, const char *text)
{
    options->f16_weights = strcmp(text, "f16") == 0;
    return options->f16_weights ? 0 : cli_usage("eval", "--weights takes only f16, not '%s'.", text);
}

/* An option with a value. */
static int set_option(struct eval_options *options, int option, char *value)
{
    switch (option) {
    case 'm':
        options->model_path = value;
        return 0;
    case 'f':
        options->text_path = value;
        return 0;
    case 'c':
        return take_int("eval", "-c", value, CELLS_STEP, MAX_CTX, &options->n_ctx);
    case 't':
        return take_int("eval", "-t", value, 1, MAX_THREADS, &options->n_threads);
    case OPT_CACHE:
        return take_caches("eval", value, options->caches, &options->n_caches, EVAL_MAX_CACHES);
    case OPT_CHUNKS:
        return take_int("eval", "--chunks", value, 1, INT_MAX, &options->n_chunks);
    case OPT_UBATCH:
        return take_int("eval", "--ubatch", value, 1, MAX_UBATCH, &options->n_ubatch);
    case OPT_SEED:
        return parse_seed(value, &options->seed);
    case OPT_WEIGHTS:
        return parse_weights(options, value);
    case OPT_JSON:
        options->json_path = value;
        return 0;
    case OPT_GENERATE:
        return take_int("eval", "--generate", value, 1, MAX_CTX, &options->generate);
    case OPT_GSM8K:
        options->gsm8k_path = value;
        return 0;
    default:
        return take_int("eval", "--limit", value, 1, INT_MAX, &options->limit);
    }
}

static int parse_arguments(int argc, char **argv, struct eval_options *options, bool *help,
                           bool *caches_given)
{
    static const struct option long_options[] = {
        {"model", required_argument, NULL, 'm'},
        {"file", required_argument, NULL, 'f'},
        {"cache", required_argument, NULL, OPT_CACHE},
        {"ctx-size", required_argument, NULL, 'c'},
        {"chunks", required_argument, NULL, OPT_CHUNKS},
        {"ubatch", required_argument, NULL, OPT_UBATCH},
        {"threads", required_argument, NULL, 't'},
        {"seed", required_argument, NULL, OPT_SEED},
        {"weights", required_argument, NULL, OPT_WEIGHTS},
        {"json", required_argument, NULL, OPT_JSON},
        {"passkey", no_argument, NULL, OPT_PASSKEY},
        {"generate", required_argument, NULL, OPT_GENERATE},
        {"gsm8k", required_argument, NULL, OPT_GSM8K},
        {"limit", required_argument, NULL, OPT_LIMIT},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option, status = 0;
    while (status == 0 &&
           (status = next_option("eval", argc, argv, ":m:f:c:t:h", long_options, &option)) == 0 &&
           option != -1) {
        if (option == 'h') {
            *help = true;
            return 0;
        }
        if (option == OPT_PASSKEY) {
            options->passkey = true;
        } else {
            *caches_given = *caches_given || option == OPT_CACHE;
            status = set_option(options, option, optarg);
        }
    }
    if (status == 0 && optind < argc) {
        status = cli_usage("eval", "'%s' is not expected: give the model with -m and the text with -f.",
                           argv[optind]);
    }
    return status;
}

/* Fills in what was not given. `default_model` must outlive the options. */
static int set_defaults(struct eval_options *options, bool caches_given, struct place *default_model)
{
    static const char *const usual[] = {"q8_0", "q4_0", "tada"};
    if (!options->n_chunks) {
        options->n_chunks = options->text_path ? 2 : 1;
    }
    if (!options->n_threads) {
        options->n_threads = count_cpus();
    }
    for (int i = 0; !caches_given && i < 3; i++) {
        options->caches[options->n_caches++] = usual[i];
    }
    return take_default_model("eval", &options->model_path, default_model);
}

/* What one option alone cannot tell. */
static int check_options(const struct eval_options *options)
{
    if (options->n_caches == 0) {
        return cli_usage("eval", "f16 is what others are compared with: name another cache with --cache.");
    }
    if (options->n_ctx % CELLS_STEP != 0) {
        return cli_usage("eval", "-c takes a multiple of %d, as llama.cpp makes no other caches: use %d.",
                         CELLS_STEP, (options->n_ctx / CELLS_STEP + 1) * CELLS_STEP);
    }
    if (2 * options->n_ubatch > options->n_ctx) {
        return cli_usage("eval", "--ubatch %d does not fit twice in a context of %d: use a smaller one.",
                         options->n_ubatch, options->n_ctx);
    }
    if (options->n_chunks > INT_MAX / options->n_ctx) {
        return cli_usage("eval", "--chunks %d is more than any text has: use fewer.", options->n_chunks);
    }
    if (options->limit && !options->gsm8k_path) {
        return cli_usage("eval", "--limit goes with --gsm8k.");
    }
    return report_check(options->json_path);
}

static int parse_options(int argc, char **argv, struct eval_options *options, struct place *default_model,
                         bool *help)
{
    *options = (struct eval_options){.n_ctx = 4096, .n_ubatch = 32, .seed = 1};
    bool caches_given = false;
    int status = parse_arguments(argc, argv, options, help, &caches_given);
    if (status == 0 && !*help) {
        status = set_defaults(options, caches_given, default_model);
        if (status == 0) {
            status = check_options(options);
        }
    }
    return status;
}

/* ---- the run ---- */

/* The model as the options want it: the file, or the same in f16. */
static int load_model(struct engine *engine, const struct eval_options *options, struct model *model)
{
    struct f16_weights weights;
    int status = model_open(engine, options->model_path, model);
    if (status != 0 || !options->f16_weights) {
        return status;
    }
    char name[sizeof model->name];
    snprintf(name, sizeof name, "%s", model->name);
    status = weights_convert(model, options->model_path, options->n_threads, &weights);
    model_close(model);
    if (status == 0) {
        status = model_open(engine, weights.path, model);
        weights_close(&weights);
        snprintf(model->name, sizeof model->name, "%s", name);
    }
    return status;
}

static const char *file_name(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path;
}

static cJSON *begin_report(const struct eval_options *options)
{
    cJSON *report = cJSON_CreateObject();
    cJSON_AddStringToObject(report, "version", tada_version());
    report_add_text(report, "model", file_name(options->model_path));
    cJSON_AddStringToObject(report, "weights", options->f16_weights ? "f16" : "file");
    report_add_text(report, "text", file_name(options->text_path));
    cJSON_AddNumberToObject(report, "seed", options->seed);
    cJSON_AddNumberToObject(report, "n_ctx", options->n_ctx);
    cJSON_AddNumberToObject(report, "n_ubatch", options->n_ubatch);
    cJSON_AddNumberToObject(report, "n_threads", options->n_threads);
    cJSON_AddNumberToObject(report, "chunks", options->n_chunks);
    return report;
}

/* All tasks are checked before the first one runs: wrong input must not cost the results of another task. */
static int run_tasks(const struct model *model, const struct eval_options *options, cJSON *report)
{
    const struct {
        bool wanted;
        int (*check)(const struct model *, const struct eval_options *);
        int (*run)(const struct model *, const struct eval_options *, cJSON *);
    } tasks[] = {
        {!options->passkey && !options->generate && !options->gsm8k_path, NULL, eval_divergence},
        {options->passkey, eval_passkey_check, eval_passkey},
        {options->generate > 0, eval_generate_check, eval_generate},
        {options->gsm8k_path != NULL, eval_gsm8k_check, eval_gsm8k},
    };
    const size_t n = sizeof tasks / sizeof *tasks;
    int status = 0;
    for (size_t i = 0; i < n && status == 0; i++) {
        if (tasks[i].wanted && tasks[i].check) {
            status = tasks[i].check(model, options);
        }
    }
    for (size_t i = 0; i < n && status == 0; i++) {
        if (tasks[i].wanted) {
            status = tasks[i].run(model, options, report);
        }
        if (interrupted()) {
            break;
        }
    }
    return status;
}

/* Adds what the tasks leave open and writes the JSON; returns the exit status. */
static int finish_report(const struct eval_options *options, int status, cJSON *report)
{
    if (status == 0 && interrupted()) {
        status = EXIT_INTERRUPTED; /* a task was broken off */
    }
    if ((status == 0 || status == EXIT_INTERRUPTED) && !cJSON_HasObjectItem(report, "complete")) {
        cJSON_AddBoolToObject(report, "complete", status == 0);
    }
    if (options->json_path && (status == 0 || status == EXIT_INTERRUPTED)) {
        int written = report_write(report, options->json_path);
        status = written != 0 ? written : status;
    }
    return status;
}

static int measure(struct engine *engine, const struct eval_options *options)
{
    struct model model;
    cJSON *report = begin_report(options);
    int status = plans_check(engine, options->model_path, options->caches, options->n_caches);
    status = status == 0 ? load_model(engine, options, &model) : status;
    if (status == 0) {
        int trained = engine->llama_model_n_ctx_train(model.llama);
        if (options->n_ctx > trained) {
            fprintf(stderr,
                    "tada: the model knows texts of %d tokens only: -c %d shows it out of its depth.\n",
                    trained, options->n_ctx);
        }
        status = run_tasks(&model, options, report);
        model_close(&model);
    }
    if (status == EXIT_INTERRUPTED) {
        fprintf(stderr, "tada: interrupted before anything was measured.\n");
    }
    status = finish_report(options, status, report);
    cJSON_Delete(report);
    return status;
}

int eval_main(const struct command *self, int argc, char **argv)
{
    struct eval_options options;
    struct place default_model;
    struct engine engine;
    bool help = false;
    int status = parse_options(argc, argv, &options, &default_model, &help);
    if (status != 0) {
        return status;
    }
    if (help) {
        fputs(self->help, stdout);
        return 0;
    }
    status = engine_open(&engine);
    if (status == 0) {
        interrupt_watch();
        status = measure(&engine, &options);
    }
    return status;
}
