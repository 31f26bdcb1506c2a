/* The buffer type of caches: how the host reads and writes their tensors from outside of graphs. */
#ifndef PLUGIN_CACHE_BUFFER_H
#define PLUGIN_CACHE_BUFFER_H

#include "cache.h"

/* Makes the type one of that device. Once. */
void buffer_type_init(ggml_backend_dev_t device);
/* A buffer for n_tensors cache tensors that take `size` bytes in f16 (0: not known, as with RPC). NULL: the
 * policy cannot be followed, or memory is short; the log says which. */
ggml_backend_buffer_t buffer_make(size_t size, int n_tensors, const cache_policy *policy);

#endif
