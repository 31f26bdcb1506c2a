/* K-shift: a ROPE in place on all of K. */
#ifndef PLUGIN_OPERATIONS_SHIFT_H
#define PLUGIN_OPERATIONS_SHIFT_H

#include "cache/cache.h"

/* Whether the operation is a K-shift that tada_plane_shift can do. */
bool shift_fits(const struct ggml_tensor *op);
/* Does it. The plane must be settled. */
enum tada_status shift_run(const struct ggml_tensor *op, tada_error *error);

#endif
