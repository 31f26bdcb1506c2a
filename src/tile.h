/* One cold tile: 64 cells of a plane, compressed. doc/format.md describes its bytes. */
#ifndef TADA_TILE_H
#define TADA_TILE_H

#include "kernels.h"
#include "recipe.h"

/* How the tiles of one plane are coded. */
typedef struct tada_codec {
    enum tada_kind kind;
    tada_recipe recipe;
    tada_layout layout;
} tada_codec;

/* Floats of scratch that encoding needs, and decoding. */
size_t tada_tile_encode_scratch(const tada_codec *codec);
size_t tada_tile_scratch(const tada_codec *codec);

/*
 * Compresses f16 rows [64][width]; only cells in `mask` count, the others may hold anything. The rows that
 * the tile decodes to encode to the same tile (not with centring or scales in f16).
 */
void tada_tile_encode(const tada_codec *codec, const uint16_t *rows, uint64_t mask, uint8_t *cold,
                      float *scratch);

/* The f16 rows [64][width] of a cold tile; cells not in `mask` become zeros. */
void tada_tile_decode(const tada_codec *codec, const uint8_t *cold, uint64_t mask, uint16_t *rows,
                      float *scratch);

/* One coding head of a cold tile: its bit planes (high: NULL when there is one), and what codes stand for,
 * but for means over heads and, with scales per token, over tokens; the latter in scratch. */
typedef struct tada_head {
    const uint8_t *low, *high;
    tada_factors factors;
} tada_head;

tada_head tada_tile_open_head(const tada_codec *codec, const uint8_t *cold, int head, float *scratch);

/* Where the codes of a head are, and its words of scales: the first and how many bytes, as far as they lie
 * together.
 */
const uint8_t *tada_tile_head_codes(const tada_codec *codec, const uint8_t *cold, int head);
const uint8_t *tada_tile_head_meta(const tada_codec *codec, const uint8_t *cold, int head, size_t *bytes);

/*
 * One coding head as the attention wants it, still rotated: K channel by channel [head_dim][64], V cell by
 * cell [64][head_dim]. Cells not in `mask` become zeros.
 */
void tada_tile_decode_head(const tada_codec *codec, const uint8_t *cold, uint64_t mask, int head, float *out,
                           float *scratch);

#endif
