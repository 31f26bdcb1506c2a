/* tada calibrate: the best cache for a model and a budget. */
#include "arguments.h"
#include "calibration.h"
#include "cli.h"
#include "eval.h"
#include "output.h"
#include "plans.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char calibrate_help[] =
    "usage: tada calibrate [-m MODEL] [-f TEXT] [--budget PERCENT | --max-kld X] [-o PLAN.gguf] "
    "[OPTIONS...]\n"
    "\n"
    "Finds the best cache for a model and a budget: measures how sensitive each layer is, shares the bits\n"
    "out, and writes a plan. Use it as --cache tada:@PLAN.gguf or TADA_CACHE=tada:@PLAN.gguf. The first\n"
    "half of the text is learnt from; the second half decides between the plan and a simple spec of the\n"
    "same size. An interrupted calibration goes on where it was when it is started again.\n"
    "\n"
    "options:\n"
    "  -m, --model MODEL   GGUF file (default: the one that the TaDA build fetched)\n"
    "  -f, --file TEXT     text to learn from (default: text that the model writes itself)\n"
    "  --budget PERCENT    memory, of that of the f16 cache, everything counted (default: 25%)\n"
    "  --max-kld X         instead: the smallest cache whose mean KL divergence is at most X nats\n"
    "  -o, --output FILE   the plan (default: one named after the model and the budget in the folder of "
    "plans,\n"
    "                      where 'tada serve' finds it; see 'tada help serve')\n"
    "  --report FILE.html  a page that shows the plan and what it was compared with\n"
    "  -c, --ctx-size N    context that the budget is for, a multiple of 256 (default: 4096)\n"
    "  --sample N          tokens that each layer is measured on (default: 2048, or 1024 from 300 million\n"
    "                      weights on)\n"
    "  --from PLAN         take the sensitivities from a plan of the same model: another budget, quickly\n"
    "  --method paper      random search over 2, 4 or 8 bits per layer, as in the paper, instead\n"
    "  --trials N          of the random search (default: 32)\n"
    "  --tasks FILE        score the random search on these tasks, in place of the KL divergence: on each "
    "line\n"
    "                      {\"prompt\": ..., \"answer\": ...}, which are joined as they are, with "
    "\"choices\": [...]\n"
    "                      where the answer is one of several; most right answers win, of equals the "
    "likelier\n"
    "  --seed N            of the random search and of text that the model writes (default: 1)\n"
    "  -t, --threads N     threads (default: all CPUs)\n"
    "  -h, --help          print this help and exit\n"
    "\n"
    "exit status: 0 success, 1 a problem, 2 wrong usage or input, 130 interrupted.\n";

enum { CELLS_STEP = 256, MAX_CTX = 1 << 24, MOST_CHECK = 2048, MOST_HALF = 8192 };

enum option_code {
    OPT_BUDGET = 256,
    OPT_MAX_KLD,
    OPT_METHOD,
    OPT_TRIALS,
    OPT_SEED,
    OPT_FROM,
    OPT_SAMPLE,
    OPT_REPORT,
    OPT_TASKS
};

/* ---- options ---- */

static int take_divergence(const char *text, double *kld)
{
    char *end;
    *kld = strtod(text, &end);
    if (end == text || *end || !(*kld > 0 && *kld < 100)) {
        return cli_usage("calibrate", "--max-kld takes a number of nats such as 0.003, not '%s'.", text);
    }
    return 0;
}

static int set_option(struct calibrate_options *options, int option, char *value)
{
    long long seed;
    int status;
    switch (option) {
    case 'm':
        options->model_path = value;
        return 0;
    case 'f':
        options->text_path = value;
        return 0;
    case 'o':
        options->plan_path = value;
        return 0;
    case 'c':
        return take_int("calibrate", "-c", value, 4 * CELLS_STEP, MAX_CTX, &options->n_ctx);
    case 't':
        return take_int("calibrate", "-t", value, 1, MAX_THREADS, &options->n_threads);
    case OPT_REPORT:
        options->report_path = value;
        return 0;
    case OPT_TASKS:
        options->tasks_path = value;
        return 0;
    case OPT_SAMPLE:
        return take_int("calibrate", "--sample", value, CELLS_STEP, 8192, &options->n_sample);
    case OPT_FROM:
        options->from_path = value;
        return 0;
    case OPT_BUDGET:
        return take_share("calibrate", value, &options->budget);
    case OPT_MAX_KLD:
        return take_divergence(value, &options->max_kld);
    case OPT_TRIALS:
        return take_int("calibrate", "--trials", value, 1, 100000, &options->n_trials);
    case OPT_SEED:
        status = take_number("calibrate", "--seed", value, 0, UINT32_MAX, &seed);
        options->seed = status == 0 ? (uint32_t)seed : options->seed;
        return status;
    default:
        options->paper = strcmp(value, "paper") == 0;
        return options->paper || strcmp(value, "tada") == 0
                   ? 0
                   : cli_usage("calibrate", "--method takes tada or paper, not '%s'.", value);
    }
}

