#include "graph.h"

#include "arena.h"
#include "attention.h"
#include "custom.h"
#include "generic.h"
#include "log.h"
#include "model.h"
#include "probe.h"
#include "remote.h"
#include "rows.h"
#include "scratch.h"
#include "shift.h"
#include "threads.h"

#include "ggml-impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MANY_ROWS = 32, /* rows of a batch from which on a layer is compressed before the next one is written */
    MOST_BUFFERS = 16
};

/* SET_ROWS on K, or on V, or on both of them, which follow each other. */
typedef struct write {
    graph *g;
    int n;
    const struct ggml_tensor *op[2];
    cache_plane *cache[2];
} write;

/* FLASH_ATTN_EXT. */
typedef struct attend {
    graph *g;
    const struct ggml_tensor *op;
    cache_plane *k, *v;
    tada_attention attention;
    tada_attention_job *job;
    bool settles;         /* a part of the graph compresses both planes afterwards */
    uint64_t since;       /* on the clock of metrics */
    struct attend *next;  /* of all */
    struct attend *alike; /* of those with the same mask */
} attend;

/* All that attend with one mask look at it together, just before the first of them: the mask may be a result
 * of the graph. Another mask may lie at the same address later on, so it is the tensor that counts. */
typedef struct look {
    graph *g;
    attend *first, *last;
    struct look *next;
} look;

/* Rows of a plane that are decoded for whoever reads them in a way that the library has not. */
typedef struct reading {
    graph *g;
    decoded rows;
    scratch *memory;
    bool stale; /* the plane was written after it */
    atomic_int_fast64_t tile;
    struct reading *next;
} reading;

struct graph {
    ggml_backend_t backend;
    graph_original original;
    bool remote;
    /* The list. */
    arena arena;
    struct ggml_tensor **nodes;
    int n_nodes, room;
    write *open; /* the node before, but for views */
    attend *attends, *last_attend;
    look *looks;
    reading *readings;
    cache_buffer *buffers[MOST_BUFFERS]; /* whose planes the graph touches */
    int n_buffers;
    uint64_t uid; /* of the graph that the list is for; 0: none is kept */
    struct ggml_tensor **uid_nodes;
    /* What it works with. */
    tada_settling *settling;
    uint64_t settling_since;
    scratch shared, each[GGML_MAX_N_THREADS], decoded[MOST_BUFFERS];
    struct ggml_tensor *settle_nodes[2 * TADA_SETTLING_ROUNDS], settle_shadows[2 * TADA_SETTLING_ROUNDS];
    tada_plane **settle_planes;
    int settle_room;
    int n_threads;
    size_t most_scratch;
    /* A node cannot fail: it notes why, and the graph fails after it was computed. */
    atomic_bool failed;
    tada_error error;
};

/* ---- failures ---- */

static void fail(graph *g, const char *what, const char *why)
{
    if (!atomic_exchange(&g->failed, true)) {
        snprintf(g->error.text, sizeof g->error.text, "%.60s: %.180s", what, why);
    }
}

static void fail_memory(graph *g, const char *what)
{
    fail(g, what, "out of memory: use a smaller ubatch or context");
}

static void *thread_scratch(graph *g, int thread, size_t bytes)
{
    return thread < GGML_MAX_N_THREADS ? scratch_get(&g->each[thread], bytes) : NULL;
}

/* ---- what nodes do, on each thread ---- */

static void do_write(struct ggml_tensor *node, int thread, int n_threads, void *context)
{
    const write *w = context;
    (void)node;
    for (int i = thread; i < w->n; i += n_threads) {
        tada_error error;
        if (rows_write(w->op[i], w->cache[i], &error) != TADA_OK) {
            fail(w->g, w->op[i]->name, error.text);
        }
    }
}

static void do_look(struct ggml_tensor *node, int thread, int n_threads, void *context)
{
    const look *l = context;
    (void)node;
    if (thread == 0) {
        l->g->n_threads = n_threads;
        threads_note(n_threads);
        for (const attend *a = l->first, *before = NULL; a; before = a, a = a->alike) {
            tada_attention_look(a->job, before ? before->job : NULL);
        }
    }
}

static void do_attend(struct ggml_tensor *node, int thread, int n_threads, void *context)
{
    attend *a = context;
    (void)node;
    if (thread == 0) {
        const probe *p = probe_get();
        a->since = metrics_clock();
        if (p && p->attention) {
            p->attention(a->k, a->v, &a->attention);
        }
    }
    tada_attention_work(a->job, thread, n_threads, a->g->shared.memory,
                        thread_scratch(a->g, thread, tada_attention_job_scratch(a->job)));
    if (thread == 0) {
        metrics_attention(a->since);
    }
}

