/* A plane: the table of tiles, the hot tiles and the cold tiles of one layer's K or V cache. It lies in
 * one piece of memory that the caller brings (create.c lays it out); only tiles that are hot while rows
 * are written are borrowed from a pool. */
#ifndef TADA_PLANE_PLANE_H
#define TADA_PLANE_PLANE_H

#include "pool.h"
#include "codec/tile.h"

#include <stdatomic.h>

/* What a tile is now. */
enum tada_level { TADA_EMPTY, TADA_HOT, TADA_COLD };

/* Cells of a tile that were encoded together. */
typedef struct tada_layer {
    uint64_t cells;     /* whose rows its codes give */
    int32_t base, fine; /* slots of the codes and of their refinement; -1: none */
    int32_t shift;      /* by how much its cells have moved since they were encoded */
    int32_t next;       /* the tile's next layer, in the plane's `layers`; -1: there is none */
} tada_layer;

static const tada_layer tada_layer_unused = {.base = -1, .fine = -1, .next = -1};

/* Layers of a tile at most: rows of two sizes that stay, and those that are written beside them, which are
 * of two sizes, too. Others are rounded together with rows that have been rounded. */
enum { TADA_LAYERS = 4 };

typedef struct tada_tile {
    uint64_t mask;  /* cells written */
    uint64_t stamp; /* of the last write; larger is later */
    uint64_t sinks; /* cells that are not in codes when the tile is cold */
    uint16_t *hot;  /* f16 rows [64][width] of all cells; NULL: cold, or empty when mask is 0 */
    /* The first one. Of a cold tile, the layers have all cells but sinks; of a hot one, those whose rows have
     * not been written since they were decoded. */
    tada_layer codes;
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
    int64_t slots_per_stream, n_slots; /* for codes, and for refinements */
    int64_t window_slots;              /* of a stream, for the refinements of its window */
    int64_t most_refined;              /* tiles of a stream, even where there are slots for more */
    int64_t n_own;                     /* hot tiles that have memory in the plane; all others are borrowed */
    int n_sinks; /* cells at the beginning of each stream that are never in codes: sinks by their place */
    tada_tile *tiles;
    uint8_t *used;      /* own hot tiles in use */
    uint8_t *taken;     /* slots in use */
    uint8_t *unseen;    /* one bit a tile: the last attention did not see it (tada_attention_tell) */
    tada_layer *layers; /* all but the first ones of tiles; unused: base is -1 */
    int64_t layers_per_stream;
    uint16_t *own;
    uint16_t *sinks; /* [streams][n_sinks][width], for first tiles that are cold; zeros where unwritten */
    /* What slots hold of unit 0, of unit 1, ..., slot after slot; then the means over heads. The codes of a
     * unit, or their refinement, are in one slot; means belong to the codes. */
    uint8_t *cold;
    tada_marked *marked; /* the other sinks */
    int n_marked;
    _Atomic int64_t marked_rows;
    size_t tile_values, bytes; /* of a hot tile; of all */
    tada_pool *pool;           /* where the borrowed tiles come from; read only while there are some */
    int64_t n_borrowed;
    tada_rope *rope; /* that tiles remember shifts of; NULL: none has yet */
    bool opened;     /* a tile has become hot since the plane was settled */
    bool spoilt;     /* rows in f16 may have values that are not finite */
    uint64_t clock;
    /* Other threads read them at any time; only the one that uses the plane changes them. */
    _Atomic int64_t n_written;     /* cells with a row */
    _Atomic int64_t n_hot, n_cold; /* tiles with such cells */
    _Atomic int64_t n_refined;     /* of the cold ones: those whose layers all are, */
    _Atomic int64_t n_layered;     /* and those with several layers */
    _Atomic int64_t compressions, reopens, merges;
    _Atomic int64_t nonfinite; /* rows that came with a value that is not finite */
};

/* Fills in a plane without memory, for what only depends on sizes. False: there can be no such plane. */
bool tada_plane_describe(const tada_spec *spec, const tada_shape *shape, tada_plane *plane);

