/* Checks of what a client of an RPC server asks for, before it is done. The client chooses the sizes, strides
 * and addresses of its tensors. */
#include "remote.h"

#include "base/log.h"

bool remote_is_on(void)
{
    return log_wants("TADA_RPC");
}

static bool is_dense(const struct ggml_tensor *tensor)
{
    return tensor->nb[0] == ggml_type_size(tensor->type);
}

static bool rows_are_sound(const struct ggml_tensor *op)
{
    const struct ggml_tensor *rows = op->src[0], *index = op->src[1];
    return rows && index && (rows->type == GGML_TYPE_F32 || rows->type == GGML_TYPE_F16) && is_dense(rows) &&
           (index->type == GGML_TYPE_I64 || index->type == GGML_TYPE_I32) && index->ne[0] >= rows->ne[1] &&
           rows->data && index->data;
}

static bool attention_is_sound(const struct ggml_tensor *op)
{
    const struct ggml_tensor *q = op->src[0], *k = op->src[1], *v = op->src[2], *mask = op->src[3],
                             *sink_logits = op->src[4];
    return q && k && v && q->data && k->data && v->data && op->data && q->ne[0] == k->ne[0] &&
           k->ne[1] == v->ne[1] && k->ne[2] > 0 && v->ne[2] > 0 && op->type == GGML_TYPE_F32 &&
           is_dense(op) && op->ne[0] == v->ne[0] && op->ne[1] == q->ne[2] && op->ne[2] == q->ne[1] &&
           op->ne[3] == q->ne[3] &&
           (!mask || (mask->data && is_dense(mask) && mask->ne[0] >= k->ne[1] && mask->ne[1] >= q->ne[1])) &&
           (!sink_logits || (sink_logits->data && sink_logits->type == GGML_TYPE_F32 &&
                             is_dense(sink_logits) && sink_logits->ne[0] >= q->ne[2]));
}

/* A view of the tensor that the plane stands for, as it says, or that tensor. */
static bool is_sound(const struct ggml_tensor *tensor)
{
    const cache_plane *c = cache_plane_of(tensor);
    const struct ggml_tensor *root = cache_root(tensor);
    return !c ||
           (root->data == c->base && root->type == GGML_TYPE_F16 && ggml_is_contiguous(root) &&
            root->ne[0] == c->width && root->ne[1] == c->n_cells && root->ne[2] == c->n_streams &&
            root->ne[3] == 1 && cache_plane_offset(c, tensor) == (tensor->view_src ? tensor->view_offs : 0) &&
            cache_plane_offset(c, tensor) + ggml_nbytes(tensor) <= c->bytes_f16);
}

bool remote_allows(const struct ggml_tensor *op)
{
    bool sound = is_sound(op);
    for (int i = 0; i < GGML_MAX_SRC && sound; i++) {
        sound = !op->src[i] || is_sound(op->src[i]);
    }
    sound = sound && (op->op != GGML_OP_SET_ROWS || rows_are_sound(op)) &&
            (op->op != GGML_OP_FLASH_ATTN_EXT || attention_is_sound(op));
    if (!sound) {
        log_line(GGML_LOG_LEVEL_ERROR,
                 "%s on %s reaches beyond its tensors: the client is not a llama.cpp of this version",
                 ggml_op_name(op->op), op->name);
    }
    return sound;
}
