/* The text form of Prometheus, version 0.0.4: each metric with its help and type, then its samples. */
#include "exposition.h"

#include <inttypes.h>
#include <string.h>

static const char *const kind_names[] = {"k", "v"};

static void print_head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void print_one(FILE *out, const char *name, const char *type, const char *help, uint64_t value)
{
    print_head(out, name, type, help);
    fprintf(out, "%s %" PRIu64 "\n", name, value);
}

/* Without floating point, whose decimal sign depends on the host's locale. */
static void print_seconds(FILE *out, const char *name, const char *help, uint64_t ns)
{
    print_head(out, name, "counter", help);
    fprintf(out, "%s %" PRIu64 ".%09" PRIu64 "\n", name, ns / 1000000000u, ns % 1000000000u);
}

/* One sample for K and one for V. */
static void by_kind(FILE *out, const char *name, const char *type, const char *help, uint64_t k, uint64_t v)
{
    print_head(out, name, type, help);
    fprintf(out, "%s{kind=\"k\"} %" PRIu64 "\n%s{kind=\"v\"} %" PRIu64 "\n", name, k, name, v);
}

typedef struct labelled {
    const char *label;
    uint64_t value;
} labelled;

static void print_parts(FILE *out, const char *name, const char *label, int kind, const labelled *parts,
                        size_t n)
{
    for (size_t i = 0; i < n; i++) {
        fprintf(out, "%s{kind=\"%s\",%s=\"%s\"} %" PRIu64 "\n", name, kind_names[kind], label, parts[i].label,
                parts[i].value);
    }
}

static void print_caches(FILE *out, const metrics_counts *c)
{
    print_head(out, "tada_cells", "gauge", "Cells of a cache, over all its streams.");
    for (int i = 0; i < METRICS_CACHES; i++) {
        if (c->caches[i].there) {
            fprintf(out, "tada_cells{cache=\"%d\"} %" PRId64 "\n", i, c->caches[i].cells);
        }
    }
    print_head(out, "tada_cells_used", "gauge",
               "Cells that hold a row; those of removed tokens do until they are written again.");
    for (int i = 0; i < METRICS_CACHES; i++) {
        if (c->caches[i].there) {
            fprintf(out, "tada_cells_used{cache=\"%d\"} %" PRId64 "\n", i, c->caches[i].used);
        }
    }
    print_head(out, "tada_tokens_written_total", "counter", "Tokens that graphs have written to a cache.");
    for (int i = 0; i < METRICS_CACHES; i++) {
        if (c->caches[i].seen) {
            fprintf(out, "tada_tokens_written_total{cache=\"%d\"} %" PRIu64 "\n", i, c->caches[i].tokens);
        }
    }
}

static void print_planes(FILE *out, const metrics_kind *k, const metrics_kind *v)
{
    const metrics_kind *kinds[] = {k, v};
    by_kind(out, "tada_planes", "gauge", "Caches of K or V of one layer.", (uint64_t)k->planes,
            (uint64_t)v->planes);
    print_head(out, "tada_tiles", "gauge", "Tiles of 64 cells: hot (f16), cold (compressed), empty.");
    for (int i = 0; i < 2; i++) {
        const tada_plane_stats *s = &kinds[i]->stats;
        int64_t empty = s->tiles - s->hot - s->cold;
        const labelled states[] = {{"hot", (uint64_t)s->hot},
                                   {"cold", (uint64_t)s->cold},
                                   /* The numbers may be of different moments, so that their difference may
                                    * be below zero. */
                                   {"empty", (uint64_t)(empty > 0 ? empty : 0)}};
        print_parts(out, "tada_tiles", "state", i, states, sizeof states / sizeof *states);
    }
    by_kind(out, "tada_refined_tiles", "gauge", "Cold tiles that have a refinement.",
            (uint64_t)k->stats.refined, (uint64_t)v->stats.refined);
    by_kind(out, "tada_layered_tiles", "gauge", "Cold tiles with rows that were encoded at two times.",
            (uint64_t)k->stats.layered, (uint64_t)v->stats.layered);
    print_head(out, "tada_cache_bytes", "gauge",
               "Bytes of all planes: compressed tiles and refinements, hot tiles, sinks, tile tables.");
    for (int i = 0; i < 2; i++) {
        const tada_plane_stats *s = &kinds[i]->stats;
        const labelled parts[] = {{"cold", s->bytes_cold},
                                  {"hot", s->bytes_hot},
                                  {"sinks", s->bytes_sinks},
                                  {"table", s->bytes_table}};
        print_parts(out, "tada_cache_bytes", "part", i, parts, sizeof parts / sizeof *parts);
    }
    by_kind(out, "tada_resident_bytes", "gauge",
            "Bytes of planes that are in memory now: pages come as cells are written.", k->resident,
            v->resident);
    by_kind(out, "tada_f16_bytes", "gauge", "Bytes that the same cells would take in f16.",
            k->stats.bytes_f16, v->stats.bytes_f16);
    by_kind(out, "tada_compressions_total", "counter", "Tiles encoded.", (uint64_t)k->stats.compressions,
            (uint64_t)v->stats.compressions);
    by_kind(out, "tada_reopenings_total", "counter", "Cold tiles decoded because they were written to.",
            (uint64_t)k->stats.reopens, (uint64_t)v->stats.reopens);
    by_kind(out, "tada_merges_total", "counter", "Tiles of which rows were encoded a second time.",
            (uint64_t)k->stats.merges, (uint64_t)v->stats.merges);
    by_kind(out, "tada_nonfinite_cells_total", "counter",
            "Rows written with a value that is not finite: NaN, or too large for f16.",
            (uint64_t)k->stats.nonfinite, (uint64_t)v->stats.nonfinite);
    by_kind(out, "tada_state_rows_read_total", "counter",
            "Rows decoded for a reader outside a graph: states that are saved.", k->rows_read, v->rows_read);
    by_kind(out, "tada_state_rows_written_total", "counter",
            "Rows written from outside a graph: states that are restored.", k->rows_written, v->rows_written);
}

