/*
 * Perplexity and KL divergence of every cache from the f16 one. All caches read the same text side by side,
 * so that no more logits are kept than those of one step, and that all are equally far when it is broken off.
 */
#include "engine/softmax.h"
#include "engine/text.h"
#include "eval.h"
#include "find/memory.h"
#include "output/note.h"
#include "output/progress.h"
#include "scores.h"
#include "team.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SCORES = FIRST_CACHE + EVAL_MAX_CACHES };

/* ---- rows of logits ---- */

/* ---- the run ---- */

struct run {
    const struct model *model;
    const struct eval_options *options;
    int n_scores, step; /* tokens of one step */
    struct cache caches[MAX_SCORES];
    struct scores scores[MAX_SCORES];
    const float **logits;         /* [n_scores][step] rows of one step */
    struct softmax *base_softmax; /* [step] */
    const llama_token *next;      /* the token after each row of a step */
    llama_token *window;          /* [n_ctx] */
    size_t n_scored, n_to_score;
    thread_team *team;
};

static struct cache_options options_of(const struct run *run, int i, int n_cells)
{
    const struct eval_options *options = run->options;
    return (struct cache_options){.spec = i >= FIRST_CACHE ? options->caches[i - FIRST_CACHE] : "f16",
                                  .n_ctx = n_cells,
                                  .n_batch = run->step,
                                  .n_ubatch = i == FLOOR ? run->step : options->n_ubatch,
                                  .n_threads = options->n_threads};
}

/* The bytes of cache i with few cells, before anything was computed. */
static int small_bytes(const struct run *run, int i, int n_cells, double *bytes)
{
    struct cache cache;
    struct cache_options options = options_of(run, i, n_cells);
    int status = cache_open(run->model, &options, &cache);
    if (status == 0) {
        *bytes = (double)cache_bytes(&cache);
        cache_close(&cache);
    }
    return status;
}

/* What the context of cache i will take: two small ones tell what a cell costs; logits come on top. */
static int expect_bytes(const struct run *run, int i, double *bytes)
{
    int n_small = run->step > 512 ? run->step : 512;
    double one, two;
    int status = small_bytes(run, i, n_small, &one);
    if (status == 0) {
        status = small_bytes(run, i, 2 * n_small, &two);
    }
    if (status == 0) {
        double cache = one + (two - one) * ((double)run->options->n_cells / n_small - 1);
        *bytes = (cache > 0 ? cache : 0) + 3.0 * run->step * run->model->n_vocab * sizeof(float);
    }
    return status;
}

/* Also finds out whether the model can have all these caches. */
static int check_memory(const struct run *run)
{
    double available = memory_available(), needed = 0;
    int n_fitting = 0;
    for (int i = 0; i < run->n_scores; i++) {
        double bytes;
        int status = expect_bytes(run, i, &bytes);
        if (status != 0) {
            return status;
        }
        needed += bytes;
        n_fitting += needed <= available;
    }
    if (available < 0 || n_fitting == run->n_scores) {
        return 0;
    }
    if (n_fitting <= FIRST_CACHE) {
        cli_fail("All caches at once need %.0f MiB, and %.0f MiB are free: use a smaller context (-c).",
                 needed / 1048576, available / 1048576);
    } else {
        cli_fail("All caches at once need %.0f MiB, and %.0f MiB are free: measure at most %d at once "
                 "(--cache), or use a smaller context (-c).",
                 needed / 1048576, available / 1048576, n_fitting - FIRST_CACHE);
    }
    return EXIT_USAGE;
}

static int open_caches(struct run *run)
{
    int status = 0;
    for (int i = 0; i < run->n_scores && status == 0; i++) {
        struct cache_options options = options_of(run, i, run->options->n_cells);
        status = cache_open(run->model, &options, &run->caches[i]);
        if (status == 0) {
            status = scores_open(&run->scores[i], i == FLOOR ? "floor" : options.spec, run->n_to_score);
        }
    }
    size_t step = (size_t)run->step, n_scores = (size_t)run->n_scores;
    run->logits = malloc(n_scores * step * sizeof *run->logits);
    run->base_softmax = malloc(step * sizeof *run->base_softmax);
    run->window = malloc((size_t)run->options->n_ctx * sizeof *run->window);
    run->team = team_create(run->options->n_threads);
    if (status == 0 && (!run->logits || !run->base_softmax || !run->window || !run->team)) {
        status = cli_fail("Memory is too short: use a smaller context (-c).");
    }
    return status;
}

static void close_run(struct run *run)
{
    for (int i = 0; i < run->n_scores; i++) {
        cache_close(&run->caches[i]);
        scores_close(&run->scores[i]);
    }
    free(run->logits);
    free(run->base_softmax);
    free(run->window);
    team_free(run->team);
}

static void weigh_base(void *context, int thread, int64_t row)
{
    struct run *run = context;
    (void)thread;
    run->base_softmax[row] = softmax_of(run->logits[row], run->model->n_vocab);
}

static void score_row(void *context, int thread, int64_t number)
{
    struct run *run = context;
    int row = (int)(number / run->n_scores), i = (int)(number % run->n_scores), n_vocab = run->model->n_vocab;
    const float *base = run->logits[row], *logits = run->logits[i * run->step + row];
    const struct softmax *base_softmax = &run->base_softmax[row];
    struct softmax softmax = i == REFERENCE ? *base_softmax : softmax_of(logits, n_vocab);
    size_t token = run->n_scored + (size_t)row;
    (void)thread;
    run->scores[i].nll[token] = softmax.log_sum - logits[run->next[row]];
    run->scores[i].same[token] = softmax.top == base_softmax->top;
    run->scores[i].kld[token] =
        i == REFERENCE ? 0 : divergence_between(base, base_softmax, logits, &softmax, n_vocab);
}

