/* The backend: which ops are ours, and how each reaches the library. */
#include "metrics.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_UNSETTLED = 64 };

typedef struct tada_backend {
    int n_threads;
    tada_pool *pool;
    ggml_backend_t cpu; /* for the generic path; made when first needed */
    cache_plane *unsettled[MAX_UNSETTLED];
    int n_unsettled;
    bool told_scratch;
} tada_backend;

/* ---- which ops are ours ---- */

bool tada_is_view_op(enum ggml_op op)
{
    return op == GGML_OP_NONE || op == GGML_OP_VIEW || op == GGML_OP_RESHAPE || op == GGML_OP_PERMUTE ||
           op == GGML_OP_TRANSPOSE;
}

/* V is stored transposed, or K is multiplied as a matrix: llama.cpp without flash attention. */
static bool needs_flash(const struct ggml_tensor *op)
{
    if (op->op == GGML_OP_SET_ROWS) {
        return tada_is_plane(op) && op->ne[0] != tada_root(op)->ne[0];
    }
    return op->op == GGML_OP_MUL_MAT && tada_is_plane(op->src[0]);
}

static void learn_head_dim(const struct ggml_tensor *op)
{
    for (int i = 1; i <= 2; i++) {
        cache_plane *c = tada_plane_of(op->src[i]);
        /* V as a view of K has the head size of K. */
        if (c && (i == 1 || tada_root(op->src[2]) != tada_root(op->src[1]))) {
            tada_plane_set_head_dim(c->plane, (int)op->src[i]->ne[0]);
        }
    }
}

bool tada_supports_op(ggml_backend_dev_t device, const struct ggml_tensor *op)
{
    (void)device;
    if (tada_whole()) {
        return ggml_backend_dev_supports_op(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU), op);
    }
    if (tada_is_view_op(op->op)) {
        return tada_is_ours(op);
    }
    tada_plugin_see_model(op);
    /* What is written into our memory must be ours, or the scheduler aborts. What merely reads a cache must
     * be, too, or the whole cache is decoded and copied to the CPU each time. */
    bool writes = tada_is_kept(op), ours = writes;
    for (int i = 0; i < GGML_MAX_SRC && !ours; i++) {
        ours = op->src[i] && tada_is_cache(op->src[i]);
    }
    if (!ours) {
        return false;
    }
    for (int i = 0; i < GGML_MAX_SRC && !writes; i++) {
        /* Weights that the CPU has repacked cannot be copied to us: the CPU may copy the cache then. */
        const struct ggml_tensor *src = op->src[i];
        if (src && tada_root(src)->buffer && !tada_is_ours(src) &&
            !ggml_backend_buffer_is_host(tada_root(src)->buffer)) {
            return false;
        }
    }
    if (needs_flash(op)) {
        tada_plugin_refuse("flash attention is off, but the compressed cache needs it: run with -fa on, or "
                           "without the plug-in");
        return true;
    }
    if (op->op == GGML_OP_FLASH_ATTN_EXT) {
        learn_head_dim(op);
        tada_measure_add_attention(op);
    }
    return ggml_backend_dev_supports_op(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU), op);
}

/* ---- planes with rows that are not compressed yet ---- */

void tada_backend_forget(cache_plane *c)
{
    tada_backend *b = c->unsettled_in;
    if (!b) {
        return;
    }
    for (int i = 0; i < b->n_unsettled; i++) {
        if (b->unsettled[i] == c) {
            b->unsettled[i] = b->unsettled[--b->n_unsettled];
            break;
        }
    }
    c->unsettled_in = NULL;
}

enum tada_status tada_backend_encode(cache_plane *c, int n_threads)
{
    uint64_t since = tada_metrics_clock();
    enum tada_status status = tada_plane_settle(c->plane, n_threads);
    tada_metrics_encoding(since);
    return status;
}

void tada_backend_settle(cache_plane *c)
{
    tada_backend *b = c->unsettled_in;
    if (b) {
        tada_planes_touch();
        tada_backend_encode(c, b->n_threads);
        tada_backend_forget(c);
    }
}

/* All but those of one layer, whose rows the attention is about to read exactly. */
static void settle_others(tada_backend *b, int layer)
{
    for (int i = b->n_unsettled - 1; i >= 0; i--) {
        if (b->unsettled[i]->layer != layer) {
            tada_backend_settle(b->unsettled[i]);
        }
    }
}

