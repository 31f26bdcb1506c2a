/* A plane: the tile table, the hot tiles and the cold tiles of one layer's K or V cache. */
#ifndef TADA_PLANE_H
#define TADA_PLANE_H

#include "pool.h"
#include "tile.h"

#include <stdatomic.h>

/* What a tile is now. */
enum tada_level { TADA_EMPTY, TADA_HOT, TADA_WARM, TADA_COLD };

typedef struct tada_tile {
    uint64_t mask;      /* cells written */
    uint64_t stamp;     /* of the last write; larger is later */
    uint64_t sinks;     /* cells that are not in codes when the tile is cold */
    uint16_t *hot;      /* f16 rows [64][width]; NULL: warm or cold, or empty when mask is 0 */
    int64_t place : 56; /* of its codes; -1: none, as it is hot or empty */
    bool warm : 1;      /* the place is one of the window's */
    bool recoded : 1;   /* warm, but with the codec of cold tiles, which its rows came from */
    int32_t shift;      /* by how much its coded cells have moved since they were encoded; hot: 0 */
} tada_tile;

/* The rows [sinks][width] of marked sinks of one tile. */
typedef struct tada_marked {
    int64_t tile;
    uint16_t *rows;
    int capacity;
} tada_marked;

struct tada_plane {
    tada_codec codec, warm_codec; /* of cold tiles; of warm ones */
    tada_shape shape;
    bool compressed;
    bool frozen; /* a tile has been compressed: the layout is fixed */
    int64_t tiles_per_stream, n_tiles;
    int64_t places_per_stream, n_places; /* room for cold tiles */
    int64_t warm_per_stream;             /* room for warm tiles */
    int n_slots;                         /* own hot tiles */
    int n_sinks; /* cells at the beginning of each stream that are never in codes: sinks by their place */
    tada_tile *tiles;
    uint8_t *used;  /* own hot tiles in use */
    uint8_t *taken; /* places in use: those of cold tiles, then those of warm ones */
    uint16_t *slots;
    uint8_t *warm;   /* warm tiles, each in one piece of warm_bytes */
    uint16_t *sinks; /* [streams][n_sinks][width], for first tiles that are cold; zeros where unwritten */
    uint8_t
        *cold; /* the records of unit 0, of unit 1, ..., then the means over heads; each place after place */
    tada_marked *marked; /* the other sinks */
    int n_marked;
    _Atomic int64_t marked_rows;
    size_t slot_values, warm_bytes, bytes;
    tada_pool *pool; /* where the borrowed tiles come from; NULL when there are none */
    int64_t n_borrowed;
    tada_rope *rope; /* that tiles remember shifts of; NULL: none has yet */
    bool opened;     /* a tile has become hot since all streams were within their windows */
    bool spoilt;     /* rows in f16 may have values that are not finite */
    uint64_t clock;
    /* Other threads read them at any time; only the one that uses the plane changes them. */
    _Atomic int64_t n_written;             /* cells with a row */
    _Atomic int64_t n_hot, n_warm, n_cold; /* tiles with such cells */
    _Atomic int64_t compressions, reopens;
    _Atomic int64_t nonfinite; /* rows that came with a value that is not finite */
};

/* A plane without memory, of which only the sizes count. False: it cannot be made. */
bool tada_plane_describe(const tada_spec *spec, const tada_shape *shape, tada_plane *plane);

/* How the codes of a tile that has a place are to be read. */
static inline const tada_codec *tada_plane_codec(const tada_plane *plane, int64_t tile)
{
    const tada_tile *t = &plane->tiles[tile];
    return t->warm && !t->recoded ? &plane->warm_codec : &plane->codec;
}

/* The codes of a tile that has a place. */
static inline tada_cold tada_plane_cold(const tada_plane *plane, int64_t tile)
{
    const tada_layout *l = &plane->codec.layout;
    size_t place = (size_t)plane->tiles[tile].place, stride = (size_t)plane->n_places * l->record_bytes;
    if (plane->tiles[tile].warm) {
        return tada_cold_make(tada_plane_codec(plane, tile), plane->warm + place * plane->warm_bytes);
    }
    return (tada_cold){plane->cold + place * l->record_bytes, stride,
                       plane->cold + (size_t)l->n_units * stride + place * l->head_means_bytes, NULL};
}

/* Gives a tile a place for its codes, as warm or cold; takes it back, if there is one. Different tiles may
 * give theirs back at once. */
void tada_plane_take_place(tada_plane *plane, int64_t tile, bool warm);
void tada_plane_return_place(tada_plane *plane, int64_t tile);

static inline enum tada_level tada_tile_level(const tada_tile *tile)
{
    return !tile->mask ? TADA_EMPTY : tile->hot ? TADA_HOT : tile->warm ? TADA_WARM : TADA_COLD;
}

/* The written cells of a warm or cold tile that are in its codes. */
static inline uint64_t tada_plane_coded(const tada_plane *plane, int64_t tile)
{
    return plane->tiles[tile].mask & ~plane->tiles[tile].sinks;
}

/* Floats of scratch that encoding any tile needs, and decoding. */
size_t tada_plane_encode_scratch(const tada_plane *plane);
size_t tada_plane_scratch(const tada_plane *plane);

/* The f16 rows [64][width] of a warm or cold tile; cells that are unwritten become zeros. scratch:
 * tada_plane_scratch. */
void tada_plane_decode(const tada_plane *plane, int64_t tile, uint16_t *rows, float *scratch);

/* Turns the decoded rows [64][width] of a tile by what it remembers, but for sinks, which have been turned.
 */
void tada_plane_turn(const tada_plane *plane, int64_t tile, uint16_t *rows);

/* Makes the codes of a hot tile that has a place, whose rows are the caller's to free. A tile of which
 * nothing is left gives the place back. scratch: tada_plane_encode_scratch. */
void tada_plane_encode(tada_plane *plane, int64_t tile, float *scratch);

/* Gives a tile rows in f16: an own slot if there is one, else a borrowed one. NULL when memory is short. */
uint16_t *tada_plane_acquire(tada_plane *plane, tada_pool *pool, int64_t tile);
/* Moves the rows of a hot tile to an own slot, of which one is free, unless they are in one. */
void tada_plane_own(tada_plane *plane, int64_t tile);
/* Takes the rows of a hot tile away. */
void tada_plane_release(tada_plane *plane, tada_tile *tile);

/* For tada_plane_get_stats: adds to a counter; counts a tile as what it is now, and no longer as what it was;
 * counts all tiles anew. One thread at a time. */
typedef struct tada_counted {
    int written;
    enum tada_level level;
} tada_counted;

static inline tada_counted tada_tile_counted(const tada_tile *tile)
{
    return (tada_counted){__builtin_popcountll(tile->mask), tada_tile_level(tile)};
}

void tada_count(_Atomic int64_t *counter, int64_t n);
void tada_plane_recount(tada_plane *plane, const tada_tile *tile, tada_counted before);
void tada_plane_recount_all(tada_plane *plane);

#endif
