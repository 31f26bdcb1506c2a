/* SET_ROWS: rows of a batch are written to a plane. */
#ifndef PLUGIN_OPERATIONS_ROWS_H
#define PLUGIN_OPERATIONS_ROWS_H

#include "cache/cache.h"

/* Whole rows of the plane, one after the other; else the generic way has to do it. */
bool rows_fit(const struct ggml_tensor *op, const cache_plane *cache);
enum tada_status rows_write(const struct ggml_tensor *op, cache_plane *cache, tada_error *error);

#endif