/* Operations that the plug-in computes itself have a sample from the beginning, so that the first one that
 * falls to the generic path shows as a step. */
static bool is_operation_shown(enum ggml_op op, uint64_t falls)
{
    return falls > 0 || op == GGML_OP_SET_ROWS || op == GGML_OP_FLASH_ATTN_EXT || op == GGML_OP_ROPE;
}

void exposition_print(FILE *out, const metrics_counts *c, const char *labels)
{
    print_head(out, "tada_build_info", "gauge", "What runs: always 1.");
    fprintf(out, "tada_build_info{%s} 1\n", labels);
    print_caches(out, c);
    print_planes(out, &c->kinds[TADA_K], &c->kinds[TADA_V]);
    print_one(out, "tada_prompts_restored_total", "counter", "Prompts restored from a disk.", c->prompts);
    print_one(out, "tada_prompt_tokens_restored_total", "counter",
              "Tokens of these prompts that were not computed.", c->prompt_tokens);
    print_one(out, "tada_prompt_bytes_restored_total", "counter", "Bytes read for these prompts.",
              c->prompt_bytes);
    print_one(out, "tada_scratch_bytes", "gauge",
              "Bytes of scratch: tiles of batches and workspaces of the attention.", c->scratch);
    print_head(out, "tada_generic_ops_total", "counter",
               "Operations on decoded rows, for want of a way of our own: each is slow.");
    for (int op = 0; op < GGML_OP_COUNT; op++) {
        if (is_operation_shown((enum ggml_op)op, c->generic[op])) {
            fprintf(out, "tada_generic_ops_total{op=\"%s\"} %" PRIu64 "\n", ggml_op_name((enum ggml_op)op),
                    c->generic[op]);
        }
    }
    print_one(out, "tada_attention_calls_total", "counter", "Attention operations: one a layer and batch.",
              c->attention_calls);
    print_seconds(out, "tada_attention_seconds_total", "Time in attention.", c->attention_ns);
    print_seconds(out, "tada_encoding_seconds_total", "Time in compressing tiles.", c->encoding_ns);
}

/* Appends name="value" with the value's quotes escaped; nothing when there is no room. Bytes beyond ASCII
 * become question marks, as a path need not be UTF-8 and the whole text must be; so do control characters. */
static void escape_label(char *text, size_t size, const char *name, const char *value)
{
    size_t at = strlen(text), before = at;
    at += (size_t)snprintf(text + at, size - at, "%s%s=\"", at ? "," : "", name);
    for (const char *c = value; *c && at + 4 < size; c++) {
        if (*c == '\\' || *c == '"' || *c == '\n') {
            text[at++] = '\\';
        }
        text[at++] = *c == '\n' ? 'n' : *c >= ' ' && *c < 0x7F ? *c : '?';
    }
    if (at + 4 >= size) {
        text[before] = '\0';
        return;
    }
    memcpy(text + at, "\"", 2);
}

void exposition_labels(char *text, size_t size, const char *spec)
{
    *text = '\0';
    escape_label(text, size, "version", tada_version());
    escape_label(text, size, "kernels", tada_kernels_name());
    escape_label(text, size, "ggml", ggml_version());
    escape_label(text, size, "spec", spec);
}
