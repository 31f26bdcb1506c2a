/* A plane: the tile table, the hot tiles and the cold tiles of one layer's K or V cache. */
#ifndef TADA_PLANE_H
#define TADA_PLANE_H

#include "pool.h"
#include "tile.h"

#include <stdatomic.h>

typedef struct tada_tile {
    uint64_t mask;  /* cells written */
    uint64_t stamp; /* of the last write; larger is later */
    uint64_t sinks; /* cells that are not in codes when the tile is cold */
    uint16_t *hot;  /* f16 rows [64][width]; NULL: cold, or empty when mask is 0 */
} tada_tile;

/* The rows [sinks][width] of marked sinks of one tile. */
typedef struct tada_marked {
    int64_t tile;
    uint16_t *rows;
    int capacity;
} tada_marked;

struct tada_plane {
    tada_codec codec;
    tada_shape shape;
    bool compressed;
    bool frozen; /* a tile has been compressed: the layout is fixed */
    int64_t tiles_per_stream, n_tiles;
    int n_slots; /* own hot tiles */
    int n_sinks; /* cells at the beginning of each stream that are never in codes: sinks by their place */
    tada_tile *tiles;
    uint8_t *used; /* own hot tiles in use */
    uint16_t *slots;
    uint16_t *sinks; /* [streams][n_sinks][width], for first tiles that are cold; zeros where unwritten */
    uint8_t
        *cold; /* the records of unit 0, of unit 1, ..., then the means over heads; each tile after tile */
    tada_marked *marked; /* the other sinks */
    int n_marked;
    _Atomic int64_t marked_rows;
    size_t slot_values, bytes;
    tada_pool *pool; /* where the borrowed tiles come from; NULL when there are none */
    int64_t n_borrowed;
    bool opened; /* a tile has become hot since all streams were within their windows */
    bool spoilt; /* rows in f16 may have values that are not finite */
    uint64_t clock;
    /* Other threads read them at any time; only the one that uses the plane changes them. */
    _Atomic int64_t n_written, n_hot, n_cold; /* cells with a row; hot and cold tiles with such cells */
    _Atomic int64_t compressions, reopens;
    _Atomic int64_t nonfinite; /* rows that came with a value that is not finite */
};

/* A plane without memory, of which only the sizes count. False: it cannot be made. */
bool tada_plane_describe(const tada_spec *spec, const tada_shape *shape, tada_plane *plane);

static inline tada_cold tada_plane_cold(const tada_plane *plane, int64_t tile)
{
    const tada_layout *l = &plane->codec.layout;
    size_t stride = (size_t)plane->n_tiles * l->record_bytes;
    return (tada_cold){plane->cold + (size_t)tile * l->record_bytes, stride,
                       plane->cold + (size_t)l->n_units * stride + (size_t)tile * l->head_means_bytes};
}

/* The written cells of a cold tile that are in its codes. */
static inline uint64_t tada_plane_coded(const tada_plane *plane, int64_t tile)
{
    return plane->tiles[tile].mask & ~plane->tiles[tile].sinks;
}

/* The f16 rows [64][width] of a cold tile; cells that are unwritten become zeros. scratch:
 * tada_tile_scratch. */
void tada_plane_decode(const tada_plane *plane, int64_t tile, uint16_t *rows, float *scratch);

/* Makes the codes of a hot tile, whose rows are the caller's to free. scratch: tada_tile_encode_scratch. */
void tada_plane_encode(tada_plane *plane, int64_t tile, float *scratch);

/* For tada_plane_get_stats: adds to a counter; counts a tile as what it is now, and no longer as what it was;
 * counts all tiles anew. One thread at a time. */
void tada_count(_Atomic int64_t *counter, int64_t n);
void tada_plane_recount(tada_plane *plane, const tada_tile *tile, uint64_t mask_before, bool hot_before);
void tada_plane_recount_all(tada_plane *plane);

#endif