/* Scores the rows of logits of a step: row r predicts next[r]. */
static void score_rows(struct run *run, const llama_token *next, int n_rows)
{
    run->next = next;
    team_each(run->team, n_rows, weigh_base, run);
    team_each(run->team, (int64_t)n_rows * run->n_scores, score_row, run);
    run->n_scored += (size_t)n_rows;
}

/* The tokens of the window from `position` on through all caches. */
static int run_step(struct run *run, int position, int n)
{
    /* The second half is scored, so that every scored token has a past. */
    int first = run->options->n_ctx / 2;
    int n_rows = position + n - (position > first ? position : first);
    n_rows = n_rows > 0 ? n_rows : 0;
    for (int i = 0; i < run->n_scores; i++) {
        int status = cache_decode(&run->caches[i], run->window + position, n, position, n_rows);
        if (status == 0 && i == REFERENCE) {
            status = cache_check_logits(&run->caches[i], n_rows);
        }
        if (status != 0) {
            return status;
        }
        for (int row = 0; row < n_rows; row++) {
            run->logits[i * run->step + row] = cache_logits(&run->caches[i], row);
        }
    }
    if (n_rows > 0) {
        score_rows(run, run->window + position + n - n_rows + 1, n_rows);
    }
    return 0;
}

static int run_window(struct run *run, const llama_token *tokens, int chunk, struct progress *progress)
{
    const struct engine *engine = run->model->engine;
    int n_ctx = run->options->n_ctx, n_chunks = run->options->n_chunks, status = 0;
    char detail[64];
    memcpy(run->window, tokens + (size_t)chunk * (size_t)n_ctx, (size_t)n_ctx * sizeof *tokens);
    if (engine->llama_vocab_get_add_bos(run->model->vocab)) {
        run->window[0] = engine->llama_vocab_bos(run->model->vocab);
    }
    for (int i = 0; i < run->n_scores; i++) {
        cache_clear(&run->caches[i]);
    }
    snprintf(detail, sizeof detail, "chunk %d of %d", chunk + 1, n_chunks);
    /* The last token has nothing to predict. */
    for (int position = 0; position < n_ctx - 1 && status == 0 && !interrupted(); position += run->step) {
        int left = n_ctx - 1 - position;
        progress_show(progress, (double)chunk * n_ctx + position, (double)n_chunks * n_ctx, detail);
        status = run_step(run, position, left < run->step ? left : run->step);
    }
    return status;
}

static int run_text(struct run *run)
{
    struct progress progress;
    llama_token *tokens;
    int n, status = text_tokens(run->model, run->options, run->options->n_chunks * run->options->n_ctx,
                                &tokens, &n);
    if (status != 0) {
        return status;
    }
    progress_start(&progress, "eval");
    for (int chunk = 0; chunk < run->options->n_chunks && status == 0 && !interrupted(); chunk++) {
        status = run_window(run, tokens, chunk, &progress);
    }
    progress_clear(&progress);
    free(tokens);
    return status;
}

/* ---- the result ---- */

static void print_table(const struct run *run, const struct summary *summaries)
{
    const struct eval_options *options = run->options;
    printf("%s: %zu tokens scored, the second half of each window of %d; batch %d", SHOWN(run->model->name),
           run->n_scored, options->n_ctx, options->n_ubatch);
    if (options->n_cells > options->n_ctx) {
        printf("; %d cells", options->n_cells);
    }
    printf("\n");
    scores_print(run->scores, summaries, run->n_scores, options);
    if (run->n_scored < run->n_to_score) {
        printf("Interrupted after %zu of %zu tokens.\n", run->n_scored, run->n_to_score);
    }
}

/* Of what is scored: the table and the JSON. */
static int show_results(struct run *run, cJSON *results)
{
    struct summary summaries[MAX_SCORES];
    for (int i = 0; i < run->n_scores; i++) {
        run->scores[i].bytes = cache_bytes(&run->caches[i]);
    }
    int status = scores_summarise(run->scores, run->n_scores, run->n_scored, summaries);
    if (status == 0) {
        scores_report(run->scores, summaries, run->n_scores, run->n_scored, run->options, results);
        if (!eval_is_quiet(run->options)) {
            print_table(run, summaries);
        }
    }
    return status;
}

static int finish(struct run *run, cJSON *report)
{
    cJSON *results = cJSON_CreateArray();
    int status = run->n_scored > 0 ? show_results(run, results) : 0;
    if (status != 0) {
        cJSON_Delete(results);
        return status;
    }
    if (run->n_scored < run->n_to_score) {
        cJSON_AddFalseToObject(report, "complete");
    }
    if (run->n_scored == 0) {
        cli_note("interrupted before the first token was scored.");
    }
    cJSON_AddItemToObject(report, "results", results);
    return 0;
}

int eval_divergence(const struct model *model, const struct eval_options *options, cJSON *report)
{
    struct run run = {.model = model,
                      .options = options,
                      .n_scores = FIRST_CACHE + options->n_caches,
                      .step = 2 * options->n_ubatch,
                      .n_to_score =
                          (size_t)options->n_chunks * (size_t)(options->n_ctx - 1 - options->n_ctx / 2)};
    int status = check_memory(&run);
    if (status == 0) {
        status = open_caches(&run);
    }
    if (status == 0) {
        status = run_text(&run);
    }
    if (status == 0 || status == EXIT_INTERRUPTED) {
        status = finish(&run, report);
    }
    close_run(&run);
    return status;
}
