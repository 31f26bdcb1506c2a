/* Rows on grids: finding the integers behind them, and back. */
#include "grid.h"

#include "half.h"
#include "kernels.h"

#include <math.h>
#include <string.h>

enum {
    CELLS = TADA_TILE_CELLS,
    LANES = TADA_LANES,
    SPAN = 8, /* columns whose codes have one width, so that those of a row fill whole bytes */
    SCALES = 128,
    ZERO_LEAST = -256,
    ZERO_MOST = 255,
    CODE_MOST = 255,
    CODE_BITS = 8,
};

/* The parts of the scratch. */
typedef struct work {
    float *x;      /* [64][width] */
    float *turned; /* [width][64] */
    float *scale, *offset;
    uint8_t *codes;    /* [64][width] */
    uint16_t *words;   /* axis channel [width], axis token [64][width / group] */
    uint8_t *lane_codes; /* [64 or group][LANES] */
    uint16_t *rows;    /* [64][width] */
} work;

static size_t words_of(const tada_grid *g, int n)
{
    return g->axis == TADA_AXIS_CHANNEL ? (size_t)g->width : (size_t)n * (size_t)(g->width / g->group);
}

static work work_make(const tada_grid *g, float *scratch)
{
    size_t width = (size_t)g->width, values = CELLS * width;
    work w;
    w.x = scratch;
    w.turned = w.x + values;
    w.scale = w.turned + values;
    w.offset = w.scale + width;
    w.codes = (uint8_t *)(w.offset + width);
    w.words = (uint16_t *)(void *)(w.codes + values);
    w.lane_codes = (uint8_t *)(w.words + words_of(g, CELLS));
    w.rows = (uint16_t *)(void *)(w.lane_codes + TADA_GRID_GROUP * LANES);
    return w;
}

size_t tada_grid_scratch(const tada_grid *g)
{
    /* What work_make hands out, in floats. */
    size_t width = (size_t)g->width, values = CELLS * width;
    return 2 * values + 2 * width + values / 4 + (words_of(g, CELLS) + 1) / 2 +
           TADA_GRID_GROUP * LANES / 4 + values / 2 + 16;
}

bool tada_grid_check(const tada_grid *g)
{
    bool token = g->axis == TADA_AXIS_TOKEN;
    if (g->width < 16 || g->width > TADA_GRID_WIDTH || g->width % 16 != 0 ||
        (!token && (g->axis != TADA_AXIS_CHANNEL || g->group != 0))) {
        return false;
    }
    if (g->rotation != 1 && (g->rotation < 16 || g->rotation > TADA_GRID_BLOCK ||
                             (g->rotation & (g->rotation - 1)) || g->width % g->rotation)) {
        return false;
    }
    return !token ||
           (g->group >= 16 && g->group <= TADA_GRID_GROUP && g->group % 16 == 0 && g->width % g->group == 0);
}

/* ---- back to rows ---- */

static void factors(const uint16_t *words, size_t n, float *scale, float *offset)
{
    tada_kernels_get()->factors((const uint8_t *)words, (int)n, scale, offset);
}

