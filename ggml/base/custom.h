/* Nodes of our own in graphs of ggml. */
#ifndef PLUGIN_BASE_CUSTOM_H
#define PLUGIN_BASE_CUSTOM_H

#include "ggml.h"

/* Makes a node that calls function(node, thread, n_threads, context) on every thread of the graph. like: the
 * node that it stands for, whose result is then its own; NULL: it has none. */
void custom_make(struct ggml_tensor *node, const struct ggml_tensor *like, ggml_custom_op_t function,
                 void *context);

#endif
