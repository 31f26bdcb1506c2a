/* A JSON file with what was measured. */
#ifndef TADA_CLI_OUTPUT_JSON_H
#define TADA_CLI_OUTPUT_JSON_H

#include "output.h"

#include <cjson/cJSON.h>
#include <stddef.h>

/* Writes all of it or, on a failure, nothing. */
int report_write(const cJSON *report, const char *path, const new_file_rules *rules);
/* Adds the "kv_bytes" of a cache and its "memory_ratio" to the f16 cache. */
void report_add_memory(cJSON *object, size_t bytes, size_t f16_bytes);
/* Adds a text. NULL: null. */
void report_add_text(cJSON *object, const char *name, const char *text);

#endif
