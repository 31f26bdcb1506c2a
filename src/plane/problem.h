/* What is wrong with a plane, or with rows, that a caller describes. */
#ifndef TADA_PLANE_PROBLEM_H
#define TADA_PLANE_PROBLEM_H

#include "tada.h"

/* Whether a plane of this spec and shape can be, as far as numbers go: no size of it overflows. */
bool tada_plane_is_sound(const tada_spec *spec, const tada_shape *shape);

/* Of n rows, `stride` bytes apart: a sentence, or NULL. */
const char *tada_rows_problem(enum tada_type type, size_t stride, int64_t n);

#endif
