/* What is measured, piece by piece: each piece in all caches, so that they stay comparable. */
#include "engine/softmax.h"
#include "measure/loops.h"
#include "measure/passkey.h"
#include "output/note.h"
#include "output/random.h"
#include "verdict.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double temperature = 0.8;

/* The state of the random numbers of a piece. Seeds, tasks and pieces never share one. */
static uint64_t state_of(const struct verdict *v, enum task task, int piece)
{
    return ((uint64_t)v->options->eval.seed << 32) + ((uint64_t)task << 24) + (uint64_t)piece;
}

/* A cache has read so many tokens in batches, or as much has been done. */
static void show_done(struct verdict *v, double tokens)
{
    v->work.done += tokens;
    progress_show(&v->work.progress, v->work.done, v->work.total, v->work.detail);
}

/* ---- KL divergence, token by token ---- */

/* Rows go to their places in the lists of all caches. */
struct comparison {
    struct verdict *v;
    struct points *points; /* [lineup.n] */
    int first;             /* position of the first row */
};

static int reserve(struct points *points, int n_caches, int n_more)
{
    for (int i = 0; i < n_caches; i++) {
        if (points[i].n + n_more > points[i].room) {
            int room = 2 * (points[i].n + n_more);
            struct point *list = reallocarray(points[i].list, (size_t)room, sizeof *list);
            if (!list) {
                return cli_fail("Memory is too short: give fewer minutes.");
            }
            points[i].list = list;
            points[i].room = room;
        }
    }
    return 0;
}

static void compare_row(void *context, int position, const float *const *logits)
{
    const struct comparison *comparison = context;
    int n_vocab = comparison->v->model->n_vocab;
    struct softmax base = softmax_of(logits[0], n_vocab);
    for (int i = 1; i < comparison->v->lineup.n; i++) {
        struct points *points = &comparison->points[i];
        struct softmax softmax = softmax_of(logits[i], n_vocab);
        points->list[points->n + position - comparison->first] =
            (struct point){.kld = divergence_between(logits[0], &base, logits[i], &softmax, n_vocab),
                           .position = position,
                           .same = softmax.top == base.top};
    }
}

/* Has all caches read tokens first...end - 1, and compares them from `scored` on. */
static int compare(struct verdict *v, struct points *points, const llama_token *tokens, int first, int end,
                   int scored)
{
    struct comparison comparison = {v, points, scored};
    int status = reserve(points, v->lineup.n, end - scored);
    status = status ? status : along_read(&v->along, tokens, first, end, scored, compare_row, &comparison);
    for (int i = 1; i < v->lineup.n && status == 0; i++) {
        points[i].n += end - scored;
    }
    return status;
}

/* A window of the text, as a model expects a text to begin. `window` has n_ctx tokens. */
static void copy_window(const struct verdict *v, int index, llama_token *window)
{
    const struct engine *engine = v->model->engine;
    memcpy(window, v->text + (size_t)index * (size_t)v->n_ctx, (size_t)v->n_ctx * sizeof *window);
    if (engine->llama_vocab_get_add_bos(v->model->vocab)) {
        window[0] = engine->llama_vocab_bos(v->model->vocab);
    }
}

static int read_window(struct verdict *v, int piece, llama_token *window)
{
    copy_window(v, piece, window);
    return compare(v, v->texts, window, 0, v->n_ctx - 1, v->n_ctx / 2);
}

/* ---- long answers ---- */

/* The most likely token, or one that is drawn: by noise that belongs to token and step (Gumbel), so that
 * caches with the same logits draw the same. */
static llama_token choose_token(const float *logits, int n, bool draws, uint64_t seed)
{
    llama_token best = greedy_token(logits, n);
    double most = -INFINITY, top = (double)logits[best];
    for (int i = 0; i < n && draws; i++) {
        double score = ((double)logits[i] - top) / temperature;
        if (score < -30) {
            continue; /* noise never reaches so far */
        }
        uint64_t state = seed + (uint64_t)i * 0x9e3779b97f4a7c15u;
        score -= log(-log(random_share(&state) + 1e-300));
        if (score > most) {
            most = score;
            best = i;
        }
    }
    return best;
}

