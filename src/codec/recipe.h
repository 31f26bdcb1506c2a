/* Recipes: their checks and what follows from them for a row of given width. */
#ifndef TADA_CODEC_RECIPE_H
#define TADA_CODEC_RECIPE_H

#include "common/error.h"

/* NULL when the recipe is sound, else what is wrong with it. */
const char *tada_recipe_problem(const tada_recipe *recipe);

/* The same of the bits of a window. */
const char *tada_window_bits_problem(int bits);

/* True when adaptive widths are possible. */
bool tada_recipe_adapts(const tada_recipe *recipe);

/* Whether what a tile decodes to encodes to the same tile. */
bool tada_recipe_settles(const tada_recipe *recipe);
/* True when tiles have a refinement, whatever the head size; tada_layout has its bits. */
bool tada_recipe_refines(const tada_recipe *recipe);

/* How a row is cut for coding: heads of head_dim, groups of `group` channels (axis token). */
typedef struct tada_layout {
    int width, head_dim, n_heads;
    int group;    /* axis channel: cells of a group; axis token: channels of a group */
    int n_groups; /* axis token: groups of a row; axis channel: groups of a tile's column */
    int rotation; /* block of the Hadamard transform; 1: none */
    int unit;     /* columns that are encoded together: the larger of head and group */
    int n_units;
    /* A unit's record: its scales, the means of its columns, its widths, its codes head by head
     * (doc/reference/format.md). */
    size_t base_at; /* of words of 8 bits */
    size_t means_at, widths_at, codes_at, record_bytes;
    size_t head_means_bytes; /* of a tile */
    /* The refinement of a unit: so many bits for each value, in no more bytes than its record has. 0: the
     * recipe has none. A code of so many bits takes tada_fine_used of them. */
    int fine_bits;
    size_t fine_bytes;
} tada_layout;

/* Bits of refinement that a code of `bits` bits uses: code and refinement are 8 bits together at most. */
static inline int tada_fine_used(const tada_layout *layout, int bits)
{
    return layout->fine_bits < 8 - bits ? layout->fine_bits : 8 - bits;
}

tada_layout tada_layout_make(const tada_recipe *recipe, int width, int head_dim);

size_t tada_code_bytes(const tada_recipe *recipe, int width); /* of the codes of so many columns */
/* Bytes of a cold tile's records and means. head_dim 0: enough for every head size. */
size_t tada_slot_bytes(const tada_recipe *recipe, int width, int head_dim);
/* Bytes of a cold tile in one piece, padded. */
size_t tada_cold_bytes(const tada_recipe *recipe, int width, int head_dim);

#endif
