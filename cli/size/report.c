#include "report.h"

#include "output/json.h"
#include "output/lines.h"
#include "output/note.h"
#include "output/statistics.h"
#include "tada.h"

#include <stdio.h>
#include <string.h>

enum { COLUMNS = 80, LABEL_WIDTH = 20, LEAST_WIDTH = 10, WIDEST_NAME = 14 };

static double mib(size_t bytes)
{
    return (double)bytes / 1048576;
}

static double ratio_to_f16(const struct size_report *report, const struct size_parts *parts)
{
    return memory_ratio(size_kv(parts), size_kv(&report->results[0].parts));
}

/* Tokens of the longest sequence. */
static int tokens_of(const struct size_report *report, int n_ctx)
{
    return report->options->unified ? n_ctx : n_ctx / report->options->parallel;
}

/* ---- table ---- */

/* The caches that stand side by side. */
struct table {
    const struct size_report *report;
    int first, end;
};

/* A name that is too long for a column has a number there, and stands above the table. */
static bool is_long(const struct size_result *result)
{
    return strlen(result->spec) > WIDEST_NAME;
}

static int column_width(const struct size_result *result)
{
    int length = is_long(result) ? 0 : (int)strlen(result->spec);
    return 2 + (length > LEAST_WIDTH ? length : LEAST_WIDTH);
}

/* From `first` on, what fits in a line. */
static struct table table_of(const struct size_report *report, int first)
{
    struct table table = {report, first, first};
    int width = LABEL_WIDTH;
    while (table.end < report->n && width + column_width(&report->results[table.end]) <= COLUMNS) {
        width += column_width(&report->results[table.end++]);
    }
    return table;
}

static void print_names(const struct size_report *report)
{
    bool any = false;
    for (int i = 0; i < report->n; i++) {
        if (is_long(&report->results[i])) {
            printf("%s(%d) %s\n", any ? "" : "\n", i, SHOWN(report->results[i].spec));
            any = true;
        }
    }
}

static void print_heading(const struct table *table)
{
    printf("\n%-*s", LABEL_WIDTH, "cache");
    for (int i = table->first; i < table->end; i++) {
        const struct size_result *result = &table->report->results[i];
        char number[16];
        snprintf(number, sizeof number, "(%d)", i);
        printf("%*s", column_width(result), is_long(result) ? number : SHOWN(result->spec));
    }
    putchar('\n');
}

/* A row of bytes. In order of the table. */
struct row {
    const char *label;
    size_t (*value)(const struct size_parts *parts);
    bool optional; /* left out where it is 0 everywhere */
};

#define PART(name)                                                                                           \
    static size_t get_##name(const struct size_parts *parts)                                                 \
    {                                                                                                        \
        return parts->name;                                                                                  \
    }
PART(weights)
PART(mapped)
PART(codes)
PART(window)
PART(sinks)
PART(tables)
PART(rows)
PART(recurrent)
PART(compute)
PART(output)
PART(scratch)
PART(draft)
PART(checkpoint)

static const struct row table_rows[] = {
    {"weights", get_weights, false},
    {"the file, mapped", get_mapped, true},
    {"KV cache", size_kv, false},
    {"  codes and scales", get_codes, true},
    {"  hot window", get_window, true},
    {"  sinks", get_sinks, true},
    {"  tables of tiles", get_tables, true},
    {"  rows", get_rows, true},
    {"recurrent states", get_recurrent, true},
    {"compute buffers", get_compute, false},
    {"output buffer", get_output, false},
    {"scratch, at most", get_scratch, true},
    {"draft model", get_draft, true},
    {"total", size_total, false},
};

static const struct row checkpoint_row = {"a checkpoint", get_checkpoint, true};

