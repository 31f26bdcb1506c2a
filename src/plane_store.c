/* Where the tiles of a plane are: own or borrowed rows in f16, and places for codes. */
#include "plane.h"

uint16_t *tada_plane_slot(const tada_plane *p, int64_t slot)
{
    return p->slots + (size_t)slot * p->slot_values;
}

bool tada_plane_is_slot(const tada_plane *p, const uint16_t *hot)
{
    return hot >= p->slots && hot < p->slots + (size_t)p->n_slots * p->slot_values;
}

void tada_plane_release(tada_plane *p, tada_tile *tile)
{
    if (!tile->hot) {
        return;
    }
    if (tada_plane_is_slot(p, tile->hot)) {
        p->used[(size_t)(tile->hot - p->slots) / p->slot_values] = 0;
    } else {
        tada_pool_return(p->pool, tile->hot);
        p->n_borrowed--;
    }
    tile->hot = NULL;
}

int64_t tada_plane_free_slot(const tada_plane *p, int64_t tile)
{
    if (!p->compressed) {
        return tile;
    }
    for (int64_t s = 0; s < p->n_slots; s++) {
        if (!p->used[s]) {
            return s;
        }
    }
    return -1;
}

uint16_t *tada_plane_acquire(tada_plane *p, tada_pool *pool, int64_t tile)
{
    int64_t slot = tada_plane_free_slot(p, tile);
    if (slot >= 0) {
        p->used[slot] = 1;
        return tada_plane_slot(p, slot);
    }
    uint16_t *hot = tada_pool_borrow(pool, p->slot_values * 2);
    if (hot) {
        p->pool = pool;
        p->n_borrowed++;
    }
    return hot;
}

/*
 * There is always a free one for a tile that is to become cold. A stream has as many places as tiles less its
 * share of own hot tiles, and tiles become cold in two ways only:
 * - Settling a stream that has more hot tiles with rows than its share: exactly the share stays hot, so that
 *   no more than the other tiles can be cold.
 * - A copy of a stream, which was settled, to one that was emptied: as many are cold as there.
 * Everything else (opening a tile to write it, rows that become zeros, clearing) only returns places; a tile
 * that was opened and then not written is hot and takes part when the plane settles. Editing a cold tile
 * leaves it in its place.
 *
 * A tile takes the place of its own number, if it can: attention is fastest when tiles that follow each other
 * in a context do so in memory.
 */
void tada_plane_take_place(tada_plane *p, int64_t index)
{
    int64_t first = index / p->tiles_per_stream * p->places_per_stream;
    int64_t place = index % p->tiles_per_stream;
    if (place >= p->places_per_stream || p->taken[first + place]) {
        for (place = 0; p->taken[first + place]; place++) {
        }
    }
    p->taken[first + place] = 1;
    p->tiles[index].place = first + place;
}

void tada_plane_return_place(tada_plane *p, int64_t index)
{
    tada_tile *tile = &p->tiles[index];
    if (tile->place >= 0) {
        p->taken[tile->place] = 0;
        tile->place = -1;
    }
}
