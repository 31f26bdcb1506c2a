/*
 * Graphs of the host that touch planes. graph_compute stands for the function of that name of the host's CPU
 * backend (hooks.c puts it there) and takes these steps:
 *
 *   1. Where a list is kept for this graph from an earlier time, it goes on with step 4.
 *   2. model.c makes planes for the tensors that attention reads for the first time. Then a survey of all
 *      nodes finds which planes the graph touches, and which nodes touch them last.
 *   3. Nodes are appended to a list (list.c), in which nodes of the plug-in (operations/nodes.c) stand for
 *      those that touch planes:
 *        SET_ROWS into a plane    nodes_write calls tada_plane_write
 *        FLASH_ATTN_EXT           nodes_attend calls tada_attention_work
 *        other reader of a plane  nodes_read decodes rows, and the host's own node reads these
 *        other writer of a plane  cuts the graph: the list so far is run, then this node by itself, a K-shift
 *                                 by operations/shift.c, the rest on decoded rows by operations/generic.c
 *   4. The list is run in one call of the original function, on the host's threads.
 *   5. Tiles that have left their window and were not compressed within the list are compressed.
 *
 * The list is kept unless the graph was cut, as the host computes the same graph again and again while it
 * generates.
 */
#ifndef PLUGIN_GRAPH_GRAPH_H
#define PLUGIN_GRAPH_GRAPH_H

#include "cache/cache.h"

/* The list and the scratch memory of one backend. */
typedef struct graph graph;

/* The function that computed graphs before it was hooked. */
typedef enum ggml_status (*graph_original)(ggml_backend_t backend, struct ggml_cgraph *cgraph);

/* NULL: memory is short. graph_free frees it. */
graph *graph_make(ggml_backend_t backend, graph_original original);
void graph_free(graph *g);
/* Computes a graph. One thread at a time for each backend. */
enum ggml_status graph_compute(graph *g, struct ggml_cgraph *cgraph);

#endif
