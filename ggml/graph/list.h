/*
 * The list of nodes that is computed in place of a graph of the host: its own nodes, and nodes of ours where
 * it touches planes. What only reads a plane in a way that the library has not follows a node that decodes
 * the rows.
 */
#ifndef PLUGIN_GRAPH_LIST_H
#define PLUGIN_GRAPH_LIST_H

#include "base/arena.h"
#include "operations/nodes.h"

enum { LIST_DECODED = 64 };

typedef struct list {
    workspace *workspace;
    arena arena; /* of all that follows */
    struct ggml_tensor **nodes;
    int n_nodes, room;
    write *open; /* the node before, but for views: V is written with K */
    attend *attends, *last_attend;
    attend *unsettled; /* the first whose planes the list does not compress yet; */
    int n_unsettled;   /* so many up to the last one */
    look *looks;
    reading *readings;
    scratch decoded[LIST_DECODED];
} list;

typedef enum ggml_status (*list_compute)(ggml_backend_t backend, struct ggml_cgraph *cgraph);

void list_init(list *l, workspace *w);
void list_free(list *l);
void list_forget(list *l); /* and begin anew */

/*
 * Each appends what stands for one node of the graph; `at` is its number there. Planes know the numbers of
 * the nodes that touch them last (cache.h). False: memory is short.
 */
bool list_append(list *l, struct ggml_tensor *node);
bool list_append_write(list *l, const struct ggml_tensor *op, cache_plane *cache);
/* Attention that the library cannot do reads decoded rows. */
bool list_append_attention(list *l, int at, const struct ggml_tensor *op, cache_plane *k, cache_plane *v);
bool list_append_reader(list *l, int at, const struct ggml_tensor *op);
/* What follows is no part of the last write. */
void list_close_write(list *l);

/* Computes it; like: the graph that it stands for. A failure of a node is noted in the workspace, too. */
enum ggml_status list_run(list *l, ggml_backend_t backend, list_compute compute,
                          const struct ggml_cgraph *like);
/* Settles planes on the threads of a graph. Short of memory, some may stay unsettled. */
void list_settle(list *l, ggml_backend_t backend, list_compute compute, const struct ggml_cgraph *like,
                 tada_plane *const *planes, int n);

#endif
