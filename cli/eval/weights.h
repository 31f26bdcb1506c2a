/* The weights of a model in f16. */
#ifndef TADA_CLI_EVAL_WEIGHTS_H
#define TADA_CLI_EVAL_WEIGHTS_H

#include "engine/engine.h"

struct f16_weights {
    int file; /* open; it has no name, so that it is gone with the process whatever ends that */
    char path[32];
};

/*
 * Converts the file of a model with llama-quantize, into $TMPDIR. `model` is the same one, loaded: it tells
 * how much there is to do. After Ctrl-C: EXIT_INTERRUPTED. On an exit status that is not 0 nothing is open.
 */
int weights_convert(const struct model *model, const char *path, int n_threads, struct f16_weights *weights);
/* A model that was loaded from it goes on. */
void weights_close(struct f16_weights *weights);

#endif
