/* Quantising and packing the groups of a unit. */
#include "groups.h"

#include "common/sizes.h"
#include "pack.h"
#include "places.h"
#include "widths.h"

#include <math.h>
#include <string.h>

enum { CELLS = TADA_TILE_CELLS, LANES = TADA_LANES };

/* Where things are in the scratch. */
typedef struct groups_work {
    uint8_t *ordered, *fine;     /* codes and refinement in the order of the format */
    float *packed;               /* axis channel: values of a block */
    uint8_t *codes, *codes_fine; /* of a block */
    uint16_t *words;             /* words of 8 bits, before their base is known */
    uint8_t *gathered;           /* spans of a width: instead of what is from `packed` on */
    bool on_grid;                /* see tada_groups_encode */
} groups_work;

/* Values of a block. */
static size_t block_values(const tada_codec *c)
{
    return LANES * (c->recipe.axis == TADA_AXIS_CHANNEL ? (size_t)CELLS : (size_t)c->layout.group);
}

static groups_work work_make(const tada_codec *c, float *scratch)
{
    size_t values = CELLS * (size_t)c->layout.unit, block = block_values(c);
    groups_work w = {.ordered = (uint8_t *)scratch, .on_grid = true};
    w.fine = w.ordered + values;
    w.gathered = w.fine + values;
    w.packed = scratch + values / 2;
    w.codes = (uint8_t *)(w.packed + (c->recipe.axis == TADA_AXIS_CHANNEL ? block : 0));
    w.codes_fine = w.codes + block;
    w.words = (uint16_t *)(void *)(w.codes_fine + block);
    return w;
}

size_t tada_groups_scratch(const tada_codec *c)
{
    size_t values = CELLS * (size_t)c->layout.unit, block = block_values(c);
    /* Of words of 8 bits there is one for 16 values at most. */
    size_t channels = block + block / 2, tokens = block / 2 + values / 32;
    size_t rest = c->recipe.axis == TADA_AXIS_CHANNEL ? channels : tokens;
    return (values / 2 + tada_size_larger(rest, c->recipe.quarters ? values / 4 : 0) + 15) / 16 * 16;
}

/* Puts codes of LANES channels of a cell (scale axis channel), or of LANES cells and a channel (token), which
 * start at cell t and channel d of a head, in the order of the format. */
static void place_codes(const tada_codec *c, const uint8_t *codes, int t, int d, uint8_t *ordered)
{
    bool channels = c->recipe.axis == TADA_AXIS_CHANNEL;
    int dim = c->layout.head_dim;
    if (channels == (c->kind == TADA_K)) {
        /* The lanes are what the format has four of side by side. */
        uint8_t *to = ordered + tada_code_position(c->kind, dim, t, d);
        size_t step = tada_code_step(c->kind, dim);
        for (int four = 0; four < LANES / 4; four++) {
            memcpy(to + (size_t)four * step, codes + (size_t)four * 4, 4);
        }
        return;
    }
    for (int l = 0; l < LANES; l++) {
        ordered[tada_code_position(c->kind, dim, channels ? t : t + l, channels ? d + l : d)] = codes[l];
    }
}

/* ---- quantising ---- */

/* One group with f16 scale and zero; the range is narrowed while that lowers the squared error. */
static void quantise_f16(const tada_recipe *r, const float *x, size_t stride, int n, uint8_t *codes,
                         size_t code_stride, uint8_t *meta)
{
    float low = INFINITY, high = -INFINITY, best = INFINITY;
    float levels = (float)((1 << r->bits) - 1);
    uint16_t pair[2] = {0, 0};
    for (int i = 0; i < n; i++) {
        float v = x[(size_t)i * stride];
        low = v < low ? v : low;
        high = v > high ? v : high;
    }
    int tries = r->search == TADA_SEARCH_MINMAX ? 1 : 12;
    for (int try = 0; try < tries && n > 0; try++) {
        float half = (high - low) / 2 * (1.0f - 0.045f * (float)try), error = 0;
        uint16_t s = tada_half_finite(2 * half / levels);
        uint16_t z = tada_half_finite((low + high) / 2 - half);
        float scale = tada_half_to_float(s), zero = tada_half_to_float(z);
        float inverse = scale > 0 ? 1.0f / scale : 0;
        for (int i = 0; i < n; i++) {
            float q = rintf((x[(size_t)i * stride] - zero) * inverse);
            q = q > 0 ? q : 0;
            q = q < levels ? q : levels;
            float d = x[(size_t)i * stride] - (zero + scale * q);
            error += d * d;
        }
        if (error < best || try == 0) {
            best = error;
            pair[0] = s;
            pair[1] = z;
        }
    }
    float scale = tada_half_to_float(pair[0]), zero = tada_half_to_float(pair[1]);
    float inverse = scale > 0 ? 1.0f / scale : 0;
    for (int i = 0; i < n; i++) {
        float q = rintf((x[(size_t)i * stride] - zero) * inverse);
        q = q > 0 ? q : 0;
        q = q < levels ? q : levels;
        codes[(size_t)i * code_stride] = (uint8_t)q;
    }
    memcpy(meta, pair, sizeof pair);
}