static void note_unsettled(tada_backend *b, cache_plane *c)
{
    if (c->unsettled_in || !tada_plane_unsettled(c->plane)) {
        return;
    }
    if (b->n_unsettled == MAX_UNSETTLED) {
        settle_others(b, -1);
    }
    b->unsettled[b->n_unsettled++] = c;
    c->unsettled_in = b;
}

/* ---- ops ---- */

void tada_cpu_set_threads(ggml_backend_t cpu, int n_threads)
{
    ggml_backend_set_n_threads_t set = (ggml_backend_set_n_threads_t)ggml_backend_reg_get_proc_address(
        ggml_backend_dev_backend_reg(ggml_backend_get_device(cpu)), "ggml_backend_set_n_threads");
    if (set) {
        set(cpu, n_threads);
    }
}

static ggml_backend_t cpu_backend(tada_backend *b)
{
    b->cpu =
        b->cpu ? b->cpu : ggml_backend_dev_init(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU), NULL);
    if (b->cpu) {
        tada_cpu_set_threads(b->cpu, b->n_threads);
    }
    return b->cpu;
}

static enum ggml_status generic(tada_backend *b, struct ggml_tensor *op)
{
    ggml_backend_t cpu = cpu_backend(b);
    settle_others(b, -1);
    return cpu ? tada_generic_compute(cpu, op, b->n_threads) : GGML_STATUS_FAILED;
}

static enum ggml_status failed(const char *what, const tada_error *error)
{
    tada_plugin_log("%s: %s", what, error->text);
    return GGML_STATUS_FAILED;
}

static enum ggml_status set_rows(tada_backend *b, struct ggml_tensor *op)
{
    enum { CHUNK = 1024 };
    const struct ggml_tensor *rows = op->src[0], *index = op->src[1];
    cache_plane *c = tada_plane_of(op);
    size_t row_bytes = c ? (size_t)c->width * 2 : 1;
    if (!c || rows->ne[0] != c->width || rows->ne[2] != 1 || rows->ne[3] != 1 ||
        tada_plane_offset(c, op) % row_bytes != 0 || op->nb[1] != row_bytes) {
        return generic(b, op);
    }
    settle_others(b, c->layer);
    if (c->unsettled_in && c->unsettled_in != b) {
        tada_backend_settle(c);
    }
    int64_t cells[CHUNK], first = (int64_t)(tada_plane_offset(c, op) / row_bytes);
    for (int64_t i = 0; i < rows->ne[1]; i += CHUNK) {
        int64_t n = rows->ne[1] - i < CHUNK ? rows->ne[1] - i : CHUNK;
        for (int64_t j = 0; j < n; j++) {
            const char *at = (const char *)index->data + (size_t)(i + j) * index->nb[0];
            cells[j] = first + (index->type == GGML_TYPE_I64 ? *(const int64_t *)(const void *)at
                                                             : *(const int32_t *)(const void *)at);
        }
        tada_error error;
        if (tada_plane_write(c->plane, b->pool, (const char *)rows->data + (size_t)i * rows->nb[1],
                             rows->type == GGML_TYPE_F32 ? TADA_F32 : TADA_F16, rows->nb[1], cells, n,
                             &error) != TADA_OK) {
            return failed(op->name, &error);
        }
    }
    tada_metrics_tokens(c, rows->ne[1]);
    tada_plane_warn(c);
    note_unsettled(b, c);
    return GGML_STATUS_SUCCESS;
}

/* Where a view [dim, cells, heads, streams] lies in its plane. */
typedef struct plane_view {
    int64_t stream, cell;
    int column, head_stride;
} plane_view;

static bool view_of(const struct ggml_tensor *t, plane_view *view)
{
    const struct ggml_tensor *root = tada_root(t);
    size_t row = (size_t)root->ne[0] * 2, offset = t->view_src ? t->view_offs : 0;
    if (t->type != GGML_TYPE_F16) {
        return false;
    }
    view->stream = (int64_t)(offset / row) / root->ne[1];
    view->cell = (int64_t)(offset / row) % root->ne[1];
    view->column = (int)(offset % row / 2);
    view->head_stride = (int)(t->nb[2] / 2);
    return t->nb[0] == 2 && (t->ne[1] == 1 || t->nb[1] == row) && (t->ne[2] == 1 || t->nb[2] < row) &&
           (t->ne[3] == 1 || t->nb[3] == row * (size_t)root->ne[1]);
}

