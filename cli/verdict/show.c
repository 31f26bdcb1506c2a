/* The verdict as a table and as JSON. */
#include "output/json.h"
#include "output/note.h"
#include "verdict.h"

#include <math.h>
#include <stdio.h>

static const char *share_text(const struct finding *finding, char text[32])
{
    if (finding->n == 0) {
        return "-";
    }
    snprintf(text, 32, "%.1f %%", 100 * finding->value);
    return text;
}

static const char *nats_text(const struct finding *finding, char text[32])
{
    if (finding->n == 0) {
        return "-";
    }
    snprintf(text, 32, "%.4f", finding->value);
    return text;
}

static const char *count_text(const struct finding *finding, char text[32])
{
    if (finding->n == 0) {
        return "-";
    }
    snprintf(text, 32, "%d/%d", finding->lost - finding->won, finding->n);
    return text;
}

static void print_row(const struct verdict *v, const struct opinion *opinion, int i, const char *name,
                      const char *grade)
{
    const struct finding *of = opinion->evidence.of;
    char a[32], b[32], c[32], d[32], e[32], f[32], g[32];
    lineup_print_cache(&v->lineup, i, name);
    printf("  %-7s  %8s %6s  %6s %6s  %6s %5s %5s\n", grade, count_text(&of[MEASURE_COPY], a),
           share_text(&of[MEASURE_MARGIN], b), nats_text(&of[MEASURE_KLD], c),
           share_text(&of[MEASURE_TOP], d), nats_text(&of[MEASURE_LONG], e),
           count_text(&of[MEASURE_LOOPS], f), count_text(&of[MEASURE_KEYS], g));
}

/* The grade in a line, and below it each measure that says so. */
static void print_reasons(const struct verdict *v, const struct opinion *opinions, int i)
{
    const struct judgement *judgement = &opinions[i].judgement;
    int better = better_than(v, opinions, i);
    const char *unknown =
        v->options->eval.text_path ? ": give more --minutes" : ": give a text with -f, or more --minutes";
    char text[256];
    printf("%s: %s", SHOWN(v->lineup.caches[i].spec), grade_name(judgement->grade));
    if (better >= 0) {
        printf("; next better: %s", SHOWN(v->lineup.caches[better].spec));
    }
    puts(judgement->grade == GRADE_SAFE      ? "; nearest to its limit:"
         : judgement->grade == GRADE_UNKNOWN ? unknown
                                             : "");
    for (int m = 0; m < N_MEASURES; m++) {
        bool tells = judgement->grade == GRADE_SAFE ? (int)judgement->worst == m
                                                    : judgement->grades[m] == judgement->grade;
        if (judgement->grade != GRADE_UNKNOWN && tells) {
            reason_of(v, opinions, i, (enum measure)m, text, sizeof text);
            printf("  %s\n", text);
        }
    }
}

void verdict_print(const struct verdict *v, const struct opinion *opinions, bool complete)
{
    char setting[128], account[256];
    setting_of(v, setting, sizeof setting);
    account_of(v, complete, account, sizeof account);
    printf("%s: %s\n%s\n\n", SHOWN(v->model->name), setting, account);
    printf("%-*s  %8s  %8s  %-7s  %8s %6s  %6s %6s  %6s %5s %5s\n", lineup_name_width(&v->lineup), "cache",
           "MiB", "of f16", "verdict", "objects", "margin", "KLD", "other", "long", "loops", "keys");
    for (int i = 1; i < floor_index(v); i++) {
        print_row(v, &opinions[i], i, v->lineup.caches[i].spec, grade_name(opinions[i].judgement.grade));
    }
    print_row(v, &opinions[floor_index(v)], floor_index(v), "floor", "");
    impossible_print(&v->options->eval.impossible, lineup_name_width(&v->lineup));
    puts("\nAgainst f16: objects and margin lost when copying; KL divergence and other likeliest tokens on "
         "the\n"
         "text; KL divergence along long answers; answers that loop, and pass keys missed.\n");
    for (int i = 1; i < floor_index(v); i++) {
        print_reasons(v, opinions, i);
    }
}

/* ---- JSON ---- */

/* JSON has no other numbers than finite ones. */
static void add_number(cJSON *object, const char *name, double value)
{
    if (isfinite(value)) {
        cJSON_AddNumberToObject(object, name, value);
    } else {
        cJSON_AddNullToObject(object, name);
    }
}

static void add_measures(const struct verdict *v, const struct opinion *opinions, int i, cJSON *result)
{
    cJSON *list = cJSON_AddArrayToObject(result, "measures");
    for (int m = 0; m < N_MEASURES; m++) {
        const struct finding *finding = &opinions[i].evidence.of[m];
        const struct judgement *judgement = &opinions[i].judgement;
        char text[256];
        if (finding->n == 0) {
            continue;
        }
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "measure", measure_name((enum measure)m));
        cJSON_AddNumberToObject(item, "samples", finding->n);
        add_number(item, "value", finding->value);
        if (finding->counted) {
            cJSON_AddNumberToObject(item, "lost", finding->lost);
            cJSON_AddNumberToObject(item, "won", finding->won);
        }
        if (i != floor_index(v)) {
            reason_of(v, opinions, i, (enum measure)m, text, sizeof text);
            cJSON_AddStringToObject(item, "grade", grade_name(judgement->grades[m]));
            add_number(item, "safe_up_to", judgement->limits[m][0]);
            add_number(item, "careful_up_to", judgement->limits[m][1]);
            report_add_text(item, "text", text);
        }
        cJSON_AddItemToArray(list, item);
    }
}

void verdict_report(const struct verdict *v, const struct opinion *opinions, bool complete, cJSON *report)
{
    cJSON_AddBoolToObject(report, "complete", complete);
    cJSON_AddNumberToObject(report, "n_ctx", v->n_ctx);
    cJSON_AddNumberToObject(report, "objects", v->copies.n_cases);
    cJSON_AddNumberToObject(report, "objects_of_f16", copy_summarise(&v->copies, 0, -1).exact);
    cJSON_AddNumberToObject(report, "tokens", v->texts[1].n);
    cJSON_AddNumberToObject(report, "answers", v->turns[TASK_LONG].done);
    cJSON_AddNumberToObject(report, "keys", v->turns[TASK_KEYS].done);
    impossible_report(&v->options->eval.impossible, report);
    cJSON *results = cJSON_AddArrayToObject(report, "results");
    for (int i = 1; i < v->lineup.n; i++) {
        bool is_floor = i == floor_index(v);
        int better = is_floor ? -1 : better_than(v, opinions, i);
        cJSON *result = lineup_report_cache(&v->lineup, i, is_floor ? "floor" : v->lineup.caches[i].spec);
        if (!is_floor) {
            const struct judgement *judgement = &opinions[i].judgement;
            cJSON_AddStringToObject(result, "verdict", grade_name(judgement->grade));
            report_add_text(result, "because",
                            judgement->grade == GRADE_UNKNOWN ? NULL : measure_name(judgement->worst));
            report_add_text(result, "next_better", better >= 0 ? v->lineup.caches[better].spec : NULL);
        }
        add_measures(v, opinions, i, result);
        cJSON_AddItemToArray(results, result);
    }
}