/* A block with words of 8 or 16 bits. */
static void quantise(const tada_groups *g, groups_work *w, tada_block *block)
{
    block->search = g->codec->recipe.search;
    block->fine_bits = tada_fine_used(&g->codec->layout, block->bits);
    block->codes = w->codes;
    block->fine = block->fine_bits ? w->codes_fine : NULL;
    tada_kernels_get()->quantise(block);
    w->on_grid &= block->on_grid;
}

/* Row i of the codes of a block, and of its refinement, goes to cell t, channel d of a head. */
static void place_row(const tada_groups *g, const groups_work *w, const tada_block *block, int i, int t,
                      int d, size_t head)
{
    place_codes(g->codec, w->codes + i * LANES, t, d, w->ordered + head);
    if (block->fine) {
        place_codes(g->codec, w->codes_fine + i * LANES, t, d, w->fine + head);
    }
}

/* Scale axis channel: x [64][columns], groups of cells. */
static void quantise_channels(const tada_groups *g, groups_work *w)
{
    const tada_codec *c = g->codec;
    const tada_layout *l = &c->layout;
    int columns = l->unit;
    for (int first = 0; first < CELLS; first += l->group) {
        int cell[CELLS], n = 0;
        float most = 0;
        for (int t = first; t < first + l->group; t++) {
            if (g->mask >> t & 1) {
                cell[n++] = t;
                most = fmaxf(most, g->noise[t]);
            }
        }
        for (int d = 0; d < columns; d += LANES) {
            for (int i = 0; i < n; i++) {
                memcpy(w->packed + i * LANES, g->x + (size_t)cell[i] * (size_t)columns + d,
                       LANES * sizeof *w->packed);
            }
            size_t at = (size_t)(first / l->group * columns + d);
            tada_block block = {.x = w->packed, .stride = LANES, .n = n, .bits = c->recipe.bits};
            if (c->recipe.scale == TADA_SCALE_16) {
                for (int j = 0; j < LANES; j++) {
                    block.noise[j] = most;
                }
                quantise(g, w, &block);
                memcpy(g->record + 2 * at, block.meta, sizeof block.meta);
            } else {
                for (int j = 0; j < LANES; j++) {
                    quantise_f16(&c->recipe, w->packed + j, LANES, n, w->codes + j, LANES,
                                 g->record + 4 * (at + (size_t)j));
                }
            }
            for (int i = 0; i < n; i++) {
                place_row(g, w, &block, i, cell[i], d, 0);
            }
        }
    }
}

/* The values of one or two spans, side by side; a single one is there twice. They are copied unless they lie
 * so already. */
static tada_block gather_pair(const tada_groups *g, const groups_work *w, const int span[2], int cell[CELLS])
{
    const size_t unit = (size_t)g->codec->layout.unit;
    bool beside = span[1] == span[0] + 1 && g->mask == UINT64_MAX;
    tada_block block = {.x = w->packed, .stride = LANES};
    float most = 0;
    for (int t = 0; t < CELLS; t++) {
        if (g->mask >> t & 1) {
            most = g->noise[t] > most ? g->noise[t] : most;
            cell[block.n++] = t;
        }
    }
    if (beside) {
        block.x = g->x + span[0] * TADA_SPAN;
        block.stride = unit;
    }
    for (int i = 0; i < block.n && !beside; i++) {
        const float *row = g->x + (size_t)cell[i] * unit;
        memcpy(w->packed + i * LANES, row + span[0] * TADA_SPAN, TADA_SPAN * sizeof *row);
        memcpy(w->packed + i * LANES + TADA_SPAN, row + span[1] * TADA_SPAN, TADA_SPAN * sizeof *row);
    }
    for (int j = 0; j < LANES; j++) {
        block.noise[j] = most;
    }
    return block;
}

