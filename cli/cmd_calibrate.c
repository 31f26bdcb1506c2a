/* tada calibrate: the best cache for a model and a budget. */
#include "arguments.h"
#include "calibration.h"
#include "cli.h"
#include "eval.h"
#include "output.h"
#include "plan_report.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char calibrate_help[] =
    "usage: tada calibrate [-m MODEL] [-f TEXT] [--budget PERCENT | --max-kld X] -o PLAN.gguf [OPTIONS...]\n"
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
    "  -o, --output FILE   the plan\n"
    "  --report FILE.html  a page that shows the plan and what it was compared with\n"
    "  -c, --ctx-size N    context that the budget is for, a multiple of 256 (default: 4096)\n"
    "  --sample N          tokens that each layer is measured on (default: 2048, or 1024 from 300 million\n"
    "                      weights on)\n"
    "  --from PLAN         take the sensitivities from a plan of the same model: another budget, quickly\n"
    "  --method paper      random search over 2, 4 or 8 bits per layer, as in the paper, instead\n"
    "  --trials N          of the random search (default: 32)\n"
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
    OPT_REPORT
};

/* ---- options ---- */

static int take_share(const char *text, double *share)
{
    char *end;
    double percent = strtod(text, &end);
    end += *end == '%';
    if (end == text || *end || !(percent >= 5 && percent <= 100)) {
        return cli_usage("calibrate", "--budget takes percents of the f16 cache from 5 to 100, not '%s'.",
                         text);
    }
    *share = percent / 100;
    return 0;
}

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
    case OPT_SAMPLE:
        return take_int("calibrate", "--sample", value, CELLS_STEP, 8192, &options->n_sample);
    case OPT_FROM:
        options->from_path = value;
        return 0;
    case OPT_BUDGET:
        return take_share(value, &options->budget);
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
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int status = 0;
    opterr = 0;
    for (int option;
         status == 0 && (option = getopt_long(argc, argv, ":m:f:o:c:t:h", long_options, NULL)) != -1;) {
        if (option == 'h') {
            *help = true;
            return 0;
        }
        if (option == ':') {
            status = cli_usage("calibrate", "%s needs a value.", argv[optind - 1]);
        } else if (option == '?') {
            status = cli_usage("calibrate", "Unknown option '%s'.", argv[optind - 1]);
        } else {
            status = set_option(options, option, optarg);
        }
    }
    if (status == 0 && optind < argc) {
        status = cli_usage("calibrate", "'%s' is not expected: give the plan with -o.", argv[optind]);
    }
    return status;
}

static int check_options(struct calibrate_options *options, struct place *default_model)
{
    if (!options->plan_path) {
        return cli_usage("calibrate", "Where the plan goes is missing: give a file with -o.");
    }
    if (options->budget > 0 && options->max_kld > 0) {
        return cli_usage("calibrate", "--budget and --max-kld exclude each other: give one.");
    }
    if (options->max_kld > 0 && options->paper) {
        return cli_usage("calibrate", "--method paper needs a --budget.");
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
        status = output_check(options->plan_path);
    }
    return status == 0 && options->report_path ? output_check(options->report_path) : status;
}

/* ---- the decision ---- */

enum { MOST_CANDIDATES = 7, BUDGETS = 4 };

/* Plans and specs that the second half of the text decides between, and stock caches to compare with. */
struct decision {
    struct trial trials[MOST_CANDIDATES + 2];
    tada_plan *plans[MOST_CANDIDATES];
    char equal[64];
    int n, n_plans;
    size_t f16_bytes;
};

static void add_plan(struct decision *d, const char *name, tada_plan *plan)
{
    d->plans[d->n_plans++] = plan;
    d->trials[d->n++] = (struct trial){.spec = name, .plan = plan};
}

