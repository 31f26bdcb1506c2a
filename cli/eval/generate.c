/* tada eval --generate: decoding token by token along the text that the f16 cache writes. */
#include "engine/lineup.h"
#include "engine/softmax.h"
#include "engine/text.h"
#include "eval.h"
#include "output/note.h"
#include "output/progress.h"
#include "output/statistics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MIN_PROMPT = 64,
    NEVER = INT_MAX,
    ALONE_COST = 6, /* a token that is decoded alone takes about as long as so many in a batch */
};

/* What was measured of one cache against f16. */
struct trail {
    double *divergences; /* of every step, all prompts after each other */
    int *leaves;         /* per prompt: the first token that differs, counted from 1, or NEVER */
    int n_same;          /* steps with the most likely token of f16 */
};

struct generation {
    struct lineup lineup; /* f16, the caches, f16 with twice the batch */
    struct trail trails[EVAL_MAX_CACHES + 2];
    const llama_token *text;
    int n_prompts, n_prompt, n_tokens; /* prompts, tokens of a prompt, tokens that are decoded after it */
    int n_steps;                       /* done so far, of all prompts; the same for every cache */
    int n_begun;                       /* prompts that have at least one step */
    double done;                       /* in tokens of a batch */
    struct progress progress;
};

static int floor_index(const struct generation *g)
{
    return g->lineup.n - 1;
}

static const char *row_name(const struct generation *g, int i)
{
    return i == floor_index(g) ? "floor" : g->lineup.caches[i].spec;
}

/* ---- measuring ---- */

static void show_progress(struct generation *g, int prompt, double more)
{
    char detail[64];
    g->done += more;
    double total = (double)g->n_prompts * g->lineup.n * (g->n_prompt + ALONE_COST * g->n_tokens);
    snprintf(detail, sizeof detail, "generate: prompt %d of %d", prompt + 1, g->n_prompts);
    progress_show(&g->progress, g->done, total, detail);
}

static int prefill_all(struct generation *g, int prompt, const llama_token *tokens)
{
    int status = 0;
    for (int i = 0; status == 0 && i < g->lineup.n && !interrupted(); i++) {
        cache_clear(&g->lineup.caches[i]);
        status = cache_prefill(&g->lineup.caches[i], tokens, g->n_prompt - 1, 0);
        show_progress(g, prompt, g->n_prompt);
    }
    return status;
}

/* Decodes one token in every cache and compares the logits; *token becomes the one that f16 goes on with. */
static int take_step(struct generation *g, int prompt, int step, llama_token *token)
{
    const int n_vocab = g->lineup.model->n_vocab;
    const float *base = NULL;
    for (int i = 0; i < g->lineup.n; i++) {
        struct cache *cache = &g->lineup.caches[i];
        int status = cache_decode(cache, token, 1, g->n_prompt - 1 + step, 1);
        if (status == 0 && i == 0) {
            status = cache_check_logits(cache, 1);
        }
        if (status) {
            return status;
        }
        if (i == 0) {
            base = cache_logits(cache, 0);
            continue;
        }
        struct trail *trail = &g->trails[i];
        bool same;
        trail->divergences[g->n_steps] = divergence_of(base, cache_logits(cache, 0), n_vocab, &same);
        trail->n_same += same;
        if (!same && trail->leaves[prompt] == NEVER) {
            trail->leaves[prompt] = step + 1;
        }
    }
    *token = greedy_token(base, n_vocab);
    g->n_steps++;
    g->n_begun = prompt + 1;
    show_progress(g, prompt, (double)ALONE_COST * g->lineup.n);
    return 0;
}

/* The last token of the prompt is decoded alone, so that every step is. */
static int measure_prompt(struct generation *g, int prompt, llama_token *tokens)
{
    const struct model *model = g->lineup.model;
    if (model->engine->llama_vocab_get_add_bos(model->vocab)) {
        tokens[0] = model->engine->llama_vocab_bos(model->vocab);
    }
    int status = prefill_all(g, prompt, tokens);
    llama_token token = tokens[g->n_prompt - 1];
    for (int step = 0; status == 0 && step < g->n_tokens && !interrupted(); step++) {
        status = take_step(g, prompt, step, &token);
    }
    return status;
}

