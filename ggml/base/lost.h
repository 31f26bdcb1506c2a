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
    atomic_bool any; /* false: no cell is lost, and `bits` need not be looked at */
    uint64_t *bits;  /* one bit for each cell; untouched address space while no cell is lost */
    size_t bytes;    /* of `bits` */
} lost_cells;

/* Makes the set for cells 0 to n_cells - 1, none of them lost. lost_free frees it. False: memory is short. */
bool lost_make(lost_cells *lost, int64_t n_cells);
void lost_free(lost_cells *lost);
/* Marks cells [first, first + n) as lost. */
void lost_add(lost_cells *lost, int64_t first, int64_t n);
/* The n cells have been written: they are not lost any more. */
void lost_remove(lost_cells *lost, const int64_t *cells, int64_t n);
/* No cell is lost any more. */
void lost_clear(lost_cells *lost);
/* Cells [to, to + n) become what cells [from, from + n) are: lost or not. */
void lost_copy(lost_cells *lost, int64_t from, int64_t to, int64_t n);
/* Whether a query attends to a lost cell. stream_cells: cells of each stream of the plane. The mask must have
 * been computed. */
bool lost_attended(const lost_cells *lost, const tada_attention *attention, int64_t stream_cells);

#endif
