/* Grids: finding the codes and words behind f16 rows. */
#include "work.h"

#include "common/half.h"

#include <math.h>
#include <string.h>

enum {
    CELLS = TADA_TILE_CELLS,
    LANES = TADA_LANES,
    SCALES = 128,
    ZERO_LEAST = -256,
    ZERO_MOST = 255,
    CODE_MOST = (1 << GRID_CODE_BITS) - 1,
};

/* Three times as far as the rounding of rows to f16 can have moved values that were rotated back: 2^-12 of
 * the norm of what is rotated together. noise: of each block [width / rotation] of a row, and may be the row.
 */
static void block_noise(const grid_shape *g, const float *row, float *noise)
{
    for (int b = 0; b < g->width / g->rotation; b++) {
        float sum = 0;
        for (int d = b * g->rotation; d < (b + 1) * g->rotation; d++) {
            sum += row[d] * row[d];
        }
        noise[b] = 3 * 0x1p-12f * sqrtf(sum);
    }
}

/* Values of the rows, rotated back. The rest of the 64 becomes zeros. */
static void load_rows(const grid_shape *g, const uint16_t *rows, int n, float *x)
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
static bool mend_columns(const grid_shape *g, const uint16_t *rows, int n, int d, const grid_work *w)
{
    const tada_kernels *k = tada_kernels_get();
    float value[LANES], scale[LANES], offset[LANES];
    uint16_t half[LANES], wrong[LANES] = {0};
    size_t width = (size_t)g->width;
    k->factors((const uint8_t *)(w->words + d), LANES, scale, offset);
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

static bool fit_channels(const grid_shape *g, const uint16_t *rows, int n, const grid_work *w)
{
    size_t width = (size_t)g->width;
    float *most = w->scale, *noise = w->offset; /* free until the end */
    load_rows(g, rows, n, w->x);
    memset(most, 0, width * sizeof *most);
    for (int t = 0; t < n && g->rotation > 1; t++) {
        block_noise(g, w->x + (size_t)t * width, noise);
        for (int b = 0; b < g->width / g->rotation; b++) {
            most[b] = fmaxf(most[b], noise[b]);
        }
    }
    for (int d = 0; d < g->width; d += LANES) {
        tada_block block = {.x = w->x + d,
                            .stride = width,
                            .n = n,
                            .bits = GRID_CODE_BITS,
                            .search = TADA_SEARCH_MINMAX,
                            .codes = w->lane_codes};
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

/* Codes that count twice, of a group with the given word: its codes are even, or half its scale makes them
 * so. Rows of groups for which neither can be do not come out right, which is seen then. */
static void halve_codes(int n, uint8_t *codes, uint16_t *word)
{
    int index = *word >> 9, zero = ((*word & 511) ^ 256) - 256;
    unsigned odd = 0;
    for (int d = 0; d < n; d++) {
        odd |= codes[d] & 1u;
    }
    for (int d = 0; d < n && !odd; d++) {
        codes[d] /= 2;
    }
    if (odd && index >= 4 && 2 * zero >= ZERO_LEAST && 2 * zero <= ZERO_MOST) {
        *word = (uint16_t)((index - 4) << 9 | (2 * zero & 511));
    }
}

static void fit_tokens(const grid_shape *g, const uint16_t *rows, int n, const grid_work *w)
{
    const tada_kernels *k = tada_kernels_get();
    size_t width = (size_t)g->width;
    int groups = g->width / g->group;
    load_rows(g, rows, n, w->x);
    k->transpose_floats(w->x, CELLS, g->width, w->columns);
    for (int t = 0; t < n && g->rotation > 1; t++) {
        /* A row takes its noise, block by block, over its values: those are in `columns` now. */
        block_noise(g, w->x + (size_t)t * width, w->x + (size_t)t * width);
    }
    for (int start = 0; start < g->width; start += g->group) {
        for (int t = 0; t < n; t += LANES) {
            tada_block block = {.x = w->columns + (size_t)start * CELLS + t,
                                .stride = CELLS,
                                .n = g->group,
                                .bits = GRID_CODE_BITS,
                                .search = TADA_SEARCH_MINMAX,
                                .codes = w->lane_codes};
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
                if (g->doubled) {
                    halve_codes(g->group, codes, &w->words[(t + j) * groups + start / g->group]);
                }
            }
        }
    }
}

uint64_t grid_fit(const grid_shape *g, const uint16_t *rows, int n, float *scratch)
{
    grid_work w = grid_work_make(g, scratch);
    size_t width = (size_t)g->width;
    uint64_t exact = 0;
    if (g->axis == TADA_AXIS_TOKEN) {
        fit_tokens(g, rows, n, &w);
    } else if (!fit_channels(g, rows, n, &w)) {
        return 0;
    }
    grid_decode(g, n, &w, w.rows);
    for (int t = 0; t < n; t++) {
        size_t at = (size_t)t * width;
        exact |= (uint64_t)(memcmp(w.rows + at, rows + at, width * sizeof *rows) == 0) << t;
    }
    bool all = exact == UINT64_MAX >> (CELLS - n);
    return all || g->axis == TADA_AXIS_TOKEN ? exact : 0;
}
