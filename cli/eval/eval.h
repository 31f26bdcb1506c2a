/* tada eval: what its tasks share. A task measures every cache against the f16 cache of the same process. */
#ifndef TADA_CLI_EVAL_EVAL_H
#define TADA_CLI_EVAL_EVAL_H

#include "engine/eval_options.h"

#include <cjson/cJSON.h>
#include <stdbool.h>

/* Standard output is for the JSON: no tables there. */
bool eval_is_quiet(const struct eval_options *options);

/*
 * A task prints its table on stdout, unless eval_is_quiet, and adds its part to `report` (an object of
 * cJSON): `results` of divergence, `passkey`, `copy`, `generate`, `gsm8k` of the others. After Ctrl-C it does
 * so with what is done and adds `"complete": false` there. Returns an exit status; on one that is not 0,
 * nothing was added and no table printed.
 */
int eval_divergence(const struct model *model, const struct eval_options *options, cJSON *report);
int eval_passkey(const struct model *model, const struct eval_options *options, cJSON *report);
int eval_copy(const struct model *model, const struct eval_options *options, cJSON *report);
int eval_generate(const struct model *model, const struct eval_options *options, cJSON *report);
int eval_gsm8k(const struct model *model, const struct eval_options *options, cJSON *report);

/* Whether the model and the options allow the task; else it prints what is wrong and returns an exit status.
 * A task runs only after its check. */
int eval_passkey_check(const struct model *model, const struct eval_options *options);
int eval_copy_check(const struct model *model, const struct eval_options *options);
int eval_generate_check(const struct model *model, const struct eval_options *options);
int eval_gsm8k_check(const struct model *model, const struct eval_options *options);

#endif
