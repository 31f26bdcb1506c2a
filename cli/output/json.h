/* JSON files with what was measured. */
#ifndef TADA_CLI_OUTPUT_JSON_H
#define TADA_CLI_OUTPUT_JSON_H

#include "output.h"

#include <cjson/cJSON.h>
#include <stddef.h>

/* Writes the file, or, on an error, nothing: prints what is wrong and returns an exit status. */
int report_write(const cJSON *report, const char *path, const new_file_rules *rules);
/* Adds "kv_bytes", the bytes of a cache, and "memory_ratio", these over f16_bytes. */
void report_add_memory(cJSON *object, size_t bytes, size_t f16_bytes);
/* Adds a string; text NULL: null. */
void report_add_text(cJSON *object, const char *name, const char *text);

#endif
