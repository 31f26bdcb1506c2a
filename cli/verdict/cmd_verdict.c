/* tada verdict: which cache is safe for a model. */
#include "commands.h"
#include "engine/plans.h"
#include "engine/text.h"
#include "find/memory.h"
#include "find/paths.h"
#include "options/arguments.h"
#include "options/numbers.h"
#include "output/json.h"
#include "output/note.h"
#include "tada.h"
#include "verdict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- options ---- */

enum { CELLS_STEP = 256, MAX_CTX = 1 << 24, USUAL_CTX = 4096, UBATCH = 64, MOST_MINUTES = 24 * 60 };

static const double LEAST_MINUTES = 0.1;

static char usual_caches[] = "tada:high,tada,tada:compact,q8_0,q4_0";

static int verdict_main(const struct command *self, int argc, char **argv);

static int set_seed(const char *command, const char *name, char *value, void *values)
{
    struct verdict_options *options = values;
    return take_seed(command, name, value, &options->eval.seed);
}

static int set_minutes(const char *command, const char *name, char *value, void *values)
{
    struct verdict_options *options = values;
    size_t n = number_decimal(value, &options->minutes);
    if (n == 0 || value[n] || options->minutes < LEAST_MINUTES || options->minutes > MOST_MINUTES) {
        return cli_usage(command, "%s takes minutes from %.1f to %d, not '%s'.", name, LEAST_MINUTES,
                         MOST_MINUTES, value);
    }
    return 0;
}

static int add_caches(const char *command, const char *name, char *value, void *values)
{
    struct eval_options *options = &((struct verdict_options *)values)->eval;
    (void)name;
    return take_caches(command, value, options->caches, &options->n_caches, EVAL_MAX_CACHES - 1);
}

#define FIELD(member) .field = offsetof(struct verdict_options, member)

static const struct option_row rows[] = {
    {.names = "-m, --model",
     .value = "MODEL",
     .help = "GGUF file",
     .unset = MODEL_UNSET,
     FIELD(eval.model_path),
     .kind = OPTION_FILE,
     .in_usage = true},
    {.names = "-f, --file",
     .value = "TEXT",
     .help = "text to read, best of the kind that the model is for",
     .unset = "text that the model writes itself",
     FIELD(eval.text_path),
     .kind = OPTION_FILE,
     .in_usage = true},
    {.names = "--cache",
     .value = "SPEC,...",
     .help = "caches to judge, as in 'tada help run'; may be repeated; q8_0 is always among them",
     .usual = "tada:high,tada,tada:compact,q8_0,q4_0",
     .kind = OPTION_CACHES,
     .take = add_caches,
     .in_usage = true},
    {.names = "-c, --ctx-size",
     .value = "N",
     .help = "tokens of the caches, a multiple of 256: as many as you will use",
     .unset = "at most 4096, as the time allows",
     FIELD(eval.n_ctx),
     .kind = OPTION_NUMBER,
     .least = VERDICT_LEAST_CTX,
     .most = MAX_CTX,
     .step = CELLS_STEP},
    {.names = "--minutes",
     .value = "N",
     .help = "how long it may take; one document and one window of text are read in any case",
     .usual = "10",
     .kind = OPTION_TAKEN,
     .take = set_minutes},
    {.names = "-t, --threads",
     .value = "N",
     .help = "threads",
     .unset = "all CPUs",
     FIELD(eval.n_threads),
     .kind = OPTION_NUMBER,
     .least = 1,
     .most = MAX_THREADS},
    {.names = "-s, --seed",
     .value = "N",
     .help = "of documents, pass keys and drawn tokens",
     .usual = "1",
     .kind = OPTION_TAKEN,
     .take = set_seed},
    {.names = "--json",
     .value = "FILE",
     .help = "write the results to FILE, too; -: to standard output, instead of the table",
     FIELD(eval.json_path),
     .kind = OPTION_FILE},
    {.names = "--html",
     .value = "FILE",
     .help = "write a page that shows them",
     FIELD(html_path),
     .kind = OPTION_FILE},
    {.names = "--force",
     .help = "replace the files if they are there already",
     FIELD(eval.rules.replaces),
     .kind = OPTION_SWITCH},
    {.names = "-h, --help", .kind = OPTION_HELP, .help = "print this help and exit"},
    {0},
};

