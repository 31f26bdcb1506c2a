/* Grids: how codes and words become rows, and how they are stored as bytes. */
#include "work.h"

#include <string.h>

enum {
    CELLS = TADA_TILE_CELLS,
    SPAN = 8, /* columns whose codes have one width, so that those of a row fill whole bytes */
};

static size_t words_of(const grid_shape *g, int n)
{
    return g->axis == TADA_AXIS_CHANNEL ? (size_t)g->width : (size_t)n * (size_t)(g->width / g->group);
}

grid_work grid_work_make(const grid_shape *g, float *scratch)
{
    size_t width = (size_t)g->width, values = CELLS * width;
    grid_work w;
    w.x = scratch;
    w.columns = w.x + values;
    w.scale = w.columns + values;
    w.offset = w.scale + width;
    w.codes = (uint8_t *)(w.offset + width);
    w.words = (uint16_t *)(void *)(w.codes + values);
    w.lane_codes = (uint8_t *)(w.words + words_of(g, CELLS));
    w.rows = (uint16_t *)(void *)(w.lane_codes + GRID_GROUP * TADA_LANES);
    return w;
}

size_t grid_scratch(const grid_shape *g)
{
    /* What grid_work_make hands out, in floats, rounded up to a cache line. */
    size_t width = (size_t)g->width, values = CELLS * width;
    size_t floats = 2 * values + 2 * width + values / 4 + (words_of(g, CELLS) + 1) / 2 +
                    GRID_GROUP * TADA_LANES / 4 + values / 2 + 16;
    return (floats + 15) / 16 * 16;
}

bool grid_check(const grid_shape *g)
{
    bool token = g->axis == TADA_AXIS_TOKEN;
    if (g->width < 16 || g->width > GRID_WIDTH || g->width % 16 != 0 ||
        (!token && (g->axis != TADA_AXIS_CHANNEL || g->group != 0 || g->doubled))) {
        return false;
    }
    if (g->rotation != 1 && (g->rotation < 16 || g->rotation > GRID_BLOCK ||
                             (g->rotation & (g->rotation - 1)) || g->width % g->rotation)) {
        return false;
    }
    return !token ||
           (g->group >= 16 && g->group <= GRID_GROUP && g->group % 16 == 0 && g->width % g->group == 0);
}

/* ---- rows ---- */

static void factors_of_words(const uint16_t *words, size_t n, float *scale, float *offset)
{
    tada_kernels_get()->factors((const uint8_t *)words, (int)n, scale, offset);
}

void grid_decode(const grid_shape *g, int n, const grid_work *w, uint16_t *rows)
{
    const tada_kernels *k = tada_kernels_get();
    int width = g->width, group = g->axis == TADA_AXIS_TOKEN ? g->group : width;
    float *row = w->columns; /* free by then */
    if (g->axis == TADA_AXIS_CHANNEL) {
        factors_of_words(w->words, (size_t)width, w->scale, w->offset);
    }
    for (int t = 0; t < n; t++) {
        const uint8_t *codes = w->codes + (size_t)t * (size_t)width;
        uint16_t *out = rows + (size_t)t * (size_t)width;
        if (g->axis == TADA_AXIS_CHANNEL) {
            for (int d = 0; d < width; d++) {
                row[d] = w->scale[d] * (float)codes[d] + w->offset[d];
            }
        } else {
            int groups = width / group;
            factors_of_words(w->words + (size_t)t * (size_t)groups, (size_t)groups, w->scale, w->offset);
            for (int i = 0; i < groups; i++) {
                float scale = g->doubled ? 2 * w->scale[i] : w->scale[i], offset = w->offset[i];
                for (int d = i * group; d < (i + 1) * group; d++) {
                    row[d] = scale * (float)codes[d] + offset;
                }
            }
        }
        if (g->rotation > 1) {
            k->hadamard(row, width, g->rotation);
        }
        k->half_from_float(row, out, width);
        for (int d = 0; d < width; d++) {
            /* What would be infinite is the largest finite value. */
            out[d] = (uint16_t)(out[d] - ((out[d] & 0x7fff) == 0x7c00));
        }
    }
}

/* ---- bytes ---- */

static int bit_length(unsigned value)
{
    return value ? 32 - __builtin_clz(value) : 0;
}

/* Writes SPAN codes of `bits` bits each, the first one in the lowest bits: `bits` bytes. Returns what
 * follows. */
