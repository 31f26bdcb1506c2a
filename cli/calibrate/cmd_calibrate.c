/* tada calibrate: the best cache for a model and a budget. */
#include "calibration.h"
#include "commands.h"
#include "engine/model_file.h"
#include "engine/plans.h"
#include "engine/text.h"
#include "find/paths.h"
#include "options/arguments.h"
#include "options/numbers.h"
#include "options/options.h"
#include "options/rows.h"
#include "output/note.h"
#include "output/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CELLS_STEP = 256, MAX_CTX = 1 << 24, MOST_CHECK = 2048, MOST_HALF = 8192, N_SCRATCH = 512 };

/* ---- options ---- */

static int calibrate_main(const struct command *self, int argc, char **argv);

static int take_divergence(const char *command, const char *name, char *value, void *values)
{
    struct calibrate_options *options = values;
    size_t n = number_decimal(value, &options->max_kld);
    if (n == 0 || value[n] || !(options->max_kld > 0 && options->max_kld < 100)) {
        return cli_usage(command, "%s takes a number of nats such as 0.003, not '%s'.", name, value);
    }
    return 0;
}

static int take_budget(const char *command, const char *name, char *value, void *values)
{
    struct calibrate_options *options = values;
    return take_share(command, name, value, &options->budget);
}

static int set_seed(const char *command, const char *name, char *value, void *values)
{
    struct calibrate_options *options = values;
    return take_seed(command, name, value, &options->seed);
}

#define FIELD(member) .field = offsetof(struct calibrate_options, member)

static const struct option_row rows[] = {
    ROW_MODEL(model_path),
    ROW_TEXT(text_path, "text to learn from"),
    {.names = "--budget",
     .value = "PERCENT",
     .help = "memory, of that of the f16 cache, everything counted",
     .unset = "25%",
     .kind = OPTION_TAKEN,
     .take = take_budget,
     .in_usage = true,
     .or_next = true},
    {.names = "--max-kld",
     .value = "X",
     .help = "the smallest cache whose mean KL divergence is at most X nats, in place of a budget",
     .kind = OPTION_TAKEN,
     .take = take_divergence,
     .in_usage = true},
    {.names = "-o, --output",
     .value = "FILE",
     .help = "the plan; -: to standard output",
     .unset =
         "one named after the model and the budget in the folder of plans, where 'tada serve' finds it; see "
         "'tada help serve'",
     FIELD(plan_path),
     .kind = OPTION_FILE,
     .in_usage = true},
    {.names = "--report",
     .value = "FILE.html",
     .help = "a page that shows the plan and what it was compared with; -: to standard output",
     FIELD(report_path),
     .kind = OPTION_FILE},
    ROW_FORCE(rules.replaces, "these files if they are"),
    ROW_CONTEXT(n_ctx, "context that the budget is for, a multiple of 256 from 1024 on", 4 * CELLS_STEP,
                MAX_CTX, CELLS_STEP),
    {.names = "--sample",
     .value = "N",
     .help = "tokens that each layer is measured on",
     .unset = "2048, or 1024 from 300 million weights on",
     FIELD(n_sample),
     .kind = OPTION_NUMBER,
     .least = CELLS_STEP,
     .most = 8192},
    {.names = "--from",
     .value = "PLAN",
     .help = "take the sensitivities from a plan of the same model: another budget, quickly",
     FIELD(from_path),
     .kind = OPTION_FILE},
    {.names = "--method",
     .value = "METHOD",
     .help = "tada, or paper: random search over 2, 4 or 8 bits per layer, as in the paper",
     .usual = "tada",
     FIELD(method),
     .kind = OPTION_WORD,
     .words = "tada|paper"},
    {.names = "--trials",
     .value = "N",
     .help = "of the random search",
     .usual = "32",
     FIELD(n_trials),
     .kind = OPTION_NUMBER,
     .least = 1,
     .most = 100000},
    {.names = "--tasks",
     .value = "FILE",
     .help =
         "score the random search on these tasks, in place of the KL divergence: on each line {\"prompt\": "
         "..., "
         "\"answer\": ...}, concatenated without a separator, with \"choices\": [...] where the answer is "
         "one of "
         "several; the trial with the most right answers wins, ties by likelihood",
     FIELD(tasks_path),
     .kind = OPTION_FILE},
    ROW_SEED(set_seed, "of the random search and of text that the model writes"),
    ROW_THREADS(n_threads, "all CPUs"),
    ROW_HELP,
    {.names = "--cache",
     .kind = OPTION_REFUSED,
     .help = "the cache is what is looked for; give its --budget, and measure others with 'tada eval'"},
    {.names = "-p, --prompt", .kind = OPTION_REFUSED, .help = "give the text in a file with -f"},
    {0},
};

