/* tada eval: what a cache costs in quality. */
#include "commands.h"
#include "engine/plans.h"
#include "eval.h"
#include "find/paths.h"
#include "options/rows.h"
#include "output/json.h"
#include "output/note.h"
#include "output/output.h"
#include "output/progress.h"
#include "tada.h"
#include "weights.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

bool eval_is_quiet(const struct eval_options *options)
{
    return output_is_stdout(options->json_path);
}

/* ---- options ---- */

enum { CELLS_STEP = 256, MAX_CTX = 1 << 24, MAX_UBATCH = 4096 };

static int eval_main(const struct command *self, int argc, char **argv);

static int set_seed(const char *command, const char *name, char *value, void *values)
{
    struct eval_options *options = values;
    return take_seed(command, name, value, &options->seed);
}

static int add_caches(const char *command, const char *name, char *value, void *values)
{
    struct eval_options *options = values;
    (void)name;
    return take_caches(command, value, options->caches, &options->n_caches, EVAL_MAX_CACHES);
}

#define FIELD(member) .field = offsetof(struct eval_options, member)

static const struct option_row rows[] = {
    ROW_MODEL(model_path),
    ROW_TEXT(text_path, "text to read"),
    ROW_CACHES(add_caches),
    ROW_CONTEXT(n_ctx, "tokens of a window and of the caches, a multiple of 256", CELLS_STEP, MAX_CTX,
                CELLS_STEP),
    {.names = "--reserve",
     .value = "N",
     .help = "cells of the caches, a multiple of 256: what a cache holds when a part of it is used",
     .unset = "as many as tokens of a window",
     FIELD(n_cells),
     .kind = OPTION_NUMBER,
     .least = CELLS_STEP,
     .most = MAX_CTX,
     .step = CELLS_STEP},
    {.names = "--chunks",
     .value = "N",
     .help = "windows to measure",
     .unset = "2; without -f: 1",
     FIELD(n_chunks),
     .kind = OPTION_NUMBER,
     .least = 1,
     .most = INT_MAX},
    {.names = "-ub, --ubatch",
     .aliases = "--ubatch-size",
     .value = "N",
     .help = "tokens that are computed at once; a large batch flatters caches that keep it exact",
     .usual = "32",
     FIELD(n_ubatch),
     .kind = OPTION_NUMBER,
     .least = 1,
     .most = MAX_UBATCH},
    ROW_THREADS(n_threads, "all CPUs"),
    ROW_SEED(set_seed, "of the text that the model writes"),
    {.names = "--weights",
     .value = "f16",
     .help = "convert the weights to f16 first, in a temporary file in $TMPDIR: quantised weights amplify "
             "rounding "
             "and hide small errors",
     FIELD(weights),
     .kind = OPTION_WORD,
     .words = "f16"},
    ROW_JSON(json_path),
    ROW_FORCE(rules.replaces, "FILE if it is"),
    ROW_HELP,
    {.kind = OPTION_HEADING, .help = "tasks instead of the above"},
    {.names = "--passkey",
     .help = "find a number in a long text, at several lengths and depths",
     FIELD(passkey),
     .kind = OPTION_SWITCH},
    {.names = "--copy",
     .help = "repeat JSON objects with random names and numbers from far back, so many documents as --chunks",
     FIELD(copy),
     .kind = OPTION_SWITCH},
    {.names = "--generate",
     .value = "N",
     .help = "continue the text by N tokens: where each cache leaves the text of f16",
     FIELD(generate),
     .kind = OPTION_NUMBER,
     .least = 1,
     .most = MAX_CTX},
    {.names = "--gsm8k",
     .value = "FILE.jsonl",
     .help = "solve grade-school problems, with eight worked examples",
     FIELD(gsm8k_path),
     .kind = OPTION_FILE},
    {.names = "--limit",
     .value = "N",
     .help = "problems of that file",
     .unset = "all",
     FIELD(limit),
     .kind = OPTION_NUMBER,
     .least = 1,
     .most = INT_MAX},
    {.names = "-b, --batch-size",
     .kind = OPTION_REFUSED,
     .help = "--ubatch N is how many tokens are computed at once"},
    {.names = "-p, --prompt", .kind = OPTION_REFUSED, .help = "give the text in a file with -f"},
    {.names = "-n, --predict, --n-predict, --n-gen",
     .kind = OPTION_REFUSED,
     .help = "--generate N continues the text by N tokens"},
    {0},
};

