/*
 * The list of nodes that is computed in place of a graph of the host. It has the host's own nodes, and nodes
 * of the plug-in (operations/nodes.h) where the graph touches planes.
 */
#ifndef PLUGIN_GRAPH_LIST_H
#define PLUGIN_GRAPH_LIST_H

#include "base/arena.h"
#include "operations/nodes.h"

enum { LIST_DECODED = 64 }; /* pieces of memory with decoded rows, at most */

typedef struct list {
    workspace *workspace;
    arena arena; /* memory of the nodes, writes, attends, looks and readings */
    struct ggml_tensor **nodes;
    int n_nodes, room;
    write *open; /* the write that the next one may join, as V is written with K; NULL: none */
    attend *attends, *last_attend;
    attend *unsettled; /* the first one after which no node of the list compresses yet */
    int n_unsettled;   /* how many there are from that one to the last */
    look *looks;
    reading *readings;
    scratch decoded[LIST_DECODED];
} list;

typedef enum ggml_status (*list_compute)(ggml_backend_t backend, struct ggml_cgraph *cgraph);

void list_init(list *l, workspace *w);
void list_free(list *l);
/* Empties the list, and keeps its memory. */
void list_forget(list *l);

/*
 * Each of these appends what stands for one node of the graph. at: the number of that node in the graph;
 * planes know the numbers of the nodes that touch them last (cache.h). False: memory is short.
 */
bool list_append(list *l, struct ggml_tensor *node);
bool list_append_write(list *l, const struct ggml_tensor *op, cache_plane *cache);
/* Attention that the library cannot compute becomes a reader of decoded rows. */
bool list_append_attention(list *l, int at, const struct ggml_tensor *op, cache_plane *k, cache_plane *v);
bool list_append_reader(list *l, int at, const struct ggml_tensor *op);
/* The next write starts a node of its own. */
void list_close_write(list *l);

/* Computes the list with `compute`. like: the graph that it stands for. When a node has failed, the workspace
 * says why, too. */
enum ggml_status list_run(list *l, ggml_backend_t backend, list_compute compute,
                          const struct ggml_cgraph *like);
/* Settles n planes on the threads of a graph of its own. When memory is short, some may stay unsettled. */
void list_settle(list *l, ggml_backend_t backend, list_compute compute, const struct ggml_cgraph *like,
                 tada_plane *const *planes, int n);

#endif
