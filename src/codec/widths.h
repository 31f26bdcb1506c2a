/*
 * Adaptive widths: in a head of K, each span of 8 channels has codes of 2 to 6 or 8 bits, the more the
 * further its channels vary within the tile, so that all of them are about equally exact. A head's bits in
 * all stay the same.
 */
#ifndef TADA_CODEC_WIDTHS_H
#define TADA_CODEC_WIDTHS_H

#include "kernels/kernels.h"
#include "recipe.h"

enum { TADA_WIDTH_MIN = 2, TADA_WIDTH_MAX = 8 };

/* The width of a span, from the half bytes of a record. */
static inline int tada_width(const uint8_t *widths, int span)
{
    return widths[span / 2] >> span % 2 * 4 & 15;
}

/*
 * Chooses the widths of a head with values x [64][stride], of which the cells in `mask` count: the next bit
 * always goes to the span whose deviation is the largest after the bits that it has, times its weight
 * (weights [dim / 8] of this head; NULL: all the same). widths: half bytes, dim / 16 bytes, which come with
 * the least ones and leave with those that were chosen. spread: scratch of dim floats.
 */
void tada_widths_choose(const tada_recipe *recipe, const float *weights, const float *x, size_t stride,
                        uint64_t mask, int dim, uint8_t *widths, float *spread);

/* The high plane of packed codes of so many channels, or NULL when one plane holds all bits. */
const uint8_t *tada_high_plane(const uint8_t *low, int bits, int dim);

/*
 * The sections of a head, widest first; spans of one width keep their order. Heads larger than TADA_CODES_DIM
 * get no order. Widths must be 2 to 6 or 8: those of restored tiles were checked before
 * (src/plane/state_check.c).
 */
void tada_sections_make(const uint8_t *widths, int dim, const uint8_t *codes, tada_sections *sections);

#endif