static uint8_t *put_span(const uint8_t *codes, int bits, uint8_t *to)
{
    uint64_t all = 0;
    for (int i = 0; i < SPAN; i++) {
        all |= (uint64_t)codes[i] << (i * bits);
    }
    for (int i = 0; i < bits; i++) {
        *to++ = (uint8_t)(all >> (8 * i));
    }
    return to;
}

static const uint8_t *get_span(const uint8_t *from, int bits, uint8_t *codes)
{
    uint64_t all = 0, mask = ((uint64_t)1 << bits) - 1;
    for (int i = 0; i < bits; i++) {
        all |= (uint64_t)*from++ << (8 * i);
    }
    for (int i = 0; i < SPAN; i++) {
        codes[i] = (uint8_t)(all >> (i * bits) & mask);
    }
    return from;
}

size_t grid_head_bytes(const grid_shape *g)
{
    return g->axis == TADA_AXIS_CHANNEL ? (size_t)g->width / (2 * SPAN) : 1;
}

size_t grid_most_bytes(const grid_shape *g)
{
    return grid_head_bytes(g) + 2 * words_of(g, CELLS) + (size_t)CELLS * (size_t)g->width;
}

static int width_of(const grid_shape *g, const uint8_t *head, int span)
{
    return g->axis == TADA_AXIS_CHANNEL ? head[span / 2] >> span % 2 * 4 & 15 : head[0];
}

size_t grid_run_bytes(const grid_shape *g, int n, const uint8_t *head)
{
    size_t bits = 0;
    for (int s = 0; s < g->width / SPAN; s++) {
        if (width_of(g, head, s) > GRID_CODE_BITS) {
            return 0;
        }
        bits += (size_t)width_of(g, head, s);
    }
    /* A span has 8 codes, so that codes of n bits take n bytes. */
    return grid_head_bytes(g) + 2 * words_of(g, n) + (size_t)n * bits;
}

/* The head of a run: the least widths that its codes need. */
static void make_head(const grid_shape *g, const uint8_t *codes, int n, uint8_t *head)
{
    memset(head, 0, grid_head_bytes(g));
    for (int s = 0; s < g->width / SPAN; s++) {
        unsigned all = 0;
        for (int t = 0; t < n; t++) {
            const uint8_t *span = codes + (size_t)t * (size_t)g->width + (size_t)(s * SPAN);
            for (int i = 0; i < SPAN; i++) {
                all |= span[i];
            }
        }
        int bits = bit_length(all);
        if (g->axis == TADA_AXIS_CHANNEL) {
            head[s / 2] = (uint8_t)(head[s / 2] | bits << s % 2 * 4);
        } else {
            head[0] = bits > head[0] ? (uint8_t)bits : head[0];
        }
    }
}

static const uint8_t *codes_from(const grid_shape *g, const grid_work *w, int first)
{
    return w->codes + (size_t)first * (size_t)g->width;
}

size_t grid_bytes(const grid_shape *g, int first, int n, float *scratch)
{
    grid_work w = grid_work_make(g, scratch);
    make_head(g, codes_from(g, &w, first), n, w.lane_codes);
    return grid_run_bytes(g, n, w.lane_codes);
}

size_t grid_put(const grid_shape *g, int first, int n, float *scratch, uint8_t *bytes)
{
    grid_work w = grid_work_make(g, scratch);
    const uint8_t *codes = codes_from(g, &w, first);
    const uint16_t *words = w.words + (g->axis == TADA_AXIS_TOKEN ? words_of(g, first) : 0);
    uint8_t *to = bytes + grid_head_bytes(g);
    make_head(g, codes, n, bytes);
    memcpy(to, words, 2 * words_of(g, n));
    to += 2 * words_of(g, n);
    for (int t = 0; t < n; t++) {
        for (int s = 0; s < g->width / SPAN; s++) {
            to = put_span(codes, width_of(g, bytes, s), to);
            codes += SPAN;
        }
    }
    return (size_t)(to - bytes);
}

void grid_get(const grid_shape *g, int n, const uint8_t *bytes, uint16_t *rows, float *scratch)
{
    grid_work w = grid_work_make(g, scratch);
    const uint8_t *from = bytes + grid_head_bytes(g);
    uint8_t *codes = w.codes;
    memcpy(w.words, from, 2 * words_of(g, n));
    from += 2 * words_of(g, n);
    for (int t = 0; t < n; t++) {
        for (int s = 0; s < g->width / SPAN; s++) {
            from = get_span(from, width_of(g, bytes, s), codes);
            codes += SPAN;
        }
    }
    grid_decode(g, n, &w, rows);
}
