/* Files with a JSON value on each line. */
#ifndef TADA_CLI_OUTPUT_JSON_LINES_H
#define TADA_CLI_OUTPUT_JSON_LINES_H

#include <cjson/cJSON.h>

/* Takes what a line holds. NULL, or why it cannot, as what follows "line 3": "has no \"prompt\"". */
typedef const char *(*json_lines_take)(const cJSON *json, void *context);

/*
 * Gives the values of all lines to `take`, up to the first that is none or that it refuses; blank lines are
 * passed over. Prints what is wrong as a usage error of `command`, EXIT_USAGE; else 0. hint: what file to
 * give: "a file with a question and its answer a line".
 */
int json_lines_read(const char *command, const char *path, const char *hint, json_lines_take take,
                    void *context);

#endif