/* Where the codes of a layer are, which must have a slot. */
static inline tada_cold tada_layer_cold(const tada_plane *plane, const tada_layer *layer)
{
    const tada_layout *l = &plane->codec.layout;
    size_t base = (size_t)layer->base, stride = (size_t)plane->n_slots * l->record_bytes;
    return (tada_cold){plane->cold + base * l->record_bytes, stride,
                       plane->cold + (size_t)l->n_units * stride + base * l->head_means_bytes,
                       layer->fine >= 0 ? plane->cold + (size_t)layer->fine * l->record_bytes : NULL};
}

/* The next layer of the tile; NULL: this is the last one. */
static inline tada_layer *tada_layer_next(const tada_plane *plane, const tada_layer *layer)
{
    return layer->next < 0 ? NULL : &plane->layers[layer->next];
}

/* How many layers of a tile have slots. */
int tada_layers_count(const tada_plane *plane, int64_t tile);
/* How many more layers a tile may get. The third and fourth ones are for streams with room to spare, for them
 * and their refinements: rows lose less when they are rounded again than when another tile gives up its
 * refinement, and second layers of other tiles need room, too. */
int tada_layers_left(const tada_plane *plane, int64_t tile);
/* Gives a tile one more layer, with a slot for its codes; the stream must have a free slot. NULL: the tile
 * has as many layers as it can, or the stream has no room for another layer that is not a first one. */
tada_layer *tada_layers_add(tada_plane *plane, int64_t tile);
/* The same, as a copy of another layer, which may be of another tile. The stream must have free slots for
 * its codes and refinement, and room for the layer. */
tada_layer *tada_layers_copy(tada_plane *plane, const tada_layer *source, int64_t to);

/* What a stream has left for layers that part in two. */
typedef struct tada_room {
    int64_t slots, layers;
    int64_t fines; /* refinements that may be given up for codes: those of the window may not */
} tada_room;

tada_room tada_room_of(const tada_plane *plane, int64_t stream);
/* Takes from the room what a layer needs to part in two. Where no slot is free, a layer without a refinement
 * gets that of another tile's refinement; a refined layer does not, as it loses less when it is rounded
 * again. False: there is no room, and nothing was taken. */
bool tada_room_take(tada_room *room, const tada_layer *layer);
/* Moves cells of a layer of a tile to a new one with the same codes. The tile must have less than
 * TADA_LAYERS, and there must be room (tada_room_take). */
void tada_layers_part(tada_plane *plane, int64_t tile, tada_layer *layer, uint64_t cells);
/* Of the given cells of a hot tile, those whose rows are several times as large as the others: they would
 * spoil the scales that all share. 0: there are none, or each row has scales of its own. */
uint64_t tada_layers_apart(const tada_plane *plane, int64_t tile, uint64_t cells);
/* Takes a cell out of all layers: its row has changed, so that codes do not give it any more. */
void tada_layers_forget(tada_plane *plane, int64_t tile, int cell);
/* Takes cells out of the layers that are unwritten or sinks now, and removes layers without cells. */
void tada_layers_tidy(tada_plane *plane, int64_t tile);
/* Removes all layers but the first; removes all layers. Several threads may do so with different tiles. */
void tada_layers_cut(tada_plane *plane, int64_t tile);
void tada_layers_drop(tada_plane *plane, int64_t tile);
/* How many slots of a stream are free. */
int64_t tada_layers_room(const tada_plane *plane, int64_t stream);
/* Whether a tile gives up refinements and layers before another one of its stream: those that attention does
 * not see come first, as they are likely to be of a sequence that was removed, then those that were written
 * first. */
bool tada_layers_before(const tada_plane *plane, int64_t tile, int64_t other);
/* Of the tiles of a stream that have refinements and whose stamp is at most `stamp`, takes them away from
 * the one that gives them up first. False: there is no such tile. */
