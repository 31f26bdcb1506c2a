#include "scores.h"

#include "output/json.h"
#include "output/note.h"
#include "tada.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Above it, the weights amplify rounding so much that small errors of a cache cannot be seen. */
static const double high_floor = 0.001;

/* The rule of the verdicts. The scale is the larger of the mean KL divergences of the floor and of q8_0,
 * which hardly anybody can tell from f16. */
static const double near_scales = 3, broken_ppl = 1.2, broken_share = 0.2;

int scores_open(struct scores *scores, const char *cache, size_t n)
{
    *scores = (struct scores){.cache = cache,
                              .nll = malloc(n * sizeof *scores->nll),
                              .kld = malloc(n * sizeof *scores->kld),
                              .same = malloc(n * sizeof *scores->same)};
    if (!scores->nll || !scores->kld || !scores->same) {
        return cli_fail("Memory is too short for %zu tokens: use fewer chunks (--chunks).", n);
    }
    return 0;
}

void scores_close(struct scores *scores)
{
    free(scores->nll);
    free(scores->kld);
    free(scores->same);
    *scores = (struct scores){0};
}

/* `work` has room for n. */
static void summarise(const struct scores *base, const struct scores *floor, const struct scores *scores,
                      size_t n, double *work, struct summary *summary)
{
    size_t n_same = 0;
    for (size_t i = 0; i < n; i++) {
        n_same += scores->same[i];
        work[i] = scores->nll[i] - base->nll[i];
    }
    struct estimate log_ratio = mean_of(work, n);
    double ratio = exp(log_ratio.value);
    summary->ppl = exp(mean_of(scores->nll, n).value);
    summary->ppl_ratio = (struct estimate){ratio, ratio * log_ratio.error};
    summary->top1 = share_of(n_same, n);
    summary->kld = mean_of(scores->kld, n);
    /* Token by token: both are small and large at the same ones. */
    for (size_t i = 0; i < n; i++) {
        work[i] = scores->kld[i] - floor->kld[i];
    }
    struct estimate excess = mean_of(work, n);
    summary->at_floor = summary->kld.value <= 1.25 * mean_of(floor->kld, n).value ||
                        (n > 1 && excess.value <= 2 * excess.error);
    memcpy(work, scores->kld, n * sizeof *work);
    sort_samples(work, n);
    summary->kld_median = quantile_of(work, n, 0.5);
    summary->kld_p99 = quantile_of(work, n, 0.99);
    summary->kld_p999 = quantile_of(work, n, 0.999);
}

static double verdict_scale(const struct scores *scores, const struct summary *summaries, int n_scores)
{
    double scale = summaries[FLOOR].kld.value;
    for (int i = FIRST_CACHE; i < n_scores; i++) {
        bool larger = strcmp(scores[i].cache, "q8_0") == 0 && summaries[i].kld.value > scale;
        scale = larger ? summaries[i].kld.value : scale;
    }
    return scale;
}

static const char *verdict_of(const struct summary *summary, const struct summary *floor, double scale)
{
    if (summary->at_floor) {
        return "at the floor";
    }
    /* What is no number is broken, too. */
    if (!isfinite(summary->kld.value) || !(summary->ppl_ratio.value <= broken_ppl) ||
        floor->top1.value - summary->top1.value > broken_share) {
        return "broken";
    }
    return summary->kld.value <= near_scales * scale ? "near" : "visible";
}

int scores_summarise(const struct scores *scores, int n_scores, size_t n, struct summary *summaries)
{
    double *work = malloc(n * sizeof *work);
    if (!work) {
        return cli_fail("Memory is too short for %zu tokens: use fewer chunks (--chunks).", n);
    }
    for (int i = 0; i < n_scores; i++) {
        summarise(&scores[REFERENCE], &scores[FLOOR], &scores[i], n, work, &summaries[i]);
    }
    free(work);
    double scale = verdict_scale(scores, summaries, n_scores);
    for (int i = 0; i < n_scores; i++) {
        summaries[i].verdict = i < FIRST_CACHE ? "" : verdict_of(&summaries[i], &summaries[FLOOR], scale);
    }
    return 0;
}

static double ratio_of(const struct scores *scores, int i)
{
    return memory_ratio(scores[i].bytes, scores[REFERENCE].bytes);
}

/* Below this context the exact tokens weigh. */
enum { LONG_CTX = 4096 };

