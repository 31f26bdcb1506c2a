/* Nodes of the plug-in in graphs of ggml (GGML_OP_CUSTOM). */
#ifndef PLUGIN_BASE_CUSTOM_H
#define PLUGIN_BASE_CUSTOM_H

#include "ggml.h"

/*
 * Makes *node a node that calls function(node, thread, n_threads, context) on every thread of the graph. It
 * keeps `context`, and takes the shape and the result memory of `like`, the node that it stands for. like
 * NULL: the node has no result.
 */
void custom_make(struct ggml_tensor *node, const struct ggml_tensor *like, ggml_custom_op_t function,
                 void *context);

#endif
