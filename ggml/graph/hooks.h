/*
 * The hooks: functions of the host's devices that the plug-in replaces. ggml keeps its tables of functions by
 * value in structs that can be written. To the host, graphs, buffers and tensors stay what they were.
 *
 *   CPU buffer type   get_alloc_size, alloc_buffer   a buffer for K and V becomes a cache buffer (cache/)
 *   CPU device        init_backend                   hooks the new backend
 *                     supports_buft                  also says yes to cache buffers
 *                     supports_op                    lets probes look on
 *   CPU backends      graph_compute, free            graphs go through graph.c
 *   other devices     supports_op                    says no to attention over cache buffers
 */
#ifndef PLUGIN_GRAPH_HOOKS_H
#define PLUGIN_GRAPH_HOOKS_H

#include <stdbool.h>

/* Patches the host. A second call patches only devices that have come since. May be called from any thread.
 * False: there is no CPU device yet, or it lacks a function that the plug-in needs. */
bool hooks_set(void);

#endif