static void print_row(const struct table *table, const struct row *row)
{
    const struct size_result *results = table->report->results;
    bool any = !row->optional;
    for (int i = 0; i < table->report->n; i++) {
        any = any || row->value(&results[i].parts) > 0;
    }
    if (!any) {
        return;
    }
    printf("%-*s", LABEL_WIDTH, row->label);
    for (int i = table->first; i < table->end; i++) {
        printf("%*.2f", column_width(&results[i]), mib(row->value(&results[i].parts)));
    }
    putchar('\n');
}

/* How many prompts of a full slot llama-server keeps; 0: none. */
static double prompts_kept(const struct size_report *report, const struct size_parts *parts)
{
    size_t bytes = size_prompt(report->options, parts);
    return bytes ? (double)(report->prompts / bytes) : 0;
}

static void print_prompts(const struct table *table)
{
    const struct size_report *report = table->report;
    char label[64];
    snprintf(label, sizeof label, "prompts in %.4g GiB", (double)report->prompts / (1 << 30));
    printf("%-*s", LABEL_WIDTH, label);
    for (int i = table->first; i < table->end; i++) {
        printf("%*.0f", column_width(&report->results[i]), prompts_kept(report, &report->results[i].parts));
    }
    putchar('\n');
    print_row(table, &checkpoint_row);
}

static void print_largest(const struct table *table)
{
    const struct size_report *report = table->report;
    char label[64];
    snprintf(label, sizeof label, "tokens in %.0f MiB", mib(report->budget));
    printf("\n%-*s", LABEL_WIDTH, label);
    for (int i = table->first; i < table->end; i++) {
        const struct size_result *result = &report->results[i];
        if (result->largest > 0) {
            printf("%*d", column_width(result), result->largest);
        } else {
            printf("%*s", column_width(result), "none");
        }
    }
    printf("\n%-*s", LABEL_WIDTH, "total with them");
    for (int i = table->first; i < table->end; i++) {
        printf("%*.2f", column_width(&report->results[i]), mib(size_total(&report->results[i].at_most)));
    }
    putchar('\n');
}

static void print_table(const struct table *table)
{
    const struct size_report *report = table->report;
    print_heading(table);
    for (size_t i = 0; i < sizeof table_rows / sizeof *table_rows; i++) {
        print_row(table, &table_rows[i]);
    }
    printf("%-*s", LABEL_WIDTH, "KV cache of f16");
    for (int i = table->first; i < table->end; i++) {
        printf("%*.1f %%", column_width(&report->results[i]) - 2,
               100 * ratio_to_f16(report, &report->results[i].parts));
    }
    putchar('\n');
    if (report->prompts > 0) {
        print_prompts(table);
    }
    if (report->budget > 0) {
        print_largest(table);
    }
}

static bool beyond_training(const struct size_report *report)
{
    bool beyond = false;
    for (int i = 0; i < report->n; i++) {
        const struct size_result *result = &report->results[i];
        beyond = beyond || tokens_of(report, result->parts.n_ctx) > report->n_ctx_train ||
                 tokens_of(report, result->largest) > report->n_ctx_train;
    }
    return beyond && report->n_ctx_train > 0;
}

/* Caches of ours mostly have the same sentence. */
static void print_plain(const struct size_report *report)
{
    const char *last = "";
    for (int i = 0; i < report->n; i++) {
        const struct size_result *result = &report->results[i];
        if (*result->plain && strcmp(result->plain, last) != 0) {
            int n = printf("\n%s:", SHOWN(result->spec)) - 1;
            line_print(stdout, n, 0, result->plain);
            last = result->plain;
        }
    }
}

static void print_title(const struct size_report *report)
{
    const struct size_options *options = report->options;
    char text[256];
    int n = printf("%s:", SHOWN(report->model));
    snprintf(text, sizeof text, "%d cells %s %d sequence%s, batches of %d, %d thread%s; MiB",
             report->results[0].parts.n_ctx,
             options->parallel == 1 ? "for"
             : options->unified     ? "shared by"
                                    : "divided among",
             options->parallel, plural(options->parallel), options->n_ubatch, options->n_threads,
             plural(options->n_threads));
    line_print(stdout, n, 0, text);
}

