/* tada eval --copy: objects with random names and numbers, to be repeated from far back. */
#include "eval.h"
#include "measure/copying.h"
#include "output/note.h"
#include "output/random.h"

#include <stdio.h>
#include <string.h>

struct copy {
    struct lineup lineup; /* f16, the caches, f16 with twice the batch */
    struct along along;
    struct copy_scores scores;
    struct work work;
    int n_done; /* documents */
};

static const char *row_name(const struct copy *copy, int i)
{
    return i == copy->lineup.n - 1 ? "floor" : copy->lineup.caches[i].spec;
}

static int read_all(struct copy *copy, const struct model *model, const struct eval_options *options)
{
    uint64_t state = options->seed;
    int status = 0;
    progress_start(&copy->work.progress, "eval");
    copy->work.total = (double)options->n_chunks * options->n_ctx * copy->lineup.n;
    copy->along.work = &copy->work;
    for (int i = 0; status == 0 && i < options->n_chunks; i++) {
        struct copy_document document;
        char detail[64];
        snprintf(detail, sizeof detail, "copy: document %d of %d", i + 1, options->n_chunks);
        copy->work.detail = detail;
        copy->work.done = (double)i * options->n_ctx * copy->lineup.n;
        status = copy_make("eval", model, options->n_ctx, random_next(&state), &document);
        status = status ? status : copy_read(&copy->along, &document, &copy->scores);
        copy_free(&document);
        copy->n_done += status == 0;
    }
    progress_clear(&copy->work.progress);
    return status == EXIT_INTERRUPTED ? 0 : status; /* what is done is shown */
}

/* ---- results ---- */

static void print_row(const struct copy *copy, int i)
{
    lineup_print_cache(&copy->lineup, i, row_name(copy, i));
    for (int depth = 0; depth < COPY_DEPTHS; depth++) {
        struct copy_summary summary = copy_summarise(&copy->scores, i, depth);
        char cell[32];
        snprintf(cell, sizeof cell, "%d/%d", summary.exact, summary.n);
        printf("  %7s", cell);
    }
    struct copy_summary all = copy_summarise(&copy->scores, i, -1);
    printf("  %5.1f %%  %4d %4d\n", 100.0 * all.exact / all.n, all.lost, all.won);
}

static void print_margins(const struct copy *copy)
{
    int width = lineup_name_width(&copy->lineup);
    printf("\nMargin of the right token in nats: mean, least, and what is lost of that of f16\n"
           "%-*s  %8s  %8s  %8s\n",
           width, "cache", "margin", "least", "lost");
    for (int i = 0; i < copy->lineup.n; i++) {
        struct copy_summary all = copy_summarise(&copy->scores, i, -1);
        printf("%-*s  %8.3f  %8.3f  %8.4f +- %.4f\n", width, SHOWN(row_name(copy, i)), all.margin.value,
               all.least.value, all.margin_lost.value, all.margin_lost.error);
    }
}

static void print_table(const struct copy *copy, const struct eval_options *options)
{
    const struct copy_scores *scores = &copy->scores;
    printf("copy: objects repeated exactly, of those that lie so many tokens back;\n"
           "%d document%s of %d tokens, seed %u\n",
           copy->n_done, plural(copy->n_done), options->n_ctx, options->seed);
    if (scores->n_cases > 0) {
        printf("%-*s  %8s  %8s", lineup_name_width(&copy->lineup), "cache", "MiB", "of f16");
        for (int depth = 0; depth < COPY_DEPTHS; depth++) {
            printf("  %7.0f", copy_back(scores, depth));
        }
        printf("  %7s  %4s %4s\n", "overall", "lost", "won");
        for (int i = 0; i < copy->lineup.n; i++) {
            print_row(copy, i);
        }
    }
    impossible_print(&options->impossible, lineup_name_width(&copy->lineup));
    if (scores->n_cases > 0) {
        print_margins(copy);
    }
    if (copy->n_done < options->n_chunks) {
        printf("Interrupted after %d of %d documents.\n", copy->n_done, options->n_chunks);
    }
}

static void add_summary(const struct copy_summary *summary, cJSON *result)
{
    cJSON_AddNumberToObject(result, "cases", summary->n);
    cJSON_AddNumberToObject(result, "exact", summary->exact);
    cJSON_AddNumberToObject(result, "lost_of_f16", summary->lost);
    cJSON_AddNumberToObject(result, "won_over_f16", summary->won);
    cJSON_AddNumberToObject(result, "margin", summary->margin.value);
    cJSON_AddNumberToObject(result, "margin_se", summary->margin.error);
    cJSON_AddNumberToObject(result, "least_margin", summary->least.value);
    cJSON_AddNumberToObject(result, "margin_lost", summary->margin_lost.value);
    cJSON_AddNumberToObject(result, "margin_lost_se", summary->margin_lost.error);
}

static void add_report(const struct copy *copy, const struct eval_options *options, cJSON *report)
{
    cJSON *part = cJSON_AddObjectToObject(report, "copy");
    cJSON_AddBoolToObject(part, "complete", copy->n_done == options->n_chunks);
    cJSON_AddNumberToObject(part, "documents", copy->n_done);
    cJSON *results = cJSON_AddArrayToObject(part, "results");
    for (int i = 0; i < copy->lineup.n && copy->scores.n_cases > 0; i++) {
        cJSON *result = lineup_report_cache(&copy->lineup, i, row_name(copy, i));
        struct copy_summary all = copy_summarise(&copy->scores, i, -1);
        add_summary(&all, result);
        cJSON *depths = cJSON_AddArrayToObject(result, "depths");
        for (int depth = 0; depth < COPY_DEPTHS; depth++) {
            cJSON *cell = cJSON_CreateObject();
            struct copy_summary summary = copy_summarise(&copy->scores, i, depth);
            cJSON_AddNumberToObject(cell, "tokens_back", copy_back(&copy->scores, depth));
            add_summary(&summary, cell);
            cJSON_AddItemToArray(depths, cell);
        }
        cJSON_AddItemToArray(results, result);
    }
}

/* ---- the task ---- */

int eval_copy_check(const struct model *model, const struct eval_options *options)
{
    struct copy_document document;
    if (options->n_ctx < COPY_LEAST_CTX) {
        return cli_usage("eval", "A context of %d has no room for objects to copy: give a -c of at least %d.",
                         options->n_ctx, COPY_LEAST_CTX);
    }
    int status = copy_make("eval", model, options->n_ctx, options->seed, &document);
    copy_free(&document);
    return status;
}

int eval_copy(const struct model *model, const struct eval_options *options, cJSON *report)
{
    struct copy copy;
    memset(&copy, 0, sizeof copy);
    int status = lineup_open(&copy.lineup, model, options, options->n_ctx);
    if (status == 0) {
        status = lineup_add(&copy.lineup, options, "f16", options->n_ctx, 2 * options->n_ubatch);
    }
    status = status ? status : along_open(&copy.along, &copy.lineup, options->n_threads);
    status = status ? status : read_all(&copy, model, options);
    if (status == 0) {
        add_report(&copy, options, report);
        if (!eval_is_quiet(options)) {
            print_table(&copy, options);
        }
    }
    copy_scores_free(&copy.scores);
    along_close(&copy.along);
    lineup_close(&copy.lineup);
    return status;
}
