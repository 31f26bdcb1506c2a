/* From what was measured to what is said of it. */
#include "verdict.h"

#include "output/note.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A measure in which f16 itself fails more often than this says nothing about caches. */
static const double least_of_f16 = 0.25;
/* Nats: with a smaller margin the model does not copy. */
static const double least_margin = 1;

static void find_copies(const struct verdict *v, int cache, struct evidence *evidence)
{
    struct copy_summary base = copy_summarise(&v->copies, 0, -1), own = copy_summarise(&v->copies, cache, -1);
    if (own.n > 0 && base.exact >= least_of_f16 * own.n) {
        evidence->of[MEASURE_COPY] = (struct finding){.n = own.n,
                                                      .value = (double)(own.lost - own.won) / own.n,
                                                      .counted = true,
                                                      .lost = own.lost,
                                                      .won = own.won};
    }
    if (own.n > 0 && base.margin.value >= least_margin) {
        evidence->of[MEASURE_MARGIN] =
            (struct finding){.n = own.n, .value = own.margin_lost.value / base.margin.value};
    }
}

static void find_divergence(const struct points *points, struct evidence *evidence)
{
    double *klds = points->n > 0 ? malloc((size_t)points->n * sizeof *klds) : NULL;
    int n_same = 0, n = points->n;
    if (!klds) {
        return;
    }
    for (int i = 0; i < n; i++) {
        klds[i] = points->list[i].kld;
        n_same += points->list[i].same;
    }
    evidence->of[MEASURE_KLD] = (struct finding){.n = n, .value = mean_of(klds, (size_t)n).value};
    sort_samples(klds, (size_t)n);
    evidence->of[MEASURE_TAIL] = (struct finding){.n = n, .value = quantile_of(klds, (size_t)n, 0.99)};
    evidence->of[MEASURE_TOP] = (struct finding){.n = n, .value = 1 - (double)n_same / n};
    free(klds);
}

/* The mean divergence of the points at positions from...end - 1, with its standard error. `work` has room
 * for all points. */
static struct estimate mean_between(const struct points *points, int from, int end, double *work, int *n)
{
    *n = 0;
    for (int i = 0; i < points->n; i++) {
        if (points->list[i].position >= from && points->list[i].position < end) {
            work[(*n)++] = points->list[i].kld;
        }
    }
    return *n > 0 ? mean_of(work, (size_t)*n) : (struct estimate){0, 0};
}

static void find_long(const struct verdict *v, int cache, struct evidence *evidence)
{
    const struct points *points = &v->longs[cache];
    double *work = points->n > 0 ? malloc((size_t)points->n * sizeof *work) : NULL;
    int n, n_first, n_last, third = v->n_answer / 3, end = v->n_prompt + v->n_answer;
    if (!work) {
        return;
    }
    struct estimate all = mean_between(points, v->n_prompt, end, work, &n);
    struct estimate first = mean_between(points, v->n_prompt, v->n_prompt + third, work, &n_first);
    struct estimate last = mean_between(points, end - third, end, work, &n_last);
    evidence->of[MEASURE_LONG] = (struct finding){.n = n, .value = all.value};
    if (n_first >= third && n_last >= third) {
        evidence->of[MEASURE_GROWTH] = (struct finding){
            .n = n_last, .value = last.value - first.value - 2 * hypot(first.error, last.error)};
    }
    free(work);
}

/* Counts cases in which a cache fails and f16 does not, and the other way round. list [n]: what each cache
 * did with a case; `bad` is the value that means failure. */
static struct finding count_pairs(const bool (*list)[VERDICT_MOST], int n, int cache, bool bad)
{
    struct finding finding = {.n = n, .counted = true};
    for (int i = 0; i < n; i++) {
        finding.lost += list[i][cache] == bad && list[i][0] != bad;
        finding.won += list[i][cache] != bad && list[i][0] == bad;
    }
    finding.value = n > 0 ? (double)(finding.lost - finding.won) / n : 0;
    return finding;
}

void evidence_of(const struct verdict *v, int cache, struct evidence *evidence)
{
    int n_found = 0, n_keys = v->turns[TASK_KEYS].done;
    *evidence = (struct evidence){0};
    find_copies(v, cache, evidence);
    find_divergence(&v->texts[cache], evidence);
    find_long(v, cache, evidence);
    evidence->of[MEASURE_LOOPS] = count_pairs(v->loops, v->turns[TASK_LONG].done, cache, true);
    for (int i = 0; i < n_keys; i++) {
        n_found += v->found[i][0];
    }
    if (n_found >= least_of_f16 * n_keys) {
        evidence->of[MEASURE_KEYS] = count_pairs(v->found, n_keys, cache, false);
    }
}

int yardstick_index(const struct verdict *v)
{
    for (int i = 1; i < floor_index(v); i++) {
        if (strcmp(v->lineup.caches[i].spec, "q8_0") == 0) {
            return i;
        }
    }
    return 0;
}

static const struct evidence *yardstick_of(const struct verdict *v, const struct opinion *opinions)
{
    int i = yardstick_index(v);
    return i > 0 ? &opinions[i].evidence : NULL;
}

void opinions_of(const struct verdict *v, struct opinion *opinions)
{
    for (int i = 0; i < v->lineup.n; i++) {
        evidence_of(v, i, &opinions[i].evidence);
        opinions[i].bytes = cache_bytes(&v->lineup.caches[i]);
    }
    for (int i = 0; i < v->lineup.n; i++) {
        /* q8_0 is no excuse for itself. */
        judge(&opinions[i].evidence, &opinions[floor_index(v)].evidence,
              i == yardstick_index(v) ? NULL : yardstick_of(v, opinions), &opinions[i].judgement);
    }
}

int better_than(const struct verdict *v, const struct opinion *opinions, int cache)
{
    struct judgement judgements[VERDICT_MOST];
    size_t bytes[VERDICT_MOST];
    for (int i = 1; i < floor_index(v); i++) {
        judgements[i - 1] = opinions[i].judgement;
        bytes[i - 1] = opinions[i].bytes;
    }
    enum grade grade = opinions[cache].judgement.grade;
    return grade == GRADE_SAFE || grade == GRADE_UNKNOWN
               ? -1
               : next_better(judgements, bytes, floor_index(v) - 1, cache - 1) + 1;
}

void reason_of(const struct verdict *v, const struct opinion *opinions, int cache, enum measure measure,
               char *text, size_t size)
{
    finding_text(measure, &opinions[cache].evidence, &opinions[floor_index(v)].evidence,
                 yardstick_of(v, opinions), &opinions[cache].judgement, text, size);
}

void setting_of(const struct verdict *v, char *text, size_t size)
{
    snprintf(text, size, "context of %d, seed %u, measured in %.1f minutes", v->n_ctx, v->options->eval.seed,
             v->seconds / 60);
}

void account_of(const struct verdict *v, bool complete, char *text, size_t size)
{
    int objects = v->copies.n_cases, answers = v->turns[TASK_LONG].done, keys = v->turns[TASK_KEYS].done;
    snprintf(text, size,
             "%s%d object%s to copy, %d tokens of text, %d long answer%s of %d tokens, %d pass key%s",
             complete ? "" : "INCOMPLETE: ", objects, plural(objects), v->texts[1].n, answers,
             plural(answers), v->n_answer, keys, plural(keys));
}