bool tada_attention_of(const struct ggml_tensor *op, tada_attention *a)
{
    const struct ggml_tensor *q = op->src[0], *k = op->src[1], *v = op->src[2], *mask = op->src[3],
                             *sinks = op->src[4];
    plane_view kv, vv;
    if (!view_of(k, &kv) || !view_of(v, &vv) || q->type != GGML_TYPE_F32 || q->nb[0] != 4 ||
        k->ne[2] != v->ne[2] || k->ne[1] != v->ne[1] || k->ne[3] != q->ne[3] || v->ne[3] != q->ne[3] ||
        kv.stream != vv.stream || kv.cell != vv.cell || tada_root(k)->ne[1] != tada_root(v)->ne[1] ||
        q->ne[2] % k->ne[2] != 0 || (mask && mask->type != GGML_TYPE_F16)) {
        return false;
    }
    *a = (tada_attention){
        .k_column = kv.column,
        .v_column = vv.column,
        .k_dim = (int)k->ne[0],
        .v_dim = (int)v->ne[0],
        .k_head_stride = kv.head_stride,
        .v_head_stride = vv.head_stride,
        .n_heads = (int)q->ne[2],
        .n_heads_kv = (int)k->ne[2],
        .first_stream = kv.stream,
        .n_streams = q->ne[3],
        .first_cell = kv.cell,
        .n_cells = k->ne[1],
        .n_queries = q->ne[1],
        .q = q->data,
        .q_query = q->nb[1],
        .q_head = q->nb[2],
        .q_stream = q->nb[3],
        .sinks = sinks ? sinks->data : NULL,
        .out = op->data,
        .out_head = op->nb[1],
        .out_query = op->nb[2],
        .out_stream = op->nb[3],
    };
    if (a->n_heads_kv == 1) {
        a->k_head_stride = a->v_head_stride = 0;
    }
    if (mask) {
        a->mask = mask->data;
        a->mask_query = mask->nb[1];
        a->mask_head = mask->nb[2];
        a->mask_stream = mask->nb[3];
        a->mask_heads = (int)mask->ne[2];
        a->mask_streams = (int)mask->ne[3];
    }
    memcpy(&a->scale, (const char *)op->op_params, sizeof a->scale);
    memcpy(&a->max_bias, (const char *)op->op_params + 4, sizeof a->max_bias);
    memcpy(&a->softcap, (const char *)op->op_params + 8, sizeof a->softcap);
    return true;
}

/* Sequences that begin in the middle of a stream have sinks, too. */
static void mark_sinks(const tada_attention *a, cache_plane *k, cache_plane *v)
{
    int64_t cells[256], n = tada_attention_sinks(a, cells, sizeof cells / sizeof *cells);
    tada_plane_mark_sinks(k->plane, cells, n);
    tada_plane_mark_sinks(v->plane, cells, n);
}

static enum ggml_status flash_attention(tada_backend *b, struct ggml_tensor *op)
{
    cache_plane *k = tada_plane_of(op->src[1]), *v = tada_plane_of(op->src[2]);
    tada_attention a;
    if (!k || !v || !tada_attention_of(op, &a)) {
        return generic(b, op);
    }
    learn_head_dim(op);
    a.k = k->plane;
    a.v = v->plane;
    tada_statistics_add(k, v, &a);
    tada_error error;
    uint64_t since = tada_metrics_clock();
    if (tada_attention_run(&a, b->pool, b->n_threads, &error) != TADA_OK) {
        return failed(op->name, &error);
    }
    tada_metrics_attention(since);
    mark_sinks(&a, k, v);
    tada_backend_settle(k);
    tada_backend_settle(v);
    if (!b->told_scratch && tada_plugin_wants("TADA_LOG")) {
        b->told_scratch = true;
        tada_plugin_log_scratch();
    }
    return GGML_STATUS_SUCCESS;
}