static int add_candidates(struct calibration *c, double budget, struct decision *d)
{
    /* For fewer heads a mean of 8 bits costs more than a bit a value, which is more than it can save. */
    enum { FEWEST_HEADS = 8 };
    static const struct {
        const char *name;
        struct way way;
    } ways[] = {{"plan, window 64", {0.75, 64, TADA_CENTRE_NONE}},
                {"plan, no window", {0.75, 0, TADA_CENTRE_NONE}},
                {"plan, steep", {1, 0, TADA_CENTRE_NONE}},
                {"plan, even", {0.5, 64, TADA_CENTRE_NONE}},
                {"plan, head means", {0.75, 64, TADA_CENTRE_HEADS8}},
                {"plan, head means, even", {0.5, 0, TADA_CENTRE_HEADS8}}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways && !c->options->paper; i++) {
        if (ways[i].way.centring != TADA_CENTRE_NONE && c->n_heads_kv < FEWEST_HEADS) {
            continue;
        }
        tada_plan *plan = plan_copy(c->plan);
        if (!plan) {
            return cli_fail("Memory is too short for the plan: close other programs.");
        }
        if (calibration_allocate(c, budget, &ways[i].way, plan)) {
            add_plan(d, ways[i].name, plan);
        } else {
            tada_plan_free(plan);
        }
    }
    if (c->options->paper) {
        tada_plan *plan = plan_copy(c->plan);
        int status = plan ? calibration_search(c, budget, plan)
                          : cli_fail("Memory is too short for the plan: close other programs.");
        if (status != 0) {
            tada_plan_free(plan);
            return status;
        }
        add_plan(d, "plan", plan);
    }
    if (d->n_plans == 0) {
        cli_fail("No cache of this model comes to %.1f %% at a context of %d: use a larger --budget.",
                 100 * budget, c->options->n_ctx);
        return EXIT_USAGE;
    }
    if (c->options->paper) {
        snprintf(d->equal, sizeof d->equal, "tada:paper");
    } else {
        calibration_equal_spec(c, budget, d->equal, sizeof d->equal);
    }
    if (*d->equal) {
        d->trials[d->n++] = (struct trial){.spec = d->equal};
    }
    d->trials[d->n++] = (struct trial){.spec = "q8_0"};
    d->trials[d->n++] = (struct trial){.spec = "q4_0"};
    return 0;
}

static int decide(struct calibration *c, double budget, struct decision *d)
{
    struct trial_text text = {.tokens = c->tokens + c->n_tokens / 2,
                              .n_windows = 1,
                              .n_ctx = c->check,
                              .n_ubatch = 32,
                              .n_threads = c->options->n_threads,
                              .reference = "f16"};
    memset(d, 0, sizeof *d);
    int status = add_candidates(c, budget, d);
    c->work.detail = "checking the plans";
    return status == 0 ? trials_run(c->model, &text, d->trials, d->n, &c->work, &d->f16_bytes) : status;
}

static void forget(struct decision *d)
{
    for (int i = 0; i < d->n_plans; i++) {
        tada_plan_free(d->plans[i]);
    }
}

/* Of f16's bytes at the context that the plan is for. */
static double memory_of(const struct calibration *c, const struct decision *d, const struct trial *trial)
{
    double f16, bytes;
    tada_spec spec;
    tada_plan *plan = trial->plan ? NULL : plan_copy(c->plan);
    if (!trial->plan && (tada_spec_parse(trial->spec, &spec, NULL) != TADA_OK || spec.stock || !plan)) {
        tada_plan_free(plan);
        return d->f16_bytes ? (double)trial->bytes / (double)d->f16_bytes : 0;
    }
    if (plan) {
        plan_follow(plan, &spec);
    }
    bytes = plan_bytes(trial->plan ? trial->plan : plan, c->options->n_ctx, &f16) + (double)trial->scratch;
    tada_plan_free(plan);
    return bytes / f16;
}

/* The plan to write: the best candidate; when a simple spec is better, that spec. `d` keeps the others. */
static tada_plan *conclude(struct calibration *c, struct decision *d, int *best)
{
    int n_own = d->n - 2; /* the stock caches come last */
    *best = 0;
    for (int i = 1; i < n_own; i++) {
        *best = d->trials[i].kld.value < d->trials[*best].kld.value ? i : *best;
    }
    if (c->options->paper) {
        *best = 0;
    }
    tada_plan *plan = plan_copy(d->trials[*best].plan ? d->trials[*best].plan : c->plan);
    tada_spec spec;
    if (plan && !d->trials[*best].plan && tada_spec_parse(d->trials[*best].spec, &spec, NULL) == TADA_OK) {
        plan_follow(plan, &spec);
    }
    for (int i = 0; plan && i < d->n; i++) {
        tada_plan_point *point = &plan->points[plan->n_points++];
        snprintf(point->cache, sizeof point->cache, "%s", i == *best ? "plan" : d->trials[i].spec);
        point->memory = memory_of(c, d, &d->trials[i]);
        point->kld = d->trials[i].kld.value;
        point->kld_se = d->trials[i].kld.error;
    }
    return plan;
}

static void print_result(const struct calibration *c, const tada_plan *plan, bool simple, const char *spec)
{
    printf("%-24s %8s  %9s\n", "cache", "memory", "KLD");
    for (int i = 0; i < plan->n_points; i++) {
        const tada_plan_point *point = &plan->points[i];
        printf("%-24s %6.1f %%  %9.5f +- %.5f\n", point->cache, 100 * point->memory, point->kld,
               point->kld_se);
    }
    if (simple) {
        printf("A simple spec was better than the plans: %s holds the same as %s.\n", c->options->plan_path,
               spec);
    }
    printf("Written: %s. Use it with --cache tada:@%s\n", c->options->plan_path, c->options->plan_path);
}

