#include "young.h"

#include <stdlib.h>
#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

static size_t young_bytes(const tada_plane *p)
{
    return p->tile_values * 2 / TADA_POOL_PARTS;
}

uint64_t tada_young_cells(const tada_plane *p, int64_t tile)
{
    return p->young == tile ? ((uint64_t)1 << p->n_young) - 1 : 0;
}

/* Whether a tile can become young: it has no sinks of its place, and the stream's hot tiles are as many as
 * are its own, none of them borrowed. */
static bool can_begin(const tada_plane *p, int64_t tile)
{
    int64_t first = tile - tile % p->tiles_per_stream, n = 0;
    if (!p->compressed || tile == first || p->tiles[tile].hot || p->n_borrowed > 0) {
        return false;
    }
    for (int64_t i = first; i < first + p->tiles_per_stream; i++) {
        n += p->tiles[i].hot != NULL;
    }
    return n == p->n_own / p->shape.n_streams;
}

/* Whether the row for a cell is the next one of the young tile, or of one that can become young. */
static bool is_next(const tada_plane *p, int64_t cell)
{
    int64_t tile = tada_tile_of(p, cell);
    int t = tada_cell_in_tile(p, cell);
    return p->young < 0 ? t == 0 && can_begin(p, tile)
                        : tile == p->young && t == p->n_young && t < TADA_YOUNG_ROWS;
}

uint16_t *tada_young_append(tada_plane *p, tada_pool *pool, int64_t cell)
{
    if (!is_next(p, cell)) {
        return NULL;
    }
    if (p->young < 0) {
        p->young_rows = tada_pool_borrow_part(pool, young_bytes(p));
        if (!p->young_rows) {
            return NULL;
        }
        p->pool = pool;
        p->n_borrowed++;
        p->young = tada_tile_of(p, cell);
        p->n_young = 0;
    }
    return p->young_rows + (size_t)p->n_young++ * (size_t)p->shape.width;
}

void tada_young_drop(tada_plane *p)
{
    if (p->young >= 0) {
        tada_pool_return(p->pool, p->young_rows);
        p->n_borrowed--;
        p->young = -1;
        p->n_young = 0;
    }
}

bool tada_young_open(tada_plane *p)
{
    if (p->young < 0) {
        return true;
    }
    tada_tile *tile = &p->tiles[p->young];
    tada_counted before = tada_tile_counted(p, tile);
    bool coded = tile->codes.base >= 0;
    float *scratch = coded ? malloc(tada_plane_scratch(p) * sizeof *scratch) : NULL;
    uint16_t *hot = scratch || !coded ? tada_plane_acquire(p, p->pool, p->young) : NULL;
    if (hot) {
        tada_plane_decode(p, p->young, hot, scratch);
        tada_young_drop(p);
        tile->hot = hot;
        tada_plane_recount(p, tile, before);
        tada_count(&p->reopens, coded);
    }
    free(scratch);
    return hot != NULL;
}

int tada_plane_room(const tada_plane *p)
{
    return p->young < 0 ? 0 : TADA_YOUNG_ROWS - p->n_young;
}

bool tada_plane_follows(const tada_plane *p, int64_t cell)
{
    bool there = cell >= 0 && cell < p->shape.n_cells * p->shape.n_streams;
    return p->young < 0 || (there && is_next(p, cell));
}
