/* JSON files, printed by cJSON and escaped for terminals. */
#include "json.h"

#include "note.h"
#include "printable.h"
#include "statistics.h"

#include <stdlib.h>

int report_write(const cJSON *report, const char *path, const new_file_rules *rules)
{
    struct output output;
    char *text = cJSON_Print(report);
    if (!text) {
        return cli_fail("Memory is too short for the JSON: close other programs.");
    }
    int status = output_open(path, rules, &output);
    if (status == 0) {
        printable_json(text, output.file);
        fputc('\n', output.file);
        status = output_close(&output, true);
    }
    free(text);
    return status;
}

void report_add_memory(cJSON *object, size_t bytes, size_t f16_bytes)
{
    cJSON_AddNumberToObject(object, "kv_bytes", (double)bytes);
    cJSON_AddNumberToObject(object, "memory_ratio", memory_ratio(bytes, f16_bytes));
}

void report_add_text(cJSON *object, const char *name, const char *text)
{
    if (text) {
        cJSON_AddStringToObject(object, name, text);
    } else {
        cJSON_AddNullToObject(object, name);
    }
}
