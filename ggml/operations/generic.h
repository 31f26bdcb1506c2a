/*
 * Operations that the library does not have are computed by the host on decoded rows: always right, never
 * fast. An operation that only reads a plane stays part of the list (graph/list.c): its sources are replaced
 * by shadows, tensors on decoded rows. An operation that writes a plane is computed by itself, and the rows
 * that it changed are written to the plane.
 */
#ifndef PLUGIN_OPERATIONS_GENERIC_H
#define PLUGIN_OPERATIONS_GENERIC_H

#include "cache/cache.h"

/* Decoded rows of a plane. */
typedef struct decoded {
    cache_plane *cache;
    int64_t first, end; /* cells [first, end) */
    char *rows;         /* their f16 rows; whoever made them owns them */
} decoded;

/* Widens [first, end) to the cells that a tensor of the plane covers. */
void generic_cover(decoded *decoded, const struct ggml_tensor *tensor);
/* Bytes that the rows need. */
size_t generic_bytes(const decoded *decoded);
/* Makes *shadow a tensor like `tensor` that is no node. decoded: the rows of its plane, on which the shadow
 * lies; NULL: the tensor has no plane, and the shadow has its memory. */
void generic_shadow(struct ggml_tensor *shadow, const struct ggml_tensor *tensor, const decoded *decoded);
/* Logs, once for each kind of operation, that it is slow. */
void generic_tell(const struct ggml_tensor *op);

/* Computes an operation by itself, on n_threads threads. */
enum ggml_status generic_compute(struct ggml_tensor *op, int n_threads);

#endif