const struct command calibrate_command = {
    .name = "calibrate",
    .summary = "find the best cache for your model and a memory budget",
    .about =
        "Finds the best cache for a model and a budget: measures how sensitive each layer is, shares the "
        "bits "
        "out, and writes a plan. Use it as --cache tada:@PLAN.gguf or TADA_CACHE=tada:@PLAN.gguf. The first "
        "half of the text is learnt from; the second half decides between the plan and a simple spec of the "
        "same size. An interrupted calibration goes on where it was when it is started again.\n",
    .options = rows,
    .operand_problem = "give the plan with -o.",
    .notes = "exit status: 0 success, 1 a problem, 2 wrong usage or input, 130 interrupted.\n",
    .measures = true,
    .run = calibrate_main,
};

/* A plan that is given no place goes to where `tada serve` looks for it. */
static int take_default_plan(struct calibrate_options *options, char path[PATH_MAX])
{
    char budget[32];
    if (options->plan_path) {
        return 0;
    }
    if (options->max_kld > 0) {
        snprintf(budget, sizeof budget, "kld%g", options->max_kld);
    } else {
        snprintf(budget, sizeof budget, "%g", 100 * options->budget);
    }
    options->plan_path = path;
    return plans_new_path(options->model_path, budget, path);
}

static int check_options(struct calibrate_options *options, struct place *default_model,
                         char default_plan[PATH_MAX])
{
    options->paper = strcmp(options->method, "paper") == 0;
    if (options->budget > 0 && options->max_kld > 0) {
        return cli_usage("calibrate", "--budget and --max-kld exclude each other: give one.");
    }
    if (options->max_kld > 0 && options->paper) {
        return cli_usage("calibrate", "--method paper needs a --budget.");
    }
    if (options->tasks_path && !options->paper) {
        return cli_usage("calibrate", "--tasks goes with --method paper.");
    }
    if (options->budget == 0 && options->max_kld == 0) {
        options->budget = 0.25;
    }
    options->n_threads = options->n_threads ? options->n_threads : count_cpus();
    int status = take_default_model("calibrate", &options->model_path, default_model);
    if (status == 0) {
        status = take_default_plan(options, default_plan);
    }
    output_keep(&options->rules, options->model_path);
    output_keep(&options->rules, options->text_path);
    output_keep(&options->rules, options->from_path);
    output_keep(&options->rules, options->tasks_path);
    if (status == 0 && output_is_stdout(options->plan_path) && isatty(STDOUT_FILENO)) {
        return cli_usage("calibrate", "A plan is nothing for a terminal: give a file with -o.");
    }
    return status == 0 ? output_check_both(options->plan_path, options->report_path, &options->rules)
                       : status;
}

/* ---- the run ---- */

/* Larger models get shorter samples: the time must stay within minutes. */
static void set_lengths(struct calibration *c)
{
    uint64_t n = c->model->engine->llama_model_n_params(c->model->llama);
    int usual = n < 300000000 ? MOST_CHECK : MOST_CHECK / 2;
    c->sample = c->options->n_sample ? c->options->n_sample : usual;
    c->check = c->options->n_ctx < usual ? c->options->n_ctx : usual;
    int least = c->sample > c->check ? c->sample : c->check;
    /* A text that the model has to write first is kept short. */
    int half = c->options->text_path && c->options->n_ctx > least ? c->options->n_ctx : least;
    c->n_tokens = 2 * (half < MOST_HALF || half == least ? half : MOST_HALF);
}

static double expected_work(const struct calibration *c)
{
    return c->n_tokens / 2 + 2 * N_SCRATCH + calibration_decision_tokens(c) +
           (c->options->paper ? calibration_search_tokens(c) : calibration_tokens(c, calibration_planes(c)));
}

