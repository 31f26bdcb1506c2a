/* Shifts of positions: what they may do to rows. */
#ifndef TADA_FUZZ_CACHE_SHIFT_H
#define TADA_FUZZ_CACHE_SHIFT_H

#include "cache_model.h"

/* Shifts the plane, always by the same rope as far as the plane is concerned (factors of it are NULL, and it
 * neither scales nor stretches); the rows of the model become those of the plane, which must be near. */
void cache_model_shift(cache_model *m, const tada_rope *rope, const int32_t *deltas, int n_threads);

#endif
