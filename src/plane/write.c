/* Writing rows: tiles that are cold are opened. */
#include "plane.h"
#include "problem.h"
#include "sinks.h"
#include "spoilt.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

void tada_tile_drop_zeros(tada_plane *p, int64_t index)
{
    tada_tile *tile = &p->tiles[index];
    for (uint64_t left = tile->mask; left; left &= left - 1) {
        int cell = __builtin_ctzll(left);
        uint16_t *row = tile->hot + (size_t)cell * (size_t)p->shape.width;
        if (tada_row_peak(row, p->shape.width) == 0) {
            memset(row, 0, (size_t)p->shape.width * sizeof *row);
            tile->mask &= ~((uint64_t)1 << cell);
            tada_layers_forget(p, index, cell);
        }
    }
}

/* Makes a tile hot, decoding it when it was cold. */
static bool open_tile(tada_plane *p, tada_pool *pool, int64_t index)
{
    tada_tile *tile = &p->tiles[index];
    if (tile->hot) {
        return true;
    }
    tada_counted before = tada_tile_counted(p, tile);
    uint16_t *hot = tada_plane_acquire(p, pool, index);
    float *scratch = tile->mask ? malloc(tada_plane_scratch(p) * sizeof *scratch) : NULL;
    if (hot && tile->mask && scratch) {
        tada_plane_decode(p, index, hot, scratch);
        tada_count(&p->reopens, 1);
    } else if (hot && !tile->mask) {
        memset(hot, 0, p->tile_values * 2);
    }
    bool done = hot && (scratch || !tile->mask);
    tile->hot = hot;
    p->opened = p->opened || p->compressed;
    if (done) {
        tada_tile_drop_zeros(p, index);
    } else {
        tada_plane_release(p, tile);
    }
    tada_plane_recount(p, tile, before);
    free(scratch);
    return done;
}

/* Puts a row into a hot tile. */
static void put_row(tada_plane *p, int64_t cell, const void *from, enum tada_type type)
{
    const tada_kernels *k = tada_kernels_get();
    int64_t index = tada_tile_of(p, cell);
    tada_tile *tile = &p->tiles[index];
    int t = tada_cell_in_tile(p, cell), width = p->shape.width;
    size_t bytes = (size_t)width * sizeof(uint16_t);
    tada_counted before = tada_tile_counted(p, tile);
    uint16_t *row = tile->hot + (size_t)t * (size_t)width;
    tile->stamp = ++p->clock;
    tada_tile_see(p, index, true);
    tada_sinks_unmark(p, index, t);
    if (type == TADA_F32) {
        k->half_from_float(from, row, width);
    } else if (memcmp(row, from, bytes) != 0) {
        memcpy(row, from, bytes);
    } else if (tile->mask >> t & 1) {
        /* A row comes back as it was read. If codes give it, they still do. */
        return;
    }
    tada_layers_forget(p, index, t);
    int peak = tada_row_peak(row, width);
    tada_spoilt_note(p, peak);
    if (peak == 0) {
        /* Also -0 becomes 0: a row of zeros is a cell that is not written. */
        memset(row, 0, bytes);
        tile->mask &= ~((uint64_t)1 << t);
    } else {
        tile->mask |= (uint64_t)1 << t;
    }
    tada_plane_recount(p, tile, before);
}

enum tada_status tada_plane_write(tada_plane *p, tada_pool *pool, const void *rows, enum tada_type type,
                                  size_t stride, const int64_t *cells, int64_t n, tada_error *error)
{
    const char *problem = tada_rows_problem(type, stride, n);
    if (problem) {
        return tada_fail(error, TADA_E_ARGUMENT, "%s", problem);
    }
    if (p->n_borrowed && p->pool != pool) {
        return tada_fail(error, TADA_E_ARGUMENT, "Settle the plane before it is written with another pool.");
    }
    enum tada_status status = tada_cells_check(p, cells, n, error);
    if (status != TADA_OK) {
        return status;
    }
    /* All memory before the first change, so that a failure changes nothing. */
    for (int64_t i = 0; i < n; i++) {
        if (!open_tile(p, pool, tada_tile_of(p, cells[i]))) {
            return tada_fail(error, TADA_E_MEMORY,
                             "Out of memory for the rows of a batch: use a smaller ubatch.");
        }
    }
    for (int64_t i = 0; i < n; i++) {
        put_row(p, cells[i], (const char *)rows + (size_t)i * stride, type);
    }
    return TADA_OK;
}