/* ---- results ---- */

struct summary {
    double mean, mean_se, median, p99; /* of the divergence; NAN when unknown */
    double top1;
};

static int compare_ints(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* Sorts the divergences. */
static struct summary summarize(struct trail *trail, int n)
{
    struct summary summary = {NAN, NAN, NAN, NAN, NAN};
    if (n == 0) {
        return summary;
    }
    struct estimate mean = mean_of(trail->divergences, (size_t)n);
    sort_samples(trail->divergences, (size_t)n);
    summary.mean = mean.value;
    summary.mean_se = mean.error;
    summary.median = quantile_of(trail->divergences, (size_t)n, 0.5);
    summary.p99 = quantile_of(trail->divergences, (size_t)n, 0.99);
    summary.top1 = (double)trail->n_same / n;
    return summary;
}

static void place_text(int place, char *text, size_t size)
{
    if (place == NEVER) {
        snprintf(text, size, "never");
    } else {
        snprintf(text, size, "%d", place);
    }
}

/* The lower median, and the range where there are several prompts; sorts them. */
static void print_leaves(struct trail *trail, int n)
{
    char middle[16], first[16], last[16];
    const int *sorted = trail->leaves;
    qsort(trail->leaves, (size_t)n, sizeof *trail->leaves, compare_ints);
    place_text(sorted[(n - 1) / 2], middle, sizeof middle);
    place_text(sorted[0], first, sizeof first);
    place_text(sorted[n - 1], last, sizeof last);
    if (n > 1) {
        printf("  %s (%s to %s)", middle, first, last);
    } else {
        printf("  %s", middle);
    }
}

static void print_row(struct generation *g, int i, const struct summary *summary)
{
    lineup_print_cache(&g->lineup, i, row_name(g, i));
    printf("  %8.6f +- %8.6f  %8.6f  %8.6f  %6.2f %%", summary->mean, summary->mean_se, summary->median,
           summary->p99, 100 * summary->top1);
    print_leaves(&g->trails[i], g->n_begun);
    putchar('\n');
}

static void print_head(const struct generation *g)
{
    printf("generate: %d tokens after %d, greedily, %d prompt%s; KL divergence from the f16 cache in nats\n",
           g->n_tokens, g->n_prompt, g->n_prompts, plural(g->n_prompts));
    printf("%-*s  %8s  %8s  %20s  %8s  %8s  %8s  %s\n", lineup_name_width(&g->lineup), "cache", "MiB",
           "of f16", "KL mean +- se", "median", "99 %", "top-1", "leaves the f16 text at");
}

static cJSON *report_row(const struct generation *g, int i, const struct summary *summary)
{
    cJSON *result = lineup_report_cache(&g->lineup, i, row_name(g, i));
    cJSON_AddNumberToObject(result, "kld_mean", summary->mean);
    cJSON_AddNumberToObject(result, "kld_mean_se", summary->mean_se);
    cJSON_AddNumberToObject(result, "kld_median", summary->median);
    cJSON_AddNumberToObject(result, "kld_p99", summary->p99);
    cJSON_AddNumberToObject(result, "top1", summary->top1);
    cJSON *leaves = cJSON_AddArrayToObject(result, "leaves_at");
    for (int prompt = 0; prompt < g->n_begun; prompt++) {
        int place = g->trails[i].leaves[prompt];
        cJSON_AddItemToArray(leaves, place == NEVER ? cJSON_CreateNull() : cJSON_CreateNumber(place));
    }
    return result;
}

static void show_results(struct generation *g, const struct eval_options *options, cJSON *report)
{
    bool complete = g->n_steps == g->n_prompts * g->n_tokens, table = !eval_is_quiet(options);
    cJSON *part = cJSON_AddObjectToObject(report, "generate");
    cJSON_AddNumberToObject(part, "tokens", g->n_tokens);
    cJSON_AddNumberToObject(part, "prompts", g->n_begun);
    cJSON_AddBoolToObject(part, "complete", complete);
    cJSON *results = cJSON_AddArrayToObject(part, "results");
    if (table) {
        print_head(g);
    }
    for (int row = 0; row < g->lineup.n - 1; row++) {
        int i = row == 0 ? floor_index(g) : row; /* the floor first */
        struct summary summary = summarize(&g->trails[i], g->n_steps);
        cJSON_AddItemToArray(results, report_row(g, i, &summary));
        if (table && g->n_steps > 0) {
            print_row(g, i, &summary);
        }
    }
    if (table) {
        impossible_print(&options->impossible, lineup_name_width(&g->lineup));
    }
    if (table && !complete) {
        printf("Interrupted after %d of %d tokens.\n", g->n_steps, g->n_prompts * g->n_tokens);
    }
}

/* ---- the task ---- */

static int allocate_trails(struct generation *g)
{
    for (int i = 1; i < g->lineup.n; i++) {
        struct trail *trail = &g->trails[i];
        trail->divergences = calloc((size_t)g->n_prompts * (size_t)g->n_tokens, sizeof *trail->divergences);
        trail->leaves = malloc((size_t)g->n_prompts * sizeof *trail->leaves);
        if (!trail->divergences || !trail->leaves) {
            return cli_fail("Memory is short: ask for fewer tokens or prompts.");
        }
        for (int prompt = 0; prompt < g->n_prompts; prompt++) {
            trail->leaves[prompt] = NEVER;
        }
    }
    return 0;
}

static int open_all(struct generation *g, const struct model *model, const struct eval_options *options)
{
    int status = lineup_open(&g->lineup, model, options, options->n_cells);
    if (status == 0) {
        status = lineup_add(&g->lineup, options, "f16", options->n_cells, 2 * options->n_ubatch);
    }
    return status ? status : allocate_trails(g);
}

static void close_all(struct generation *g)
{
    for (int i = 0; i < EVAL_MAX_CACHES + 2; i++) {
        free(g->trails[i].divergences);
        free(g->trails[i].leaves);
    }
    lineup_close(&g->lineup);
    free(g);
}

int eval_generate_check(const struct model *model, const struct eval_options *options)
{
    if (options->n_ctx - MIN_PROMPT < options->generate) {
        return cli_usage("eval",
                         "A context of %d has no room for a prompt of %d tokens and %d generated ones: "
                         "give a larger -c or a smaller --generate.",
                         options->n_ctx, MIN_PROMPT, options->generate);
    }
    if (!options->text_path) {
        return 0; /* the model writes enough */
    }
    llama_token *text;
    int n_text, n_wanted = options->n_chunks * (options->n_ctx - options->generate);
    int status = text_tokens(model, options, n_wanted, &text, &n_text);
    free(text);
    return status;
}

int eval_generate(const struct model *model, const struct eval_options *options, cJSON *report)
{
    struct generation *g = calloc(1, sizeof *g);
    if (!g) {
        return cli_fail("Memory is short: close other programs and try again.");
    }
    llama_token *text = NULL;
    int n_text = 0;
    g->n_tokens = options->generate;
    g->n_prompt = options->n_ctx - options->generate;
    g->n_prompts = options->n_chunks;
    int status = text_tokens(model, options, g->n_prompts * g->n_prompt, &text, &n_text);
    status = status ? status : open_all(g, model, options);
    progress_start(&g->progress, "eval");
    for (int i = 0; status == 0 && i < g->n_prompts && !interrupted(); i++) {
        status = measure_prompt(g, i, text + (size_t)i * (size_t)g->n_prompt);
    }
    progress_clear(&g->progress);
    if (status == 0 || status == EXIT_INTERRUPTED) { /* the latter: while the model wrote the text */
        show_results(g, options, report);
        status = 0;
    }
    free(text);
    close_all(g);
    return status;
}
