/* Pass keys: a number that is hidden in a long text, and asked for at its end. */
#ifndef TADA_CLI_MEASURE_PASSKEY_H
#define TADA_CLI_MEASURE_PASSKEY_H

#include "engine/lineup.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PASSKEY_DIGITS = 5,
    PASSKEY_LEAST = 128, /* tokens; the question and its answer need more than half of them */
};

struct passkey_wish {
    int length; /* tokens of the text with its question and answer */
    int depth;  /* percent of the sentences that come before the key */
    const char *key;
    uint64_t seed;
};

/* Both print what is wrong and return an exit status, 0 when all is well. */

/* The longest such text. *tokens is the caller's to free, also after an error. */
int passkey_make(const char *command, const struct model *model, const struct passkey_wish *wish,
                 llama_token **tokens, int *n_tokens);
/* Whether the cache, which forgets everything before, finds the key; after Ctrl-C that says nothing. */
int passkey_ask(struct cache *cache, const llama_token *tokens, int n, const char *key, bool *found);

#endif
