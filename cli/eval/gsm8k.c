/* tada eval --gsm8k: word problems after eight solved ones, answered step by step; the last number counts. */
#include "engine/lineup.h"
#include "engine/problems.h"
#include "eval.h"
#include "output/note.h"
#include "output/progress.h"
#include "tada.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_TOKENS = 256, MAX_TEXT = 8192 };

struct prompt {
    llama_token *tokens;
    int n;
};

/* How one cache did. */
struct score {
    char (*answers)[MAX_NUMBER]; /* per question */
    int n_correct, n_same;       /* the latter: with the answer of f16 */
};

struct gsm8k {
    struct lineup lineup;
    struct problems problems;
    struct prompt *prompts; /* per question: the shots and the question */
    int n_questions, n_done;
    int n_kept; /* first tokens of every prompt that are computed once */
    struct score scores[EVAL_MAX_CACHES + 2];
};

/* ---- prompts ---- */

static const struct problem *question_of(const struct gsm8k *g, int i)
{
    return &g->problems.list[N_SHOTS + i];
}

/* Tokens of the whole, since a token may span the end of the shots. */
static int make_prompt(const struct model *model, const struct gsm8k *g, const char *shots, int i)
{
    const char *question = question_of(g, i)->question;
    char *text = NULL;
    if (asprintf(&text, "%sQuestion: %s\nAnswer:", shots, question) < 0) {
        return cli_fail("Memory is too short for the questions: give a smaller --limit.");
    }
    struct prompt *prompt = &g->prompts[i];
    int status = model_tokenize(model, text, strlen(text), true, false, &prompt->tokens, &prompt->n);
    free(text);
    return status;
}

