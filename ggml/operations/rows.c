/* SET_ROWS becomes tada_plane_write, 1024 rows at a time. */
#include "rows.h"

bool rows_fit(const struct ggml_tensor *op, const cache_plane *c)
{
    const struct ggml_tensor *rows = op->src[0];
    return rows->ne[0] == c->width && rows->ne[2] == 1 && rows->ne[3] == 1 &&
           (rows->type == GGML_TYPE_F32 || rows->type == GGML_TYPE_F16) &&
           rows->nb[0] == ggml_type_size(rows->type) && cache_plane_offset(c, op) % cache_row_bytes(c) == 0 &&
           op->nb[1] == cache_row_bytes(c);
}

enum tada_status rows_write(const struct ggml_tensor *op, cache_plane *c, tada_error *error)
{
    enum { CHUNK = 1024 };
    const struct ggml_tensor *rows = op->src[0], *index = op->src[1];
    int64_t cells[CHUNK], first = (int64_t)(cache_plane_offset(c, op) / cache_row_bytes(c));
    for (int64_t i = 0; i < rows->ne[1]; i += CHUNK) {
        int64_t n = rows->ne[1] - i < CHUNK ? rows->ne[1] - i : CHUNK;
        for (int64_t j = 0; j < n; j++) {
            const char *at = (const char *)index->data + (size_t)(i + j) * index->nb[0];
            cells[j] = first + (index->type == GGML_TYPE_I64 ? *(const int64_t *)(const void *)at
                                                             : *(const int32_t *)(const void *)at);
        }
        enum tada_status status =
            tada_plane_write(c->plane, c->buffer->pool, (const char *)rows->data + (size_t)i * rows->nb[1],
                             rows->type == GGML_TYPE_F32 ? TADA_F32 : TADA_F16, rows->nb[1], cells, n, error);
        if (status != TADA_OK) {
            return status;
        }
        lost_remove(&c->lost, cells, n);
    }
    metrics_tokens(&c->counted, rows->ne[1]);
    cache_warn_nonfinite(c);
    return TADA_OK;
}
