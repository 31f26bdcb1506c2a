/* What becomes of a graph of the host: which way each node takes, when a list is kept, what is compressed
 * after it. graph.h names the steps. */
#include "graph.h"

#include "operations/attention.h"
#include "operations/generic.h"
#include "list.h"
#include "base/log.h"
#include "model.h"
#include "remote.h"
#include "operations/rows.h"
#include "operations/shift.h"

#include "ggml-impl.h"

#include <stdlib.h>

enum { MOST_BUFFERS = 64 };

struct graph {
    ggml_backend_t backend;
    graph_original original;
    bool remote;
    workspace workspace;
    list list;
    uint64_t uid;                   /* ggml's number of the graph that the list is for; 0: no list is kept */
    struct ggml_tensor **uid_nodes; /* the nodes of that graph */
    uint64_t uid_planes;            /* cache_planes_made() when the list was made */
    cache_buffer *buffers[MOST_BUFFERS]; /* the buffers whose planes the graph touches */
    int n_buffers;
    tada_plane **settle_planes;
    int settle_room;
    size_t most_scratch; /* bytes, for the log */
};

/* Keeps the list for when the host computes this graph again. */
static void keep_list(graph *g, const struct ggml_cgraph *cgraph)
{
    g->uid = cgraph->uid;
    g->uid_nodes = cgraph->nodes;
    g->uid_planes = cache_planes_made();
}

static bool is_kept(const graph *g, const struct ggml_cgraph *cgraph)
{
    return g->uid && g->uid == cgraph->uid && g->uid_nodes == cgraph->nodes &&
           g->uid_planes == cache_planes_made();
}

static void forget_list(graph *g)
{
    list_forget(&g->list);
    g->uid = 0;
}

/* ---- settling ---- */

/* Whether the graph has written rows of the plane and has not attended to them. */
static bool plane_waits(const cache_plane *c)
{
    return c->written_at > c->attended_at;
}

/* Whether the graph writes rows of another layer. Then the host has gone on from this layer, also where it
 * computes a graph piece by piece. */
static bool writes_other_layer(const graph *g, const cache_plane *c)
{
    for (int i = 0; i < g->n_buffers; i++) {
        for (const cache_plane *other = g->buffers[i]->planes; other; other = other->next) {
            if (other->written_at >= 0 && (other->layer != c->layer || other->buffer != c->buffer)) {
                return true;
            }
        }
    }
    return false;
}

static bool may_settle(const graph *g, cache_plane *c)
{
    if (c->written_at >= 0 || c->attended_at >= 0) {
        c->awaited = plane_waits(c);
    } else if (c->awaited && writes_other_layer(g, c)) {
        c->awaited = false; /* nobody attends to it */
    }
    return !c->awaited && tada_plane_unsettled(c->plane);
}

/* Compresses the tiles that have left their windows and were not compressed in the list, of all planes at
 * once. */
static void settle_rest(graph *g, const struct ggml_cgraph *like)
{
    int n = 0;
    for (int i = 0; i < g->n_buffers; i++) {
        for (cache_plane *c = g->buffers[i]->planes; c; c = c->next) {
            cache_enlarge(c);
            if (!may_settle(g, c)) {
                continue;
            }
            if (n == g->settle_room) {
                int room = n ? 2 * n : 64;
                tada_plane **planes = realloc(g->settle_planes, (size_t)room * sizeof(tada_plane *));
                if (!planes) {
                    return; /* the next graph tries again */
                }
                g->settle_planes = planes;
                g->settle_room = room;
            }
            g->settle_planes[n++] = c->plane;
        }
    }
    list_settle(&g->list, g->backend, g->original, like, g->settle_planes, n);
}

/* ---- preparing ---- */