const struct command verdict_command = {
    .name = "verdict",
    .summary = "say which caches are safe for your model",
    .about =
        "Measures within the given minutes what tells most of caches, always against an f16 cache: whether "
        "objects from far back are copied exactly, the KL divergence on a text, long answers that end in a "
        "loop, and pass keys. Each cache is then safe, careful (try it on your own tasks) or no, with the "
        "reasons in numbers and the smallest better cache. A cache is held to what another batch size does "
        "to f16 (the row 'floor') and to q8_0.\n",
    .options = rows,
    .operand_problem = "give the model with -m and the text with -f.",
    .notes = "Ctrl-C prints the verdict of what is done so far.\n"
             "\n"
             "exit status: 0 success, 1 a problem, 2 wrong usage or input, 130 interrupted.\n",
    .measures = true,
    .run = verdict_main,
};

static int set_defaults(struct verdict_options *options, struct place *default_model)
{
    static char yardstick[] = "q8_0";
    struct eval_options *eval = &options->eval;
    int status = 0;
    if (eval->n_caches == 0) {
        status = take_caches("verdict", usual_caches, eval->caches, &eval->n_caches, EVAL_MAX_CACHES);
    }
    status =
        status ? status : take_caches("verdict", yardstick, eval->caches, &eval->n_caches, EVAL_MAX_CACHES);
    status = status ? status : take_default_model("verdict", &eval->model_path, default_model);
    eval->n_threads = eval->n_threads ? eval->n_threads : count_cpus();
    eval->n_ubatch = UBATCH;
    output_keep(&eval->rules, eval->model_path);
    output_keep(&eval->rules, eval->text_path);
    output_keep_plans(&eval->rules, eval->caches, eval->n_caches);
    return status ? status : output_check_both(eval->json_path, options->html_path, &eval->rules);
}

/* ---- the plan ---- */

static int open_lineup(struct verdict *v, int n_ctx)
{
    const struct eval_options *eval = &v->options->eval;
    int status = lineup_open(&v->lineup, v->model, eval, n_ctx);
    if (status == 0) {
        status = lineup_add(&v->lineup, eval, "f16", n_ctx, 2 * eval->n_ubatch);
    }
    if (status == 0 && v->lineup.caches[0].rows_bytes == 0) {
        cli_fail("%s has no key-value cache that could be compressed: there is nothing to choose.",
                 v->model->name);
        status = EXIT_USAGE;
    }
    return status ? status : along_open(&v->along, &v->lineup, eval->n_threads);
}

static void close_lineup(struct verdict *v)
{
    along_close(&v->along);
    lineup_close(&v->lineup);
}

static void no_row(void *context, int position, const float *const *logits)
{
    (void)context;
    (void)position;
    (void)logits;
}

/* What a token takes in all caches, in batches and alone, from a few. */
static int measure_speed(struct verdict *v)
{
    enum { WARM = 2, STEPS = 4, ALONE = 4 };
    struct copy_document document;
    int step = v->along.step, n = STEPS * step;
    int status = copy_make("verdict", v->model, VERDICT_LEAST_CTX, 1, &document);
    status = status ? status : along_read(&v->along, document.tokens, 0, WARM * step, n, no_row, NULL);
    double start = clock_seconds();
    status = status ? status : along_read(&v->along, document.tokens, WARM * step, n, n, no_row, NULL);
    v->read = (clock_seconds() - start) / (n - WARM * step);
    start = clock_seconds();
    for (int i = 0; i < ALONE; i++) {
        for (int cache = 0; cache < v->lineup.n && status == 0; cache++) {
            status = cache_decode(&v->lineup.caches[cache], document.tokens + n + i, 1, n + i, 1);
        }
    }
    v->single = (clock_seconds() - start) / ALONE;
    copy_free(&document);
    return status;
}

/* All caches at once, as those of the smallest context say. */
static int check_memory(const struct verdict *v, int n_ctx)
{
    double needed = 0, available = memory_available();
    for (int i = 0; i < v->lineup.n; i++) {
        needed += (double)cache_bytes(&v->lineup.caches[i]) * n_ctx / VERDICT_LEAST_CTX;
    }
    if (available >= 0 && needed > available) {
        cli_fail("All caches at once need %.0f MiB, and %.0f MiB are free: use a smaller context (-c), or "
                 "judge fewer "
                 "caches at once (--cache).",
                 needed / 1048576, available / 1048576);
        return EXIT_USAGE;
    }
    return 0;
}

