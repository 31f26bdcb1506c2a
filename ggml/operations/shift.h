/* K-shift: a ROPE in place on all of K. */
#ifndef PLUGIN_OPERATIONS_SHIFT_H
#define PLUGIN_OPERATIONS_SHIFT_H

#include "cache/cache.h"

bool shift_fits(const struct ggml_tensor *op);
/* The plane must be settled. */
enum tada_status shift_run(const struct ggml_tensor *op, tada_error *error);

#endif
