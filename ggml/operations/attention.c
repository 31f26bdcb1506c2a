/* Translates the tensors and parameters of FLASH_ATTN_EXT into a tada_attention. */
#include "attention.h"

#include <string.h>

/* Where a tensor, a view [dim, cells, heads, streams], lies in its plane. */
typedef struct plane_view {
    int64_t stream, cell;
    int column, head_stride;
} plane_view;

static bool view_of(const struct ggml_tensor *t, plane_view *view)
{
    const struct ggml_tensor *root = cache_root(t);
    size_t row = (size_t)root->ne[0] * 2, offset = t->view_src ? t->view_offs : 0;
    if (t->type != GGML_TYPE_F16 || ggml_is_empty(t) || ggml_is_empty(root)) {
        return false;
    }
    view->stream = (int64_t)(offset / row) / root->ne[1];
    view->cell = (int64_t)(offset / row) % root->ne[1];
    view->column = (int)(offset % row / 2);
    view->head_stride = (int)(t->nb[2] / 2);
    return t->nb[0] == 2 && (t->ne[1] == 1 || t->nb[1] == row) && (t->ne[2] == 1 || t->nb[2] < row) &&
           (t->ne[3] == 1 || t->nb[3] == row * (size_t)root->ne[1]);
}

/* Whether the library can attend to q, K, V and mask, by their types and sizes. If so, fills in the views
 * of K and V. */
static bool attention_fits(const struct ggml_tensor *op, plane_view *kv, plane_view *vv)
{
    const struct ggml_tensor *q = op->src[0], *k = op->src[1], *v = op->src[2], *mask = op->src[3];
    return view_of(k, kv) && view_of(v, vv) && q->type == GGML_TYPE_F32 && q->nb[0] == 4 &&
           k->ne[2] == v->ne[2] && k->ne[1] == v->ne[1] && k->ne[3] == q->ne[3] && v->ne[3] == q->ne[3] &&
           kv->stream == vv->stream && kv->cell == vv->cell && cache_root(k)->ne[1] == cache_root(v)->ne[1] &&
           q->ne[2] % k->ne[2] == 0 && (!mask || mask->type == GGML_TYPE_F16);
}

static void describe_mask(const struct ggml_tensor *mask, tada_attention *a)
{
    a->mask = mask->data;
    a->mask_query = mask->nb[1];
    a->mask_head = mask->nb[2];
    a->mask_stream = mask->nb[3];
    a->mask_heads = (int)mask->ne[2];
    a->mask_streams = (int)mask->ne[3];
}

bool attention_describe(const struct ggml_tensor *op, tada_attention *a)
{
    const struct ggml_tensor *q = op->src[0], *k = op->src[1], *v = op->src[2], *sink_logits = op->src[4];
    plane_view kv, vv;
    if (!attention_fits(op, &kv, &vv)) {
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
        .sink_logits = sink_logits ? sink_logits->data : NULL,
        .out = op->data,
        .out_head = op->nb[1],
        .out_query = op->nb[2],
        .out_stream = op->nb[3],
    };
    if (a->n_heads_kv == 1) {
        a->k_head_stride = a->v_head_stride = 0;
    }
    if (op->src[3]) {
        describe_mask(op->src[3], a);
    }
    memcpy(&a->scale, (const char *)op->op_params, sizeof a->scale);
    memcpy(&a->max_bias, (const char *)op->op_params + 4, sizeof a->max_bias);
    memcpy(&a->softcap, (const char *)op->op_params + 8, sizeof a->softcap);
    return true;
}

bool attention_tell_head_dim(const struct ggml_tensor *op, cache_plane *k, cache_plane *v)
{
    (void)tada_plane_set_head_dim(k->plane, (int)op->src[1]->ne[0]);
    /* V as a view of K has the head size of K. */
    if (v != k) {
        (void)tada_plane_set_head_dim(v->plane, (int)op->src[2]->ne[0]);
    }
    return cache_read_ready(k) && cache_read_ready(v);
}