const struct command eval_command = {
    .name = "eval",
    .summary = "measure what a cache costs in quality, on your model and text",
    .about =
        "Measures how far the answers of a model with a compressed cache are from those with an f16 cache: "
        "memory, perplexity, KL divergence in nats and how often the most likely token is the same. All "
        "caches read the same text side by side; the second half of each window is scored. The row 'floor' "
        "is the f16 cache with twice the batch: rounding alone. A last column says in words how close a "
        "cache is.\n",
    .options = rows,
    .operand_problem = "give the model with -m and the text with -f.",
    .notes = "Ctrl-C prints what is done so far.\n"
             "\n"
             "exit status: 0 success, 1 a problem, 2 wrong usage or input, 130 interrupted.\n",
    .measures = true,
    .run = eval_main,
};

/* Fills in what was not given. `default_model` must outlive the options. */
static int set_defaults(struct eval_options *options, struct place *default_model)
{
    if (!options->n_chunks) {
        options->n_chunks = options->text_path ? 2 : 1;
    }
    if (!options->n_threads) {
        options->n_threads = count_cpus();
    }
    if (!options->n_cells) {
        options->n_cells = options->n_ctx;
    }
    int status = take_default_model("eval", &options->model_path, default_model);
    output_keep(&options->rules, options->model_path);
    output_keep(&options->rules, options->text_path);
    output_keep(&options->rules, options->gsm8k_path);
    output_keep_plans(&options->rules, options->caches, options->n_caches);
    return status;
}

/* What one option alone cannot tell. */
static int check_options(const struct eval_options *options)
{
    if (options->n_caches == 0) {
        return cli_usage("eval", "f16 is what others are compared with: name another cache with --cache.");
    }
    if (2 * options->n_ubatch > options->n_ctx) {
        return cli_usage("eval", "--ubatch %d does not fit twice in a context of %d: use a smaller one.",
                         options->n_ubatch, options->n_ctx);
    }
    if (options->n_cells < options->n_ctx) {
        return cli_usage("eval", "--reserve %d is too little for windows of %d tokens (-c): reserve as many.",
                         options->n_cells, options->n_ctx);
    }
    if (options->n_chunks > INT_MAX / options->n_ctx) {
        return cli_usage("eval", "--chunks %d is more than any text has: use fewer.", options->n_chunks);
    }
    if (options->limit && !options->gsm8k_path) {
        return cli_usage("eval", "--limit goes with --gsm8k.");
    }
    return output_check(options->json_path, &options->rules);
}

/* ---- the run ---- */

/* The model as the options want it: the file, or the same in f16. */
static int load_model(struct engine *engine, const struct eval_options *options, struct model *model)
{
    struct f16_weights weights;
    int status = model_open(engine, options->model_path, model);
    if (status != 0 || !options->weights) {
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
    cJSON_AddStringToObject(report, "weights", options->weights ? "f16" : "file");
    report_add_text(report, "text", file_name(options->text_path));
    cJSON_AddNumberToObject(report, "seed", options->seed);
    cJSON_AddNumberToObject(report, "n_ctx", options->n_ctx);
    cJSON_AddNumberToObject(report, "n_cells", options->n_cells);
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
        {!options->passkey && !options->copy && !options->generate && !options->gsm8k_path, NULL,
         eval_divergence},
        {options->passkey, eval_passkey_check, eval_passkey},
        {options->copy, eval_copy_check, eval_copy},
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
        int written = report_write(report, options->json_path, &options->rules);
        status = written != 0 ? written : status;
    }
    return status;
}

static int measure(struct engine *engine, struct eval_options *options)
{
    struct model model;
    cJSON *report = begin_report(options);
    int status = plans_check(engine->tool, options->model_path, options->caches, options->n_caches);
    status = status == 0 ? load_model(engine, options, &model) : status;
    if (status == 0) {
        impossible_sift(&model, options->caches, &options->n_caches, &options->impossible);
        impossible_report(&options->impossible, report);
        int trained = engine->llama_model_n_ctx_train(model.llama);
        if (options->n_ctx > trained) {
            cli_note("the model knows texts of %d tokens only: -c %d shows it out of its depth.", trained,
                     options->n_ctx);
        }
        status = run_tasks(&model, options, report);
        model_close(&model);
    }
    if (status == EXIT_INTERRUPTED) {
        cli_note("interrupted before anything was measured.");
    }
    status = finish_report(options, status, report);
    cJSON_Delete(report);
    return status;
}

static int eval_main(const struct command *self, int argc, char **argv)
{
    struct eval_options options = {0};
    struct place default_model;
    struct engine engine;
    int status;
    if (!options_parse(self, argc, argv, &options, &status)) {
        return status;
    }
    status = set_defaults(&options, &default_model);
    status = status == 0 ? check_options(&options) : status;
    status = status == 0 ? engine_open(&engine) : status;
    if (status == 0) {
        interrupt_watch();
        status = measure(&engine, &options);
    }
    return status;
}
