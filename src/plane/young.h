/* The young tile of a plane: one whose first rows have been appended while all hot tiles of its stream are in
 * use. These rows lie in memory for TADA_YOUNG_ROWS of them, beside the codes of the tile's other cells if it
 * has any, as sinks do; everything but tada_plane_append opens it first, or reads it as a cold tile. */
#ifndef TADA_PLANE_YOUNG_H
#define TADA_PLANE_YOUNG_H

#include "plane.h"

/* The memory of a row that can be appended at a cell, in a tile that has become young for it if there was
 * none. NULL: it cannot be, or memory is short. */
uint16_t *tada_young_append(tada_plane *plane, tada_pool *pool, int64_t cell);
/* The cells of a tile whose rows have been appended. */
uint64_t tada_young_cells(const tada_plane *plane, int64_t tile);
/* Makes the young tile, if there is one, a hot tile. False: memory is short, and nothing has changed. */
bool tada_young_open(tada_plane *plane);
/* Gives its memory back; nothing is read of it any more. */
void tada_young_drop(tada_plane *plane);

#endif