/* Puts rows of LANES codes, of which the first are those of a span, in the order of the format: from channel
 * d of a head of K on. */
static void place_span(const uint8_t *codes, const int *cell, int n, int d, uint8_t *ordered)
{
    for (int i = 0; i < n; i++) {
        uint8_t *to = ordered + tada_code_position(TADA_K, 0, cell[i], d);
        memcpy(to, codes + (size_t)i * LANES, 4);
        memcpy(to + tada_code_step(TADA_K, 0), codes + (size_t)i * LANES + 4, 4);
    }
}

static void quantise_pair(const tada_groups *g, groups_work *w, int bits, const int span[2])
{
    int cell[CELLS];
    tada_block block = gather_pair(g, w, span, cell);
    block.bits = bits;
    quantise(g, w, &block);
    for (int i = 0; i < 2; i++) {
        memcpy(g->record + 2 * (size_t)span[i] * TADA_SPAN, block.meta + i * TADA_SPAN, TADA_SPAN * 2);
        place_span(w->codes + i * TADA_SPAN, cell, block.n, span[i] * TADA_SPAN, w->ordered);
        if (block.fine) {
            place_span(w->codes_fine + i * TADA_SPAN, cell, block.n, span[i] * TADA_SPAN, w->fine);
        }
    }
}

/* A head of K whose spans have widths of their own. */
static void quantise_spans(const tada_groups *g, groups_work *w)
{
    const uint8_t *widths = g->record + g->codec->layout.widths_at;
    for (int bits = TADA_WIDTH_MAX; bits >= TADA_WIDTH_MIN; bits--) {
        int span[2] = {-1, -1};
        for (int i = 0; i < g->codec->layout.head_dim / TADA_SPAN; i++) {
            if (tada_width(widths, i) != bits) {
                continue;
            }
            span[1] = i;
            if (span[0] < 0) {
                span[0] = i;
                continue;
            }
            quantise_pair(g, w, bits, span);
            span[0] = -1;
        }
        if (span[0] >= 0) {
            quantise_pair(g, w, bits, (int[2]){span[0], span[0]});
        }
    }
}

/* The groups of 16 cells from `t` on and of the channels from `start` on. floor: see tada_block. */
static void quantise_cells(const tada_groups *g, groups_work *w, int start, int t, int floor)
{
    const tada_codec *c = g->codec;
    const tada_layout *l = &c->layout;
    const float *from = g->transposed + (size_t)start * CELLS + t;
    size_t at = (size_t)(start / l->group * CELLS + t);
    tada_block block = {.x = from,
                        .stride = CELLS,
                        .n = l->group,
                        .bits = c->recipe.bits,
                        .narrow = c->recipe.scale == TADA_SCALE_8,
                        .floor = floor};
    if (c->recipe.scale == TADA_SCALE_32) {
        for (int j = 0; j < LANES; j++) {
            quantise_f16(&c->recipe, from + j, CELLS, l->group, w->codes + j, LANES,
                         g->record + 4 * (at + (size_t)j));
        }
    } else {
        memcpy(block.noise, g->noise + t, sizeof block.noise);
        quantise(g, w, &block);
        memcpy(block.narrow ? (uint8_t *)(w->words + at) : g->record + 2 * at, block.meta, sizeof block.meta);
    }
    /* Cells that are not written have none. */
    for (int j = 0; block.fine && j < LANES; j++) {
        for (int i = 0; !(g->mask >> (t + j) & 1) && i < l->group; i++) {
            w->codes_fine[i * LANES + j] = 0;
        }
    }
    int d = start % l->head_dim;
    size_t head = (size_t)(start - d) * CELLS;
    for (int i = 0; i < l->group; i++) {
        place_row(g, w, &block, i, t, d, head);
        if (++d == l->head_dim) {
            d = 0;
            head += (size_t)l->head_dim * CELLS;
        }
    }
}

