/* The groups of a unit: values that share a word. Their words, codes and refinement. */
#ifndef TADA_CODEC_GROUPS_H
#define TADA_CODEC_GROUPS_H

#include "tile.h"

/* The values of a unit, rotated and centred, on their way into its record. */
typedef struct tada_groups {
    const tada_codec *codec;
    const float *x;          /* [64][columns of the unit]; not with axis token */
    const float *transposed; /* [columns][64]; with axis token */
    const float *noise;      /* [64]: what rounding may have done to rotated values of a cell */
    uint64_t mask;
    uint8_t *record; /* words, their base and codes are written; widths are there */
    uint8_t *fine;   /* written, if the recipe has a refinement */
    float *scratch;  /* [tada_groups_scratch] */
} tada_groups;

size_t tada_groups_scratch(const tada_codec *codec);

/* Encodes all groups. Returns whether all of them lie on multiples of their scales, so that every
 * refinement is the middle one, which adds nothing. */
bool tada_groups_encode(const tada_groups *groups);

/*
 * Finds the widths that rows were encoded with, if they were decoded without a refinement: the least ones
 * with which all channels of a span lie on multiples of a scale, as half bytes. False: there are none, or
 * they take more bits than the recipe has.
 */
bool tada_groups_widths(const tada_groups *groups, uint8_t *widths);

#endif
