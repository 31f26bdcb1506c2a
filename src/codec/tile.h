/* One cold tile: 64 cells of a plane, compressed. doc/reference/format.md describes its bytes. */
#ifndef TADA_CODEC_TILE_H
#define TADA_CODEC_TILE_H

#include "kernels/kernels.h"
#include "recipe.h"
#include "widths.h"

/* How the tiles of one plane are coded. */
typedef struct tada_codec {
    enum tada_kind kind;
    tada_recipe recipe;
    tada_layout layout;
} tada_codec;

/*
 * Where a cold tile is: unit u has its record at records + u * stride. In one piece, the records are
 * record_bytes apart and the means over heads follow; a plane keeps the records of a unit together instead,
 * tile after tile, because attention reads a head at a time and memory is fastest in order.
 */
typedef struct tada_cold {
    uint8_t *records;
    size_t stride;
    uint8_t *head_means;
    uint8_t *fine; /* refinement of unit u at fine + u * stride; NULL: base codes alone */
} tada_cold;

/* A tile in one piece. */
tada_cold tada_cold_make(const tada_codec *codec, uint8_t *bytes);

void tada_cold_copy(const tada_codec *codec, const tada_cold *from, const tada_cold *to);

/* Floats of scratch that encoding needs, which is enough for decoding, too; and that decoding alone needs. */
size_t tada_tile_encode_scratch(const tada_codec *codec);
size_t tada_tile_scratch(const tada_codec *codec);

/* Floats of the scales and offsets of one head. */
size_t tada_tile_factors(const tada_codec *codec);

/*
 * Compresses f16 rows [64][width]; only cells in `mask` count, the others may hold anything. The rows that
 * the tile decodes to encode to the same tile (not with centring or scales in f16). Returns the mask of the
 * tile: without cells that decode to nothing but zeros, which are as good as never written.
 */
uint64_t tada_tile_encode(const tada_codec *codec, const uint16_t *rows, uint64_t mask, const tada_cold *cold,
                          float *scratch);

/* The f16 rows [64][width] of a cold tile; cells not in `mask` become zeros. */
void tada_tile_decode(const tada_codec *codec, const tada_cold *cold, uint64_t mask, uint16_t *rows,
                      float *scratch);

/* The same, but rows of other cells stay as they are; and the same of the columns of one unit, at their
 * places in rows [64][width]. */
void tada_tile_decode_cells(const tada_codec *codec, const tada_cold *cold, uint64_t mask, uint16_t *rows,
                            float *scratch);
void tada_tile_decode_unit(const tada_codec *codec, const tada_cold *cold, uint64_t mask, int unit,
                           uint16_t *rows, float *scratch);

/* One coding head of a cold tile: where its codes are, and what they stand for, joined with their
 * refinement if there is one. value = scale * code + offset, where `factors` have both; they lie in the
 * scratch. Means over heads are not among them, nor means over tokens with axis token. */
typedef struct tada_head {
    const uint8_t *widths; /* half bytes; NULL: all codes have one width */
    tada_fine fine;
    tada_sections sections; /* one without an order, but for adaptive widths */
    tada_factors factors;
} tada_head;

void tada_tile_open_head(const tada_codec *codec, const tada_cold *cold, int number, float *scratch,
                         tada_head *head);

/* The codes of a head, joined with their refinement if they have one, as one byte each, in the order of the
 * format: [head_dim] vectors of 64. */
void tada_tile_unpack_head(const tada_codec *codec, const tada_head *head, uint8_t *codes);

/* The record that a head is in, and the refinement of that unit, or NULL. */
const uint8_t *tada_tile_record(const tada_codec *codec, const tada_cold *cold, int head);
const uint8_t *tada_tile_fine(const tada_codec *codec, const tada_cold *cold, int head);

/*
 * One coding head as the attention wants it, still rotated: K channel by channel [head_dim][64], V cell by
 * cell [64][head_dim]. Cells not in `mask` become zeros.
 */
void tada_tile_decode_head(const tada_codec *codec, const tada_cold *cold, uint64_t mask, int head,
                           float *out, float *scratch);

#endif
