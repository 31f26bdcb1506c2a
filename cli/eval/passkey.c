/* tada eval --passkey: a number, hidden at several depths of texts of several lengths, is asked for. */
#include "engine/lineup.h"
#include "eval.h"
#include "output/note.h"
#include "output/progress.h"
#include "output/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    N_LENGTHS = 3,
    N_DEPTHS = 5,
    N_QUESTIONS = N_LENGTHS * N_DEPTHS,
    MIN_LENGTH = 128, /* tokens; the question and its answer need more than half of them */
    ANSWER_TOKENS = 16,
    KEY_DIGITS = 5,
    MAX_SENTENCE = 80, /* bytes */
};

static const int depths[N_DEPTHS] = {10, 30, 50, 70, 90}; /* percent of the sentences */

static const char introduction[] = "Somewhere in the following text there is a pass key. Remember it.\n\n";
static const char question[] = "\n\nWhat is the pass key?";
static const char answer_start[] = "The pass key is";

static const char *const filler[] = {
    "The road goes down to the harbour.",
    "Two boats lie at the pier.",
    "A baker opens the shop at six.",
    "The old bridge is made of stone.",
    "In the morning there is fog on the river.",
    "Children walk to school along the wall.",
    "The mill has not worked for many years.",
    "On Tuesdays there is a market in the square.",
    "Apples grow behind the church.",
    "The train stops here only in summer.",
    "A cat sleeps on the warm roof.",
    "Rain is expected in the evening.",
    "The library has a small garden.",
    "Someone is painting the fence green.",
    "Swallows nest under the eaves of the barn.",
    "The path to the hill begins at the well.",
};
enum { N_FILLER = sizeof filler / sizeof *filler };

struct passkey {
    struct lineup lineup;
    int lengths[N_LENGTHS];           /* tokens of the text with its question and answer */
    llama_token *tokens[N_QUESTIONS]; /* question: length * N_DEPTHS + depth */
    int n_tokens[N_QUESTIONS];
    char keys[N_QUESTIONS][KEY_DIGITS + 1];
    bool found[EVAL_MAX_CACHES + 2][N_QUESTIONS];
    int n_done; /* questions that every cache was asked */
};

/* ---- the texts ---- */

/* The text with the key after depth percent of n_sentences; the same for the same seed. The caller's to free;
 * NULL: memory is short. */
static char *hide_key(const char *key, int depth, int n_sentences, uint64_t seed)
{
    size_t size = sizeof introduction + sizeof question + (size_t)(n_sentences + 2) * MAX_SENTENCE;
    char *text = malloc(size);
    int before = (n_sentences * depth + 50) / 100, last = -1;
    char *end = text ? stpcpy(text, introduction) : NULL;
    for (int i = 0; text && i <= n_sentences; i++) {
        if (i == before) {
            end += snprintf(end, MAX_SENTENCE, "The pass key is %s. Remember it. %s is the pass key. ", key,
                            key);
        }
        int pick = (int)(random_next(&seed) % N_FILLER);
        pick = pick == last ? (pick + 1) % N_FILLER : pick; /* never the same sentence twice in a row */
        last = pick;
        if (i < n_sentences) {
            end = stpcpy(stpcpy(end, filler[pick]), " ");
        }
    }
    if (text) {
        stpcpy(end - 1, question); /* instead of the last blank */
    }
    return text;
}

/* The text as the model's chat template has it, or as it is without one that llama.cpp knows, and the start
 * of the answer. The caller's to free; NULL: memory is short. */
static char *as_prompt(const struct model *model, const char *text)
{
    const struct engine *engine = model->engine;
    const char *template = engine->llama_model_chat_template(model->llama, NULL);
    struct llama_chat_message message = {"user", text};
    int32_t length = template ? engine->llama_chat_apply_template(template, &message, 1, true, NULL, 0) : -1;
    size_t room = length > 0 ? (size_t)length : strlen(text) + 1;
    char *prompt = malloc(room + 1 + sizeof answer_start);
    if (!prompt) {
        return NULL;
    }
    if (length > 0) {
        engine->llama_chat_apply_template(template, &message, 1, true, prompt, length + 1);
        prompt[length] = '\0';
    } else {
        stpcpy(stpcpy(prompt, text), "\n");
    }
    return strcat(prompt, answer_start);
}

static int tokenize_question(const struct model *model, const struct passkey *p, int index, int n_sentences,
                             uint64_t seed, llama_token **tokens, int *n)
{
    *tokens = NULL; /* the caller frees them whatever happens */
    *n = 0;
    char *text = hide_key(p->keys[index], depths[index % N_DEPTHS], n_sentences, seed);
    char *prompt = text ? as_prompt(model, text) : NULL;
    int status = prompt ? model_tokenize(model, prompt, strlen(prompt), true, true, tokens, n)
                        : cli_fail("Memory is too short for the text: use a smaller context.");
    free(text);
    free(prompt);
    return status;
}

