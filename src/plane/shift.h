/* What tiles remember of shifts. */
#ifndef TADA_PLANE_SHIFT_H
#define TADA_PLANE_SHIFT_H

#include "plane.h"

/* Distances up to which a float tells all of them apart. */
enum { TADA_SHIFT_FARTHEST = 1 << 24 };

/* Whether tiles of the plane can remember shifts by this rope: it turns each coding head in the same place,
 * or not at all, and stretches none. */
bool tada_shift_fits(const tada_plane *plane, const tada_rope *rope);

/* Turns decoded rows [64][width] of some cells of a tile. rope: not read where the distance is 0. */
void tada_shift_turn(const tada_rope *rope, uint64_t cells, int32_t distance, int width, uint16_t *rows);

#endif
