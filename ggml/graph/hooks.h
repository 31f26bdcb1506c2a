/*
 * The hooks: functions of the host's devices that are replaced by ours. ggml keeps its tables of functions by
 * value in structs that can be written; a graph, a buffer and a tensor stay what they are to the host.
 *
 * Of the CPU's buffer type: get_alloc_size, alloc_buffer (caches become buffers of ours). Of the CPU's
 * device: init_backend, supports_buft, supports_op (which only lets probes look on). Of each of its backends:
 * graph_compute, free. Of every other device: supports_op (attention over our caches is the CPU's).
 */
#ifndef PLUGIN_GRAPH_HOOKS_H
#define PLUGIN_GRAPH_HOOKS_H

#include <stdbool.h>

/* Patches the host, once; devices that have come since are patched when it is called again. False: there is
 * no CPU device yet, or it lacks what we need. */
bool hooks_set(void);

#endif
