/*
 * The list: how nodes of a graph become nodes of the plug-in, which of them share decoded rows, a look at the
 * mask or a step of compressing, and how the list is run.
 */
#include "list.h"

#include "operations/attention.h"
#include "base/custom.h"

#include "ggml-impl.h"

#include <stdlib.h>

/* A batch of at least so many rows compresses each layer right after its attention. Smaller ones compress
 * NODES_SETTLE layers at a time. */
enum { MANY_ROWS = 32 };

/* ---- making it ---- */

void list_forget(list *l)
{
    for (attend *a = l->attends; a; a = a->next) {
        tada_attention_job_free(a->job);
    }
    arena_reset(&l->arena);
    l->n_nodes = 0;
    l->open = NULL;
    l->attends = l->last_attend = l->unsettled = NULL;
    l->n_unsettled = 0;
    l->looks = NULL;
    l->readings = NULL;
}

bool list_append(list *l, struct ggml_tensor *node)
{
    if (!node) {
        return false;
    }
    if (l->n_nodes == l->room) {
        int room = l->room ? 2 * l->room : 1024;
        struct ggml_tensor **nodes = realloc(l->nodes, (size_t)room * sizeof(struct ggml_tensor *));
        if (!nodes) {
            return false;
        }
        l->nodes = nodes;
        l->room = room;
    }
    l->nodes[l->n_nodes++] = node;
    return true;
}

static bool append_custom(list *l, const struct ggml_tensor *like, ggml_custom_op_t function, void *context)
{
    struct ggml_tensor *node = arena_take(&l->arena, sizeof *node);
    if (node) {
        custom_make(node, like, function, context);
    }
    return list_append(l, node);
}

bool list_append_write(list *l, const struct ggml_tensor *op, cache_plane *c)
{
    write *w = l->open;
    for (reading *r = l->readings; r; r = r->next) {
        r->stale = r->stale || r->rows.cache == c;
    }
    if (w && w->n == 1 && w->cache[0]->kind != c->kind) {
        w->op[1] = op;
        w->cache[1] = c;
        w->n = 2;
        return true;
    }
    l->open = w = arena_take(&l->arena, sizeof *w);
    if (!w) {
        return false;
    }
    *w = (write){.workspace = l->workspace, .n = 1, .op = {op}, .cache = {c}};
    return append_custom(l, op, nodes_write, w);
}

/* Adds the node that looks at a mask, before the first attention that has this mask. */
static bool append_look(list *l, attend *a)
{
    look *group = l->looks;
    while (group && group->first->op->src[3] != a->op->src[3]) {
        group = group->next;
    }
    if (group) {
        group->last->alike = a;
        group->last = a;
        return true;
    }
    group = arena_take(&l->arena, sizeof *group);
    if (!group) {
        return false;
    }
    *group = (look){l->workspace, a, a, l->looks};
    l->looks = group;
    return append_custom(l, NULL, nodes_look, group);
}

/* Adds the nodes that compress the planes of all attention since the last such nodes. */
static bool append_settle(list *l)
{
    settle *s = arena_take(&l->arena, sizeof *s);
    if (!s) {
        return false;
    }
    *s = (settle){l->workspace, l->unsettled, l->n_unsettled};
    for (attend *a = s->first; a; a = a->next) {
        a->settles = true;
    }
    l->unsettled = NULL;
    l->n_unsettled = 0;
    return append_custom(l, NULL, nodes_settle_begin, s) &&
           append_custom(l, NULL, nodes_settle, l->workspace) &&
           append_custom(l, NULL, nodes_settle_end, l->workspace);
}

static bool append_attend(list *l, attend *a)
{
    bool many = a->attention.n_queries * a->attention.n_streams >= MANY_ROWS;
    l->unsettled = l->unsettled ? l->unsettled : a;
    l->n_unsettled++;
    return append_look(l, a) && append_custom(l, a->op, nodes_attend, a) &&
           ((!many && l->n_unsettled < NODES_SETTLE) || append_settle(l));
}

/* NULL: memory is short, or (*can false) the library cannot do it. */
static attend *attend_make(list *l, int at, const struct ggml_tensor *op, cache_plane *k, cache_plane *v,
                           bool *can)
{
    attend *a = arena_take(&l->arena, sizeof *a);
    *can = true;
    if (!a) {
        return NULL;
    }
    *a = (attend){.workspace = l->workspace, .op = op, .k = k, .v = v};
    *can = attention_describe(op, &a->attention);
    if (!*can) {
        return NULL;
    }
    if (!attention_tell_head_dim(op, k, v)) {
        return NULL;
    }
    a->attention.k = k->plane;
    a->attention.v = v->plane;
    a->last = k->attended_at == at && v->attended_at == at;
    enum tada_status status = tada_attention_plan(&a->attention, &a->job, NULL);
    *can = status != TADA_E_ARGUMENT && status != TADA_E_UNSUPPORTED;
    if (status != TADA_OK) {
        return NULL;
    }
    *(l->last_attend ? &l->last_attend->next : &l->attends) = a;
    l->last_attend = a;
    return a;
}

bool list_append_attention(list *l, int at, const struct ggml_tensor *op, cache_plane *k, cache_plane *v)
{
    bool can;
    attend *a = attend_make(l, at, op, k, v, &can);
    return a ? append_attend(l, a) : !can && list_append_reader(l, at, op);
}

