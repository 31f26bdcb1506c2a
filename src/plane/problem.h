/* What is wrong with a plane, or with rows, that a caller describes. */
#ifndef TADA_PLANE_PROBLEM_H
#define TADA_PLANE_PROBLEM_H

#include "plane.h"

/* NULL: a plane of this spec and shape can be, as far as numbers go, and no size of it overflows. Else why
 * not, as the end of a sentence. */
const char *tada_plane_problem(const tada_spec *spec, const tada_shape *shape);

/* Whether all n cells of a list exist, and n is 0 or more. */
enum tada_status tada_cells_check(const tada_plane *plane, const int64_t *cells, int64_t n,
                                  tada_error *error);

/* Of n rows, `stride` bytes apart: a sentence, or NULL. */
const char *tada_rows_problem(enum tada_type type, size_t stride, int64_t n);

#endif
