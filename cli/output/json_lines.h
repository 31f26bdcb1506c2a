/* Files with a JSON value on each line. */
#ifndef TADA_CLI_OUTPUT_JSON_LINES_H
#define TADA_CLI_OUTPUT_JSON_LINES_H

#include <cjson/cJSON.h>

/* Takes the value of a line. NULL: it did. Else what is wrong, as it follows "line 3": "has no \"prompt\"".
 */
typedef const char *(*json_lines_take)(const cJSON *json, void *context);

/*
 * Gives the value of each line to `take`; blank lines are skipped. Returns 0. At the first line that is no
 * JSON, or that `take` refuses, it prints a usage error of `command` and returns EXIT_USAGE. hint: which file
 * to give instead, such as "a file with a question and its answer a line".
 */
int json_lines_read(const char *command, const char *path, const char *hint, json_lines_take take,
                    void *context);

#endif