bool tada_layers_unrefine(tada_plane *plane, int64_t stream, uint64_t stamp);
/* Whether a layer of the tile has a refinement; how many tiles of a stream have such a layer. */
bool tada_layers_has_fine(const tada_plane *plane, int64_t tile);
int64_t tada_layers_refined(const tada_plane *plane, int64_t stream);
/* Takes a slot for the refinement of a layer, of which one must be free; gives it back, if the layer has
 * one. */
void tada_layer_take_fine(tada_plane *plane, int64_t tile, tada_layer *layer);
void tada_layer_return_fine(tada_plane *plane, tada_layer *layer);

static inline enum tada_level tada_tile_level(const tada_tile *tile)
{
    return !tile->mask ? TADA_EMPTY : tile->hot ? TADA_HOT : TADA_COLD;
}

static inline bool tada_tile_unseen(const tada_plane *plane, int64_t tile)
{
    return plane->unseen[tile / 8] >> tile % 8 & 1;
}

static inline void tada_tile_see(tada_plane *plane, int64_t tile, bool seen)
{
    uint8_t *byte = &plane->unseen[tile / 8], bit = (uint8_t)(1 << tile % 8);
    *byte = (uint8_t)(seen ? *byte & ~bit : *byte | bit);
}

/* Cells of a hot tile whose rows are zeros become unwritten. Codes of recipes that do not settle may decode
 * to such rows. */
void tada_tile_drop_zeros(tada_plane *plane, int64_t tile);

/* The written cells of a tile that are in its codes when it is cold. */
static inline uint64_t tada_plane_coded(const tada_plane *plane, int64_t tile)
{
    return plane->tiles[tile].mask & ~plane->tiles[tile].sinks;
}

/* Floats of scratch that encoding a tile needs, which is enough for decoding one, too; and that decoding
 * alone needs. */
size_t tada_plane_encode_scratch(const tada_plane *plane);
size_t tada_plane_scratch(const tada_plane *plane);

/* The f16 rows [64][width] of a cold tile; cells that are unwritten become zeros. scratch:
 * tada_plane_scratch. */
void tada_plane_decode(const tada_plane *plane, int64_t tile, uint16_t *rows, float *scratch);

/* Encodes cells of a hot tile together into one of its layers; no other layer has them. layer NULL:
 * nothing is encoded, as the layers have all cells already. Rows of sinks are kept. The tile's f16 rows
 * stay the caller's to free. A tile of which nothing is left gives its slots back. scratch:
 * tada_plane_encode_scratch. */
void tada_plane_encode(tada_plane *plane, int64_t tile, tada_layer *layer, uint64_t cells, float *scratch);

/* Memory for the f16 rows of a tile: in the plane if some is free, else borrowed. NULL when memory is
 * short. */
uint16_t *tada_plane_acquire(tada_plane *plane, tada_pool *pool, int64_t tile);
/* Moves the rows of a hot tile into the plane, where memory for a tile must be free, unless they are
 * there. */
void tada_plane_own(tada_plane *plane, int64_t tile);
/* Gives the memory of a hot tile's rows back. */
void tada_plane_release(tada_plane *plane, tada_tile *tile);

/* For tada_plane_get_stats. tada_tile_counted: what a tile counts as now. tada_count: adds to a counter.
 * tada_plane_recount: counts a tile as what it is now, and no longer as what it was before.
 * tada_plane_recount_all: counts all tiles anew. One thread at a time. */
typedef struct tada_counted {
    int written;
    enum tada_level level;
    bool refined, layered;
} tada_counted;

tada_counted tada_tile_counted(const tada_plane *plane, const tada_tile *tile);
void tada_count(_Atomic int64_t *counter, int64_t n);
void tada_plane_recount(tada_plane *plane, const tada_tile *tile, tada_counted before);
void tada_plane_recount_all(tada_plane *plane);

static inline int64_t tada_tile_of(const tada_plane *p, int64_t cell)
{
    return cell / p->shape.n_cells * p->tiles_per_stream + cell % p->shape.n_cells / TADA_TILE_CELLS;
}

static inline int tada_cell_in_tile(const tada_plane *p, int64_t cell)
{
    return (int)(cell % p->shape.n_cells % TADA_TILE_CELLS);
}

#endif