static int write_plan(struct calibration *c, struct decision *d)
{
    tada_error error;
    int best;
    tada_plan *plan = conclude(c, d, &best);
    if (!plan) {
        return cli_fail("Memory is too short for the plan: close other programs.");
    }
    int status = 0;
    if (c->model->engine->plan_write(plan, c->options->plan_path, &error) != TADA_OK) {
        status = cli_fail("%s", error.text);
    } else {
        char partial[PATH_MAX];
        calibration_partial_path(c, partial);
        unlink(partial);
        print_result(c, plan, !d->trials[best].plan, d->trials[best].spec);
    }
    if (status == 0 && c->options->report_path) {
        status = plan_report_write(plan, c->options->report_path);
    }
    tada_plan_free(plan);
    return status;
}

/* The least that any plan can keep. */
static double least_budget(const struct calibration *c)
{
    tada_plan *plan = plan_copy(c->plan);
    double budget = 0.1;
    while (plan && budget < 1 &&
           !calibration_allocate(c, budget, &(struct way){0.75, 0, TADA_CENTRE_NONE}, plan)) {
        budget += 0.005;
    }
    tada_plan_free(plan);
    return budget;
}

/* The smallest budget whose plan is good enough, by halving. */
static int find_budget(struct calibration *c, double *budget)
{
    double low = least_budget(c), high = fmax(0.6, low);
    int status = 0;
    for (int i = 0; i < BUDGETS && status == 0; i++) {
        struct decision d;
        double middle = (low + high) / 2, least = INFINITY;
        status = decide(c, middle, &d);
        for (int j = 0; status == 0 && j < d.n - 2; j++) {
            least = fmin(least, d.trials[j].kld.value);
        }
        *(least <= c->options->max_kld ? &high : &low) = middle;
        forget(&d);
    }
    *budget = high;
    return status;
}

/* ---- the run ---- */

/* Larger models get shorter samples: the time must stay within minutes. */
static void set_lengths(struct calibration *c)
{
    uint64_t n = c->model->engine->llama_model_n_params(c->model->llama);
    c->sample = c->options->n_sample ? c->options->n_sample : n < 300000000 ? 2048 : 1024;
    c->check = c->options->n_ctx < MOST_CHECK ? c->options->n_ctx : MOST_CHECK;
    int least = c->sample > c->check ? c->sample : c->check;
    /* A text that the model has to write first is kept short. */
    int half = c->options->text_path && c->options->n_ctx > least ? c->options->n_ctx : least;
    c->n_tokens = 2 * (half < MOST_HALF || half == least ? half : MOST_HALF);
}

static double expected_work(const struct calibration *c)
{
    /* Of each of the candidates, the stock caches and f16. */
    double check = (MOST_CANDIDATES + 3.0) * c->check * (c->options->max_kld > 0 ? 1 + BUDGETS : 1);
    return c->n_tokens / 2 + check +
           calibration_tokens(c, c->options->paper ? c->options->n_trials : 2 * c->plan->n_layers);
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
    struct decision d = {0};
    double budget = c->options->budget;
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
    if (status == 0 && c->options->max_kld > 0) {
        status = find_budget(c, &budget);
    }
    if (status == 0) {
        status = decide(c, budget, &d);
    }
    progress_clear(&c->work.progress);
    if (status == 0) {
        status = write_plan(c, &d);
    }
    forget(&d);
    return status;
}

static int run(struct engine *engine, const struct calibrate_options *options)
{
    struct model model;
    struct calibration c = {.model = &model, .options = options};
    int status = model_open(engine, options->model_path, &model);
    if (status != 0) {
        return status;
    }
    set_lengths(&c);
    struct eval_options text = {.text_path = options->text_path,
                                .n_ctx = c.n_tokens,
                                .n_ubatch = 32,
                                .n_threads = options->n_threads,
                                .seed = options->seed};
    int n;
    status = text_tokens(&model, &text, c.n_tokens, &c.tokens, &n);
    if (status == 0) {
        status = calibrate(&c);
    }
    if (status == EXIT_INTERRUPTED) {
        fprintf(stderr, "tada: interrupted; the same command goes on from here.\n");
    }
    tada_plan_free(c.plan);
    free(c.tokens);
    model_close(&model);
    return status;
}

int calibrate_main(const struct command *self, int argc, char **argv)
{
    struct calibrate_options options = {.n_ctx = 4096, .n_trials = 32, .seed = 1};
    struct place default_model;
    struct engine engine;
    bool help = false;
    int status = parse_arguments(argc, argv, &options, &help);
    if (help) {
        fputs(self->help, stdout);
        return 0;
    }
    if (status == 0) {
        status = check_options(&options, &default_model);
    }
    if (status == 0) {
        status = engine_open(&engine);
    }
    if (status == 0) {
        interrupt_watch();
        status = run(&engine, &options);
    }
    return status;
}
