/* What is wrong with an attention that a caller describes. */
#ifndef TADA_ATTENTION_PROBLEM_H
#define TADA_ATTENTION_PROBLEM_H

#include "tada.h"

/* A sentence, or NULL. Sizes: no pointer is looked at but those of the planes, and no stride of bytes. */
const char *tada_attention_sizes_problem(const tada_attention *attention);
const char *tada_attention_problem(const tada_attention *attention);

#endif
