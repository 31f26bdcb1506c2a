/* Groups of caches decode the same windows as the reference, and their logits are compared. */
#include "trial.h"

#include "output/note.h"
#include "softmax.h"
#include "team.h"

#include <stdlib.h>
#include <string.h>

enum { GROUP = 12, STEP_UBATCHES = 2 };

struct group {
    const struct model *model;
    const struct trial_text *text;
    struct trial *trials;
    int n, step;
    struct cache reference, caches[GROUP];
    double *kld[GROUP];         /* of every scored token */
    const float **base, **rows; /* logits of one step: [step], [step][n] */
    int n_scored;
    thread_team *team;
};

static int open_cache(const struct group *g, const char *spec, const tada_plan *plan, struct cache *cache)
{
    return cache_open(g->model,
                      &(struct cache_options){.spec = spec,
                                              .plan = plan,
                                              .n_ctx = g->text->n_ctx,
                                              .n_batch = g->step,
                                              .n_ubatch = g->text->n_ubatch,
                                              .n_threads = g->text->n_threads},
                      cache);
}

static int open_group(struct group *g)
{
    size_t most = (size_t)g->text->n_windows * (size_t)g->text->n_ctx;
    int status = open_cache(g, g->text->reference, NULL, &g->reference);
    g->team = team_create(g->text->n_threads);
    g->base = calloc((size_t)g->step, sizeof *g->base);
    g->rows = calloc((size_t)g->step * (size_t)g->n, sizeof *g->rows);
    if (status == 0 && (!g->team || !g->base || !g->rows)) {
        status = cli_fail("Memory is too short for threads: close other programs.");
    }
    for (int i = 0; i < g->n && status == 0; i++) {
        status = open_cache(g, g->trials[i].spec, g->trials[i].plan, &g->caches[i]);
        g->kld[i] = malloc(most * sizeof *g->kld[i]);
        if (status == 0 && !g->kld[i]) {
            status = cli_fail("Memory is too short: use a smaller context (-c).");
        }
    }
    return status;
}

static void close_group(struct group *g)
{
    cache_close(&g->reference);
    for (int i = 0; i < g->n; i++) {
        cache_close(&g->caches[i]);
        free(g->kld[i]);
    }
    team_free(g->team);
    free(g->base);
    free(g->rows);
}

static void score_row(void *context, int thread, int64_t i)
{
    const struct group *g = context;
    int row = (int)(i / g->n), cache = (int)(i % g->n);
    bool same;
    (void)thread;
    g->kld[cache][g->n_scored + row] = divergence_of(g->base[row], g->rows[i], g->model->n_vocab, &same);
}

static void score_rows(struct group *g, int n_rows)
{
    for (int row = 0; row < n_rows; row++) {
        g->base[row] = cache_logits(&g->reference, row);
        for (int i = 0; i < g->n; i++) {
            g->rows[row * g->n + i] = cache_logits(&g->caches[i], row);
        }
    }
    team_each(g->team, (int64_t)n_rows * g->n, score_row, g);
    g->n_scored += n_rows;
}

/* n tokens at a position through all caches. */
static int run_step(struct group *g, const llama_token *tokens, int position, int n, struct work *work)
{
    int first = g->text->n_ctx / 2, from = position > first ? position : first;
    int n_rows = position + n > from ? position + n - from : 0, status = 0;
    for (int i = -1; i < g->n && status == 0; i++) {
        struct cache *cache = i < 0 ? &g->reference : &g->caches[i];
        status = interrupted() ? EXIT_INTERRUPTED : cache_decode(cache, tokens, n, position, n_rows);
        if (status == 0 && i < 0) {
            status = cache_check_logits(cache, n_rows);
        }
        work->done += n;
        progress_show(&work->progress, work->done, work->total, work->detail);
    }
    if (status == 0 && n_rows > 0) {
        score_rows(g, n_rows);
    }
    return status;
}

static int run_window(struct group *g, const llama_token *tokens, struct work *work)
{
    const struct engine *engine = g->model->engine;
    int n_ctx = g->text->n_ctx, status = 0;
    llama_token *window = malloc((size_t)n_ctx * sizeof *window);
    if (!window) {
        return cli_fail("Memory is too short: use a smaller context (-c).");
    }
    memcpy(window, tokens, (size_t)n_ctx * sizeof *window);
    if (engine->llama_vocab_get_add_bos(g->model->vocab)) {
        window[0] = engine->llama_vocab_bos(g->model->vocab);
    }
    cache_clear(&g->reference);
    for (int i = 0; i < g->n; i++) {
        cache_clear(&g->caches[i]);
    }
    for (int at = 0; at < n_ctx - 1 && status == 0; at += g->step) {
        int n = n_ctx - 1 - at < g->step ? n_ctx - 1 - at : g->step;
        status = run_step(g, window + at, at, n, work);
    }
    free(window);
    return status;
}

int trials_run(const struct model *model, const struct trial_text *text, struct trial *trials, int n,
               struct work *work, size_t *reference_bytes)
{
    int status = 0;
    for (int start = 0; start < n && status == 0; start += GROUP) {
        struct group g = {.model = model,
                          .text = text,
                          .trials = trials + start,
                          .n = n - start < GROUP ? n - start : GROUP,
                          .step = STEP_UBATCHES * text->n_ubatch};
        status = open_group(&g);
        for (int w = 0; w < text->n_windows && status == 0; w++) {
            status = run_window(&g, text->tokens + (size_t)w * (size_t)text->n_ctx, work);
        }
        for (int i = 0; i < g.n && status == 0; i++) {
            g.trials[i].kld = mean_of(g.kld[i], (size_t)g.n_scored);
            g.trials[i].bytes = cache_bytes(&g.caches[i]);
            g.trials[i].scratch = g.caches[i].scratch_bytes;
        }
        if (reference_bytes && status == 0) {
            *reference_bytes = cache_bytes(&g.reference);
        }
        close_group(&g);
    }
    return status;
}