/* Goes on after the prompt, whose last logits are there. */
static int write_answer(struct verdict *v, int cache, int piece, llama_token *answer, int *n)
{
    const struct model *model = v->model;
    uint64_t state = state_of(v, TASK_LONG, piece);
    int status = 0;
    *n = 0;
    while (status == 0 && *n < v->n_answer) {
        const float *logits = cache_logits(&v->lineup.caches[cache], 0);
        llama_token token = choose_token(logits, model->n_vocab, piece % 2 == 1, random_next(&state));
        if (model->engine->llama_vocab_is_eog(model->vocab, token)) {
            return 0;
        }
        answer[*n] = token;
        status = interrupted() ? EXIT_INTERRUPTED
                               : cache_decode(&v->lineup.caches[cache], &token, 1, v->n_prompt + *n, 1);
        ++*n;
        show_done(v, v->single / v->read);
    }
    return status;
}

static int read_prompt(struct verdict *v, int cache, const llama_token *tokens)
{
    cache_clear(&v->lineup.caches[cache]);
    int status = cache_prefill(&v->lineup.caches[cache], tokens, v->n_prompt, 0);
    show_done(v, v->n_prompt);
    return status == 0 && interrupted() ? EXIT_INTERRUPTED : status;
}

/* Back to the end of the prompt. Models with recurrent states cannot: they read it again. */
static int take_back(struct verdict *v, int cache, const llama_token *tokens)
{
    const struct engine *engine = v->model->engine;
    llama_memory_t memory = engine->llama_get_memory(v->lineup.caches[cache].context);
    return engine->llama_memory_seq_rm(memory, 0, v->n_prompt, -1) ? 0 : read_prompt(v, cache, tokens);
}

/* Each cache goes on by itself; then all read what f16 wrote. */
static int answer_long(struct verdict *v, int piece, llama_token *window)
{
    llama_token *answer = malloc((size_t)v->n_answer * sizeof *answer);
    int status = answer ? 0 : cli_fail("Memory is too short: close other programs."), n_written = 0;
    copy_window(v, piece % v->n_windows, window);
    for (int i = 0; i < v->lineup.n && status == 0; i++) {
        int n = 0;
        status = read_prompt(v, i, window);
        status = status ? status : write_answer(v, i, piece, answer, &n);
        status = status ? status : take_back(v, i, window);
        v->loops[piece][i] = ends_in_loop(answer, n);
        if (i == 0 && status == 0) {
            memcpy(window + v->n_prompt, answer, (size_t)n * sizeof *answer);
            n_written = n;
        }
    }
    free(answer);
    if (status == 0 && n_written > 0) {
        status = compare(v, v->longs, window, v->n_prompt, v->n_prompt + n_written, v->n_prompt);
    }
    return status;
}

/* ---- pass keys ---- */

static int ask_key(struct verdict *v, int piece)
{
    uint64_t state = state_of(v, TASK_KEYS, piece);
    char key[PASSKEY_DIGITS + 1];
    llama_token *tokens = NULL;
    int n = 0;
    snprintf(key, sizeof key, "%d", (int)(10000 + random_next(&state) % 90000));
    int status = passkey_make(
        "verdict", v->model,
        &(struct passkey_wish){
            .length = v->n_ctx, .depth = 10 + piece * 20 % 100, .key = key, .seed = random_next(&state)},
        &tokens, &n);
    for (int i = 0; i < v->lineup.n && status == 0; i++) {
        status = passkey_ask(&v->lineup.caches[i], tokens, n, key, &v->found[piece][i]);
        show_done(v, n);
        status = status == 0 && interrupted() ? EXIT_INTERRUPTED : status;
    }
    free(tokens);
    return status;
}

/* ---- pieces ---- */

static int copy_objects(struct verdict *v, int piece)
{
    struct copy_document document;
    uint64_t state = state_of(v, TASK_COPY, piece);
    int status = copy_make("verdict", v->model, v->n_ctx, random_next(&state), &document);
    status = status ? status : copy_read(&v->along, &document, &v->copies);
    copy_free(&document);
    return status;
}

int task_piece(struct verdict *v, enum task task)
{
    int piece = v->turns[task].done;
    llama_token *window = malloc((size_t)v->n_ctx * sizeof *window);
    if (!window) {
        return cli_fail("Memory is too short: close other programs.");
    }
    int status = task == TASK_COPY   ? copy_objects(v, piece)
                 : task == TASK_TEXT ? read_window(v, piece, window)
                 : task == TASK_LONG ? answer_long(v, piece, window)
                                     : ask_key(v, piece);
    free(window);
    return status;
}
