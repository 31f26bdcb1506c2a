/* The buffer type of caches: the functions by which the host reads and writes tensors from outside of graphs.
 */
#ifndef PLUGIN_CACHE_BUFFER_H
#define PLUGIN_CACHE_BUFFER_H

#include "cache.h"

/* Makes the buffer type one of `device`. Called once. */
void buffer_type_init(ggml_backend_dev_t device);
/* Makes a buffer for n_tensors cache tensors (0: unknown, as with RPC) that take `size` bytes in f16. The
 * host frees it. NULL: the policy cannot be followed, or memory is short; the log says which. */
ggml_backend_buffer_t buffer_make(size_t size, int n_tensors, const cache_policy *policy);

#endif
