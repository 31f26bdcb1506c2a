/* Where encoder and decoder find the parts of a cold tile. */
#ifndef TADA_CODEC_PLACES_H
#define TADA_CODEC_PLACES_H

#include "common/half.h"
#include "tile.h"

#include <string.h>

/* Codes of a head, in the record of its unit. */
static inline size_t codes_at(const tada_codec *c, int head)
{
    int in_unit = head % (c->layout.unit / c->layout.head_dim);
    return c->layout.codes_at + (size_t)in_unit * tada_code_bytes(&c->recipe, c->layout.head_dim);
}

static inline bool centres_heads(const tada_codec *c)
{
    return c->layout.head_means_bytes > 0;
}

/* Mean i of the tile, as decoded. */
static inline float mean_get(const tada_codec *c, const uint8_t *means, size_t i)
{
    if (c->recipe.centring == TADA_CENTRE_HEADS16) {
        uint16_t half;
        memcpy(&half, means + 2 * i, sizeof half);
        return tada_half_to_float(half);
    }
    return tada_byte_to_float(means[i]);
}

#endif
