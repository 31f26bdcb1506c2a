/* Tiny models with random weights, of any shape that an engine test needs: for correctness, never for
 * quality. */
#ifndef TADA_RANDOM_MODEL_H
#define TADA_RANDOM_MODEL_H

#include <stdbool.h>
#include <stdint.h>

enum { MODEL_VOCAB = 256, MODEL_LAYERS = 3 };

enum model_family {
    FAMILY_LLAMA,  /* RoPE, grouped queries */
    FAMILY_GEMMA2, /* every other layer a sliding window, soft-capped scores */
    FAMILY_MPT,    /* ALiBi, no RoPE */
    FAMILY_MLA,    /* DeepSeek 2: V is a view of K */
    FAMILY_SINKS,  /* gpt-oss: a logit per head that takes part in the softmax, and sliding windows */
    FAMILY_HYBRID, /* LFM 2: every other layer has a KV cache, the others a recurrent state; 4 heads of 32 */
};

typedef struct model_shape {
    const char *name;
    enum model_family family;
    int heads, kv_heads, head_dim;
    int value_dim; /* 0: as head_dim */
    int swa;       /* cells of a sliding window, 0: none */
    float common;  /* llama: share of the energy of K and V that all heads have in common, 0 to 1 */
} model_shape;

/* Writes the model as a GGUF file; the same weights for the same shape. false: the file cannot be written. */
bool random_model_write(const model_shape *shape, const char *path);

#endif