/* What a context takes beside its planes, from the default cache. */
static int measure_scratch(struct calibration *c)
{
    struct trial trial = {.spec = "tada"};
    struct trial_text text = {.tokens = c->tokens,
                              .n_windows = 1,
                              .n_ctx = N_SCRATCH,
                              .n_ubatch = 32,
                              .n_threads = c->options->n_threads,
                              .reference = "tada:16"};
    int status = trials_run(c->model, &text, &trial, 1, &c->work, NULL);
    c->scratch = (double)trial.scratch;
    return status;
}

static int calibrate_steps(struct calibration *c)
{
    progress_start(&c->work.progress, "calibrate");
    c->work.total = expected_work(c); /* at most: it may turn out to be less */
    int status = calibration_observe(c);
    if (status == 0) {
        status = measure_scratch(c);
    }
    if (status == 0) {
        status = calibration_check_budget(c);
    }
    if (status == 0 && !c->options->paper) {
        status = calibration_measure(c);
    }
    if (status == 0) {
        status = calibration_decide(c);
    }
    progress_clear(&c->work.progress);
    return status;
}

/* --from, as far as the files tell before the model is loaded. */
static int check_from(const struct engine *engine, const struct calibrate_options *options)
{
    tada_plan *from;
    struct model_file model = {0};
    if (!options->from_path) {
        return 0;
    }
    int status = plan_read(options->from_path, &from);
    if (status != 0) {
        return status;
    }
    const tada_plan_info *info = tada_plan_get_info(from);
    bool is_told = info->fingerprint && model_file_read(engine->tool, options->model_path, &model);
    bool is_other = is_told && model.fingerprint && model.fingerprint != info->fingerprint;
    if (is_other) {
        cli_fail("%s is a plan of another model, %s: leave --from away.", options->from_path, info->model);
    }
    model_file_free(&model);
    tada_plan_free(from);
    return is_other ? EXIT_USAGE : 0;
}

static int calibrate_model(struct engine *engine, const struct calibrate_options *options,
                           const struct tasks *tasks)
{
    struct model model;
    struct calibration c = {.model = &model, .options = options};
    int status = model_open(engine, options->model_path, &model);
    if (status != 0) {
        return status;
    }
    if (tasks->n > 0) {
        status = exam_open(&c.exam, &model, tasks);
        status = status ? status : calibration_search_check(&c);
    }
    c.choices = options->paper ? NULL : calloc(1, sizeof *c.choices);
    if (status == 0 && !options->paper && !c.choices) {
        status = cli_fail("Memory is too short for the statistics: close other programs.");
    }
    set_lengths(&c);
    struct eval_options text = {.text_path = options->text_path,
                                .n_ctx = c.n_tokens,
                                .n_ubatch = 32,
                                .n_threads = options->n_threads,
                                .seed = options->seed};
    int n;
    status = status ? status : text_tokens(&model, &text, c.n_tokens, &c.tokens, &n);
    if (status == 0) {
        status = calibrate_steps(&c);
    }
    if (status == EXIT_INTERRUPTED) {
        cli_note(calibration_has_partial(&c) ? "interrupted; the same command goes on from here."
                                             : "interrupted; nothing is kept of what was measured.");
    }
    exam_close(&c.exam);
    free(c.choices);
    tada_plan_free(c.plan);
    free(c.tokens);
    model_close(&model);
    return status;
}

static int calibrate_main(const struct command *self, int argc, char **argv)
{
    struct calibrate_options options = {0};
    struct place default_model;
    char default_plan[PATH_MAX];
    struct engine engine;
    struct tasks tasks = {NULL, 0};
    int status;
    if (!options_parse(self, argc, argv, &options, &status)) {
        return status;
    }
    status = check_options(&options, &default_model, default_plan);
    if (status == 0 && options.tasks_path) {
        status = tasks_read(options.tasks_path, &tasks);
    }
    if (status == 0) {
        status = engine_open(&engine);
    }
    status = status == 0 ? check_from(&engine, &options) : status;
    if (status == 0) {
        interrupt_watch();
        status = calibrate_model(&engine, &options, &tasks);
    }
    tasks_free(&tasks);
    return status;
}
