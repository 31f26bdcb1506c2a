/* Attention straight on the codes of cold tiles: nothing is decoded. */
#ifndef TADA_CODES_H
#define TADA_CODES_H

#include "tile.h"

/* True when the recipe needs no more than scales and offsets. */
bool tada_codes_can(const tada_codec *codec);

/* Floats of scratch that the functions below need. */
size_t tada_codes_scratch(const tada_codec *codec);

/* One coding head of a cold tile. */
typedef struct tada_codes {
    const tada_codec *codec;
    const uint8_t *cold;
    const uint8_t *next; /* the cold tile that will be wanted next, or NULL */
    uint64_t mask;       /* cells written; the others count as zeros */
    int head;
} tada_codes;

/*
 * scores [m][64] = q [m][head_dim] times K; q rotated where the codec rotates; m <= TADA_ROWS. Sums are exact
 * integers, so the error is the rounding of q to 16 bits: relative to the largest product of q and scale, 2^-16.
 */
void tada_codes_scores(const tada_codes *codes, const float *q, int m, float *scores, float *scratch);

/* out [m][stride] += weights [m][64] times V, still rotated. Weights of cells not in the mask become zero. */
void tada_codes_values(const tada_codes *codes, float *weights, int m, float *out, size_t stride, float *scratch);

#endif
