#include "codes.h"

#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

static const float ones[256] = {
#define ONES8 1, 1, 1, 1, 1, 1, 1, 1
#define ONES64 ONES8, ONES8, ONES8, ONES8, ONES8, ONES8, ONES8, ONES8
    ONES64, ONES64, ONES64, ONES64};

/* What folding a block of rows gives. */
typedef struct folded {
    float inverse[TADA_CODES_ROWS], bias[TADA_CODES_ROWS];
    int16_t *x;
    size_t ldx;
} folded;

bool tada_codes_can(const tada_codec *c)
{
    bool plain = c->recipe.centring == TADA_CENTRE_NONE ||
                 (c->recipe.centring == TADA_CENTRE_TOKENS && c->recipe.axis == TADA_AXIS_CHANNEL);
    return plain && c->layout.head_dim <= 256;
}

size_t tada_codes_scratch(const tada_codec *c)
{
    size_t longest = c->layout.head_dim > CELLS ? (size_t)c->layout.head_dim : CELLS;
    return tada_tile_scratch(c) + TADA_CODES_ROWS * longest / 2 + 16;
}

static folded folded_make(const tada_codec *c, float *scratch)
{
    size_t longest = c->layout.head_dim > CELLS ? (size_t)c->layout.head_dim : CELLS;
    return (folded){.x = (int16_t *)(void *)(scratch + tada_tile_scratch(c)), .ldx = longest};
}

static void fold_rows(folded *f, const float *x, size_t stride, int m, const float *scale,
                      const float *offset, int n)
{
    for (int r = 0; r < m; r++) {
        f->inverse[r] = tada_kernels_get()->fold(x + (size_t)r * stride, scale, offset, n,
                                                 f->x + (size_t)r * f->ldx, &f->bias[r]);
    }
}

void tada_codes_scores(const tada_codec *c, const uint8_t *cold, uint64_t mask, int head, const float *q,
                       int m, float *scores, float *scratch)
{
    const tada_kernels *k = tada_kernels_get();
    int dim = c->layout.head_dim;
    tada_factors f;
    const uint8_t *codes = tada_tile_open_head(c, cold, head, &f, scratch);
    folded rows = folded_make(c, scratch);
    tada_dot dot = {.codes = codes, .step = 4 * 64, .m = m, .x = rows.x, .ldx = rows.ldx, .ldo = CELLS};
    dot.inverse = rows.inverse;
    dot.bias = rows.bias;
    memset(scores, 0, (size_t)m * CELLS * sizeof *scores);
    if (f.axis == TADA_AXIS_CHANNEL) {
        dot.n_fours = dim / 4;
        dot.n_vectors = f.group / 16;
        dot.scale = dot.offset = ones;
        for (int t = 0; t < CELLS; t += f.group) {
            size_t at = (size_t)(t / f.group) * (size_t)dim;
            fold_rows(&rows, q, (size_t)dim, m, f.scale + at, f.offset + at, dim);
            dot.codes = codes + (size_t)(t / 16) * 64;
            dot.out = scores + t;
            k->codes_dot(&dot);
        }
    } else {
        dot.n_fours = f.group / 4;
        dot.n_vectors = CELLS / 16;
        dot.out = scores;
        for (int d = 0; d < dim; d += f.group) {
            fold_rows(&rows, q + d, (size_t)dim, m, ones, ones, f.group);
            dot.codes = codes + (size_t)(d / 4) * dot.step;
            dot.scale = f.scale + (size_t)(d / f.group) * CELLS;
            dot.offset = f.offset + (size_t)(d / f.group) * CELLS;
            k->codes_dot(&dot);
        }
    }
    for (int t = 0; mask != UINT64_MAX && t < CELLS; t++) {
        for (int r = 0; !(mask >> t & 1) && r < m; r++) {
            scores[r * CELLS + t] = 0;
        }
    }
}

void tada_codes_values(const tada_codec *c, const uint8_t *cold, uint64_t mask, int head, float *weights,
                       int m, float *out, size_t stride, float *scratch)
{
    const tada_kernels *k = tada_kernels_get();
    int dim = c->layout.head_dim;
    tada_factors f;
    const uint8_t *codes = tada_tile_open_head(c, cold, head, &f, scratch);
    folded rows = folded_make(c, scratch);
    tada_dot dot = {
        .codes = codes, .step = (size_t)(dim / 16) * 64, .m = m, .x = rows.x, .ldx = rows.ldx, .ldo = stride};
    dot.inverse = rows.inverse;
    dot.bias = rows.bias;
    for (int t = 0; mask != UINT64_MAX && t < CELLS; t++) {
        for (int r = 0; !(mask >> t & 1) && r < m; r++) {
            weights[r * CELLS + t] = 0;
        }
    }
    if (f.axis == TADA_AXIS_TOKEN) {
        dot.n_fours = CELLS / 4;
        dot.n_vectors = f.group / 16;
        dot.scale = dot.offset = ones;
        for (int d = 0; d < dim; d += f.group) {
            size_t at = (size_t)(d / f.group) * CELLS;
            fold_rows(&rows, weights, CELLS, m, f.scale + at, f.offset + at, CELLS);
            dot.codes = codes + (size_t)(d / 16) * 64;
            dot.out = out + d;
            k->codes_dot(&dot);
        }
    } else {
        dot.n_fours = f.group / 4;
        dot.n_vectors = dim / 16;
        dot.out = out;
        for (int t = 0; t < CELLS; t += f.group) {
            fold_rows(&rows, weights + t, CELLS, m, ones, ones, f.group);
            dot.codes = codes + (size_t)(t / 4) * dot.step;
            dot.scale = f.scale + (size_t)(t / f.group) * (size_t)dim;
            dot.offset = f.offset + (size_t)(t / f.group) * (size_t)dim;
            k->codes_dot(&dot);
        }
    }
}
