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
    int n_slots; /* own hot tiles */
    int n_sinks; /* cells at the beginning of each stream that are never in codes */
    tada_tile *tiles;
    uint8_t *used; /* own hot tiles in use */
    uint16_t *slots;
    uint16_t *sinks; /* [streams][n_sinks][width], for first tiles that are cold; zeros where unwritten */
    uint8_t
        *cold; /* the records of unit 0, of unit 1, ..., then the means over heads; each tile after tile */
    size_t slot_values, bytes;
    tada_pool *pool; /* where the borrowed tiles come from; NULL when there are none */
    int64_t n_borrowed;
    uint64_t clock;
    /* Other threads read them at any time; only the one that uses the plane changes them. */
    _Atomic int64_t n_written, n_hot, n_cold; /* cells with a row; hot and cold tiles with such cells */
    _Atomic int64_t compressions, reopens;
};

static inline tada_cold tada_plane_cold(const tada_plane *plane, int64_t tile)
{
    const tada_layout *l = &plane->codec.layout;
    size_t stride = (size_t)plane->n_tiles * l->record_bytes;
    return (tada_cold){plane->cold + (size_t)tile * l->record_bytes, stride,
                       plane->cold + (size_t)l->n_units * stride + (size_t)tile * l->head_means_bytes};
}

/* Where the rows [n_sinks][width] are that a tile has beside its codes while it is cold; NULL: none. */
static inline uint16_t *tada_plane_sinks(const tada_plane *plane, int64_t tile)
{
    if (plane->n_sinks == 0 || tile % plane->tiles_per_stream != 0) {
        return NULL;
    }
    size_t stream = (size_t)(tile / plane->tiles_per_stream);
    return plane->sinks + stream * (size_t)plane->n_sinks * (size_t)plane->shape.width;
}

/* The written cells of a cold tile that are in its codes. */
static inline uint64_t tada_plane_coded(const tada_plane *plane, int64_t tile)
{
    uint64_t mask = plane->tiles[tile].mask;
    return tada_plane_sinks(plane, tile) ? mask & ~(UINT64_MAX >> (TADA_TILE_CELLS - plane->n_sinks)) : mask;
}

/* Counts cells and tiles anew: after changes to many tiles, or from several threads. */
void tada_plane_recount(tada_plane *plane);

/* The f16 rows [64][width] of a cold tile; cells that are unwritten become zeros. scratch:
 * tada_tile_scratch. */
void tada_plane_decode(const tada_plane *plane, int64_t tile, uint16_t *rows, float *scratch);

#endif
