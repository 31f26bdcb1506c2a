#include "report.h"
#include "cli.h"
#include "output.h"

#include <stdlib.h>
#include <string.h>

bool report_to_stdout(const char *path)
{
    return path && strcmp(path, "-") == 0;
}

int report_check(const char *path)
{
    return !path || report_to_stdout(path) ? 0 : output_check(path);
}

int report_write(const cJSON *report, const char *path)
{
    struct output output = {.file = stdout}; /* main looks after its errors */
    bool to_file = !report_to_stdout(path);
    char *text = cJSON_Print(report);
    if (!text) {
        return cli_fail("Memory is too short for the JSON: close other programs.");
    }
    int status = to_file ? output_open(path, &output) : 0;
    if (status == 0) {
        fprintf(output.file, "%s\n", text);
        status = to_file ? output_close(&output, true) : 0;
    }
    free(text);
    return status;
}

void report_add_memory(cJSON *object, size_t bytes, size_t f16_bytes)
{
    cJSON_AddNumberToObject(object, "kv_bytes", (double)bytes);
    cJSON_AddNumberToObject(object, "memory_ratio", (double)bytes / (double)f16_bytes);
}

void report_add_text(cJSON *object, const char *name, const char *text)
{
    char clean[PATH_MAX];
    size_t used = 0;
    if (!text) {
        cJSON_AddNullToObject(object, name);
        return;
    }
    for (const char *at = text; *at && used + 4 < sizeof clean;) {
        int length = utf8_length((const unsigned char *)at);
        if (length == 0) {
            clean[used++] = '?';
            at++;
        }
        for (; length > 0; length--) {
            clean[used++] = *at++;
        }
    }
    clean[used] = '\0';
    cJSON_AddStringToObject(object, name, clean);
}
