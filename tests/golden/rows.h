/* The rows of the golden tiles. */
#ifndef TADA_GOLDEN_ROWS_H
#define TADA_GOLDEN_ROWS_H

#include "codec/tile.h"

static uint64_t state;

static int draw(int n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (int)((state >> 33) % (uint64_t)n);
}

/* Eight bytes added up, around zero: within 1020 of it, most within 420. */
static int draw_bell(void)
{
    int sum = -1020;
    for (int i = 0; i < 8; i++) {
        sum += draw(256);
    }
    return sum;
}

/* n * 2^exponent for |n| < 2048, which f16 holds exactly. */
static uint16_t half_of(int n, int exponent)
{
    unsigned size = (unsigned)(n < 0 ? -n : n);
    while (size > 0 && size < 1024) {
        size *= 2;
        exponent--;
    }
    unsigned magnitude = size ? (unsigned)(exponent + 24) * 1024 + size : 0;
    return (uint16_t)((n < 0 ? 0x8000u : 0) | magnitude);
}

/* A value of a group of the given sort, times 2^shift; `steady` is the same in the whole group. */
static uint16_t draw_value(int sort, int steady, int shift)
{
    int bell = draw_bell();
    switch (sort) {
    case 1: /* tails that are worth cutting off */
        return half_of(bell * draw_bell() / 600, shift - 9);
    case 3: /* an outlier among the groups */
        return half_of(bell, shift - 3);
    case 5: /* far from zero */
        return half_of(1000 + bell / 16, shift - 6);
    case 7: /* constant */
        return half_of(steady, shift - 9);
    case 9: /* outliers in the group */
        return half_of(bell, shift - (draw(16) ? 12 : 4));
    case 10: /* zeros of both signs */
        return draw(2) ? 0x8000 : 0;
    case 11: /* the finest scale that the search of 2 bits tries, when there is one outlier on either side */
        return half_of((draw(2) ? 1 : -1) * (draw(32) ? 8 : 31), shift - 9);
    case 12: /* subnormal */
        return (uint16_t)(draw(2) * 0x8000 + draw(1024));
    case 13: /* so far from zero that the zero point sets the scale */
        return half_of(-1500 + bell / 4, shift - 4);
    case 14: /* few values */
        return half_of(draw(3) - 1, shift - 1);
    case 15: /* multiples of 5 / 128 */
        return half_of(5 * (draw(6) - 2), shift - 7);
    default:
        return half_of(bell, shift - 9);
    }
}

/* What is hard follows the axis: whole channels, or whole cells. Integers only, so that every machine and
 * every libm makes the same. */
static void make_rows(const tada_codec *c, uint64_t seed, uint16_t *rows)
{
    int width = c->layout.width;
    int steady[1024];
    state = seed * 2654435761u + 1;
    for (int i = 0; i < 1024; i++) {
        steady[i] = draw_bell();
    }
    for (int t = 0; t < TADA_TILE_CELLS; t++) {
        for (int d = 0; d < width; d++) {
            bool channel = c->recipe.axis == TADA_AXIS_CHANNEL;
            int i = channel ? d : t;
            /* Heads of a group differ in size, and spans that adapt. */
            int shift = c->recipe.quarters ? d / TADA_SPAN * 5 % 7 - 2
                        : channel          ? 0
                                           : d / c->layout.head_dim % 2 * 2;
            rows[t * width + d] = draw_value(i % 16, steady[i], shift);
        }
    }
}

/* A cell, a channel and some values of others that are not finite, and values at the end of f16. */
static void spoil_rows(const tada_codec *c, uint16_t *rows)
{
    static const uint16_t bad[] = {0x7e00, 0xfc00, 0x7c00, 0xffff, 0x7c01};
    for (int i = 0; i < TADA_TILE_CELLS * c->layout.width; i++) {
        bool hit = i / c->layout.width == 16 || i % c->layout.width == 7 || draw(20) == 0;
        rows[i] = hit                        ? bad[draw(5)]
                  : i % c->layout.width == 9 ? (uint16_t)(0x7bff | draw(2) << 15)
                                             : rows[i];
    }
}

#endif
