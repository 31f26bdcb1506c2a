/* Decoding of a cold tile. */
#include "places.h"

#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

static void load_factors(const tada_codec *c, const uint8_t *words, int n, float *scale, float *offset)
{
    if (c->recipe.scale == TADA_SCALE_8) {
        tada_kernels_get()->factors_narrow(words, words[c->layout.base_at], c->recipe.bits, n, scale, offset);
        return;
    }
    if (c->recipe.scale == TADA_SCALE_16) {
        tada_kernels_get()->factors(words, n, scale, offset);
        return;
    }
    for (int i = 0; i < n; i++) {
        uint16_t word[2];
        memcpy(word, words + 4 * (size_t)i, sizeof word);
        scale[i] = tada_half_to_float(word[0]);
        offset[i] = tada_half_to_float(word[1]);
    }
}

static tada_fine fine_of(const tada_codec *c, const tada_cold *cold, int head)
{
    const uint8_t *low = tada_tile_fine(c, cold, head);
    if (!low) {
        return (tada_fine){0, NULL, NULL};
    }
    int bits = c->layout.fine_bits, dim = c->layout.head_dim, in_unit = head % (c->layout.unit / dim);
    low += (size_t)(in_unit * dim * bits) * (CELLS / 8);
    return (tada_fine){bits, low, tada_high_plane(low, bits, dim)};
}

void tada_tile_open_head(const tada_codec *c, const tada_cold *cold, int number, float *scratch,
                         tada_head *head)
{
    const tada_layout *l = &c->layout;
    const uint8_t *record = tada_tile_record(c, cold, number);
    const uint8_t *codes = record + codes_at(c, number);
    int dim = l->head_dim, bits = c->recipe.bits;
    float *scale = scratch, *offset;
    head->factors.axis = c->recipe.axis;
    head->factors.group = l->group;
    head->widths = c->recipe.quarters ? record + l->widths_at : NULL;
    head->fine = fine_of(c, cold, number);
    if (head->widths) {
        tada_sections_make(head->widths, dim, codes, &head->sections);
    } else {
        head->sections.n = 1;
        head->sections.of[0] =
            (tada_section){bits, dim / TADA_SPAN, codes, tada_high_plane(codes, bits, dim)};
    }
    if (c->recipe.axis == TADA_AXIS_CHANNEL) {
        offset = scale + (size_t)l->n_groups * dim;
        load_factors(c, record, l->n_groups * dim, scale, offset);
        for (int g = 0; g < l->n_groups; g++) {
            for (int d = 0; c->recipe.centring == TADA_CENTRE_TOKENS && d < dim; d++) {
                offset[g * dim + d] += mean_get(c, record + l->means_at, (size_t)d);
            }
        }
    } else {
        int groups = l->group >= dim ? 1 : dim / l->group;
        head->factors.group = l->group >= dim ? dim : l->group;
        offset = scale + (size_t)groups * CELLS;
        load_factors(c, record, groups * CELLS, scale, offset);
    }
    if (head->fine.bits) {
        tada_kernels_get()->join_factors(head->fine.bits, head->widths, bits, (int)(offset - scale), scale,
                                         offset);
    }
    head->factors.scale = scale;
    head->factors.offset = offset;
}

/* Span by span: the sections of so large a head have no order. */
static void unpack_spans(const tada_head *h, int dim, uint8_t *codes)
{
    size_t fine_low = h->fine.bits < 4 ? 2 : 4;
    for (int i = 0; i < h->sections.n; i++) {
        tada_sections one;
        tada_section *section = &one.of[0];
        one.n = 1;
        *section = h->sections.of[i];
        size_t low = section->bits == 8 ? 8 : section->bits >= 4 ? 4 : 2, high = (size_t)section->bits - low;
        section->n_spans = 1;
        for (size_t span = 0; span < (size_t)dim / TADA_SPAN; span++) {
            if (tada_width(h->widths, (int)span) != section->bits) {
                continue;
            }
            tada_fine fine = h->fine;
            fine.low = fine.low ? fine.low + span * fine_low * CELLS : NULL;
            fine.high = fine.high ? fine.high + span * CELLS : NULL;
            tada_kernels_get()->unpack(&one, &fine, codes + span * TADA_SPAN * CELLS);
            section->low += low * CELLS;
            section->high = section->high ? section->high + high * CELLS : NULL;
        }
    }
}

