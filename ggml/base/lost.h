/*
 * Cells whose rows are lost: memory was short while they were restored or copied, which the host cannot be
 * told, as these calls return nothing. A graph that attends to such a cell fails instead, until the cell is
 * written again.
 */
#ifndef PLUGIN_BASE_LOST_H
#define PLUGIN_BASE_LOST_H

#include "tada.h"

#include <stdatomic.h>

typedef struct lost_cells {
    atomic_bool any;
    uint64_t *bits; /* a bit for each cell; address space alone as long as none is lost */
    size_t bytes;
} lost_cells;

/* False: memory is short. */
bool lost_make(lost_cells *lost, int64_t n_cells);
void lost_free(lost_cells *lost);
void lost_add(lost_cells *lost, int64_t first, int64_t n);
/* They have been written. */
void lost_remove(lost_cells *lost, const int64_t *cells, int64_t n);
void lost_clear(lost_cells *lost);
/* Cells [to, to + n) are now what [from, from + n) are. */
void lost_copy(lost_cells *lost, int64_t from, int64_t to, int64_t n);
/* A query attends to one of them, in a plane of streams of so many cells. The mask must have been computed.
 */
bool lost_attended(const lost_cells *lost, const tada_attention *attention, int64_t stream_cells);

#endif