/* The largest context of which several documents can be read in the time, or the one that was asked for. */
static int choose_context(const struct verdict *v, double seconds)
{
    int trained = v->model->engine->llama_model_n_ctx_train(v->model->llama), n_ctx = v->options->eval.n_ctx;
    if (n_ctx == 0) {
        n_ctx = USUAL_CTX;
        while (n_ctx > VERDICT_LEAST_CTX && (n_ctx > trained || n_ctx * v->read > seconds / 16)) {
            n_ctx /= 2;
        }
    }
    if (n_ctx > trained) {
        cli_note("the model knows texts of %d tokens only: a context of %d shows it out of its depth.",
                 trained, n_ctx);
    }
    return n_ctx;
}

/* The first pieces of all tasks. The more a task tells of what users meet, the larger its share. */
static void plan_turns(struct verdict *v)
{
    double document = v->read * v->n_ctx;
    v->n_answer = v->n_ctx / 4 < 384 ? v->n_ctx / 4 : 384;
    v->n_prompt = v->n_ctx - v->n_answer;
    v->turns[TASK_COPY] = (struct turn){.share = 4, .expect = document, .most = 1000};
    v->turns[TASK_TEXT] = (struct turn){.share = 3, .expect = document, .most = v->n_windows};
    v->turns[TASK_LONG] = (struct turn){.share = 2,
                                        .expect = document + v->single * v->n_answer,
                                        .most = v->n_windows > 0 ? MOST_ANSWERS : 0};
    v->turns[TASK_KEYS] = (struct turn){.share = 1, .expect = document, .most = MOST_KEYS};
}

/* Of the file, or written by the model, if that leaves time for the rest. */
static int take_text(struct verdict *v, double seconds)
{
    struct eval_options eval = v->options->eval;
    int n = 0, n_wanted = v->n_ctx;
    eval.n_ctx = v->n_ctx;
    double writing = v->single / v->lineup.n * v->n_ctx; /* f16 alone */
    if (!eval.text_path && writing > seconds / 4) {
        cli_note(
            "the model would take %.0f minutes to write a text of %d tokens: it is judged without one; give "
            "one with -f.",
            writing / 60, v->n_ctx);
        return 0;
    }
    for (int windows = 2; !eval.text_path && windows <= 4 && windows * writing < seconds / 8; windows++) {
        n_wanted = windows * v->n_ctx;
    }
    int status = text_tokens(v->model, &eval, n_wanted, &v->text, &n);
    v->n_windows = status == 0 ? n / v->n_ctx : 0;
    return status;
}

/* Measures the speed with small caches, chooses the context, and opens caches of that size. */
static int prepare(struct verdict *v, double seconds)
{
    int status = open_lineup(v, VERDICT_LEAST_CTX);
    status = status ? status : measure_speed(v);
    if (status == 0) {
        v->n_ctx = choose_context(v, seconds);
        status = check_memory(v, v->n_ctx);
    }
    status = status ? status : take_text(v, seconds);
    close_lineup(v);
    status = status ? status : open_lineup(v, v->n_ctx);
    if (status == 0) {
        plan_turns(v);
    }
    return status;
}

/* ---- the run ---- */

/* One document and one window are read in any case: without them nothing could be said. */
static int next_task(const struct verdict *v, double left)
{
    int task = schedule_next(v->turns, N_TASKS, left);
    for (int i = TASK_COPY; i <= TASK_TEXT && task < 0; i++) {
        if (v->turns[i].done == 0 && v->turns[i].most > 0) {
            task = i;
            cli_note(
                "a document of %d tokens takes longer than the time that is left: give more --minutes, or a "
                "smaller -c.",
                v->n_ctx);
        }
    }
    return task;
}

