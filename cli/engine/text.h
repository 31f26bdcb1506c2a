/* The text that is measured on. */
#ifndef TADA_CLI_ENGINE_TEXT_H
#define TADA_CLI_ENGINE_TEXT_H

#include "engine.h"
#include "eval_options.h"

/* Gives the tokens of the text file or, without one, of text that the model writes, the same for the same
 * seed. The caller frees *tokens. EXIT_USAGE: there are fewer than n_wanted. */
int text_tokens(const struct model *model, const struct eval_options *options, int n_wanted,
                llama_token **tokens, int *n);

#endif
