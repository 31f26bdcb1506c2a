/* What of a model's KV cache will be compressed, and why the rest is not: for all commands that tell. */
#ifndef TADA_CLI_ENGINE_OUTLOOK_H
#define TADA_CLI_ENGINE_OUTLOOK_H

#include "size.h"

#include <stdbool.h>
#include <stddef.h>

struct outlook {
    /* Bytes of the KV cache: in f16, and with the cache that was chosen. */
    double f16, bytes;
    /* Shares of f16's: what is compressed; what is not, since it is on a GPU, since flash attention does not
     * read it, or since its rows have a width that cannot be compressed. */
    double compressed, elsewhere, unread, wide;
    char gpus[64];     /* "CUDA0, CUDA1" */
    bool is_recurrent; /* layers have states that cannot go back */
    int n_swa;         /* tokens that layers with a sliding window keep; 0: there are none */
};

/* From the parts that f16 and the cache take. */
void outlook_of(const struct model *model, const struct size_parts *f16, const struct size_parts *parts,
                struct outlook *outlook);

/*
 * The same before anything is loaded, in a process of its own, so that a model which llama.cpp cannot bear
 * ends nothing else. False: it cannot be told; the tool that is given the model will say why. Without any
 * message.
 */
bool outlook_look(const struct size_options *options, const char *spec, struct outlook *outlook);

enum { OUTLOOK_TEXT = 512 };

/* A sentence where not all is compressed, else "". */
void outlook_tell(const struct outlook *outlook, char text[OUTLOOK_TEXT]);

#endif
