/* Where the tiles of a plane are: own or borrowed rows in f16, and places for codes. */
#include "plane.h"

#include <string.h>

static uint16_t *slot_rows(const tada_plane *p, int64_t slot)
{
    return p->slots + (size_t)slot * p->slot_values;
}

static bool is_slot(const tada_plane *p, const uint16_t *hot)
{
    return hot >= p->slots && hot < p->slots + (size_t)p->n_slots * p->slot_values;
}

void tada_plane_release(tada_plane *p, tada_tile *tile)
{
    if (!tile->hot) {
        return;
    }
    if (is_slot(p, tile->hot)) {
        p->used[(size_t)(tile->hot - p->slots) / p->slot_values] = 0;
    } else {
        tada_pool_return(p->pool, tile->hot);
        p->n_borrowed--;
    }
    tile->hot = NULL;
}

/* The own hot tile that a tile may use, or -1. */
static int64_t free_slot(const tada_plane *p, int64_t tile)
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
    int64_t slot = free_slot(p, tile);
    if (slot >= 0) {
        p->used[slot] = 1;
        return slot_rows(p, slot);
    }
    uint16_t *hot = tada_pool_borrow(pool, p->slot_values * 2);
    if (hot) {
        p->pool = pool;
        p->n_borrowed++;
    }
    return hot;
}

void tada_plane_own(tada_plane *p, int64_t index)
{
    tada_tile *tile = &p->tiles[index];
    if (is_slot(p, tile->hot)) {
        return;
    }
    int64_t slot = free_slot(p, index);
    uint16_t *own = slot_rows(p, slot);
    memcpy(own, tile->hot, p->slot_values * 2);
    tada_plane_release(p, tile);
    p->used[slot] = 1;
    tile->hot = own;
}

/*
 * There is always a free one. A stream of T tiles may have H own hot tiles, W places for warm and T - H - W
 * for cold ones, and tiles get places in two ways only:
 * - Settling. Of h hot and w <= W warm tiles with rows, the last written H + W do not become cold, or all if
 *   there are fewer. So where one becomes cold, H + W others are not, and no more than T - H - W are. Of the
 *   others at most H are still hot afterwards, and the other hot ones become warm: when h > H, those that are
 *   then warm are H + W - H = W or fewer; else none is added.
 * - A copy of a stream, which was settled, to one that was emptied: as many are warm and cold as there.
 * Everything else (opening a tile to write it, rows that become zeros, clearing) only returns places; a tile
 * that was opened and then not written is hot and takes part when the plane settles. Editing a warm or cold
 * tile leaves it in its place.
 *
 * A cold tile takes the place of its own number, if it can: attention is fastest when tiles that follow each
 * other in a context do so in memory.
 */
void tada_plane_take_place(tada_plane *p, int64_t index, bool warm)
{
    int64_t each = warm ? p->warm_per_stream : p->places_per_stream;
    int64_t first = index / p->tiles_per_stream * each, place = index % p->tiles_per_stream;
    uint8_t *taken = p->taken + (warm ? p->n_places : 0) + first;
    if (place >= each || taken[place]) {
        for (place = 0; taken[place]; place++) {
        }
    }
    taken[place] = 1;
    p->tiles[index].place = first + place;
    p->tiles[index].warm = warm;
    p->tiles[index].recoded = false;
}

void tada_plane_return_place(tada_plane *p, int64_t index)
{
    tada_tile *tile = &p->tiles[index];
    if (tile->place >= 0) {
        p->taken[(tile->warm ? p->n_places : 0) + tile->place] = 0;
        tile->place = -1;
        tile->warm = tile->recoded = false;
        tile->shift = 0;
    }
}
