/* Copies of streams. */
#include "plane.h"
#include "common/lent.h"
#include "problem.h"
#include "sinks.h"
#include "spoilt.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

/* Empties a stream, so that what is copied to it finds slots, and memory for hot tiles. */
static void empty_stream(tada_plane *p, int64_t stream)
{
    for (int64_t i = stream * p->tiles_per_stream; i < (stream + 1) * p->tiles_per_stream; i++) {
        tada_tile *tile = &p->tiles[i];
        tada_counted before = tada_tile_counted(p, tile);
        tada_plane_release(p, tile);
        tada_layers_drop(p, i);
        tile->mask = 0;
        tada_sinks_reset(p, i);
        tada_plane_recount(p, tile, before);
    }
}

/* To a tile without rows. False: memory is short, and there still are none. */
static bool copy_tile(tada_plane *p, tada_pool *pool, int64_t from, int64_t to)
{
    const tada_tile *source = &p->tiles[from];
    tada_tile *target = &p->tiles[to];
    if (!source->mask) {
        return true;
    }
    target->mask = source->mask;
    target->hot = source->hot ? tada_plane_acquire(p, pool, to) : NULL;
    if (!tada_sinks_copy(p, from, to) || (source->hot && !target->hot)) {
        tada_plane_release(p, target);
        target->mask = 0;
        return false;
    }
    if (source->hot) {
        memcpy(target->hot, source->hot, p->tile_values * 2);
    }
    for (const tada_layer *l = &source->codes; l && l->base >= 0; l = tada_layer_next(p, l)) {
        tada_layers_copy(p, l, to);
    }
    target->stamp = source->stamp;
    tada_tile_see(p, to, !tada_tile_unseen(p, from));
    tada_plane_recount(p, target, (tada_counted){0, TADA_EMPTY, false, false});
    return true;
}

enum tada_status tada_plane_copy_stream(tada_plane *p, tada_pool *pool, int64_t from, int64_t to,
                                        const tada_threads *threads, tada_error *error)
{
    if (from < 0 || from >= p->shape.n_streams || to < 0 || to >= p->shape.n_streams) {
        return tada_fail(error, TADA_E_ARGUMENT, "A stream to copy does not exist: the plane has %lld.",
                         (long long)p->shape.n_streams);
    }
    enum tada_status status = tada_lent_check(threads, error);
    if (status != TADA_OK) {
        return status;
    }
    status = tada_plane_settle(p, threads, error);
    if (from == to) {
        return status;
    }
    empty_stream(p, to);
    for (int64_t i = 0; i < p->tiles_per_stream && status == TADA_OK; i++) {
        if (!copy_tile(p, pool, from * p->tiles_per_stream + i, to * p->tiles_per_stream + i)) {
            status = tada_fail(error, TADA_E_MEMORY,
                               "Out of memory while a sequence was copied: free some and try again.");
        }
    }
    status = status == TADA_OK ? tada_plane_settle(p, threads, error) : status;
    if (status != TADA_OK) {
        /* Half a sequence is worse than none. */
        empty_stream(p, to);
    }
    return status;
}
