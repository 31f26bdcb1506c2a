/* A JSON file with what was measured. */
#ifndef TADA_REPORT_H
#define TADA_REPORT_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

/* Whether the path is "-", standard output: no tables there. NULL is not. */
bool report_to_stdout(const char *path);
/* Whether the file can be written, before long work: else EXIT_USAGE. NULL, no file: 0. */
int report_check(const char *path);
/* Writes all of it or, on a failure, nothing. */
int report_write(const cJSON *report, const char *path);
/* Adds the "kv_bytes" of a cache and its "memory_ratio" to the f16 cache. */
void report_add_memory(cJSON *object, size_t bytes, size_t f16_bytes);
/* Adds a text; bytes that are not UTF-8 become "?", for a file name may have any. NULL: null. */
void report_add_text(cJSON *object, const char *name, const char *text);

#endif
