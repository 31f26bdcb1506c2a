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
    FAMILY_LLAMA3, /* llama with a factor for each frequency of RoPE, and one that stretches what it turns */
    FAMILY_QWEN2,  /* RoPE by halves (NeoX), scaled by YaRN; biases */
    FAMILY_CONV,   /* LFM2: the middle layer has attention, the others have the state of a convolution */
    FAMILY_MAMBA,  /* Granite hybrid: the same with Mamba 2; no RoPE */
};

typedef struct model_shape {
    const char *name;
    enum model_family family;
    int heads, kv_heads, head_dim;
    int value_dim; /* 0: as head_dim */
    int swa;       /* cells of a sliding window, 0: none */
    float common;  /* llama: share of the energy of K and V that all heads have in common, 0 to 1 */
    float large;   /* llama: two channels of each head of K are so many times as large, those of the queries
                      that   much smaller; 0: none */
} model_shape;

/* The shapes that tests use, by index; NULL: no more. */
const model_shape *random_model_shape(int index);
/* Only some layers have a KV cache: nothing but a whole sequence can be removed. */
static inline bool model_is_hybrid(const model_shape *shape)
{
    return shape->family == FAMILY_CONV || shape->family == FAMILY_MAMBA;
}

/* Writes the model as a GGUF file, with a vocabulary of single bytes; the same weights for the same shape.
 * false: the file cannot be written. */
bool random_model_write(const model_shape *shape, const char *path);

/* An adapter (LoRA) for the models of family llama of that shape. */
bool random_adapter_write(const model_shape *shape, const char *path);

#endif