/* The solved problems that all prompts begin with: the caller's to free; NULL: memory is short. */
static char *make_shots(const struct problems *problems)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    for (int i = 0; stream && i < N_SHOTS; i++) {
        const struct problem *shot = &problems->list[i];
        fprintf(stream, "Question: %s\nAnswer: %s\n\n", shot->question, shot->answer);
    }
    if (!stream || fclose(stream) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static int make_prompts(const struct model *model, struct gsm8k *g)
{
    char *shots = make_shots(&g->problems);
    g->prompts = calloc((size_t)g->n_questions, sizeof *g->prompts);
    int status = shots && g->prompts ? 0 : cli_fail("Memory is too short for the questions: use fewer.");
    for (int i = 0; status == 0 && i < g->n_questions; i++) {
        status = make_prompt(model, g, shots, i);
    }
    free(shots);
    return status;
}

/* Tokens with which all prompts begin; at least one of each is left. */
static int common_tokens(const struct gsm8k *g)
{
    int common = INT_MAX;
    for (int i = 0; i < g->n_questions; i++) {
        const struct prompt *prompt = &g->prompts[i], *first = &g->prompts[0];
        int n = 0;
        while (n < common && n < prompt->n - 1 && n < first->n && prompt->tokens[n] == first->tokens[n]) {
            n++;
        }
        common = n;
    }
    return common;
}

/*
 * How many of the common tokens are kept. The answer before made our caches compress tokens that were exact:
 * as many as the longest window has, and the tiles that it touches, are computed anew, so that every question
 * has exact tokens before it and its answer does not depend on the questions before.
 */
static int tokens_to_keep(const struct gsm8k *g)
{
    int window = 0;
    for (int i = 0; i < g->lineup.n; i++) {
        const struct cache *cache = &g->lineup.caches[i];
        if (!cache->stock) {
            int exact = cache_window(cache->spec, NULL) + 2 * TADA_TILE_CELLS;
            window = exact > window ? exact : window;
        }
    }
    int kept = common_tokens(g) - window;
    return kept < 0 ? 0 : kept / TADA_TILE_CELLS * TADA_TILE_CELLS;
}

static int longest_prompt(const struct gsm8k *g)
{
    int longest = 0;
    for (int i = 0; i < g->n_questions; i++) {
        longest = g->prompts[i].n > longest ? g->prompts[i].n : longest;
    }
    return longest;
}

/* ---- measuring ---- */

static int ask(struct gsm8k *g, int cache_index, int i)
{
    static const char *const stops[] = {"\n\n", "Question:", NULL};
    struct cache *cache = &g->lineup.caches[cache_index];
    const struct prompt *prompt = &g->prompts[i];
    char text[MAX_TEXT] = "";
    int status = cache_rewind(cache, g->n_kept);
    status = status ? status : cache_prefill(cache, prompt->tokens, prompt->n, g->n_kept);
    if (status == 0 && !interrupted()) {
        status = cache_answer(cache, prompt->n, ANSWER_TOKENS, stops, text, sizeof text);
    }
    answer_number(text, g->scores[cache_index].answers[i]);
    return status;
}

/* After every cache has answered question i. */
static void count(struct gsm8k *g, int i)
{
    for (int cache = 0; cache < g->lineup.n; cache++) {
        struct score *score = &g->scores[cache];
        score->n_correct += strcmp(score->answers[i], question_of(g, i)->number) == 0;
        score->n_same += strcmp(score->answers[i], g->scores[0].answers[i]) == 0;
    }
    g->n_done++;
}

static int ask_all(struct gsm8k *g)
{
    struct progress progress;
    int status = 0;
    progress_start(&progress, "eval");
    for (int cache = 0; status == 0 && cache < g->lineup.n && !interrupted(); cache++) {
        progress_show(&progress, 0, 1, "gsm8k: the solved problems");
        /* The whole prompt: the first question must find its cache as the others do, after another one. */
        status = cache_prefill(&g->lineup.caches[cache], g->prompts[0].tokens, g->prompts[0].n, 0);
    }
    for (int i = 0; status == 0 && i < g->n_questions && !interrupted(); i++) {
        for (int cache = 0; status == 0 && cache < g->lineup.n && !interrupted(); cache++) {
            char detail[64];
            status = ask(g, cache, i);
            snprintf(detail, sizeof detail, "gsm8k: question %d of %d", i + 1, g->n_questions);
            progress_show(&progress, i * g->lineup.n + cache + 1, (double)g->n_questions * g->lineup.n,
                          detail);
        }
        if (status == 0 && !interrupted()) {
            count(g, i); /* a question that was interrupted counts for no cache */
        }
    }
    progress_clear(&progress);
    return status;
}

/* ---- results ---- */

/* The 95 % Wilson interval of k hits among n > 0. */
static void wilson_interval(int k, int n, double *low, double *high)
{
    const double z = 1.959963984540054, p = (double)k / n, shrink = 1 + z * z / n;
    double centre = (p + z * z / (2 * n)) / shrink;
    double half = z * sqrt(p * (1 - p) / n + z * z / (4.0 * n * n)) / shrink;
    *low = k == 0 ? 0 : centre - half;
    *high = k == n ? 1 : centre + half;
}

static void print_row(const struct gsm8k *g, int cache)
{
    const struct score *score = &g->scores[cache];
    double low, high;
    char correct[32];
    wilson_interval(score->n_correct, g->n_done, &low, &high);
    snprintf(correct, sizeof correct, "%d/%d", score->n_correct, g->n_done);
    lineup_print_cache(&g->lineup, cache, g->lineup.caches[cache].spec);
    printf("  %9s  %5.1f %% (%4.1f to %5.1f)  %5.1f %%\n", correct, 100.0 * score->n_correct / g->n_done,
           100 * low, 100 * high, 100.0 * score->n_same / g->n_done);
}

static void print_table(const struct gsm8k *g)
{
    printf("gsm8k: %d questions after %d solved ones, at most %d tokens each\n", g->n_questions, N_SHOTS,
           ANSWER_TOKENS);
    printf("%-*s  %8s  %8s  %9s  %23s  %s\n", lineup_name_width(&g->lineup), "cache", "MiB", "of f16",
           "correct", "% (95 % interval)", "same answer as f16");
    for (int cache = 0; cache < g->lineup.n && g->n_done > 0; cache++) {
        print_row(g, cache);
    }
    impossible_print(g->lineup.impossible, lineup_name_width(&g->lineup));
    if (g->n_done < g->n_questions) {
        printf("Interrupted after %d of %d questions.\n", g->n_done, g->n_questions);
    }
}

static void add_report(const struct gsm8k *g, cJSON *report)
{
    cJSON *part = cJSON_AddObjectToObject(report, "gsm8k");
    cJSON_AddBoolToObject(part, "complete", g->n_done == g->n_questions);
    cJSON_AddNumberToObject(part, "questions", g->n_done);
    cJSON_AddNumberToObject(part, "shots", N_SHOTS);
    cJSON *results = cJSON_AddArrayToObject(part, "results");
    for (int cache = 0; cache < g->lineup.n && g->n_done > 0; cache++) {
        const struct score *score = &g->scores[cache];
        double low, high;
        wilson_interval(score->n_correct, g->n_done, &low, &high);
        cJSON *result = lineup_report_cache(&g->lineup, cache, g->lineup.caches[cache].spec);
        cJSON_AddNumberToObject(result, "correct", score->n_correct);
        cJSON_AddNumberToObject(result, "accuracy", (double)score->n_correct / g->n_done);
        cJSON_AddNumberToObject(result, "low", low);
        cJSON_AddNumberToObject(result, "high", high);
        cJSON_AddNumberToObject(result, "same_answer_as_f16", (double)score->n_same / g->n_done);
        cJSON_AddItemToArray(results, result);
    }
}

/* ---- the task ---- */

static int open_all(struct gsm8k *g, const struct model *model, const struct eval_options *options)
{
    int n_ctx = longest_prompt(g) + ANSWER_TOKENS;
    int status = lineup_open(&g->lineup, model, options, n_ctx > options->n_cells ? n_ctx : options->n_cells);
    for (int i = 0; status == 0 && i < g->lineup.n; i++) {
        g->scores[i].answers = calloc((size_t)g->n_questions, sizeof *g->scores[i].answers);
        if (!g->scores[i].answers) {
            status = cli_fail("Memory is too short for the answers: give a smaller --limit.");
        }
    }
    if (status == 0) {
        g->n_kept = tokens_to_keep(g);
    }
    return status;
}

static void close_all(struct gsm8k *g)
{
    for (int i = 0; i < EVAL_MAX_CACHES + 2; i++) {
        free(g->scores[i].answers);
    }
    for (int i = 0; g->prompts && i < g->n_questions; i++) {
        free(g->prompts[i].tokens);
    }
    lineup_close(&g->lineup);
    free(g->prompts);
    problems_free(&g->problems);
    free(g);
}

/* Whether tokens can be taken back, as they must be between the questions. */
static int check_rewind(const struct model *model, const struct eval_options *options)
{
    enum { N = 16 };
    const llama_token tokens[N] = {0};
    struct cache cache;
    int status = cache_open(
        model,
        &(struct cache_options){
            .spec = "f16", .n_ctx = 256, .n_batch = N, .n_ubatch = N, .n_threads = options->n_threads},
        &cache);
    status = status ? status : cache_decode(&cache, tokens, N, 0, 1);
    status = status ? status : cache_rewind(&cache, N / 2);
    cache_close(&cache);
    return status;
}

int eval_gsm8k_check(const struct model *model, const struct eval_options *options)
{
    struct problems problems;
    int status = problems_read(options->gsm8k_path, options->limit, &problems);
    if (status == 0) {
        llama_token *tokens;
        int n;
        const char *question = problems.list[0].question;
        status = model_tokenize(model, question, strlen(question), true, false, &tokens, &n);
        free(tokens);
    }
    problems_free(&problems);
    return status ? status : check_rewind(model, options);
}

int eval_gsm8k(const struct model *model, const struct eval_options *options, cJSON *report)
{
    struct gsm8k *g = calloc(1, sizeof *g);
    if (!g) {
        return cli_fail("Memory is short: close other programs and try again.");
    }
    int status = problems_read(options->gsm8k_path, options->limit, &g->problems);
    g->n_questions = g->problems.n - N_SHOTS;
    status = status ? status : make_prompts(model, g);
    status = status ? status : open_all(g, model, options);
    status = status ? status : ask_all(g);
    if (status == 0) {
        add_report(g, report);
        if (!eval_is_quiet(options)) {
            print_table(g);
        }
    }
    close_all(g);
    return status;
}
