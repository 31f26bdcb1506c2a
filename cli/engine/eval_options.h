/* What `tada eval` is asked for: the model, the text, and the caches that are measured side by side. */
#ifndef TADA_CLI_ENGINE_EVAL_OPTIONS_H
#define TADA_CLI_ENGINE_EVAL_OPTIONS_H

#include "impossible.h"
#include "new_file.h"

#include <stdbool.h>
#include <stdint.h>

enum { EVAL_MAX_CACHES = 32 };

struct eval_options {
    const char *model_path, *text_path, *json_path; /* NULL: not given */
    new_file_rules rules;                           /* of the JSON file */
    const char *caches[EVAL_MAX_CACHES];            /* specs, checked; never empty; "f16" is not among them */
    int n_caches;
    struct impossible impossible; /* caches that the model cannot have, taken out of `caches` */
    int n_ctx, n_chunks, n_ubatch, n_threads;
    int n_cells; /* of the caches: n_ctx or more */
    uint32_t seed;
    const char *weights;    /* f16; NULL: those of the file */
    bool passkey, copy;     /* these and the next are tasks; without any, divergence is measured */
    int generate;           /* tokens to write; 0: not wanted */
    const char *gsm8k_path; /* NULL: not wanted */
    int limit;              /* questions of gsm8k; 0: all */
};

#endif
