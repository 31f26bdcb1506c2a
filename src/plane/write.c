/* Writing rows: tiles that are cold are opened. */
#include "plane.h"
#include "problem.h"
#include "sinks.h"
#include "spoilt.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

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
    if (!done) {
        tada_plane_release(p, tile);
    }
    tada_plane_recount(p, tile, before);
    free(scratch);
    return done;
}

enum tada_status tada_plane_write(tada_plane *p, tada_pool *pool, const void *rows, enum tada_type type,
                                  size_t stride, const int64_t *cells, int64_t n, tada_error *error)
{
    const tada_kernels *k = tada_kernels_get();
    int64_t total = p->shape.n_cells * p->shape.n_streams;
    const char *problem = tada_rows_problem(type, stride, n);
    if (problem) {
        return tada_fail(error, TADA_E_ARGUMENT, "%s", problem);
    }
    if (p->n_borrowed && p->pool != pool) {
        return tada_fail(error, TADA_E_ARGUMENT, "Settle the plane before it is written with another pool.");
    }
    for (int64_t i = 0; i < n; i++) {
        if (cells[i] < 0 || cells[i] >= total) {
            return tada_fail(error, TADA_E_ARGUMENT, "Cell %lld does not exist: the plane has %lld.",
                             (long long)cells[i], (long long)total);
        }
    }
    for (int64_t i = 0; i < n; i++) {
        /* All memory before the first change, so that a failure changes nothing. */
        if (!open_tile(p, pool, tada_tile_of(p, cells[i]))) {
            return tada_fail(error, TADA_E_MEMORY,
                             "Out of memory for the rows of a batch: use a smaller ubatch.");
        }
    }
    for (int64_t i = 0; i < n; i++) {
        tada_tile *tile = &p->tiles[tada_tile_of(p, cells[i])];
        int t = tada_cell_in_tile(p, cells[i]);
        tada_counted before = tada_tile_counted(p, tile);
        uint16_t *row = tile->hot + (size_t)t * (size_t)p->shape.width;
        const void *from = (const char *)rows + (size_t)i * stride;
        tada_sinks_unmark(p, tada_tile_of(p, cells[i]), t);
        if (type == TADA_F32) {
            k->half_from_float(from, row, p->shape.width);
        } else if (memcmp(row, from, (size_t)p->shape.width * 2) != 0) {
            memcpy(row, from, (size_t)p->shape.width * 2);
        } else if (tile->mask >> t & 1) {
            /* What was read before comes back: it is the row that codes give, if there are any. */
            tile->stamp = ++p->clock;
            continue;
        }
        tada_layers_forget(p, tada_tile_of(p, cells[i]), t);
        int peak = tada_row_peak(row, p->shape.width);
        tada_spoilt_note(p, peak);
        if (peak == 0) {
            memset(row, 0, (size_t)p->shape.width * 2);
            tile->mask &= ~((uint64_t)1 << t);
        } else {
            tile->mask |= (uint64_t)1 << t;
        }
        tada_plane_recount(p, tile, before);
        tile->stamp = ++p->clock;
    }
    return TADA_OK;
}