/* Sequences that begin in the middle of a stream have sinks, too. */
static void mark_sinks(const attend *a)
{
    const int64_t *cells;
    int64_t n = tada_attention_job_sinks(a->job, &cells);
    if (n > 0) {
        tada_plane_mark_sinks(a->k->plane, cells, n);
        tada_plane_mark_sinks(a->v->plane, cells, n);
    }
}

static void do_settle_begin(struct ggml_tensor *node, int thread, int n_threads, void *context)
{
    attend *a = context;
    (void)node;
    (void)n_threads;
    if (thread == 0) {
        tada_plane *planes[] = {a->k->plane, a->v->plane};
        mark_sinks(a);
        a->g->settling_since = metrics_clock();
        /* Short of memory, it is tried again when the graph is done. */
        (void)tada_settling_begin(a->g->settling, planes, a->k == a->v ? 1 : 2, NULL);
    }
}

static void do_settle(struct ggml_tensor *node, int thread, int n_threads, void *context)
{
    graph *g = context;
    size_t bytes = tada_settling_scratch(g->settling);
    (void)node;
    (void)n_threads;
    if (bytes > 0) {
        tada_settling_work(g->settling, thread_scratch(g, thread, bytes));
    }
}

static void do_settle_next(struct ggml_tensor *node, int thread, int n_threads, void *context)
{
    graph *g = context;
    (void)node;
    (void)n_threads;
    if (thread == 0 && !tada_settling_next(g->settling)) {
        metrics_encoding(g->settling_since);
    }
}

static void do_read(struct ggml_tensor *node, int thread, int n_threads, void *context)
{
    reading *r = context;
    const decoded *d = &r->rows;
    (void)node;
    (void)thread;
    (void)n_threads;
    for (int64_t i; (i = atomic_fetch_add(&r->tile, 1)) * TADA_TILE_CELLS < d->end - d->first;) {
        int64_t cell = d->first + i * TADA_TILE_CELLS,
                n = d->end - cell < TADA_TILE_CELLS ? d->end - cell : TADA_TILE_CELLS;
        uint16_t *to = (uint16_t *)(void *)d->rows + (size_t)(cell - d->first) * (size_t)d->cache->width;
        if (tada_plane_read(d->cache->plane, cell, n, to, NULL, NULL) != TADA_OK) {
            fail_memory(r->g, "rows of a cache");
        }
    }
}

/* ---- the list ---- */

static void forget(graph *g)
{
    for (attend *a = g->attends; a; a = a->next) {
        tada_attention_job_free(a->job);
    }
    arena_reset(&g->arena);
    g->n_nodes = 0;
    g->open = NULL;
    g->attends = g->last_attend = NULL;
    g->looks = NULL;
    g->readings = NULL;
    g->uid = 0;
}

static bool append(graph *g, struct ggml_tensor *node)
{
    if (!node) {
        return false;
    }
    if (g->n_nodes == g->room) {
        int room = g->room ? 2 * g->room : 1024;
        struct ggml_tensor **nodes = realloc(g->nodes, (size_t)room * sizeof(struct ggml_tensor *));
        if (!nodes) {
            return false;
        }
        g->nodes = nodes;
        g->room = room;
    }
    g->nodes[g->n_nodes++] = node;
    return true;
}

static bool append_custom(graph *g, const struct ggml_tensor *like, ggml_custom_op_t function, void *context)
{
    struct ggml_tensor *node = arena_take(&g->arena, sizeof *node);
    if (node) {
        custom_make(node, like, function, context);
    }
    return append(g, node);
}

static bool append_write(graph *g, const struct ggml_tensor *op, cache_plane *c)
{
    write *w = g->open;
    for (reading *r = g->readings; r; r = r->next) {
        r->stale = r->stale || r->rows.cache == c;
    }
    if (w && w->n == 1 && w->cache[0]->kind != c->kind) {
        w->op[1] = op;
        w->cache[1] = c;
        w->n = 2;
        return true;
    }
    g->open = w = arena_take(&g->arena, sizeof *w);
    if (!w) {
        return false;
    }
    *w = (write){.g = g, .n = 1, .op = {op}, .cache = {c}};
    return append_custom(g, op, do_write, w);
}

/* The node that looks at a mask, before the first attention that has it. */
static bool append_look(graph *g, attend *a)
{
    look *l = g->looks;
    while (l && l->first->op->src[3] != a->op->src[3]) {
        l = l->next;
    }
    if (l) {
        l->last->alike = a;
        l->last = a;
        return true;
    }
    l = arena_take(&g->arena, sizeof *l);
    if (!l) {
        return false;
    }
    *l = (look){g, a, a, g->looks};
    g->looks = l;
    return append_custom(g, NULL, do_look, l);
}