/* n rows from codes and words. */
static void decode(const tada_grid *g, int n, const work *w, uint16_t *rows)
{
    const tada_kernels *k = tada_kernels_get();
    int width = g->width, group = g->axis == TADA_AXIS_TOKEN ? g->group : width;
    float *row = w->turned; /* free by then */
    if (g->axis == TADA_AXIS_CHANNEL) {
        factors(w->words, (size_t)width, w->scale, w->offset);
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
            factors(w->words + (size_t)t * (size_t)groups, (size_t)groups, w->scale, w->offset);
            for (int i = 0; i < groups; i++) {
                float scale = w->scale[i], offset = w->offset[i];
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

/* ---- integers behind rows ---- */

/* Three times as far as the rounding of rows to f16 can have moved values that were turned back: 2^-12 of the
 * norm of what is rotated together. noise: of each block [width / rotation] of a row, and may be the row. */
static void block_noise(const tada_grid *g, const float *row, float *noise)
{
    for (int b = 0; b < g->width / g->rotation; b++) {
        float sum = 0;
        for (int d = b * g->rotation; d < (b + 1) * g->rotation; d++) {
            sum += row[d] * row[d];
        }
        noise[b] = 3 * 0x1p-12f * sqrtf(sum);
    }
}

/* Values of the rows, turned back. The rest of the 64 becomes zeros. */
static void load(const tada_grid *g, const uint16_t *rows, int n, float *x)
{
    const tada_kernels *k = tada_kernels_get();
    k->half_to_float(rows, x, (int64_t)n * g->width);
    memset(x + (size_t)n * (size_t)g->width, 0, (size_t)(CELLS - n) * (size_t)g->width * sizeof *x);
    for (int t = 0; t < n && g->rotation > 1; t++) {
        k->hadamard(x + (size_t)t * (size_t)g->width, g->width, g->rotation);
    }
}

static float scale_value(int index)
{
    return ldexpf((float)(4 + index % 4), index / 4 - 18);
}

/* The coarsest scale whose multiples are, rounded, exactly the n values of a column; of rows that are not
 * rotated. Values that lie on several grids within their rounding, but only on one exactly, need it. */
static bool fit_column(const uint16_t *rows, size_t width, const float *x, int n, uint16_t *word,
                       uint8_t *codes)
{
    float size = 0;
    int index = SCALES - 1;
    for (int t = 0; t < n; t++) {
        float value = fabsf(x[(size_t)t * width]);
        if (!(value < INFINITY)) {
            return false;
        }
        size = value > size ? value : size;
    }
    while (index > 0 && scale_value(index - 1) >= size) {
        index--;
    }
    for (; index >= 0; index--) {
        float scale = scale_value(index), least = INFINITY, most = -INFINITY;
        bool fits = size <= scale * (CODE_MOST + ZERO_MOST);
        if (!fits) {
            return false;
        }
        for (int t = 0; fits && t < n; t++) {
            float multiple = rintf(x[(size_t)t * width] / scale);
            uint16_t half = tada_half_from_float(scale * multiple);
            half = (uint16_t)(half - ((half & 0x7fff) == 0x7c00));
            fits = half == rows[(size_t)t * width];
            least = multiple < least ? multiple : least;
            most = multiple > most ? multiple : most;
        }
        if (!fits || least < ZERO_LEAST || least > ZERO_MOST || most - least > CODE_MOST) {
            continue;
        }
        *word = (uint16_t)(index << 9 | ((int)least & 511));
        for (int t = 0; t < n; t++) {
            codes[(size_t)t * width] = (uint8_t)(rintf(x[(size_t)t * width] / scale) - least);
        }
        return true;
    }
    return false;
}

/* Whether the codes and words of 16 columns from d on give their values; else other words are looked for. */
static bool mend_columns(const tada_grid *g, const uint16_t *rows, int n, int d, const work *w)
{
    const tada_kernels *k = tada_kernels_get();
    float value[LANES], scale[LANES], offset[LANES];
    uint16_t half[LANES], wrong[LANES] = {0};
    size_t width = (size_t)g->width;
    factors(w->words + d, LANES, scale, offset);
    for (int t = 0; t < n; t++) {
        size_t at = (size_t)t * width + (size_t)d;
        for (int j = 0; j < LANES; j++) {
            value[j] = scale[j] * (float)w->codes[at + (size_t)j] + offset[j];
        }
        k->half_from_float(value, half, LANES);
        for (int j = 0; j < LANES; j++) {
            wrong[j] |= half[j] ^ rows[at + (size_t)j];
        }
    }
    for (int j = 0; j < LANES; j++) {
        size_t at = (size_t)(d + j);
        if (wrong[j] && !fit_column(rows + at, width, w->x + at, n, &w->words[at], w->codes + at)) {
            return false;
        }
    }
    return true;
}

static bool fit_channels(const tada_grid *g, const uint16_t *rows, int n, const work *w)
{
    size_t width = (size_t)g->width;
    float *most = w->scale, *noise = w->offset; /* free until the end */
    load(g, rows, n, w->x);
    memset(most, 0, width * sizeof *most);
    for (int t = 0; t < n && g->rotation > 1; t++) {
        block_noise(g, w->x + (size_t)t * width, noise);
        for (int b = 0; b < g->width / g->rotation; b++) {
            most[b] = fmaxf(most[b], noise[b]);
        }
    }
    for (int d = 0; d < g->width; d += LANES) {
        tada_block block = {w->x + d,           width,         n,   CODE_BITS,
                            TADA_SEARCH_MINMAX, w->lane_codes, {0}, {0}};
        for (int j = 0; j < LANES && g->rotation > 1; j++) {
            block.noise[j] = most[d / g->rotation];
        }
        tada_kernels_get()->quantise(&block);
        memcpy(w->words + d, block.meta, sizeof block.meta);
        for (int t = 0; t < n; t++) {
            memcpy(w->codes + (size_t)t * width + d, w->lane_codes + t * LANES, LANES);
        }
        if (g->rotation == 1 && !mend_columns(g, rows, n, d, w)) {
            return false;
        }
    }
    return true;
}

static void fit_tokens(const tada_grid *g, const uint16_t *rows, int n, const work *w)
{
    const tada_kernels *k = tada_kernels_get();
    size_t width = (size_t)g->width;
    int groups = g->width / g->group;
    load(g, rows, n, w->x);
    k->turn(w->x, CELLS, g->width, w->turned);
    for (int t = 0; t < n && g->rotation > 1; t++) {
        /* A row takes its noise, block by block, over its values: those are in `turned` now. */
        block_noise(g, w->x + (size_t)t * width, w->x + (size_t)t * width);
    }
    for (int start = 0; start < g->width; start += g->group) {
        for (int t = 0; t < n; t += LANES) {
            tada_block block = {w->turned + (size_t)start * CELLS + t,
                                CELLS,
                                g->group,
                                CODE_BITS,
                                TADA_SEARCH_MINMAX,
                                w->lane_codes,
                                {0},
                                {0}};
            for (int j = 0; j < LANES && t + j < n && g->rotation > 1; j++) {
                const float *noise = w->x + (size_t)(t + j) * width;
                for (int b = start / g->rotation; b <= (start + g->group - 1) / g->rotation; b++) {
                    block.noise[j] = fmaxf(block.noise[j], noise[b]);
                }
            }
            k->quantise(&block);
            for (int j = 0; j < LANES && t + j < n; j++) {
                uint8_t *codes = w->codes + (size_t)(t + j) * width + start;
                w->words[(t + j) * groups + start / g->group] = block.meta[j];
                for (int d = 0; d < g->group; d++) {
                    codes[d] = w->lane_codes[d * LANES + j];
                }
            }
        }
    }
}

uint64_t tada_grid_fit(const tada_grid *g, const uint16_t *rows, int n, float *scratch)
{
    work w = work_make(g, scratch);
    size_t width = (size_t)g->width;
    uint64_t exact = 0;
    if (g->axis == TADA_AXIS_TOKEN) {
        fit_tokens(g, rows, n, &w);
    } else if (!fit_channels(g, rows, n, &w)) {
        return 0;
    }
    decode(g, n, &w, w.rows);
    for (int t = 0; t < n; t++) {
        size_t at = (size_t)t * width;
        exact |= (uint64_t)(memcmp(w.rows + at, rows + at, width * sizeof *rows) == 0) << t;
    }
    bool all = exact == UINT64_MAX >> (CELLS - n);
    return all || g->axis == TADA_AXIS_TOKEN ? exact : 0;
}

int tada_grid_longest(const tada_grid *g, const uint16_t *rows, int n, float *scratch)
{
    int least = 0, most = n < CELLS ? n : CELLS; /* `least` rows lie on one: those that lie on a grid do so without the last, too */
    for (int next = most; least < most; next = (least + most + 1) / 2) {
        if (tada_grid_fit(g, rows, next, scratch)) {
            least = next;
        } else {
            most = next - 1;
        }
    }
    return least;
}

/* ---- bytes ---- */

static int bit_length(unsigned value)
{
    return value ? 32 - __builtin_clz(value) : 0;
}

/* 8 codes of so many bits, the first one lowest; as many bytes as bits. */
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

static size_t widths_bytes(const tada_grid *g)
{
    return g->axis == TADA_AXIS_CHANNEL ? (size_t)g->width / (2 * SPAN) : 1;
}

size_t tada_grid_head_bytes(const tada_grid *g)
{
    return widths_bytes(g);
}

size_t tada_grid_most_bytes(const tada_grid *g)
{
    return widths_bytes(g) + 2 * words_of(g, CELLS) + (size_t)CELLS * (size_t)g->width;
}

static int width_of(const tada_grid *g, const uint8_t *head, int span)
{
    return g->axis == TADA_AXIS_CHANNEL ? head[span / 2] >> span % 2 * 4 & 15 : head[0];
}

size_t tada_grid_run_bytes(const tada_grid *g, int n, const uint8_t *head)
{
    size_t bits = 0;
    for (int s = 0; s < g->width / SPAN; s++) {
        if (width_of(g, head, s) > CODE_BITS) {
            return 0;
        }
        bits += (size_t)width_of(g, head, s);
    }
    /* 8 codes to a span: its bits of all of them are as many bytes. */
    return widths_bytes(g) + 2 * words_of(g, n) + (size_t)n * bits;
}

size_t tada_grid_put(const tada_grid *g, int first, int n, float *scratch, uint8_t *bytes)
{
    work w = work_make(g, scratch);
    const uint8_t *codes = w.codes + (size_t)first * (size_t)g->width;
    uint8_t *to = bytes;
    memset(to, 0, widths_bytes(g));
    for (int s = 0; s < g->width / SPAN; s++) {
        unsigned all = 0;
        for (int t = 0; t < n; t++) {
            for (int i = 0; i < SPAN; i++) {
                all |= codes[(size_t)t * (size_t)g->width + (size_t)(s * SPAN + i)];
            }
        }
        int bits = bit_length(all);
        if (g->axis == TADA_AXIS_CHANNEL) {
            to[s / 2] = (uint8_t)(to[s / 2] | bits << s % 2 * 4);
        } else {
            to[0] = bits > to[0] ? (uint8_t)bits : to[0];
        }
    }
    const uint8_t *head = to;
    to += widths_bytes(g);
    const uint16_t *words = w.words + (g->axis == TADA_AXIS_TOKEN ? words_of(g, first) : 0);
    memcpy(to, words, 2 * words_of(g, n));
    to += 2 * words_of(g, n);
    for (int t = 0; t < n; t++) {
        for (int s = 0; s < g->width / SPAN; s++) {
            to = put_span(codes + (size_t)t * (size_t)g->width + (size_t)(s * SPAN), width_of(g, head, s), to);
        }
    }
    return (size_t)(to - bytes);
}

void tada_grid_get(const tada_grid *g, int n, const uint8_t *bytes, uint16_t *rows, float *scratch)
{
    work w = work_make(g, scratch);
    const uint8_t *head = bytes, *from = bytes + widths_bytes(g);
    memcpy(w.words, from, 2 * words_of(g, n));
    from += 2 * words_of(g, n);
    for (int t = 0; t < n; t++) {
        for (int s = 0; s < g->width / SPAN; s++) {
            from = get_span(from, width_of(g, head, s), w.codes + (size_t)t * (size_t)g->width + (size_t)(s * SPAN));
        }
    }
    decode(g, n, &w, rows);
}
