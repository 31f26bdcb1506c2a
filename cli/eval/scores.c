#include "scores.h"

#include "output/json.h"
#include "output/note.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Above it, the weights amplify rounding so much that small errors of a cache cannot be seen. */
static const double high_floor = 0.001;

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
    return 0;
}

static double memory_ratio(const struct scores *scores, int i)
{
    return scores[REFERENCE].bytes ? (double)scores[i].bytes / (double)scores[REFERENCE].bytes : 0;
}

static void print_notes(const struct scores *scores, const struct summary *summaries, int n_scores,
                        const struct eval_options *options)
{
    for (int i = FIRST_CACHE; i < n_scores; i++) {
        if (summaries[i].at_floor) {
            printf("%s is at the floor: it cannot be told from the f16 cache.\n", SHOWN(scores[i].cache));
        }
    }
    if (summaries[FLOOR].kld.value > high_floor && !options->weights) {
        printf("The floor is high, as with quantised weights, which amplify rounding: --weights f16 shows "
               "more.\n");
    }
}

void scores_print(const struct scores *scores, const struct summary *summaries, int n_scores,
                  const struct eval_options *options)
{
    int width = 5;
    for (int i = 0; i < n_scores; i++) {
        int length = (int)strlen(scores[i].cache);
        width = length > width ? length : width;
    }
    printf("%-*s  %9s %7s  %9s  %-17s  %-19s  %8s %8s %8s  %s\n", width, "cache", "MiB", "of f16", "ppl",
           "ppl / f16", "mean KLD", "median", "99 %", "99.9 %", "same top");
    for (int i = 0; i < n_scores; i++) {
        const struct summary *row = &summaries[i];
        printf("%-*s  %9.2f %5.1f %%  %9.4f", width, SHOWN(scores[i].cache),
               (double)scores[i].bytes / 1048576, 100 * memory_ratio(scores, i), row->ppl);
        if (i != REFERENCE) {
            printf("  %.4f +- %.4f  %.6f +- %.6f  %8.6f %8.6f %8.6f  %.2f +- %.2f %%", row->ppl_ratio.value,
                   row->ppl_ratio.error, row->kld.value, row->kld.error, row->kld_median, row->kld_p99,
                   row->kld_p999, 100 * row->top1.value, 100 * row->top1.error);
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
    }
}
