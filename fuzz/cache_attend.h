/* Attention over two planes against sums in double over the rows that they hold. */
#ifndef TADA_FUZZ_CACHE_ATTEND_H
#define TADA_FUZZ_CACHE_ATTEND_H

#include "cache_model.h"

/* Shape, queries and masks come from the input. */
void cache_attend(fuzz_input *in, const cache_model *k, const cache_model *v, int head_dim);

#endif
