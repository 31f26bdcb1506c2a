/* Tiles whose codes have a refinement, random but for what the format says of it. */
#ifndef TADA_TEST_REFINED_H
#define TADA_TEST_REFINED_H

#include "sets.h"
#include "codec/tile.h"

typedef struct refined {
    tada_codec codec;
    tada_cold cold; /* of its own memory, in one piece */
    uint64_t mask;
    uint8_t *memory;
} refined;

/* As a spec has it, for rows of so many heads. False: there is no refinement with it. */
bool refined_codec(const char *spec, enum tada_kind kind, int n_heads, int dim, tada_codec *codec);

/* Random rows, encoded, and random refinement; cells not in `mask` have none. */
void refined_make(const tada_codec *codec, uint64_t mask, refined *tile);
void refined_free(refined *tile);

/* What the codes of one head stand for, cell by cell [64][dim], still rotated: straight from
 * doc/reference/format.md.
 */
void refined_values(const refined *tile, int head, double *values);

#endif
