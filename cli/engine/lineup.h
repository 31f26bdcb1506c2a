/* The caches that a task of `tada eval` measures side by side, one context each; the first is f16. */
#ifndef TADA_CLI_ENGINE_LINEUP_H
#define TADA_CLI_ENGINE_LINEUP_H

#include "eval_options.h"

struct lineup {
    const struct model *model;
    const struct impossible *impossible;      /* what is left out */
    struct cache caches[EVAL_MAX_CACHES + 2]; /* f16, those of the options, and what was added */
    int n;
};

/* All print what is wrong and return an exit status, 0 when all is well. */

/* Opens f16 and the caches of the options with n_ctx cells; lineup_close frees it, also after an error. */
int lineup_open(struct lineup *lineup, const struct model *model, const struct eval_options *options,
                int n_ctx);
/* Opens one more cache, with another batch size, at most twice that of the options: all caches are given as
 * many tokens at once. */
int lineup_add(struct lineup *lineup, const struct eval_options *options, const char *spec, int n_ctx,
               int n_ubatch);
void lineup_close(struct lineup *lineup);

/* Columns that the longest name of a cache takes. */
int lineup_name_width(const struct lineup *lineup);
/* Prints name, MiB and percent of f16 of a cache, without a new line. */
void lineup_print_cache(const struct lineup *lineup, int i, const char *name);
/* {"cache", "kv_bytes", "memory_ratio"}; NULL when memory is short. */
cJSON *lineup_report_cache(const struct lineup *lineup, int i, const char *name);

/* Computes tokens `first` to n - 1 of a text in batches. cache_logits(cache, 0) then gives the logits of the
 * last one. Stops early when interrupted. */
int cache_prefill(struct cache *cache, const llama_token *tokens, int n, int first);
/*
 * Writes greedily for at most n_max tokens, after a text of `position` tokens whose last logits are there.
 * Ends at an end-of-generation token, at one of `stops` (a list that ends in NULL), which is cut off, or when
 * interrupted. `text`, of `size` bytes, gets what was written.
 */
int cache_answer(struct cache *cache, int position, int n_max, const char *const *stops, char *text,
                 size_t size);

/* The most likely token; the first of equals. */
llama_token greedy_token(const float *logits, int n);

#endif