/* Words of 8 bits, and their base: the largest scale of the unit. Groups with scales too far below it are
 * encoded once more, with the least scale that a word can say. */
static void put_narrow(const tada_groups *g, groups_work *w)
{
    int group = g->codec->layout.group, n = g->codec->layout.unit / group * CELLS, base = 0;
    for (int i = 0; i < n; i++) {
        int index = w->words[i] == TADA_ZERO_GROUP ? 0 : w->words[i] / TADA_ZERO_POINTS;
        base = index > base ? index : base;
    }
    for (int i = 0; i < n; i += LANES) {
        bool below = false;
        for (int j = i; j < i + LANES; j++) {
            below |= w->words[j] / TADA_ZERO_POINTS < base - TADA_STEPS_BELOW;
        }
        if (below) {
            quantise_cells(g, w, i / CELLS * group, i % CELLS, base - TADA_STEPS_BELOW);
        }
    }
    for (int i = 0; i < n; i++) {
        int word = w->words[i], steps = base - word / TADA_ZERO_POINTS;
        g->record[i] =
            (uint8_t)(word == TADA_ZERO_GROUP ? TADA_ZERO_BYTE
                                              : steps * TADA_ZERO_POINTS + word % TADA_ZERO_POINTS);
    }
    g->record[g->codec->layout.base_at] = (uint8_t)base;
}

/* Scale axis token: groups of channels. */
static void quantise_tokens(const tada_groups *g, groups_work *w)
{
    for (int start = 0; start < g->codec->layout.unit; start += g->codec->layout.group) {
        for (int t = 0; t < CELLS; t += LANES) {
            quantise_cells(g, w, start, t, 0);
        }
    }
    if (g->codec->recipe.scale == TADA_SCALE_8) {
        put_narrow(g, w);
    }
}

bool tada_groups_encode(const tada_groups *g)
{
    const tada_codec *c = g->codec;
    const tada_layout *l = &c->layout;
    groups_work w = work_make(c, g->scratch);
    memset(w.ordered, 0, 2 * CELLS * (size_t)l->unit);
    if (c->recipe.quarters) {
        quantise_spans(g, &w);
        tada_codes_pack_spans(w.ordered, g->record + l->widths_at, l->unit, w.gathered,
                              g->record + l->codes_at);
    } else if (c->recipe.axis == TADA_AXIS_TOKEN) {
        quantise_tokens(g, &w);
    } else {
        quantise_channels(g, &w);
    }
    for (int h = 0; h < l->unit / l->head_dim; h++) {
        size_t at = (size_t)h * (size_t)l->head_dim * CELLS;
        if (!c->recipe.quarters) {
            tada_codes_pack(w.ordered + at, c->recipe.bits, l->head_dim, g->record + codes_at(c, h));
        }
        if (l->fine_bits) {
            tada_codes_pack(w.fine + at, l->fine_bits, l->head_dim, g->fine + at * (size_t)l->fine_bits / 8);
        }
    }
    return w.on_grid;
}

bool tada_groups_widths(const tada_groups *g, uint8_t *widths)
{
    static const uint8_t all[] = {2, 3, 4, 5, 6, 8};
    int dim = g->codec->layout.head_dim, left = dim / TADA_SPAN * g->codec->recipe.quarters / 4;
    groups_work w = work_make(g->codec, g->scratch);
    memset(widths, 0, (size_t)dim / (2 * TADA_SPAN));
    for (int s = 0; s < dim / TADA_SPAN; s += 2) {
        int cell[CELLS], span[2] = {s, s + 1};
        tada_block block = gather_pair(g, &w, span, cell);
        block.bits = TADA_WIDTH_MAX;
        block.grid_only = true;
        tada_kernels_get()->quantise(&block);
        for (int i = 0; i < 2; i++) {
            int top = 0, number = 0;
            for (int j = i * TADA_SPAN; j < (i + 1) * TADA_SPAN; j++) {
                top = block.meta[j] > top ? block.meta[j] : top;
            }
            if (top == TADA_NO_GRID) {
                return false;
            }
            while (top >> all[number]) {
                number++;
            }
            widths[s / 2] |= (uint8_t)(all[number] << i * 4);
            left -= all[number];
        }
    }
    return left >= 0;
}
