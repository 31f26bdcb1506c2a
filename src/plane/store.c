/* Where rows in f16 are: in tiles of the plane's own, or in borrowed ones. */
#include "plane.h"

#include <string.h>

static uint16_t *own_rows(const tada_plane *p, int64_t i)
{
    return p->own + (size_t)i * p->tile_values;
}

static bool is_own(const tada_plane *p, const uint16_t *hot)
{
    return hot >= p->own && hot < p->own + (size_t)p->n_own * p->tile_values;
}

void tada_plane_release(tada_plane *p, tada_tile *tile)
{
    if (!tile->hot) {
        return;
    }
    if (is_own(p, tile->hot)) {
        p->used[(size_t)(tile->hot - p->own) / p->tile_values] = 0;
    } else {
        tada_pool_return(p->pool, tile->hot);
        p->n_borrowed--;
    }
    tile->hot = NULL;
}

/* The own hot tile that a tile may use, or -1. */
static int64_t free_own(const tada_plane *p, int64_t tile)
{
    if (!p->compressed) {
        return tile;
    }
    for (int64_t i = 0; i < p->n_own; i++) {
        if (!p->used[i]) {
            return i;
        }
    }
    return -1;
}

uint16_t *tada_plane_acquire(tada_plane *p, tada_pool *pool, int64_t tile)
{
    int64_t own = free_own(p, tile);
    if (own >= 0) {
        p->used[own] = 1;
        return own_rows(p, own);
    }
    uint16_t *hot = tada_pool_borrow(pool, p->tile_values * 2);
    if (hot) {
        p->pool = pool;
        p->n_borrowed++;
    }
    return hot;
}

void tada_plane_own(tada_plane *p, int64_t index)
{
    tada_tile *tile = &p->tiles[index];
    if (is_own(p, tile->hot)) {
        return;
    }
    int64_t own = free_own(p, index);
    memcpy(own_rows(p, own), tile->hot, p->tile_values * 2);
    tada_plane_release(p, tile);
    p->used[own] = 1;
    tile->hot = own_rows(p, own);
}
