/* Tiles of a plane, from rows to codes and back. */
#include "plane.h"
#include "shift.h"
#include "sinks.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

size_t tada_plane_encode_scratch(const tada_plane *p)
{
    return p->compressed ? tada_tile_encode_scratch(&p->codec) : 0;
}

size_t tada_plane_scratch(const tada_plane *p)
{
    return p->compressed ? tada_tile_scratch(&p->codec) : 0;
}

void tada_plane_encode(tada_plane *p, int64_t index, tada_layer *layer, uint64_t cells, float *scratch)
{
    tada_tile *tile = &p->tiles[index];
    tada_sinks_keep(p, index);
    if (layer) {
        tada_cold cold = tada_layer_cold(p, layer);
        layer->shift = 0;
        layer->cells = tada_tile_encode(&p->codec, tile->hot, cells, &cold, scratch);
        tile->mask &= ~cells | layer->cells;
    }
    if (!tile->mask) {
        tada_layers_drop(p, index);
    }
}

void tada_plane_decode(const tada_plane *p, int64_t index, uint16_t *rows, float *scratch)
{
    const tada_tile *tile = &p->tiles[index];
    for (int t = 0; t < CELLS && tile->mask != UINT64_MAX; t++) {
        if (!(tile->mask >> t & 1)) {
            memset(rows + (size_t)t * (size_t)p->shape.width, 0, (size_t)p->shape.width * 2);
        }
    }
    for (const tada_layer *l = &tile->codes; l; l = tada_layer_next(p, l)) {
        tada_cold cold = tada_layer_cold(p, l);
        tada_tile_decode_cells(&p->codec, &cold, l->cells, rows, scratch);
        tada_shift_turn(p->rope, l->cells, l->shift, p->shape.width, rows);
    }
    tada_sinks_restore(p, index, rows);
}
