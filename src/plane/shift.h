/* What tiles remember of shifts. */
#ifndef TADA_PLANE_SHIFT_H
#define TADA_PLANE_SHIFT_H

#include "plane.h"

/* The largest distance that a tile remembers: up to here a float tells all whole numbers apart. */
enum { TADA_SHIFT_FARTHEST = 1 << 24 };

/* Whether tiles of the plane can remember shifts by this rope: it turns each coding head in the same place,
 * or not at all, and stretches none. */
bool tada_shift_fits(const tada_plane *plane, const tada_rope *rope);

/* Turns the rows of some cells of a decoded tile [64][width] by a distance. rope: not read where that is
 * 0. */
void tada_shift_turn(const tada_rope *rope, uint64_t cells, int32_t distance, int width, uint16_t *rows);

#endif
