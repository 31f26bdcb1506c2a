/* K-shift: a ROPE in place on all of K. */
#ifndef SHIFT_H
#define SHIFT_H

#include "cache.h"

bool shift_fits(const struct ggml_tensor *op);
/* The plane must be settled. */
enum tada_status shift_run(const struct ggml_tensor *op, tada_error *error);

#endif