static bool append_attention(graph *g, const struct ggml_tensor *op, attend *a)
{
    bool done = append_look(g, a) && append_custom(g, op, do_attend, a);
    if (done && a->settles) {
        done = append_custom(g, NULL, do_settle_begin, a);
        for (int i = 0; i < TADA_SETTLING_ROUNDS && done; i++) {
            done = append_custom(g, NULL, do_settle, g) && append_custom(g, NULL, do_settle_next, g);
        }
    }
    return done;
}

/* NULL: memory is short, or (*can false) the library cannot do it. */
static attend *attend_make(graph *g, int at, const struct ggml_tensor *op, cache_plane *k, cache_plane *v,
                           bool *can)
{
    attend *a = arena_take(&g->arena, sizeof *a);
    *can = true;
    if (!a) {
        return NULL;
    }
    *a = (attend){.g = g, .op = op, .k = k, .v = v};
    *can = attention_describe(op, &a->attention);
    if (!*can) {
        return NULL;
    }
    attention_tell_head_dim(op, k, v);
    a->attention.k = k->plane;
    a->attention.v = v->plane;
    a->settles = a->attention.n_queries * a->attention.n_streams >= MANY_ROWS && k->attended_at == at &&
                 v->attended_at == at;
    enum tada_status status = tada_attention_plan(&a->attention, &a->job, NULL);
    *can = status != TADA_E_ARGUMENT && status != TADA_E_UNSUPPORTED;
    if (status != TADA_OK) {
        return NULL;
    }
    *(g->last_attend ? &g->last_attend->next : &g->attends) = a;
    g->last_attend = a;
    return a;
}

/* Memory for so many bytes of decoded rows: one that the list does not use yet, or whose rows nobody reads
 * from here on and that is large enough, as it cannot grow any more. */
static scratch *free_memory(graph *g, int at, size_t bytes)
{
    for (int i = 0; i < MOST_BUFFERS; i++) {
        scratch *memory = &g->decoded[i];
        bool is_free = true;
        for (const reading *r = g->readings; r && is_free; r = r->next) {
            is_free = r->memory != memory || (r->rows.cache->read_at < at && memory->bytes >= bytes);
        }
        if (is_free && scratch_get(memory, bytes)) {
            return memory;
        }
    }
    return NULL;
}

/* The rows of a plane that the operation reads, decoded by then; NULL: memory is short. */
static const decoded *decoded_for(graph *g, int at, const struct ggml_tensor *op, cache_plane *c)
{
    decoded wanted = {.cache = c};
    for (int i = 0; i < GGML_MAX_SRC; i++) {
        if (op->src[i] && cache_plane_of(op->src[i]) == c) {
            generic_cover(&wanted, op->src[i]);
        }
    }
    for (reading *r = g->readings; r; r = r->next) {
        if (r->rows.cache == c && !r->stale && r->rows.first <= wanted.first && r->rows.end >= wanted.end) {
            return &r->rows;
        }
    }
    reading *r = arena_take(&g->arena, sizeof *r);
    scratch *memory = r ? free_memory(g, at, generic_bytes(&wanted)) : NULL;
    if (!memory) {
        return NULL;
    }
    wanted.rows = memory->memory;
    *r = (reading){.g = g, .rows = wanted, .memory = memory, .next = g->readings};
    g->readings = r;
    return append_custom(g, NULL, do_read, r) ? &r->rows : NULL;
}

/* The operation itself, with shadows of its sources. */
static bool append_reader(graph *g, int at, const struct ggml_tensor *op)
{
    struct ggml_tensor *node = arena_take(&g->arena, sizeof *node);
    if (!node) {
        return false;
    }
    *node = *op;
    for (int i = 0; i < GGML_MAX_SRC; i++) {
        cache_plane *c = op->src[i] ? cache_plane_of(op->src[i]) : NULL;
        if (c) {
            const decoded *d = decoded_for(g, at, op, c);
            node->src[i] = d ? arena_take(&g->arena, sizeof *node) : NULL;
            if (!node->src[i]) {
                return false;
            }
            generic_shadow(node->src[i], op->src[i], d);
        }
    }
    generic_tell(op);
    return append(g, node);
}

/* ---- running ---- */