/* Makes the longest text that, with its answer, is not longer than wanted. */
static int make_question(const struct model *model, struct passkey *p, int index, uint64_t seed)
{
    /* The number of sentences, each of at least five words, is bisected. */
    int most = p->lengths[index / N_DEPTHS] - ANSWER_TOKENS, low = 0, high = most / 5;
    while (low < high) {
        int middle = low + (high - low + 1) / 2, n;
        llama_token *tokens;
        int status = tokenize_question(model, p, index, middle, seed, &tokens, &n);
        free(tokens);
        if (status) {
            return status;
        }
        low = n <= most ? middle : low;
        high = n <= most ? high : middle - 1;
    }
    if (low == 0) {
        return cli_usage("eval",
                         "A text of %d tokens, a quarter of the context, has no room for the pass key "
                         "and the question: give a larger context (-c).",
                         p->lengths[index / N_DEPTHS]);
    }
    return tokenize_question(model, p, index, low, seed, &p->tokens[index], &p->n_tokens[index]);
}

/* The first n of them. */
static int make_questions(const struct model *model, struct passkey *p, uint32_t seed, int n)
{
    uint64_t state = seed;
    int status = 0;
    for (int i = 0; status == 0 && i < n; i++) {
        snprintf(p->keys[i], sizeof p->keys[i], "%d", (int)(10000 + random_next(&state) % 90000));
        status = make_question(model, p, i, random_next(&state));
    }
    return status;
}

/* ---- measuring ---- */

static int ask(struct passkey *p, int cache_index, int index)
{
    static const char *const no_stops[] = {NULL};
    struct cache *cache = &p->lineup.caches[cache_index];
    char answer[1024] = "";
    cache_clear(cache);
    int status = cache_prefill(cache, p->tokens[index], p->n_tokens[index], 0);
    if (status == 0 && !interrupted()) {
        status = cache_answer(cache, p->n_tokens[index], ANSWER_TOKENS, no_stops, answer, sizeof answer);
    }
    p->found[cache_index][index] = strstr(answer, p->keys[index]) != NULL;
    return status;
}

static int ask_all(struct passkey *p)
{
    struct progress progress;
    double done = 0, total = 0;
    int status = 0;
    for (int i = 0; i < N_QUESTIONS; i++) {
        total += (double)p->n_tokens[i] * p->lineup.n;
    }
    progress_start(&progress, "eval");
    for (int i = 0; status == 0 && i < N_QUESTIONS && !interrupted(); i++) {
        for (int cache = 0; status == 0 && cache < p->lineup.n && !interrupted(); cache++) {
            char detail[64];
            status = ask(p, cache, i);
            snprintf(detail, sizeof detail, "passkey: length %d, depth %d %%", p->lengths[i / N_DEPTHS],
                     depths[i % N_DEPTHS]);
            progress_show(&progress, done += p->n_tokens[i], total, detail);
        }
        /* A question that was interrupted counts for no cache. */
        p->n_done += status == 0 && !interrupted();
    }
    progress_clear(&progress);
    return status;
}

/* ---- results ---- */

/* Among the questions first...end - 1 that were asked. */
static int count_found(const struct passkey *p, int cache, int first, int end)
{
    int found = 0;
    for (int i = first; i < end && i < p->n_done; i++) {
        found += p->found[cache][i];
    }
    return found;
}

static bool missed(const struct passkey *p, int cache, int index)
{
    return p->found[0][index] && !p->found[cache][index];
}

static int asked_of_length(const struct passkey *p, int length)
{
    int asked = p->n_done - length * N_DEPTHS;
    return asked < 0 ? 0 : asked > N_DEPTHS ? N_DEPTHS : asked;
}

static void print_row(const struct passkey *p, int cache)
{
    char cell[32];
    lineup_print_cache(&p->lineup, cache, p->lineup.caches[cache].spec);
    for (int length = 0; length < N_LENGTHS; length++) {
        int first = length * N_DEPTHS;
        snprintf(cell, sizeof cell, "%d/%d", count_found(p, cache, first, first + N_DEPTHS),
                 asked_of_length(p, length));
        printf("  %8s", cell);
    }
    snprintf(cell, sizeof cell, "%d/%d", count_found(p, cache, 0, N_QUESTIONS), p->n_done);
    printf("  %8s\n", cell);
}