static int run_pieces(struct verdict *v, double seconds)
{
    static const char *const details[N_TASKS] = {"copying", "text", "long answers", "pass keys"};
    int status = 0;
    progress_start(&v->work.progress, "verdict");
    v->along.work = &v->work;
    v->work.total = seconds / v->read * v->lineup.n;
    while (status == 0 && !interrupted()) {
        double now = clock_seconds() - v->started;
        int task = next_task(v, seconds - now);
        if (task < 0) {
            break;
        }
        v->work.detail = details[task];
        v->work.done = now / seconds * v->work.total;
        progress_show(&v->work.progress, v->work.done, v->work.total, v->work.detail);
        status = task_piece(v, (enum task)task);
        if (status == 0) {
            schedule_count(&v->turns[task], clock_seconds() - v->started - now);
        }
    }
    progress_clear(&v->work.progress);
    return status == 0 && interrupted() ? EXIT_INTERRUPTED : status;
}

static int write_report(const struct verdict *v, const struct opinion *opinions, bool complete)
{
    const struct verdict_options *options = v->options;
    const char *path = options->eval.text_path, *slash = path ? strrchr(path, '/') : NULL;
    cJSON *report = cJSON_CreateObject();
    cJSON_AddStringToObject(report, "version", tada_version());
    report_add_text(report, "model", v->model->name);
    report_add_text(report, "text", slash ? slash + 1 : path);
    cJSON_AddNumberToObject(report, "seed", options->eval.seed);
    cJSON_AddNumberToObject(report, "n_threads", options->eval.n_threads);
    cJSON_AddNumberToObject(report, "minutes", options->minutes);
    cJSON_AddNumberToObject(report, "seconds", v->seconds);
    verdict_report(v, opinions, complete, report);
    int status = report_write(report, options->eval.json_path, &options->eval.rules);
    cJSON_Delete(report);
    return status;
}

static int show(struct verdict *v, bool complete)
{
    struct opinion opinions[VERDICT_MOST];
    int status = 0;
    opinions_of(v, opinions);
    if (!output_is_stdout(v->options->eval.json_path) && !output_is_stdout(v->options->html_path)) {
        verdict_print(v, opinions, complete);
    }
    if (v->options->eval.json_path) {
        status = write_report(v, opinions, complete);
    }
    if (status == 0 && v->options->html_path) {
        status = verdict_page(v, opinions, complete);
    }
    return status;
}

static void close_verdict(struct verdict *v)
{
    copy_scores_free(&v->copies);
    for (int i = 0; i < VERDICT_MOST; i++) {
        free(v->texts[i].list);
        free(v->longs[i].list);
    }
    free(v->text);
    close_lineup(v);
    free(v);
}

static int judge_model(const struct verdict_options *options, const struct model *model)
{
    struct verdict *v = calloc(1, sizeof *v);
    double seconds = 60 * options->minutes;
    if (!v) {
        return cli_fail("Memory is too short: close other programs.");
    }
    v->options = options;
    v->model = model;
    v->started = clock_seconds();
    int status = prepare(v, seconds);
    status = status ? status : run_pieces(v, seconds);
    v->seconds = clock_seconds() - v->started;
    bool anything = false;
    for (int i = 0; i < N_TASKS; i++) {
        anything = anything || v->turns[i].done > 0;
    }
    if (status == EXIT_INTERRUPTED && !anything) {
        cli_note("interrupted before anything was measured.");
    } else if (status == 0 || status == EXIT_INTERRUPTED) {
        int shown = show(v, status == 0);
        status = shown ? shown : status;
    }
    close_verdict(v);
    return status;
}

static int verdict_main(const struct command *self, int argc, char **argv)
{
    struct verdict_options options;
    struct place default_model;
    struct engine engine;
    struct model model;
    int status;
    memset(&options, 0, sizeof options);
    if (!options_parse(self, argc, argv, &options, &status)) {
        return status;
    }
    struct eval_options *eval = &options.eval;
    status = set_defaults(&options, &default_model);
    status = status ? status : engine_open(&engine);
    status = status ? status : plans_check(engine.tool, eval->model_path, eval->caches, eval->n_caches);
    if (status == 0) {
        interrupt_watch();
        status = model_open(&engine, eval->model_path, &model);
    }
    if (status == 0) {
        impossible_sift(&model, eval->caches, &eval->n_caches, &eval->impossible);
        status = judge_model(&options, &model);
        model_close(&model);
    }
    return status;
}
