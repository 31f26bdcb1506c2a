#include "move.h"

#include "pack.h"
#include "places.h"

#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

typedef struct pairs {
    int n, from[CELLS], to[CELLS];
} pairs;

static pairs pairs_make(uint64_t from, uint64_t to)
{
    pairs p = {0};
    for (; from && to; from &= from - 1, to &= to - 1) {
        p.from[p.n] = __builtin_ctzll(from);
        p.to[p.n++] = __builtin_ctzll(to);
    }
    return p;
}

bool tada_tile_moves(const tada_codec *c)
{
    return c->recipe.axis == TADA_AXIS_TOKEN || c->layout.group == CELLS;
}

/* Where the part of a record begins that its cells share; it ends where the codes begin. */
static size_t shared_at(const tada_codec *c)
{
    return c->recipe.axis == TADA_AXIS_TOKEN ? c->layout.base_at : 0;
}

bool tada_tile_shares(const tada_codec *c, const tada_cold *a, const tada_cold *b)
{
    size_t at = shared_at(c), bytes = c->layout.codes_at - at;
    bool same = true;
    for (size_t u = 0; u < (size_t)c->layout.n_units && same; u++) {
        same = memcmp(a->records + u * a->stride + at, b->records + u * b->stride + at, bytes) == 0;
    }
    return same;
}

/* A record without cells that shares the rest with another one. Words of cells that are not written say that
 * their groups are zeros. */
static void begin_record(const tada_codec *c, const uint8_t *from, uint8_t *to)
{
    size_t at = shared_at(c);
    bool narrow = c->recipe.scale == TADA_SCALE_8;
    memset(to, narrow ? TADA_ZERO_BYTE : 0, at);
    memcpy(to + at, from + at, c->layout.codes_at - at);
    memset(to + c->layout.codes_at, 0, c->layout.record_bytes - c->layout.codes_at);
}

/* Axis token: each cell has words of its own. */
static void move_words(const tada_codec *c, const pairs *p, const uint8_t *from, uint8_t *to)
{
    size_t groups = (size_t)(c->layout.unit / c->layout.group), bytes = c->layout.base_at / (groups * CELLS);
    for (size_t g = 0; g < groups; g++) {
        for (int i = 0; i < p->n; i++) {
            size_t source = g * CELLS + (size_t)p->from[i], target = g * CELLS + (size_t)p->to[i];
            memcpy(to + target * bytes, from + source * bytes, bytes);
        }
    }
}

static void move_ordered(const tada_codec *c, const pairs *p, const uint8_t *from, uint8_t *to)
{
    int dim = c->layout.head_dim;
    for (int i = 0; i < p->n; i++) {
        for (int d = 0; d < dim; d++) {
            to[tada_code_position(c->kind, dim, p->to[i], d)] =
                from[tada_code_position(c->kind, dim, p->from[i], d)];
        }
    }
}

static void unpack(const tada_codec *c, const tada_cold *cold, int number, uint8_t *ordered, float *scratch)
{
    tada_cold codes = *cold;
    tada_head head;
    codes.fine = NULL;
    tada_tile_open_head(c, &codes, number, scratch, &head);
    tada_tile_unpack_head(c, &head, ordered);
}

/* Refinements are packed like codes of one width. */
static void unpack_fine(const tada_codec *c, const uint8_t *fine, uint8_t *ordered)
{
    int bits = c->layout.fine_bits, dim = c->layout.head_dim;
    tada_sections one = {.n = 1};
    one.of[0] = (tada_section){bits, dim / TADA_SPAN, fine, tada_high_plane(fine, bits, dim)};
    tada_kernels_get()->unpack(&one, &(tada_fine){0, NULL, NULL}, ordered);
}

static void move_head(const tada_codec *c, const pairs *p, const tada_cold *from, const tada_cold *to,
                      int head, bool empty, float *scratch)
{
    const tada_layout *l = &c->layout;
    int dim = l->head_dim, bits = c->recipe.bits;
    size_t values = CELLS * (size_t)dim, unit = (size_t)(head * dim / l->unit),
           in_unit = (size_t)(head * dim % l->unit);
    uint8_t *source = (uint8_t *)scratch, *target = source + values, *gathered = target + values;
    float *factors = scratch + 3 * values / 4;
    uint8_t *record = to->records + unit * to->stride;
    unpack(c, from, head, source, factors);
    if (empty) {
        memset(target, c->recipe.scale == TADA_SCALE_8 ? 1 << (bits - 1) : 0, values);
    } else {
        unpack(c, to, head, target, factors);
    }
    move_ordered(c, p, source, target);
    if (c->recipe.quarters) {
        tada_codes_pack_spans(target, record + l->widths_at, dim, gathered, record + codes_at(c, head));
    } else {
        tada_codes_pack(target, bits, dim, record + codes_at(c, head));
    }
    if (!from->fine || !to->fine || !l->fine_bits) {
        return;
    }
    size_t at = in_unit * CELLS * (size_t)l->fine_bits / 8;
    uint8_t *fine = to->fine + unit * to->stride + at;
    unpack_fine(c, from->fine + unit * from->stride + at, source);
    if (empty) {
        memset(target, 0, values);
    } else {
        unpack_fine(c, fine, target);
    }
    move_ordered(c, p, source, target);
    tada_codes_pack(target, l->fine_bits, dim, fine);
}

void tada_tile_move(const tada_codec *c, const tada_cold *from, uint64_t from_cells, const tada_cold *to,
                    uint64_t to_cells, bool empty, float *scratch)
{
    const tada_layout *l = &c->layout;
    pairs p = pairs_make(from_cells, to_cells);
    for (size_t u = 0; u < (size_t)l->n_units; u++) {
        const uint8_t *source = from->records + u * from->stride;
        uint8_t *target = to->records + u * to->stride;
        if (empty) {
            begin_record(c, source, target);
        }
        if (c->recipe.axis == TADA_AXIS_TOKEN) {
            move_words(c, &p, source, target);
        }
    }
    for (int head = 0; head < l->n_heads; head++) {
        move_head(c, &p, from, to, head, empty, scratch);
    }
    size_t means = l->head_means_bytes / CELLS;
    if (empty && means) {
        memset(to->head_means, 0, l->head_means_bytes);
    }
    for (int i = 0; i < p.n && means; i++) {
        memcpy(to->head_means + (size_t)p.to[i] * means, from->head_means + (size_t)p.from[i] * means, means);
    }
}
