/* Attention straight on the codes of cold tiles: nothing is decoded. */
#ifndef TADA_ATTENTION_CODES_H
#define TADA_ATTENTION_CODES_H

#include "codec/tile.h"

/* True when the recipe needs no more than scales, offsets and means over heads. */
bool tada_codes_can(const tada_codec *codec);

/* Floats of scratch that the functions below need. */
size_t tada_codes_scratch(const tada_codec *codec);

/*
 * Tiles that are read together, at most, and their rows in all: n_tiles * m <= TADA_ROWS. Memory is fast only
 * where it is read in long pieces, so the more tiles the better, until the batch outgrows the cache.
 */
enum { TADA_BATCH = 8, TADA_BATCH_ROWS = 32 };

/* One coding head of n_tiles cold tiles, all refined or none. */
typedef struct tada_codes {
    const tada_codec *codec;
    int head, n_tiles;
    tada_cold cold[TADA_BATCH];
    /* Records and refinements that will be wanted next, as many as these; NULL: none. */
    const uint8_t *next, *next_fine;
    uint64_t mask[TADA_BATCH]; /* cells written; the others count as zeros */
} tada_codes;

/*
 * scores [m][lds], 64 columns a tile, = q [m][head_dim] times K; q rotated where the codec rotates. Sums are
 * exact integers, so the error is the rounding of q to 16 bits: relative to the largest product of q and
 * scale, 2^-16. Refinement leaves it as large: codes become as many times larger as scales become smaller.
 */
void tada_codes_scores(const tada_codes *codes, const float *q, int m, float *scores, size_t lds,
                       float *scratch);

/* out [m][ldo] += weights [m][ldw], 64 columns a tile, times V, still rotated. Weights of cells that are not
 * written become zero. */
void tada_codes_values(const tada_codes *codes, float *weights, size_t ldw, int m, float *out, size_t ldo,
                       float *scratch);

#endif
