#include "table.h"

#include "ggml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char head[] =
    "# Architectures\n"
    "\n"
    "What becomes of the KV cache of each architecture that llama.cpp knows, with default flags. The test\n"
    "`architectures_all` makes this table (`tests/architectures`): it runs tiny models with random weights "
    "with and\n"
    "without the plug-in. A share is one of the bytes of the KV cache.\n"
    "\n"
    "- compressed: what flash attention reads.\n"
    "- exact: keys by which a model of sparse attention chooses tokens. They stay in f16, since a rounded "
    "choice is\n"
    "  another choice.\n"
    "- plain: what is read in another way, or by nothing. It stays in f16, too.\n"
    "- slow: operations that read decoded rows. Their results are right.\n"
    "\n"
    "architecture | compressed | exact | plain | more\n"
    "--- | --- | --- | --- | ---\n";

void table_begin(table_row *row, const tiny_shape *shape)
{
    memset(row, 0, sizeof *row);
    strcpy(row->name, shape->name);
    strcpy(row->without, shape->without);
    strcpy(row->plain, shape->plain);
}

static enum cache_kind kind_of(const run_tensor *tensor)
{
    if (tensor->readers[GGML_OP_FLASH_ATTN_EXT]) {
        return CACHE_ATTENDED;
    }
    bool chooses = tensor->readers[GGML_OP_LIGHTNING_INDEXER] || tensor->readers[GGML_OP_GET_ROWS];
    return chooses ? CACHE_KEYS : CACHE_OTHER;
}

void table_watch(table_row *row, const run_result *watched)
{
    size_t sum = 0;
    for (int i = 0; i < watched->n_tensors; i++) {
        const run_tensor *tensor = &watched->tensors[i];
        sum += tensor->bytes;
        bool attended = tensor->readers[GGML_OP_FLASH_ATTN_EXT];
        if (!attended && !strstr(tensor->name, "k_l") && !strstr(tensor->name, "v_l")) {
            row->state = true;
            continue;
        }
        enum cache_kind kind = kind_of(tensor);
        row->bytes[kind] += tensor->bytes;
        for (int operation = 0; operation < GGML_OP_COUNT; operation++) {
            row->readers[kind][operation] |= tensor->readers[operation];
        }
    }
    row->seen = true;
    row->bytes[CACHE_IDLE] = watched->cache > sum ? watched->cache - sum : 0;
}

void table_compressed(table_row *row, size_t bytes)
{
    if (bytes < row->bytes[CACHE_ATTENDED]) {
        row->bytes[CACHE_REFUSED] = row->bytes[CACHE_ATTENDED] - bytes;
        row->bytes[CACHE_ATTENDED] = bytes;
    }
}

bool table_slow(table_row *row, const char *operation)
{
    if (strstr(row->slow, operation) || strlen(row->slow) + strlen(operation) + 3 >= sizeof row->slow) {
        return false;
    }
    strcat(strcat(row->slow, row->slow[0] ? ", " : ""), operation);
    return true;
}

/* "12 % (OPERATION, OPERATION)", or nothing. */
static void print_share(FILE *out, const char *before, const table_row *row, enum cache_kind kind)
{
    size_t all = 0;
    for (int i = 0; i < CACHE_KINDS; i++) {
        all += row->bytes[i];
    }
    if (row->bytes[kind] == all && all > 0) {
        fprintf(out, "%s all", before);
    } else if (row->bytes[kind] > 0) {
        fprintf(out, "%s %.0f %%", before, 100.0 * (double)row->bytes[kind] / (double)all);
    }
    before = " (";
    for (int i = 0; i < GGML_OP_COUNT && kind != CACHE_ATTENDED; i++) {
        if (row->readers[kind][i]) {
            fprintf(out, "%s%s", before, ggml_op_name(i));
            before = ", ";
        }
    }
    fprintf(out, "%s", *before == ',' ? ")" : "");
}

static void print_row(FILE *out, const table_row *row)
{
    bool cache = false;
    for (int i = 0; i < CACHE_KINDS; i++) {
        cache |= row->bytes[i] > 0;
    }
    fprintf(out, "%s |", row->name);
    print_share(out, "", row, CACHE_ATTENDED);
    fprintf(out, " |");
    print_share(out, "", row, CACHE_KEYS);
    fprintf(out, " |");
    print_share(out, "", row, CACHE_OTHER);
    const char *before = row->bytes[CACHE_OTHER] ? "," : "";
    print_share(out, before, row, CACHE_IDLE);
    fprintf(out, "%s", row->bytes[CACHE_IDLE] ? " that nothing reads" : "");
    before = row->bytes[CACHE_IDLE] ? "," : before;
    print_share(out, before, row, CACHE_REFUSED);
    fprintf(out, row->bytes[CACHE_REFUSED] ? " (%s) |" : " |", row->plain);
    if (row->without[0]) {
        fprintf(out, " not run: %s", row->without);
    } else if (row->state) {
        fprintf(out, cache ? " and a recurrent state" : " a recurrent state, no cache");
    } else if (!cache) {
        fprintf(out, " no cache");
    }
    fprintf(out, "%s%s\n", row->slow[0] ? " slow: " : "", row->slow);
}

bool table_write(const char *path, const table_row *rows, int n)
{
    FILE *file = fopen(path, "w");
    bool good = file && fputs(head, file) >= 0;
    for (int i = 0; good && i < n; i++) {
        print_row(file, &rows[i]);
    }
    good = file && fclose(file) == 0 && good;
    if (!good) {
        printf("FAILED  %s cannot be written\n", path);
    }
    return good;
}

bool table_check(const char *path, const table_row *rows, int n, bool all)
{
    enum { MOST = 1 << 17 };
    char *text = calloc(1, MOST + 1);
    FILE *file = fopen(path, "r");
    size_t length = file && text ? fread(text, 1, MOST, file) : 0, rows_length = strlen(head);
    bool good = length > 0;
    for (int i = 0; i < n && length > 0; i++) {
        char *line = NULL;
        size_t size;
        FILE *out = open_memstream(&line, &size);
        print_row(out, &rows[i]);
        fclose(out);
        rows_length += size;
        if ((rows[i].seen || rows[i].without[0]) && !strstr(text, line)) {
            printf("FAILED  %s lacks this line: %s", path, line);
            good = false;
        }
        free(line);
    }
    if (all && good && (rows_length != length || strncmp(text, head, strlen(head)) != 0)) {
        printf("FAILED  %s is not what this test would write\n", path);
        good = false;
    }
    if (!good) {
        printf("        tests/architectures/test_architectures.c says how to write it (--update)\n");
    }
    if (file) {
        fclose(file);
    }
    free(text);
    return good;
}
