/* The host is an RPC server (TADA_RPC=1): any buffer may hold a cache, and its client is not to be trusted.
 */
#ifndef PLUGIN_GRAPH_REMOTE_H
#define PLUGIN_GRAPH_REMOTE_H

#include "cache/cache.h"

bool remote_is_on(void);
/* What an operation on planes reads and writes lies within its tensors and their planes; else the log names
 * it. */
bool remote_allows(const struct ggml_tensor *op);

#endif
