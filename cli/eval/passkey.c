/* tada eval --passkey: a number, hidden at several depths of texts of several lengths, is asked for. */
#include "eval.h"
#include "measure/passkey.h"
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
};

static const int depths[N_DEPTHS] = {10, 30, 50, 70, 90}; /* percent of the sentences */

struct passkey {
    struct lineup lineup;
    int lengths[N_LENGTHS];           /* tokens of the text with its question and answer */
    llama_token *tokens[N_QUESTIONS]; /* question: length * N_DEPTHS + depth */
    int n_tokens[N_QUESTIONS];
    char keys[N_QUESTIONS][PASSKEY_DIGITS + 1];
    bool found[EVAL_MAX_CACHES + 2][N_QUESTIONS];
    int n_done; /* questions that every cache was asked */
};

/* ---- the texts ---- */

static int make_question(const struct model *model, struct passkey *p, int index, uint64_t seed)
{
    return passkey_make("eval", model,
                        &(struct passkey_wish){.length = p->lengths[index / N_DEPTHS],
                                               .depth = depths[index % N_DEPTHS],
                                               .key = p->keys[index],
                                               .seed = seed},
                        &p->tokens[index], &p->n_tokens[index]);
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
            status = passkey_ask(&p->lineup.caches[cache], p->tokens[i], p->n_tokens[i], p->keys[i],
                                 &p->found[cache][i]);
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
    if (options->n_ctx / 4 < PASSKEY_LEAST) {
        return cli_usage("eval", "A context of %d is too small for the pass keys: give a -c of at least %d.",
                         options->n_ctx, 4 * PASSKEY_LEAST);
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