static int parse_arguments(int argc, char **argv, struct calibrate_options *options, bool *help)
{
    static const struct option long_options[] = {
        {"model", required_argument, NULL, 'm'},
        {"file", required_argument, NULL, 'f'},
        {"output", required_argument, NULL, 'o'},
        {"ctx-size", required_argument, NULL, 'c'},
        {"threads", required_argument, NULL, 't'},
        {"budget", required_argument, NULL, OPT_BUDGET},
        {"max-kld", required_argument, NULL, OPT_MAX_KLD},
        {"method", required_argument, NULL, OPT_METHOD},
        {"trials", required_argument, NULL, OPT_TRIALS},
        {"seed", required_argument, NULL, OPT_SEED},
        {"from", required_argument, NULL, OPT_FROM},
        {"sample", required_argument, NULL, OPT_SAMPLE},
        {"report", required_argument, NULL, OPT_REPORT},
        {"tasks", required_argument, NULL, OPT_TASKS},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option, status = 0;
    while (status == 0 &&
           (status = next_option("calibrate", argc, argv, ":m:f:o:c:t:h", long_options, &option)) == 0 &&
           option != -1) {
        if (option == 'h') {
            *help = true;
            return 0;
        }
        status = set_option(options, option, optarg);
    }
    if (status == 0 && optind < argc) {
        status = cli_usage("calibrate", "'%s' is not expected: give the plan with -o.", argv[optind]);
    }
    return status;
}

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
    if (options->budget > 0 && options->max_kld > 0) {
        return cli_usage("calibrate", "--budget and --max-kld exclude each other: give one.");
    }
    if (options->max_kld > 0 && options->paper) {
        return cli_usage("calibrate", "--method paper needs a --budget.");
    }
    if (options->tasks_path && !options->paper) {
        return cli_usage("calibrate", "--tasks goes with --method paper.");
    }
    if (options->n_ctx % CELLS_STEP != 0) {
        return cli_usage("calibrate", "-c takes a multiple of %d: use %d.", CELLS_STEP,
                         (options->n_ctx / CELLS_STEP + 1) * CELLS_STEP);
    }
    if (options->budget == 0 && options->max_kld == 0) {
        options->budget = 0.25;
    }
    options->n_threads = options->n_threads ? options->n_threads : count_cpus();
    int status = take_default_model("calibrate", &options->model_path, default_model);
    if (status == 0) {
        status = take_default_plan(options, default_plan);
    }
    if (status == 0) {
        status = output_check(options->plan_path);
    }
    return status == 0 && options->report_path ? output_check(options->report_path) : status;
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
    return c->n_tokens / 2 + calibration_decision_tokens(c) +
           (c->options->paper ? calibration_search_tokens(c) : calibration_tokens(c, 2 * c->plan->n_layers));
}

/* What a context takes beside its planes, from the default cache. */
static int measure_scratch(struct calibration *c)
{
    struct trial trial = {.spec = "tada"};
    struct trial_text text = {.tokens = c->tokens,
                              .n_windows = 1,
                              .n_ctx = 512,
                              .n_ubatch = 32,
                              .n_threads = c->options->n_threads,
                              .reference = "tada:16"};
    int status = trials_run(c->model, &text, &trial, 1, &c->work, NULL);
    c->scratch = (double)trial.scratch;
    return status;
}

static int calibrate(struct calibration *c)
{
    progress_start(&c->work.progress, "calibrate");
    c->work.total = c->n_tokens * 4;
    int status = calibration_observe(c);
    if (status == 0) {
        c->work.total = expected_work(c);
        status = measure_scratch(c);
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

static int run(struct engine *engine, const struct calibrate_options *options, const struct tasks *tasks)
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
        status = calibrate(&c);
    }
    if (status == EXIT_INTERRUPTED) {
        fprintf(stderr, "tada: interrupted; the same command goes on from here.\n");
    }
    exam_close(&c.exam);
    free(c.choices);
    tada_plan_free(c.plan);
    free(c.tokens);
    model_close(&model);
    return status;
}

int calibrate_main(const struct command *self, int argc, char **argv)
{
    struct calibrate_options options = {.n_ctx = 4096, .n_trials = 32, .seed = 1};
    struct place default_model;
    char default_plan[PATH_MAX];
    struct engine engine;
    struct tasks tasks = {NULL, 0};
    bool help = false;
    int status = parse_arguments(argc, argv, &options, &help);
    if (help) {
        fputs(self->help, stdout);
        return 0;
    }
    if (status == 0) {
        status = check_options(&options, &default_model, default_plan);
    }
    if (status == 0 && options.tasks_path) {
        status = tasks_read(options.tasks_path, &tasks);
    }
    if (status == 0) {
        status = engine_open(&engine);
    }
    if (status == 0) {
        interrupt_watch();
        status = run(&engine, &options, &tasks);
    }
    tasks_free(&tasks);
    return status;
}