static void print_notes(const struct scores *scores, const struct summary *summaries, int n_scores,
                        const struct eval_options *options)
{
    bool has_ours = false;
    for (int i = FIRST_CACHE; i < n_scores; i++) {
        tada_spec spec;
        has_ours = has_ours || (tada_spec_parse(scores[i].cache, &spec, NULL) == TADA_OK && !spec.stock);
    }
    printf(
        "\nfloor: f16 in other batches, what rounding alone does; same %%: the most likely token is that of "
        "f16.\n"
        "at the floor: cannot be told from f16; near: a KL divergence of at most %.0f times that of q8_0 or "
        "the\n"
        "floor; broken: a perplexity of more than %.1f times, or another most likely token at one place in "
        "%.0f\n"
        "more than the floor; visible: between these.\n",
        near_scales, broken_ppl, 1 / broken_share);
    if (has_ours && options->n_ctx < LONG_CTX) {
        printf("In a context of %d the tokens that are kept exact weigh much. In longer ones the share of "
               "f16 is\n"
               "less: see 'tada size -c %d'.\n",
               options->n_ctx, 8 * LONG_CTX);
    }
    if (summaries[FLOOR].kld.value > high_floor && !options->weights) {
        printf("The floor is high, as with quantised weights, which amplify rounding: --weights f16 shows "
               "more.\n");
    }
}

/* 100 columns with a cache of 15 characters. */
void scores_print(const struct scores *scores, const struct summary *summaries, int n_scores,
                  const struct eval_options *options)
{
    int width = 5;
    for (int i = 0; i < n_scores; i++) {
        int length = (int)strlen(scores[i].cache);
        width = length > width ? length : width;
    }
    printf("%-*s  %7s  %6s  %8s  %6s  %17s  %7s  %6s  %s\n", width, "cache", "MiB", "% f16", "ppl", "x f16",
           "KL divergence", "median", "same %", "verdict");
    for (int i = 0; i < n_scores; i++) {
        const struct summary *row = &summaries[i];
        printf("%-*s  %7.1f  %6.1f  %8.3f", width, SHOWN(scores[i].cache), (double)scores[i].bytes / 1048576,
               100 * ratio_of(scores, i), row->ppl);
        if (i != REFERENCE) {
            char error[32];
            snprintf(error, sizeof error, "+-%.5f", row->kld.error);
            printf("  %6.3f  %7.5f %9s  %7.5f  %6.2f%s%s", row->ppl_ratio.value, row->kld.value, error,
                   row->kld_median, 100 * row->top1.value, *row->verdict ? "  " : "", row->verdict);
        }
        putchar('\n');
    }
    impossible_print(&options->impossible, width);
    print_notes(scores, summaries, n_scores, options);
}

void scores_report(const struct scores *scores, const struct summary *summaries, int n_scores, size_t n,
                   const struct eval_options *options, cJSON *results)
{
    for (int i = 0; i < n_scores; i++) {
        const struct summary *row = &summaries[i];
        cJSON *result = cJSON_CreateObject();
        cJSON_AddItemToArray(results, result);
        cJSON_AddStringToObject(result, "cache", scores[i].cache);
        report_add_memory(result, scores[i].bytes, scores[REFERENCE].bytes);
        cJSON_AddNumberToObject(result, "ppl", row->ppl);
        cJSON_AddNumberToObject(result, "ppl_base", summaries[REFERENCE].ppl);
        cJSON_AddNumberToObject(result, "ppl_ratio", row->ppl_ratio.value);
        cJSON_AddNumberToObject(result, "ppl_ratio_se", row->ppl_ratio.error);
        cJSON_AddNumberToObject(result, "kld_mean", row->kld.value);
        cJSON_AddNumberToObject(result, "kld_mean_se", row->kld.error);
        cJSON_AddNumberToObject(result, "kld_median", row->kld_median);
        cJSON_AddNumberToObject(result, "kld_p99", row->kld_p99);
        cJSON_AddNumberToObject(result, "kld_p999", row->kld_p999);
        cJSON_AddNumberToObject(result, "top1", row->top1.value);
        cJSON_AddNumberToObject(result, "top1_se", row->top1.error);
        cJSON_AddNumberToObject(result, "tokens", (double)n);
        cJSON_AddNumberToObject(result, "n_ctx", options->n_ctx);
        cJSON_AddNumberToObject(result, "n_cells", options->n_cells);
        cJSON_AddNumberToObject(result, "n_ubatch", i == FLOOR ? 2 * options->n_ubatch : options->n_ubatch);
        cJSON_AddBoolToObject(result, "at_floor", row->at_floor);
        cJSON_AddStringToObject(result, "verdict", row->verdict);
    }
}
