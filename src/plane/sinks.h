/* Sinks: cells that stay exact while their tile is cold, because most later tokens attend to them. The first
 * ones of each stream always are; others are marked when a sequence begins there. */
#ifndef TADA_PLANE_SINKS_H
#define TADA_PLANE_SINKS_H

#include "plane.h"

/* A run of sinks of one tile: cells [first, first + n) and their f16 rows [n][width]. */
typedef struct tada_sinks {
    int first, n;
    uint16_t *rows;
} tada_sinks;

/* The run of written sinks that begins at cell `from` or later in a cold tile; n = 0: there is none. */
tada_sinks tada_sinks_next(const tada_plane *plane, int64_t tile, int from);

/* The cells that are sinks by their place. */
uint64_t tada_sinks_placed(const tada_plane *plane, int64_t tile);

/* Keeps the rows of a hot tile's sinks, before it becomes cold. */
void tada_sinks_keep(tada_plane *plane, int64_t tile);
/* Puts them back into rows [64][width]. */
void tada_sinks_restore(const tada_plane *plane, int64_t tile, uint16_t *rows);
/* Gives tile `to`, a copy of `from` in all else, the same sinks. False: memory is short. */
bool tada_sinks_copy(tada_plane *plane, int64_t from, int64_t to);

/* Makes cells of a tile without codes or rows its sinks, beside those of its place. False: memory is short,
 * or marks would take too much; nothing has changed. */
bool tada_sinks_set(tada_plane *plane, int64_t tile, uint64_t cells);

/* The tile's sinks are those of its place in the stream again. */
void tada_sinks_reset(tada_plane *plane, int64_t tile);
/* A cell gets another row: it is a sink no longer, unless by its place. */
void tada_sinks_unmark(tada_plane *plane, int64_t tile, int cell);
/* Frees what marks have taken. */
void tada_sinks_free(tada_plane *plane);

#endif
