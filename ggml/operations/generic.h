/*
 * Operations that we have no way of our own for, on decoded rows: always right, never fast. Whatever only
 * reads a plane is part of the graph (graph.c): its sources become shadows on decoded rows. What writes to
 * one is computed by itself, and rows that it changed are encoded again.
 */
#ifndef PLUGIN_OPERATIONS_GENERIC_H
#define PLUGIN_OPERATIONS_GENERIC_H

#include "cache/cache.h"

/* The cells of a plane that some view of it covers, as f16 rows. */
typedef struct decoded {
    cache_plane *cache;
    int64_t first, end;
    char *rows;
} decoded;

/* Adds the cells that a tensor of the plane covers. */
void generic_cover(decoded *decoded, const struct ggml_tensor *tensor);
/* Bytes of these rows. */
size_t generic_bytes(const decoded *decoded);
/* The tensor as one on host memory, which is no node. decoded: where the rows of its plane are; NULL: it has
 * none. */
void generic_shadow(struct ggml_tensor *shadow, const struct ggml_tensor *tensor, const decoded *decoded);
/* Says, once for each kind, that it is slow. */
void generic_tell(const struct ggml_tensor *op);

/* Computes an operation by itself, with n_threads. */
enum ggml_status generic_compute(struct ggml_tensor *op, int n_threads);

#endif
