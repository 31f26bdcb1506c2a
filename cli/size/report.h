/* The table and the JSON of `tada size`. */
#ifndef TADA_CLI_SIZE_REPORT_H
#define TADA_CLI_SIZE_REPORT_H

#include "engine/impossible.h"
#include "engine/outlook.h"
#include "engine/size.h"

#include <cjson/cJSON.h>

enum { SIZE_MAX_CACHES = 16 };

/* One cache: f16 is the first of them. */
struct size_result {
    const char *spec;
    struct size_parts parts;
    bool is_ours; /* and not a type of llama.cpp: then */
    struct outlook outlook;
    char plain[OUTLOOK_TEXT];  /* a sentence where not all of it is compressed; else "" */
    int largest;               /* the largest context within the budget; 0: none fits */
    struct size_parts at_most; /* at the largest, or at the smallest there is */
};

struct size_report {
    const struct size_options *options;
    const char *model; /* its file name */
    int n_ctx_train;   /* 0: unknown */
    uint64_t budget;   /* bytes; 0: none was given */
    uint64_t prompts;  /* bytes that llama-server may take for prompts of idle slots */
    const struct impossible *impossible;
    int n;
    struct size_result results[SIZE_MAX_CACHES + 1];
};

void size_report_print(const struct size_report *report);
/* The caller's to delete. */
cJSON *size_report_json(const struct size_report *report);

#endif
