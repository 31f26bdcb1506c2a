/* Cells of a cold tile that go to other places as they are: nothing is decoded or encoded. */
#ifndef TADA_CODEC_MOVE_H
#define TADA_CODEC_MOVE_H

#include "tile.h"

/* Whether what codes of a cell stand for does not depend on its place in a tile. */
bool tada_tile_moves(const tada_codec *codec);

/* Whether two tiles agree in all that their cells share: scales (axis channel) or their base, widths, means.
 */
bool tada_tile_shares(const tada_codec *codec, const tada_cold *tile, const tada_cold *other);

/*
 * Gives cells of a tile the codes, scales and means of cells of another one, with refinements where both have
 * them. from_cells, to_cells: as many of both, in this order. empty: `to` has no cells yet, and takes over
 * all that cells share; else it must share that already. scratch: tada_tile_scratch.
 */
void tada_tile_move(const tada_codec *codec, const tada_cold *from, uint64_t from_cells, const tada_cold *to,
                    uint64_t to_cells, bool empty, float *scratch);

#endif
