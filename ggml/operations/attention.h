/* FLASH_ATTN_EXT as the library's attention. */
#ifndef PLUGIN_OPERATIONS_ATTENTION_H
#define PLUGIN_OPERATIONS_ATTENTION_H

#include "cache/cache.h"

/* Describes the operation for tada_attention_plan, all but the planes. Before the host has allocated tensors,
 * only the sizes are right. False: the library cannot compute this form of attention. */
bool attention_describe(const struct ggml_tensor *op, tada_attention *attention);
/* Tells the planes the head size that the operation reads them with. False: memory is short. */
bool attention_tell_head_dim(const struct ggml_tensor *op, cache_plane *k, cache_plane *v);

#endif
