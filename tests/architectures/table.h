/* doc/reference/architectures.md: a row for each model, of what does not depend on the machine. */
#ifndef TADA_ARCHITECTURES_TABLE_H
#define TADA_ARCHITECTURES_TABLE_H

#include "run.h"

/* What a tensor of a KV cache is, by who reads it. */
enum cache_kind {
    CACHE_ATTENDED, /* flash attention */
    CACHE_KEYS,     /* nothing but the choice of tokens */
    CACHE_OTHER,    /* attention in another way */
    CACHE_IDLE,     /* nothing */
    CACHE_REFUSED,  /* flash attention, but the plug-in left it plain */
    CACHE_KINDS
};

typedef struct table_row {
    char name[SHAPE_NAME_MAX], without[72], plain[72];
    bool seen;                              /* it was run */
    size_t bytes[CACHE_KINDS];              /* of f16 */
    bool readers[CACHE_KINDS][RUN_READERS]; /* by enum ggml_op */
    bool state;                             /* it has recurrent state, too */
    char slow[64];                          /* operations */
} table_row;

void table_begin(table_row *row, const tiny_shape *shape);
/* Sets it by who reads the caches. */
void table_watch(table_row *row, const run_result *watched);
/* So many bytes of what flash attention reads were compressed. */
void table_compressed(table_row *row, size_t bytes);
/* Adds a slow way; false: it is there already. */
bool table_slow(table_row *row, const char *operation);

/* False, with lines on stdout that say why: the file cannot be written; a row of what was seen is not in it;
 * `all`: it has others. */
bool table_write(const char *path, const table_row *rows, int n);
bool table_check(const char *path, const table_row *rows, int n, bool all);

#endif
