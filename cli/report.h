/* A JSON file with what was measured. */
#ifndef TADA_REPORT_H
#define TADA_REPORT_H

#include <cjson/cJSON.h>

/* Whether the file can be written, before long work: else EXIT_USAGE. "-" is standard output. */
int report_check(const char *path);
/* Writes all of it or, on a failure, nothing. */
int report_write(const cJSON *report, const char *path);
/* Adds a text; bytes that are not UTF-8 become "?", for a file name may have any. NULL: null. */
void report_add_text(cJSON *object, const char *name, const char *text);

#endif
