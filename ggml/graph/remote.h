/* When the host is an RPC server (TADA_RPC=1), any buffer may hold a cache, and what its client sends is not
 * trusted. */
#ifndef PLUGIN_GRAPH_REMOTE_H
#define PLUGIN_GRAPH_REMOTE_H

#include "cache/cache.h"

/* Whether TADA_RPC is set. */
bool remote_is_on(void);
/* Whether what an operation on planes reads and writes lies within its tensors and their planes. False: the
 * log names the operation. */
bool remote_allows(const struct ggml_tensor *op);

#endif
