/* tada eval: what its tasks share. A task measures every cache against the f16 cache of the same process. */
#ifndef TADA_CLI_EVAL_EVAL_H
#define TADA_CLI_EVAL_EVAL_H

#include "engine/impossible.h"
#include "whole.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

enum { EVAL_MAX_CACHES = 32 };

struct eval_options {
    const char *model_path, *text_path, *json_path; /* NULL: not given */
    tada_whole_rules rules;                         /* of the JSON file */
    const char *caches[EVAL_MAX_CACHES];            /* specs, checked; never empty; "f16" is not among them */
    int n_caches;
    struct impossible impossible; /* those that were among them */
    int n_ctx, n_chunks, n_ubatch, n_threads;
    uint32_t seed;
    const char *weights;    /* f16; NULL: those of the file */
    bool passkey;           /* the tasks; without any of them: divergence */
    int generate;           /* tokens; 0: not wanted */
    const char *gsm8k_path; /* NULL: not wanted */
    int limit;              /* questions of gsm8k; 0: all */
};

/* Standard output is for the JSON: no tables there. */
bool eval_is_quiet(const struct eval_options *options);

/*
 * A task prints its table on stdout, unless eval_is_quiet, and adds its part to `report` (an object of
 * cJSON): `results` of divergence, `passkey`, `generate`, `gsm8k` of the others. After Ctrl-C it does so with
 * what is done and adds `"complete": false` there. Returns an exit status; on one that is not 0, nothing was
 * added and no table printed.
 */
int eval_divergence(const struct model *model, const struct eval_options *options, cJSON *report);
int eval_passkey(const struct model *model, const struct eval_options *options, cJSON *report);
int eval_generate(const struct model *model, const struct eval_options *options, cJSON *report);
int eval_gsm8k(const struct model *model, const struct eval_options *options, cJSON *report);

/* Whether the model and the options allow the task; else it prints what is wrong and returns an exit status.
 * A task runs only after its check. */
int eval_passkey_check(const struct model *model, const struct eval_options *options);
int eval_generate_check(const struct model *model, const struct eval_options *options);
int eval_gsm8k_check(const struct model *model, const struct eval_options *options);

/* text.c: the tokens of the file, or, without one, of text that the model writes, the same for the same seed.
 * At least n_wanted, else EXIT_USAGE; *tokens is the caller's to free. */
int text_tokens(const struct model *model, const struct eval_options *options, int n_wanted,
                llama_token **tokens, int *n);

/* divergence.c: KL divergence in nats of the softmax of `logits` from that of `base`; *same: both have the
 * same most likely token. Over n values, in double. */
double divergence_of(const float *base, const float *logits, int n, bool *same);

#endif
