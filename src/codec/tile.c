#include "tile.h"

#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

size_t tada_tile_factors(const tada_codec *codec)
{
    const tada_layout *l = &codec->layout;
    size_t dim = (size_t)l->head_dim, group = (size_t)l->group;
    if (codec->recipe.axis == TADA_AXIS_CHANNEL) {
        return 2 * (size_t)l->n_groups * dim;
    }
    return 2 * CELLS * (group >= dim ? 1 : dim / group);
}

size_t tada_tile_scratch(const tada_codec *codec)
{
    /* Values, the same transposed to rows (of K), codes, factors. */
    size_t values = CELLS * (size_t)codec->layout.head_dim;
    return 2 * values + values / 4 + tada_tile_factors(codec) + 64;
}

/* ---- where things are in a cold tile ---- */

tada_cold tada_cold_make(const tada_codec *c, uint8_t *bytes)
{
    size_t record = c->layout.record_bytes;
    return (tada_cold){bytes, record, bytes + (size_t)c->layout.n_units * record, NULL};
}

void tada_cold_copy(const tada_codec *c, const tada_cold *from, const tada_cold *to)
{
    for (size_t u = 0; u < (size_t)c->layout.n_units; u++) {
        memcpy(to->records + u * to->stride, from->records + u * from->stride, c->layout.record_bytes);
    }
    for (size_t u = 0; from->fine && to->fine && u < (size_t)c->layout.n_units; u++) {
        memcpy(to->fine + u * to->stride, from->fine + u * from->stride, c->layout.fine_bytes);
    }
    if (c->layout.head_means_bytes) {
        memcpy(to->head_means, from->head_means, c->layout.head_means_bytes);
    }
}

static size_t unit_of(const tada_codec *c, int head)
{
    return (size_t)(head * c->layout.head_dim / c->layout.unit);
}

const uint8_t *tada_tile_record(const tada_codec *c, const tada_cold *cold, int head)
{
    return cold->records + unit_of(c, head) * cold->stride;
}

const uint8_t *tada_tile_fine(const tada_codec *c, const tada_cold *cold, int head)
{
    return cold->fine && c->layout.fine_bits ? cold->fine + unit_of(c, head) * cold->stride : NULL;
}