static void print_table(const struct passkey *p, uint32_t seed)
{
    printf("passkey: found/asked by length in tokens, at depths of 10 to 90 %%, seed %u\n", seed);
    printf("%-*s  %8s  %8s", lineup_name_width(&p->lineup), "cache", "MiB", "of f16");
    for (int length = 0; length < N_LENGTHS; length++) {
        printf("  %8d", p->lengths[length]);
    }
    printf("  %8s\n", "overall");
    for (int cache = 0; cache < p->lineup.n; cache++) {
        print_row(p, cache);
    }
    impossible_print(p->lineup.impossible, lineup_name_width(&p->lineup));
    for (int cache = 1; cache < p->lineup.n; cache++) {
        for (int i = 0; i < p->n_done; i++) {
            if (missed(p, cache, i)) {
                printf("%s missed what f16 found: length %d depth %d %%\n",
                       SHOWN(p->lineup.caches[cache].spec), p->lengths[i / N_DEPTHS], depths[i % N_DEPTHS]);
            }
        }
    }
    if (p->n_done < N_QUESTIONS) {
        printf("Interrupted after %d of %d questions.\n", p->n_done, N_QUESTIONS);
    }
}

static cJSON *report_cache(const struct passkey *p, int cache)
{
    int missed_of_f16 = 0;
    cJSON *result = lineup_report_cache(&p->lineup, cache, p->lineup.caches[cache].spec);
    cJSON *cells = cJSON_CreateArray();
    for (int i = 0; i < p->n_done; i++) {
        cJSON *cell = cJSON_CreateObject();
        cJSON_AddNumberToObject(cell, "length", p->lengths[i / N_DEPTHS]);
        cJSON_AddNumberToObject(cell, "depth", depths[i % N_DEPTHS]);
        cJSON_AddBoolToObject(cell, "found", p->found[cache][i]);
        cJSON_AddItemToArray(cells, cell);
        missed_of_f16 += missed(p, cache, i);
    }
    cJSON_AddNumberToObject(result, "found", count_found(p, cache, 0, N_QUESTIONS));
    cJSON_AddNumberToObject(result, "total", p->n_done);
    cJSON_AddNumberToObject(result, "missed_of_f16", missed_of_f16);
    cJSON_AddItemToObject(result, "cells", cells);
    return result;
}

static void add_report(const struct passkey *p, cJSON *report)
{
    cJSON *part = cJSON_AddObjectToObject(report, "passkey");
    cJSON_AddBoolToObject(part, "complete", p->n_done == N_QUESTIONS);
    cJSON_AddItemToObject(part, "lengths", cJSON_CreateIntArray(p->lengths, N_LENGTHS));
    cJSON_AddItemToObject(part, "depths", cJSON_CreateIntArray(depths, N_DEPTHS));
    cJSON *results = cJSON_AddArrayToObject(part, "results");
    for (int cache = 0; cache < p->lineup.n; cache++) {
        cJSON_AddItemToArray(results, report_cache(p, cache));
    }
}

/* ---- the task ---- */

static struct passkey *new_passkey(const struct eval_options *options)
{
    struct passkey *p = calloc(1, sizeof *p);
    for (int i = 0; p && i < N_LENGTHS; i++) {
        p->lengths[i] = options->n_ctx >> (N_LENGTHS - 1 - i);
    }
    if (!p) {
        cli_fail("Memory is short: close other programs and try again.");
    }
    return p;
}

static void free_passkey(struct passkey *p)
{
    lineup_close(&p->lineup);
    for (int i = 0; i < N_QUESTIONS; i++) {
        free(p->tokens[i]);
    }
    free(p);
}

int eval_passkey_check(const struct model *model, const struct eval_options *options)
{
    if (options->n_ctx / 4 < MIN_LENGTH) {
        return cli_usage("eval", "A context of %d is too small for the pass keys: give a -c of at least %d.",
                         options->n_ctx, 4 * MIN_LENGTH);
    }
    struct passkey *p = new_passkey(options);
    if (!p) {
        return EXIT_PROBLEM;
    }
    int status = make_questions(model, p, options->seed, N_DEPTHS); /* the shortest */
    free_passkey(p);
    return status;
}

int eval_passkey(const struct model *model, const struct eval_options *options, cJSON *report)
{
    struct passkey *p = new_passkey(options);
    if (!p) {
        return EXIT_PROBLEM;
    }
    int status = make_questions(model, p, options->seed, N_QUESTIONS);
    status = status ? status : lineup_open(&p->lineup, model, options, options->n_cells);
    status = status ? status : ask_all(p);
    if (status == 0) {
        add_report(p, report);
        if (!eval_is_quiet(options)) {
            print_table(p, options->seed);
        }
    }
    free_passkey(p);
    return status;
}