static enum ggml_status shift(tada_backend *b, struct ggml_tensor *op)
{
    tada_error error;
    settle_others(b, -1);
    tada_backend_settle(tada_plane_of(op));
    return tada_shift_run(op, b->n_threads, &error) == TADA_OK ? GGML_STATUS_SUCCESS
                                                               : failed(op->name, &error);
}

static enum ggml_status backend_compute(ggml_backend_t backend, struct ggml_cgraph *graph)
{
    tada_backend *b = backend->context;
    enum ggml_status status = GGML_STATUS_SUCCESS;
    tada_planes_touch();
    if (tada_whole()) {
        tada_whole_prepare(graph);
    }
    for (int i = 0; i < ggml_graph_n_nodes(graph) && status == GGML_STATUS_SUCCESS; i++) {
        struct ggml_tensor *op = ggml_graph_node(graph, i);
        int n = tada_whole() ? tada_whole_run(graph, i) : 0;
        if (n > 0) {
            ggml_backend_t cpu = cpu_backend(b);
            status = cpu ? tada_whole_compute(cpu, graph, i, n) : GGML_STATUS_FAILED;
            i += n - 1;
            continue;
        }
        if (tada_is_view_op(op->op) || ggml_is_empty(op) || !(op->flags & GGML_TENSOR_FLAG_COMPUTE)) {
            continue;
        }
        if (tada_whole() && !tada_whole_allows(op)) {
            status = GGML_STATUS_FAILED;
        } else if (!tada_whole() && needs_flash(op)) {
            tada_plugin_log("flash attention is off, but the compressed cache needs it: run with -fa on");
            status = GGML_STATUS_FAILED;
        } else if (op->op == GGML_OP_SET_ROWS) {
            status = set_rows(b, op);
        } else if (op->op == GGML_OP_FLASH_ATTN_EXT) {
            status = flash_attention(b, op);
        } else if (tada_shift_fits(op)) {
            status = shift(b, op);
        } else {
            status = generic(b, op);
        }
    }
    return status;
}

/* ---- backend ---- */

static const char *backend_name(ggml_backend_t backend)
{
    (void)backend;
    return "TADA";
}

static void backend_free(ggml_backend_t backend)
{
    tada_backend *b = backend->context;
    settle_others(b, -1);
    if (b->cpu) {
        ggml_backend_free(b->cpu);
    }
    if (tada_plugin_wants("TADA_LOG") || tada_plugin_wants("TADA_DEBUG")) {
        tada_plugin_log_scratch();
    }
    tada_plugin_pool_free(b->pool);
    free(b);
    free(backend);
}

/* llama.cpp calls this before each graph, also when it keeps its cache elsewhere, which nothing else would
 * tell. */
void tada_backend_set_threads(ggml_backend_t backend, int n_threads)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;
    tada_whole_set_threads(n_threads > 0 ? n_threads : 1);
    if (!tada_whole() && !tada_has_planes() && !tada_plugin_spec()->by_program &&
        !atomic_flag_test_and_set(&told)) {
        tada_plugin_log(
            "no KV cache is compressed: llama.cpp keeps it elsewhere (-ngl 0, --no-kv-offload, another "
            "device), or has none of type f16");
    }
    ((tada_backend *)backend->context)->n_threads = n_threads > 0 ? n_threads : 1;
}

ggml_backend_t tada_backend_make(ggml_backend_dev_t device)
{
    static ggml_guid guid = {0x7a, 0xda, 0x25, 0x06, 0x04, 0x64, 0x2b, 0x1c,
                             0x8e, 0x51, 0x3f, 0xd0, 0x92, 0x6a, 0xc4, 0x17};
    ggml_backend_t backend = calloc(1, sizeof *backend);
    tada_backend *b = calloc(1, sizeof *b);
    tada_pool *pool = tada_plugin_pool_create();
    if (!backend || !b || !pool) {
        tada_plugin_log("out of memory: free some and try again");
        free(backend);
        free(b);
        if (pool) {
            tada_plugin_pool_free(pool);
        }
        return NULL;
    }
    b->n_threads = 1;
    b->pool = pool;
    backend->guid = &guid;
    backend->iface.get_name = backend_name;
    backend->iface.free = backend_free;
    backend->iface.graph_compute = backend_compute;
    backend->device = device;
    backend->context = b;
    return backend;
}
