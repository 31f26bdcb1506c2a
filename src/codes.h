/* Attention straight on the codes of cold tiles, for a few rows: nothing is decoded. */
#ifndef TADA_CODES_H
#define TADA_CODES_H

#include "tile.h"

/* Rows at most. */
enum { TADA_CODES_ROWS = 16 };

/* True when the recipe needs no more than scales and offsets. */
bool tada_codes_can(const tada_codec *codec);

/* Floats of scratch that the functions below need. */
size_t tada_codes_scratch(const tada_codec *codec);

/*
 * scores [m][64] = q [m][head_dim] times K of a coding head; q rotated where the codec rotates. Cells not in
 * `mask` count as zeros. Sums are exact integers, so the error is the rounding of q to 16 bits: relative to
 * the largest product of q and scale, 2^-16.
 */
void tada_codes_scores(const tada_codec *codec, const uint8_t *cold, uint64_t mask, int head, const float *q,
                       int m, float *scores, float *scratch);

/* out [m][stride] += weights [m][64] times V of a coding head, still rotated. Weights of cells not in `mask`
 * become zero. */
void tada_codes_values(const tada_codec *codec, const uint8_t *cold, uint64_t mask, int head, float *weights,
                       int m, float *out, size_t stride, float *scratch);

#endif