/* Memory for so many bytes of decoded rows: one that the list does not use yet, or whose rows nobody reads
 * from here on and that is large enough, as it cannot grow any more. */
static scratch *free_memory(list *l, int at, size_t bytes)
{
    for (int i = 0; i < LIST_DECODED; i++) {
        scratch *memory = &l->decoded[i];
        bool is_free = true;
        for (const reading *r = l->readings; r && is_free; r = r->next) {
            is_free = r->memory != memory || (r->rows.cache->read_at < at && memory->bytes >= bytes);
        }
        if (is_free && scratch_get(memory, bytes)) {
            return memory;
        }
    }
    return NULL;
}

/* The rows of a plane that the operation reads, decoded by then; NULL: memory is short. */
static const decoded *decoded_for(list *l, int at, const struct ggml_tensor *op, cache_plane *c)
{
    decoded wanted = {.cache = c};
    for (int i = 0; i < GGML_MAX_SRC; i++) {
        if (op->src[i] && cache_plane_of(op->src[i]) == c) {
            generic_cover(&wanted, op->src[i]);
        }
    }
    for (reading *r = l->readings; r; r = r->next) {
        if (r->rows.cache == c && !r->stale && r->rows.first <= wanted.first && r->rows.end >= wanted.end) {
            return &r->rows;
        }
    }
    reading *r = arena_take(&l->arena, sizeof *r);
    scratch *memory = r ? free_memory(l, at, generic_bytes(&wanted)) : NULL;
    if (!memory) {
        return NULL;
    }
    for (reading *before = l->readings; before; before = before->next) {
        before->stale = before->stale || before->memory == memory;
    }
    wanted.rows = memory->memory;
    *r = (reading){.workspace = l->workspace, .rows = wanted, .memory = memory, .next = l->readings};
    l->readings = r;
    return append_custom(l, NULL, nodes_read, r) ? &r->rows : NULL;
}

/* The operation itself, with shadows of its sources. */
bool list_append_reader(list *l, int at, const struct ggml_tensor *op)
{
    struct ggml_tensor *node = arena_take(&l->arena, sizeof *node);
    if (!node) {
        return false;
    }
    *node = *op;
    for (int i = 0; i < GGML_MAX_SRC; i++) {
        cache_plane *c = op->src[i] ? cache_plane_of(op->src[i]) : NULL;
        if (c) {
            const decoded *d = decoded_for(l, at, op, c);
            node->src[i] = d ? arena_take(&l->arena, sizeof *node) : NULL;
            if (!node->src[i]) {
                return false;
            }
            generic_shadow(node->src[i], op->src[i], d);
        }
    }
    generic_tell(op);
    return list_append(l, node);
}

/* ---- running it ---- */

static enum ggml_status run_nodes(ggml_backend_t backend, list_compute compute,
                                  const struct ggml_cgraph *like, struct ggml_tensor **nodes, int n)
{
    struct ggml_cgraph cgraph = *like;
    cgraph.nodes = nodes;
    cgraph.n_nodes = n;
    cgraph.n_leafs = 0;
    cgraph.uid = 0;
    return n > 0 ? compute(backend, &cgraph) : GGML_STATUS_SUCCESS;
}

enum ggml_status list_run(list *l, ggml_backend_t backend, list_compute compute,
                          const struct ggml_cgraph *like)
{
    workspace *w = l->workspace;
    for (reading *r = l->readings; r; r = r->next) {
        atomic_store(&r->tile, 0);
    }
    enum ggml_status status = run_nodes(backend, compute, like, l->nodes, l->n_nodes);
    /* What a graph has left that was aborted. */
    tada_settling_end(w->settling);
    for (const attend *a = l->attends; a; a = a->next) {
        if (tada_attention_is_done(a->job)) {
            if (!a->settles) {
                nodes_mark_sinks(a);
            }
        } else if (status == GGML_STATUS_SUCCESS) {
            workspace_fail_memory(w, "attention");
        }
    }
    return w->failed ? GGML_STATUS_FAILED : status;
}

void list_settle(list *l, ggml_backend_t backend, list_compute compute, const struct ggml_cgraph *like,
                 tada_plane *const *planes, int n)
{
    workspace *w = l->workspace;
    /* Short of memory, the next graph tries again. */
    if (n == 0 || tada_settling_begin(w->settling, planes, n, NULL) != TADA_OK) {
        return;
    }
    w->settling_since = metrics_clock();
    if (tada_settling_scratch(w->settling) > 0) {
        struct ggml_tensor shadows[2], *nodes[] = {&shadows[0], &shadows[1]};
        custom_make(&shadows[0], NULL, nodes_settle, w);
        custom_make(&shadows[1], NULL, nodes_settle_end, w);
        (void)run_nodes(backend, compute, like, nodes, 2);
    }
    /* What it has left if it was aborted. */
    tada_settling_end(w->settling);
}

void list_close_write(list *l)
{
    l->open = NULL;
}

void list_init(list *l, workspace *w)
{
    *l = (list){.workspace = w};
}

void list_free(list *l)
{
    list_forget(l);
    arena_free(&l->arena);
    free(l->nodes);
    for (int i = 0; i < LIST_DECODED; i++) {
        scratch_free(&l->decoded[i]);
    }
}