static enum ggml_status run_nodes(graph *g, const struct ggml_cgraph *like, struct ggml_tensor **nodes, int n)
{
    struct ggml_cgraph cgraph = *like;
    cgraph.nodes = nodes;
    cgraph.n_nodes = n;
    cgraph.n_leafs = 0;
    cgraph.uid = 0;
    return n > 0 ? g->original(g->backend, &cgraph) : GGML_STATUS_SUCCESS;
}

static void note_scratch(graph *g)
{
    size_t bytes = cache_scratch_bytes();
    g->most_scratch = bytes > g->most_scratch ? bytes : g->most_scratch;
}

static enum ggml_status run_list(graph *g, const struct ggml_cgraph *like)
{
    size_t shared = 0;
    for (const attend *a = g->attends; a; a = a->next) {
        size_t bytes = tada_attention_job_shared(a->job);
        shared = bytes > shared ? bytes : shared;
    }
    if (shared > 0 && !scratch_get(&g->shared, shared)) {
        fail_memory(g, "attention");
        return GGML_STATUS_FAILED;
    }
    for (reading *r = g->readings; r; r = r->next) {
        atomic_store(&r->tile, 0);
    }
    enum ggml_status status = run_nodes(g, like, g->nodes, g->n_nodes);
    /* What a graph has left that was aborted. */
    while (tada_settling_next(g->settling)) {
    }
    for (const attend *a = g->attends; a; a = a->next) {
        if (tada_attention_is_done(a->job)) {
            if (!a->settles) {
                mark_sinks(a);
            }
        } else if (status == GGML_STATUS_SUCCESS) {
            fail_memory(g, "attention");
        }
    }
    return g->failed ? GGML_STATUS_FAILED : status;
}

/* A plane of which this graph has written rows that it has not attended to. */
static bool waits(const cache_plane *c)
{
    return c->written_at > c->attended_at;
}

/* Layers of which a graph writes rows are followed by others, whose attention is still to come when the host
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
        c->awaited = waits(c);
    } else if (c->awaited && writes_other_layer(g, c)) {
        c->awaited = false; /* nobody attends to it */
    }
    return !c->awaited && tada_plane_unsettled(c->plane);
}

/* Compresses what the graph has left, all planes at once. */
static void settle(graph *g, const struct ggml_cgraph *like)
{
    int n = 0;
    for (int i = 0; i < g->n_buffers; i++) {
        for (cache_plane *c = g->buffers[i]->planes; c; c = c->next) {
            if (!may_settle(g, c)) {
                continue;
            }
            if (n == g->settle_room) {
                int room = n ? 2 * n : 64;
                tada_plane **planes = realloc(g->settle_planes, (size_t)room * sizeof *planes);
                if (!planes) {
                    return; /* the next graph tries again */
                }
                g->settle_planes = planes;
                g->settle_room = room;
            }
            g->settle_planes[n++] = c->plane;
        }
    }
    if (n == 0 || tada_settling_begin(g->settling, g->settle_planes, n, NULL) != TADA_OK) {
        return;
    }
    g->settling_since = metrics_clock();
    if (tada_settling_scratch(g->settling) > 0) {
        (void)run_nodes(g, like, g->settle_nodes, 2 * TADA_SETTLING_ROUNDS);
    }
    while (tada_settling_next(g->settling)) {
    }
}

/* ---- preparing ---- */

enum way { AS_IT_IS, VIEW, ROWS, ATTEND, READ, ALONE };

static bool is_view_op(enum ggml_op op)
{
    return op == GGML_OP_NONE || op == GGML_OP_VIEW || op == GGML_OP_RESHAPE || op == GGML_OP_PERMUTE ||
           op == GGML_OP_TRANSPOSE;
}

static enum way way_of(const struct ggml_tensor *op)
{
    tada_attention attention;
    if (is_view_op(op->op) || ggml_is_empty(op) || !(op->flags & GGML_TENSOR_FLAG_COMPUTE)) {
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
        fail(g, "this graph",
             "it has caches in more buffers than the plug-in can tell apart: run without it");
        return false;
    }
    for (cache_plane *c = b->planes; c; c = c->next) {
        c->written_at = c->attended_at = c->read_at = -1;
    }
    g->buffers[g->n_buffers++] = b;
    return true;
}

/* Which planes the graph touches, and where it does so last. */
static bool survey(graph *g, const struct ggml_cgraph *cgraph)
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
                *(way == ATTEND ? &read->attended_at : &read->read_at) = i;
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
            fail_memory(g, op->name);
            return GGML_STATUS_FAILED;
        }
        if (shift_run(op, &error) != TADA_OK) {
            fail(g, op->name, error.text);
            return GGML_STATUS_FAILED;
        }
        return GGML_STATUS_SUCCESS;
    }
    generic_tell(op);
    return generic_compute(op, g->n_threads);
}