void size_report_print(const struct size_report *report)
{
    print_title(report);
    print_names(report);
    for (int first = 0; first < report->n;) {
        struct table table = table_of(report, first);
        print_table(&table);
        first = table.end;
    }
    if (report->impossible->n > 0) {
        putchar('\n');
        impossible_print(report->impossible, 0);
    }
    print_plain(report);
    if (beyond_training(report)) {
        char text[160];
        snprintf(text, sizeof text,
                 "The model was trained on contexts of %d tokens: longer ones take this memory, but may not "
                 "be of use.",
                 report->n_ctx_train);
        putchar('\n');
        line_print(stdout, 0, 0, text);
    }
}

/* ---- JSON ---- */

static void add(cJSON *object, const char *name, size_t bytes)
{
    cJSON_AddNumberToObject(object, name, (double)bytes);
}

static cJSON *json_of(const struct size_report *report, const struct size_result *result)
{
    const struct size_parts *parts = &result->parts;
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "cache", result->spec);
    add(object, "weights_bytes", parts->weights);
    add(object, "mapped_bytes", parts->mapped);
    report_add_memory(object, size_kv(parts), size_kv(&report->results[0].parts));
    cJSON *kv = cJSON_AddObjectToObject(object, "kv");
    add(kv, "codes_bytes", parts->codes);
    add(kv, "window_bytes", parts->window);
    add(kv, "sinks_bytes", parts->sinks);
    add(kv, "tables_bytes", parts->tables);
    add(kv, "rows_bytes", parts->rows);
    add(object, "recurrent_bytes", parts->recurrent);
    add(object, "compute_bytes", parts->compute);
    add(object, "output_bytes", parts->output);
    add(object, "scratch_bytes", parts->scratch);
    add(object, "draft_bytes", parts->draft);
    add(object, "total_bytes", size_total(parts));
    add(object, "prompt_bytes", size_prompt(report->options, parts));
    cJSON_AddNumberToObject(object, "prompts_in_ram", prompts_kept(report, parts));
    add(object, "checkpoint_bytes", parts->checkpoint);
    if (result->is_ours) {
        cJSON_AddNumberToObject(object, "compressed_ratio", result->outlook.compressed);
        cJSON_AddItemToObject(object, "plain",
                              *result->plain ? cJSON_CreateString(result->plain) : cJSON_CreateNull());
    }
    if (report->budget > 0 && result->largest > 0) {
        cJSON *largest = cJSON_AddObjectToObject(object, "largest");
        cJSON_AddNumberToObject(largest, "n_ctx", result->largest);
        add(largest, "total_bytes", size_total(&result->at_most));
    } else if (report->budget > 0) {
        cJSON_AddNullToObject(object, "largest");
    }
    return object;
}

cJSON *size_report_json(const struct size_report *report)
{
    const struct size_options *options = report->options;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "version", tada_version());
    report_add_text(json, "model", report->model);
    cJSON_AddNumberToObject(json, "n_ctx_train", report->n_ctx_train);
    cJSON_AddNumberToObject(json, "n_ctx", report->results[0].parts.n_ctx);
    cJSON_AddNumberToObject(json, "parallel", options->parallel);
    cJSON_AddBoolToObject(json, "kv_unified", options->unified);
    cJSON_AddNumberToObject(json, "ubatch", options->n_ubatch);
    cJSON_AddNumberToObject(json, "threads", options->n_threads);
    cJSON_AddNumberToObject(json, "cache_ram_bytes", (double)report->prompts);
    if (report->budget > 0) {
        cJSON_AddNumberToObject(json, "memory_bytes", (double)report->budget);
    }
    cJSON *results = cJSON_AddArrayToObject(json, "results");
    for (int i = 0; i < report->n; i++) {
        cJSON_AddItemToArray(results, json_of(report, &report->results[i]));
    }
    impossible_report(report->impossible, json);
    return json;
}