/* What becomes of a node. */
enum way {
    AS_IT_IS, /* touches no plane */
    VIEW,     /* computes nothing */
    ROWS,     /* SET_ROWS into a plane: tada_plane_write */
    ATTEND,   /* FLASH_ATTN_EXT over planes: tada_attention_work */
    READ,     /* reads a plane in another way: on decoded rows */
    ALONE     /* writes a plane in another way: cuts the graph */
};

static enum way way_of(const struct ggml_tensor *op)
{
    tada_attention attention;
    if (ggml_op_is_empty(op->op) || ggml_is_empty(op) || !(op->flags & GGML_TENSOR_FLAG_COMPUTE)) {
        return VIEW;
    }
    cache_plane *c = cache_plane_of(op);
    if (c) {
        return op->op == GGML_OP_SET_ROWS && rows_fit(op, c) ? ROWS : ALONE;
    }
    bool reads = false;
    for (int i = 0; i < GGML_MAX_SRC && !reads; i++) {
        reads = op->src[i] && cache_plane_of(op->src[i]);
    }
    if (reads && op->op == GGML_OP_FLASH_ATTN_EXT && cache_plane_of(op->src[1]) &&
        cache_plane_of(op->src[2]) && attention_describe(op, &attention)) {
        return ATTEND;
    }
    return reads ? READ : AS_IT_IS;
}

static bool note_buffer(graph *g, cache_buffer *b)
{
    for (int i = 0; i < g->n_buffers; i++) {
        if (g->buffers[i] == b) {
            return true;
        }
    }
    if (g->n_buffers == MOST_BUFFERS) {
        workspace_fail(&g->workspace, "this graph",
                       "it has caches in more buffers than the plug-in can tell apart: run without it");
        return false;
    }
    for (cache_plane *c = b->planes; c; c = c->next) {
        c->written_at = c->attended_at = c->read_at = -1;
    }
    g->buffers[g->n_buffers++] = b;
    return true;
}

/* Finds which planes the graph touches, and which of its nodes do so last. False: the workspace says why not.
 */
static bool survey_graph(graph *g, const struct ggml_cgraph *cgraph)
{
    g->n_buffers = 0;
    model_make_planes(cgraph);
    for (int i = 0; i < cgraph->n_nodes; i++) {
        const struct ggml_tensor *op = cgraph->nodes[i];
        enum way way = way_of(op);
        if (way == AS_IT_IS || way == VIEW) {
            continue;
        }
        cache_plane *c = cache_plane_of(op);
        if (c) {
            if (!note_buffer(g, c->buffer)) {
                return false;
            }
            c->written_at = i;
        }
        for (int s = 0; s < GGML_MAX_SRC; s++) {
            cache_plane *read = op->src[s] ? cache_plane_of(op->src[s]) : NULL;
            if (read) {
                if (!note_buffer(g, read->buffer)) {
                    return false;
                }
                /* Attention that the library cannot do reads decoded rows, too. */
                read->read_at = i;
                read->attended_at = way == ATTEND ? i : read->attended_at;
            }
        }
    }
    return true;
}

static enum ggml_status compute_alone(graph *g, struct ggml_tensor *op)
{
    tada_error error;
    cache_plane *c = cache_plane_of(op);
    cache_touch(c->buffer);
    if (shift_fits(op)) {
        if (!cache_settle(c)) {
            workspace_fail_memory(&g->workspace, op->name);
            return GGML_STATUS_FAILED;
        }
        if (shift_run(op, &error) != TADA_OK) {
            workspace_fail(&g->workspace, op->name, error.text);
            return GGML_STATUS_FAILED;
        }
        return GGML_STATUS_SUCCESS;
    }
    generic_tell(op);
    return generic_compute(op, g->workspace.n_threads);
}

/* Computes the list so far, then the operation that cuts the graph. */
static enum ggml_status cut_graph(graph *g, const struct ggml_cgraph *cgraph, struct ggml_tensor *op)
{
    enum ggml_status status = list_run(&g->list, g->backend, g->original, cgraph);
    forget_list(g);
    return status == GGML_STATUS_SUCCESS ? compute_alone(g, op) : status;
}

