/* SET_ROWS: the rows of a batch are written to a plane. */
#ifndef PLUGIN_OPERATIONS_ROWS_H
#define PLUGIN_OPERATIONS_ROWS_H

#include "cache/cache.h"

/* Whether the operation writes complete rows of the plane. False: only generic.c can do it. */
bool rows_fit(const struct ggml_tensor *op, const cache_plane *cache);
/* Writes the rows; index tensors of I32 and I64 name their cells. On an error some rows may be written. */
enum tada_status rows_write(const struct ggml_tensor *op, cache_plane *cache, tada_error *error);

#endif
