/*
 * K-shift: llama.cpp moves the keys of a cache to new positions by a ROPE in place on a view of all of K. The
 * library does it: a tile keeps its codes and remembers by how much it has moved.
 */
#include "shift.h"

#include "base/threads.h"

#include <string.h>

static bool covers_rows(const struct ggml_tensor *t, const cache_plane *c)
{
    size_t row = cache_row_bytes(c), offset = t->view_src ? t->view_offs : 0;
    return t->type == GGML_TYPE_F16 && t->nb[0] == 2 && t->nb[2] == row &&
           t->nb[1] * (size_t)t->ne[1] == row && t->ne[2] == c->n_cells * c->n_streams && t->ne[3] == 1 &&
           offset + (size_t)t->ne[0] * 2 <= t->nb[1];
}

static float float_of(const struct ggml_tensor *op, int parameter)
{
    float value;
    memcpy(&value, op->op_params + parameter, sizeof value);
    return value;
}

static tada_rope rope_of(const struct ggml_tensor *op)
{
    const struct ggml_tensor *factors = op->src[2];
    return (tada_rope){.column = (int)(op->view_offs / 2) + op->op_params[15],
                       .n_dims = op->op_params[1],
                       .n_heads = (int)op->ne[1],
                       .head_stride = (int)(op->nb[1] / 2),
                       .pairs =
                           op->op_params[2] == GGML_ROPE_TYPE_NEOX ? TADA_ROPE_HALVES : TADA_ROPE_NEIGHBOURS,
                       .n_ctx_orig = op->op_params[4],
                       .freq_base = float_of(op, 5),
                       .freq_scale = float_of(op, 6),
                       .ext_factor = float_of(op, 7),
                       .attn_factor = float_of(op, 8),
                       .beta_fast = float_of(op, 9),
                       .beta_slow = float_of(op, 10),
                       .factors = factors ? factors->data : NULL};
}

bool shift_fits(const struct ggml_tensor *op)
{
    const struct ggml_tensor *k = op->src[0], *positions = op->src[1];
    cache_plane *c = op->op == GGML_OP_ROPE ? cache_plane_of(op) : NULL;
    return c && cache_plane_of(k) == c && covers_rows(op, c) && covers_rows(k, c) &&
           op->view_offs == k->view_offs && op->ne[0] == k->ne[0] && op->nb[1] == k->nb[1] &&
           positions->type == GGML_TYPE_I32 && positions->nb[0] == 4 && positions->ne[0] == op->ne[2] &&
           op->op_params[1] <= TADA_ROPE_DIMS &&
           (op->op_params[2] == GGML_ROPE_TYPE_NORMAL || op->op_params[2] == GGML_ROPE_TYPE_NEOX);
}

enum tada_status shift_run(const struct ggml_tensor *op, tada_error *error)
{
    tada_rope rope = rope_of(op);
    tada_threads threads = threads_lend();
    return tada_plane_shift(cache_plane_of(op)->plane, &rope, op->src[1]->data, &threads, error);
}
