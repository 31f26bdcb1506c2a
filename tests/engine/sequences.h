/* Models and sequences for tests that have llama.cpp in their process. */
#ifndef TADA_ENGINE_SEQUENCES_H
#define TADA_ENGINE_SEQUENCES_H

#include "llama.h"
#include "random_model.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The shape of that name; ends the test where there is none. */
static inline const model_shape *shape_named(const char *name)
{
    const model_shape *shape;
    for (int i = 0; (shape = random_model_shape(i)) && strcmp(shape->name, name) != 0; i++) {
    }
    if (!shape) {
        abort();
    }
    return shape;
}

/* Writes a file with `write`, and its name to `path`, "/tmp/...XXXXXX". The caller removes it. */
static inline bool write_file(const model_shape *shape, bool (*write)(const model_shape *, const char *),
                              char *path)
{
    int file = mkstemp(path);
    if (file >= 0) {
        close(file);
    }
    return file >= 0 && write(shape, path);
}

/* NULL: it is not loaded. */
static inline struct llama_model *random_model_load(const model_shape *shape,
                                                    struct llama_model_params params)
{
    char path[] = "/tmp/tada-model-XXXXXX";
    struct llama_model *model =
        write_file(shape, random_model_write, path) ? llama_model_load_from_file(path, params) : NULL;
    unlink(path);
    return model;
}

/* The token that a sequence has at a position, the same in every run. */
static inline llama_token token_at(int seq, int pos)
{
    uint32_t x = (uint32_t)pos * 2654435761u ^ (uint32_t)(seq + 1) * 40503u;
    x ^= x >> 15;
    x *= 2246822519u;
    return (llama_token)((x >> 13) % MODEL_VOCAB);
}

/* Tokens [first, first + n) of each sequence in [seq, seq + n_seq), interleaved, in one batch, with logits
 * for all of them. What llama_decode returns. */
static inline int decode_tokens(struct llama_context *c, int seq, int n_seq, int first, int n)
{
    struct llama_batch batch = llama_batch_init(n * n_seq, 0, 1);
    for (int i = 0; i < n; i++) {
        for (int s = 0; s < n_seq; s++) {
            int at = batch.n_tokens++;
            batch.token[at] = token_at(seq + s, first + i);
            batch.pos[at] = first + i;
            batch.n_seq_id[at] = 1;
            batch.seq_id[at][0] = seq + s;
            batch.logits[at] = true;
        }
    }
    int status = llama_decode(c, batch);
    llama_batch_free(batch);
    return status;
}

#endif
