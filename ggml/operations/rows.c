/* SET_ROWS becomes tada_plane_write, 1024 rows at a time. */
#include "rows.h"

enum { CHUNK = 1024 };

bool rows_fit(const struct ggml_tensor *op, const cache_plane *c)
{
    const struct ggml_tensor *rows = op->src[0];
    return rows->ne[0] == c->width && rows->ne[2] == 1 && rows->ne[3] == 1 &&
           (rows->type == GGML_TYPE_F32 || rows->type == GGML_TYPE_F16) &&
           rows->nb[0] == ggml_type_size(rows->type) && cache_plane_offset(c, op) % cache_row_bytes(c) == 0 &&
           op->nb[1] == cache_row_bytes(c);
}

/* The cells of rows i, i + 1, ..., CHUNK at most. Returns how many there are. */
static int64_t cells_of(const struct ggml_tensor *op, const cache_plane *c, int64_t i, int64_t *cells)
{
    const struct ggml_tensor *rows = op->src[0], *index = op->src[1];
    int64_t n = rows->ne[1] - i < CHUNK ? rows->ne[1] - i : CHUNK;
    int64_t first = (int64_t)(cache_plane_offset(c, op) / cache_row_bytes(c));
    for (int64_t j = 0; j < n; j++) {
        const char *at = (const char *)index->data + (size_t)(i + j) * index->nb[0];
        cells[j] = first + (index->type == GGML_TYPE_I64 ? *(const int64_t *)(const void *)at
                                                         : *(const int32_t *)(const void *)at);
    }
    return n;
}

bool rows_follow(const struct ggml_tensor *op, const cache_plane *c)
{
    int64_t cells[CHUNK];
    /* A graph that computes the cells itself has not done so yet. */
    return op->src[0]->ne[1] == 1 && op->src[1]->op == GGML_OP_NONE && cells_of(op, c, 0, cells) == 1 &&
           tada_plane_follows(c->plane, cells[0]);
}

enum tada_status rows_write(const struct ggml_tensor *op, cache_plane *c, tada_error *error)
{
    const struct ggml_tensor *rows = op->src[0];
    enum tada_type type = rows->type == GGML_TYPE_F32 ? TADA_F32 : TADA_F16;
    int64_t cells[CHUNK];
    for (int64_t i = 0; i < rows->ne[1]; i += CHUNK) {
        int64_t n = cells_of(op, c, i, cells);
        const char *from = (const char *)rows->data + (size_t)i * rows->nb[1];
        enum tada_status status =
            rows->ne[1] == 1
                ? tada_plane_append(c->plane, c->buffer->pool, from, type, cells[0], error)
                : tada_plane_write(c->plane, c->buffer->pool, from, type, rows->nb[1], cells, n, error);
        if (status != TADA_OK) {
            return status;
        }
        lost_remove(&c->lost, cells, n);
    }
    metrics_tokens(&c->counted, rows->ne[1]);
    cache_warn_nonfinite(c);
    return TADA_OK;
}