/* What was gathered is computed, then the operation that cuts the graph. */
static enum ggml_status cut(graph *g, const struct ggml_cgraph *cgraph, struct ggml_tensor *op)
{
    enum ggml_status status = run_list(g, cgraph);
    forget(g);
    return status == GGML_STATUS_SUCCESS ? compute_alone(g, op) : status;
}

static bool append_op(graph *g, int at, struct ggml_tensor *op, enum way way)
{
    bool can = way == ATTEND;
    if (way == ROWS) {
        return append_write(g, op, cache_plane_of(op));
    }
    if (way != VIEW) {
        g->open = NULL;
    }
    if (way == ATTEND) {
        attend *a = attend_make(g, at, op, cache_plane_of(op->src[1]), cache_plane_of(op->src[2]), &can);
        if (a || can) {
            return a && append_attention(g, op, a);
        }
    }
    return way == READ || way == ATTEND ? append_reader(g, at, op) : append(g, op);
}

static enum ggml_status compute_new(graph *g, struct ggml_cgraph *cgraph)
{
    enum ggml_status status = GGML_STATUS_SUCCESS;
    bool is_cut = false;
    forget(g);
    if (!survey(g, cgraph)) {
        return GGML_STATUS_FAILED;
    }
    if (g->n_buffers == 0) {
        return g->original(g->backend, cgraph);
    }
    for (int i = 0; i < cgraph->n_nodes && status == GGML_STATUS_SUCCESS; i++) {
        struct ggml_tensor *op = cgraph->nodes[i];
        enum way way = way_of(op);
        if (g->remote && way != AS_IT_IS && way != VIEW && !remote_allows(op)) {
            status = GGML_STATUS_FAILED;
        } else if (way == ALONE) {
            status = cut(g, cgraph, op);
            is_cut = true;
        } else if (!append_op(g, i, op, way)) {
            fail_memory(g, "a graph");
            status = GGML_STATUS_FAILED;
        }
    }
    if (status == GGML_STATUS_SUCCESS) {
        status = run_list(g, cgraph);
    }
    settle(g, cgraph);
    if (is_cut || status != GGML_STATUS_SUCCESS) {
        forget(g);
    } else {
        g->uid = cgraph->uid;
        g->uid_nodes = cgraph->nodes;
    }
    return status;
}

static enum ggml_status compute_again(graph *g, const struct ggml_cgraph *cgraph)
{
    enum ggml_status status = run_list(g, cgraph);
    settle(g, cgraph);
    if (status != GGML_STATUS_SUCCESS) {
        forget(g);
    }
    return status;
}

enum ggml_status graph_compute(graph *g, struct ggml_cgraph *cgraph)
{
    bool again = g->uid && g->uid == cgraph->uid && g->uid_nodes == cgraph->nodes;
    atomic_store(&g->failed, false);
    enum ggml_status status = again ? compute_again(g, cgraph) : compute_new(g, cgraph);
    for (int i = 0; i < g->n_buffers; i++) {
        cache_touch(g->buffers[i]);
    }
    if (g->failed) {
        log_line(GGML_LOG_LEVEL_ERROR, "%s", g->error.text);
    }
    note_scratch(g);
    return status;
}

/* ---- life ---- */

graph *graph_make(ggml_backend_t backend, graph_original original)
{
    graph *g = calloc(1, sizeof *g);
    tada_settling *settling = g ? tada_settling_create() : NULL;
    if (!settling) {
        free(g);
        return NULL;
    }
    g->backend = backend;
    g->original = original;
    g->remote = remote_is_on();
    g->settling = settling;
    g->n_threads = 1;
    for (int i = 0; i < 2 * TADA_SETTLING_ROUNDS; i++) {
        custom_make(&g->settle_shadows[i], NULL, i % 2 == 0 ? do_settle : do_settle_next, g);
        g->settle_nodes[i] = &g->settle_shadows[i];
    }
    return g;
}

void graph_free(graph *g)
{
    if (log_wants("TADA_LOG") || log_wants("TADA_DEBUG")) {
        log_line(GGML_LOG_LEVEL_INFO, "scratch = %.2f MiB", (double)g->most_scratch / 1048576);
    }
    forget(g);
    arena_free(&g->arena);
    free(g->nodes);
    free(g->settle_planes);
    tada_settling_free(g->settling);
    scratch_free(&g->shared);
    for (int i = 0; i < GGML_MAX_N_THREADS; i++) {
        scratch_free(&g->each[i]);
    }
    for (int i = 0; i < MOST_BUFFERS; i++) {
        scratch_free(&g->decoded[i]);
    }
    free(g);
}
