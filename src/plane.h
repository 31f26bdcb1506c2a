/* A plane: the tile table, the hot tiles and the cold tiles of one layer's K or V cache. */
#ifndef TADA_PLANE_H
#define TADA_PLANE_H

#include "pool.h"
#include "tile.h"

typedef struct tada_tile {
    uint64_t mask;  /* cells written */
    uint64_t stamp; /* of the last write; larger is later */
    uint16_t *hot;  /* f16 rows [64][width]; NULL: cold, or empty when mask is 0 */
} tada_tile;

struct tada_plane {
    tada_codec codec;
    tada_shape shape;
    bool compressed;
    bool frozen; /* a tile has been compressed: the layout is fixed */
    int64_t tiles_per_stream, n_tiles;
    int n_slots, n_sinks; /* own hot tiles; the first n_sinks hold the first tile of each stream */
    tada_tile *tiles;
    uint8_t *used; /* own hot tiles in use */
    uint16_t *slots;
    uint8_t
        *cold; /* the records of unit 0, of unit 1, ..., then the means over heads; each tile after tile */
    size_t slot_values, bytes;
    tada_pool *pool; /* where the borrowed tiles come from; NULL when there are none */
    int64_t n_borrowed;
    uint64_t clock;
    int64_t compressions, reopens;
};

static inline tada_cold tada_plane_cold(const tada_plane *plane, int64_t tile)
{
    const tada_layout *l = &plane->codec.layout;
    size_t stride = (size_t)plane->n_tiles * l->record_bytes;
    return (tada_cold){plane->cold + (size_t)tile * l->record_bytes, stride,
                       plane->cold + (size_t)l->n_units * stride + (size_t)tile * l->head_means_bytes};
}

#endif
