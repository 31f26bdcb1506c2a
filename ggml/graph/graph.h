/*
 * Graphs of the host that touch planes.
 *
 * The host's graph is computed in one call of the original, from a list of nodes of our own in which what
 * touches a plane is replaced by nodes that call the library on the host's threads. What only reads a plane
 * in a way that the library has not follows a node that decodes the rows. What writes to a plane in such a
 * way cuts the list: it is computed by itself. The list is kept, and used again when the host computes the
 * same graph again, as it does while it generates.
 */
#ifndef PLUGIN_GRAPH_GRAPH_H
#define PLUGIN_GRAPH_GRAPH_H

#include "cache/cache.h"

/* The lists and the scratch of one backend. */
typedef struct graph graph;

/* What computed graphs before they were hooked. */
typedef enum ggml_status (*graph_original)(ggml_backend_t backend, struct ggml_cgraph *cgraph);

/* NULL: memory is short. */
graph *graph_make(ggml_backend_t backend, graph_original original);
void graph_free(graph *g);
enum ggml_status graph_compute(graph *g, struct ggml_cgraph *cgraph);

#endif
