/* Reading files line by line, each a JSON value. */
#include "json_lines.h"

#include "note.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_blank(const char *line)
{
    return line[strspn(line, " \t\r\n")] == '\0';
}

static const char *take_line(const char *line, json_lines_take take, void *context)
{
    cJSON *json = cJSON_ParseWithOpts(line, NULL, true); /* nothing may follow */
    const char *why = json ? take(json, context) : "is not JSON";
    cJSON_Delete(json);
    return why;
}

int json_lines_read(const char *command, const char *path, const char *hint, json_lines_take take,
                    void *context)
{
    FILE *file = fopen(path, "r");
    if (!file) {
        return cli_usage(command, "%s cannot be read (%s): give %s.", path, strerror(errno), hint);
    }
    char *line = NULL;
    size_t size = 0;
    const char *why = NULL;
    int number = 0;
    while (!why && getline(&line, &size, file) >= 0) {
        number++;
        why = is_blank(line) ? NULL : take_line(line, take, context);
    }
    bool unread = !why && ferror(file);
    free(line);
    fclose(file);
    if (unread) {
        return cli_usage(command, "%s cannot be read: give %s.", path, hint);
    }
    return why ? cli_usage(command, "%s: line %d %s: correct or remove it.", path, number, why) : 0;
}
