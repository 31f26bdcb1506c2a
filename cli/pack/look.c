#include "look.h"

#include "output/note.h"
#include "output/progress.h"
#include "session.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const kinds[] = {[SESSION_SLOT] = "slot",
                                    [SESSION_CONTEXT] = "context",
                                    [SESSION_PROMPT] = "prompt",
                                    [SESSION_STATE] = "state"};

static bool step(void *context, uint64_t done, uint64_t total)
{
    progress_show(context, (double)done, (double)total, "");
    return !interrupted();
}

/* A string of JSON, with what is no UTF-8 as a terminal would show it. */
static void print_text(const char *text)
{
    putchar('"');
    for (const char *c = SHOWN(text); *c; c++) {
        if (*c == '"' || *c == '\\') {
            putchar('\\');
        }
        putchar(*c);
    }
    putchar('"');
}

static bool has_codes(const session_facts *facts)
{
    return facts->kind == SESSION_PROMPT || facts->kind == SESSION_STATE;
}

static void print_json(const char *path, const session_facts *facts, const char *problem, bool last)
{
    printf(" {\"file\": ");
    print_text(path);
    if (problem) {
        printf(", \"sound\": false, \"problem\": ");
        print_text(problem);
    } else {
        printf(", \"sound\": true, \"kind\": \"%s\", \"version\": %" PRIu32 ", \"tokens\": %" PRIu64
               ", \"cells\": %" PRIu64 ", \"planes\": %" PRIu64 ", \"packed_bytes\": %" PRIu64
               ", \"stock_bytes\": %" PRIu64,
               kinds[facts->kind], facts->version, facts->tokens, facts->cells, facts->planes, facts->packed,
               facts->plain);
        if (has_codes(facts)) {
            printf(", \"key\": \"%016" PRIx64 "\", \"k_bits\": %.4g, \"v_bits\": %.4g", facts->key,
                   facts->k_bits, facts->v_bits);
        } else {
            printf(", \"rows\": %" PRIu64 ", \"raw_rows\": %" PRIu64, facts->rows, facts->raw_rows);
        }
    }
    printf("}%s\n", last ? "" : ",");
}

static void print_row(const char *path, const session_facts *facts)
{
    char bits[32] = "-";
    if (has_codes(facts)) {
        snprintf(bits, sizeof bits, "%.3g/%.3g", facts->k_bits, facts->v_bits);
    }
    printf("%-7s %7" PRIu32 " %7" PRIu64 " %7" PRIu64 " %6" PRIu64 " %9s %8.2f %8.2f  %s\n",
           kinds[facts->kind], facts->version, facts->tokens, facts->cells, facts->planes, bits,
           (double)facts->packed / 1048576, (double)facts->plain / 1048576, SHOWN(path));
}

int pack_look(const struct operands *files, bool lists, bool json)
{
    int result = 0;
    if (json) {
        puts("[");
    } else if (lists) {
        printf("%-7s %7s %7s %7s %6s %9s %8s %8s  %s\n", "kind", "version", "tokens", "cells", "planes",
               "K/V bits", "MiB", "in f16", "file");
    }
    for (int i = 0; i < files->n && !interrupted(); i++) {
        session_facts facts;
        tada_error error = {""};
        struct progress progress;
        progress_start(&progress, "pack");
        const session_watch watch = {step, &progress};
        bool sound = session_look(files->at[i], &watch, &facts, &error) == TADA_OK;
        progress_clear(&progress);
        if (json) {
            print_json(files->at[i], &facts, sound ? NULL : error.text, i + 1 == files->n);
        } else if (sound && lists) {
            print_row(files->at[i], &facts);
        } else if (sound) {
            printf("%s is sound\n", SHOWN(files->at[i]));
        }
        if (!sound) {
            result = cli_fail("%s", error.text);
        }
        fflush(stdout);
    }
    if (json) {
        puts("]");
    }
    return interrupted() ? EXIT_INTERRUPTED : result;
}