static bool append_node(graph *g, int at, struct ggml_tensor *op, enum way way)
{
    list *l = &g->list;
    if (way == ROWS) {
        return list_append_write(l, op, cache_plane_of(op));
    }
    if (way != VIEW) {
        list_close_write(l);
    }
    return way == ATTEND
               ? list_append_attention(l, at, op, cache_plane_of(op->src[1]), cache_plane_of(op->src[2]))
           : way == READ ? list_append_reader(l, at, op)
                         : list_append(l, op);
}

static enum ggml_status compute_new(graph *g, struct ggml_cgraph *cgraph)
{
    enum ggml_status status = GGML_STATUS_SUCCESS;
    bool is_cut = false;
    forget_list(g);
    if (!survey_graph(g, cgraph)) {
        return GGML_STATUS_FAILED;
    }
    if (g->n_buffers == 0) {
        keep_list(g, cgraph);
        return g->original(g->backend, cgraph);
    }
    for (int i = 0; i < cgraph->n_nodes && status == GGML_STATUS_SUCCESS; i++) {
        struct ggml_tensor *op = cgraph->nodes[i];
        enum way way = way_of(op);
        if (g->remote && way != AS_IT_IS && way != VIEW && !remote_allows(op)) {
            status = GGML_STATUS_FAILED;
        } else if (way == ALONE) {
            status = cut_graph(g, cgraph, op);
            is_cut = true;
        } else if (!append_node(g, i, op, way)) {
            workspace_fail_memory(&g->workspace, "a graph");
            status = GGML_STATUS_FAILED;
        }
    }
    if (status == GGML_STATUS_SUCCESS) {
        status = list_run(&g->list, g->backend, g->original, cgraph);
    }
    settle_rest(g, cgraph);
    if (is_cut || status != GGML_STATUS_SUCCESS) {
        forget_list(g);
    } else {
        keep_list(g, cgraph);
    }
    return status;
}

static enum ggml_status compute_again(graph *g, struct ggml_cgraph *cgraph)
{
    if (g->n_buffers == 0) {
        return g->original(g->backend, cgraph);
    }
    enum ggml_status status = list_run(&g->list, g->backend, g->original, cgraph);
    settle_rest(g, cgraph);
    if (status != GGML_STATUS_SUCCESS) {
        forget_list(g);
    }
    return status;
}

static void note_scratch(graph *g)
{
    size_t bytes = cache_scratch_bytes();
    g->most_scratch = bytes > g->most_scratch ? bytes : g->most_scratch;
}

enum ggml_status graph_compute(graph *g, struct ggml_cgraph *cgraph)
{
    atomic_store(&g->workspace.failed, false);
    enum ggml_status status = is_kept(g, cgraph) ? compute_again(g, cgraph) : compute_new(g, cgraph);
    for (int i = 0; i < g->n_buffers; i++) {
        cache_touch(g->buffers[i]);
    }
    if (g->workspace.failed) {
        log_line(GGML_LOG_LEVEL_ERROR, "%s", g->workspace.error.text);
    }
    note_scratch(g);
    workspace_trim(&g->workspace);
    return status;
}

/* ---- life ---- */

graph *graph_make(ggml_backend_t backend, graph_original original)
{
    graph *g = calloc(1, sizeof *g);
    if (!g || !workspace_make(&g->workspace)) {
        free(g);
        return NULL;
    }
    g->backend = backend;
    g->original = original;
    g->remote = remote_is_on();
    list_init(&g->list, &g->workspace);
    return g;
}

void graph_free(graph *g)
{
    if (log_wants("TADA_LOG") || log_wants("TADA_DEBUG")) {
        log_line(GGML_LOG_LEVEL_INFO, "scratch = %.2f MiB", (double)g->most_scratch / 1048576);
    }
    list_free(&g->list);
    workspace_free(&g->workspace);
    free(g->settle_planes);
    free(g);
}