void tada_tile_unpack_head(const tada_codec *c, const tada_head *h, uint8_t *codes)
{
    if (h->widths && c->layout.head_dim > TADA_CODES_DIM) {
        unpack_spans(h, c->layout.head_dim, codes);
    } else {
        tada_kernels_get()->unpack(&h->sections, &h->fine, codes);
    }
}

void tada_tile_decode_head(const tada_codec *c, const tada_cold *cold, uint64_t mask, int head, float *out,
                           float *scratch)
{
    const tada_kernels *k = tada_kernels_get();
    int dim = c->layout.head_dim;
    uint8_t *codes = (uint8_t *)scratch;
    tada_head h;
    tada_tile_open_head(c, cold, head, scratch + (size_t)CELLS * dim / 4, &h);
    tada_tile_unpack_head(c, &h, codes);
    (c->kind == TADA_K ? k->decode_k : k->decode_v)(codes, dim, &h.factors, out);

    bool heads = centres_heads(c);
    bool tokens = c->recipe.centring == TADA_CENTRE_TOKENS && c->recipe.axis == TADA_AXIS_TOKEN;
    if (!tokens && !heads && mask == UINT64_MAX) {
        return;
    }
    int in_unit = head % (c->layout.unit / dim);
    const uint8_t *record = tada_tile_record(c, cold, head);
    const uint8_t *means = heads ? cold->head_means : record + c->layout.means_at + in_unit * dim;
    for (int t = 0; t < CELLS; t++) {
        bool written = mask >> t & 1;
        for (int d = 0; d < dim; d++) {
            float *value = c->kind == TADA_K ? &out[(size_t)d * CELLS + t] : &out[(size_t)t * dim + d];
            if (!written) {
                *value = 0;
            } else if (tokens) {
                *value += mean_get(c, means, (size_t)d);
            } else if (heads) {
                *value += mean_get(c, means, (size_t)t * dim + d);
            }
        }
    }
}

void tada_tile_decode_unit(const tada_codec *c, const tada_cold *cold, uint64_t mask, int unit,
                           uint16_t *rows, float *scratch)
{
    const tada_layout *l = &c->layout;
    const tada_kernels *k = tada_kernels_get();
    int dim = l->head_dim, heads = l->unit / dim;
    float *values = scratch, *transposed = values + (size_t)CELLS * dim,
          *rest = transposed + (size_t)CELLS * dim;
    for (int h = unit * heads; h < (unit + 1) * heads; h++) {
        tada_tile_decode_head(c, cold, mask, h, values, rest);
        if (c->kind == TADA_K) {
            k->transpose_floats(values, dim, CELLS, transposed);
        }
        for (uint64_t left = mask; left; left &= left - 1) {
            size_t t = (size_t)__builtin_ctzll(left);
            float *row = (c->kind == TADA_K ? transposed : values) + t * (size_t)dim;
            if (l->rotation > 1) {
                k->hadamard(row, dim, l->rotation);
            }
            uint16_t *to = rows + t * (size_t)l->width + (size_t)h * dim;
            k->half_from_float(row, to, dim);
            tada_half_saturate(to, dim);
        }
    }
}

void tada_tile_decode_cells(const tada_codec *c, const tada_cold *cold, uint64_t mask, uint16_t *rows,
                            float *scratch)
{
    for (int unit = 0; unit < c->layout.n_units; unit++) {
        tada_tile_decode_unit(c, cold, mask, unit, rows, scratch);
    }
}

void tada_tile_decode(const tada_codec *c, const tada_cold *cold, uint64_t mask, uint16_t *rows,
                      float *scratch)
{
    memset(rows, 0, CELLS * (size_t)c->layout.width * sizeof *rows);
    tada_tile_decode_cells(c, cold, mask, rows, scratch);
}
