/* FLASH_ATTN_EXT, as the library's attention. */
#ifndef PLUGIN_OPERATIONS_ATTENTION_H
#define PLUGIN_OPERATIONS_ATTENTION_H

#include "cache/cache.h"

/* What an operation over K and V in f16 reads and writes, but for the planes; before anything is allocated,
 * the sizes. False: the library cannot do it as it is. */
bool attention_describe(const struct ggml_tensor *op, tada_attention *attention);
/* The planes learn the head size. False: memory is short. */
bool attention_tell_head_dim(const struct ggml_tensor *op, cache_plane *k, cache_plane *v);

#endif
