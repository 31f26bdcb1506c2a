#include "codes.h"

#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

bool tada_codes_can(const tada_codec *c)
{
    bool plain = c->recipe.centring == TADA_CENTRE_NONE ||
                 (c->recipe.centring == TADA_CENTRE_TOKENS && c->recipe.axis == TADA_AXIS_CHANNEL);
    return plain && c->layout.head_dim <= 256;
}

static size_t longest(const tada_codec *c)
{
    return c->layout.head_dim > CELLS ? (size_t)c->layout.head_dim : CELLS;
}

size_t tada_codes_scratch(const tada_codec *c)
{
    return tada_tile_scratch(c) + TADA_ROWS * longest(c) / 2 + 2 * TADA_ROWS + 16;
}

/* The scales of a head lie apart from its codes. */
static void fetch_factors(const tada_codes *c)
{
    size_t bytes;
    const uint8_t *meta = tada_tile_head_meta(c->codec, c->next, c->head, &bytes);
    for (size_t i = 0; i < bytes; i += 64) {
        __builtin_prefetch(meta + i);
    }
}

/*
 * m rows of x times the codes of a head. `folds_scale`: a scale belongs to what is summed over (the channels of K,
 * the cells of V), so it goes into x; else to what is left, and goes into the sums.
 */
static void multiply(const tada_codes *c, bool folds_scale, const float *x, size_t ldx, int n_x, int columns, int m,
                     float *out, size_t ldo, float *scratch)
{
    const tada_kernels *k = tada_kernels_get();
    tada_head head = tada_tile_open_head(c->codec, c->cold, c->head, scratch);
    const tada_factors *f = &head.factors;
    scratch += tada_tile_scratch(c->codec);
    tada_fold fold = {.x = x, .ldx = ldx, .m = m, .n = n_x, .ldf = longest(c->codec)};
    fold.inverse = scratch;
    fold.bias = scratch + TADA_ROWS;
    fold.folded = (int16_t *)(void *)(scratch + 2 * TADA_ROWS);
    tada_dot dot = {.low = head.low,
                    .high = head.high,
                    .bits = c->codec->recipe.bits,
                    .step = columns / 16,
                    .n_fours = n_x / 4,
                    .n_vectors = columns / 16,
                    .m = m,
                    .x = fold.folded,
                    .ldx = fold.ldf,
                    .inverse = fold.inverse,
                    .bias = fold.bias,
                    .out = out,
                    .ldo = ldo};
    if (c->next) {
        dot.next = tada_tile_head_codes(c->codec, c->next, c->head);
        fetch_factors(c);
    }
    if (folds_scale) {
        /* A group is a range of columns. */
        dot.n_vectors = f->group / 16;
        for (int j = 0; j < columns; j += f->group) {
            fold.scale = f->scale + (size_t)(j / f->group) * (size_t)n_x;
            fold.offset = f->offset + (size_t)(j / f->group) * (size_t)n_x;
            k->fold(&fold);
            dot.first = j / 16;
            dot.out = out + j;
            k->codes_dot(&dot);
            dot.next = NULL;
        }
        return;
    }
    /* A group is a range of what is summed over. */
    fold.n = f->group;
    dot.n_fours = f->group / 4;
    for (int i = 0; i < n_x; i += f->group) {
        fold.x = x + i;
        k->fold(&fold);
        dot.first = i / 4 * dot.step;
        dot.scale = f->scale + (size_t)(i / f->group) * (size_t)columns;
        dot.offset = f->offset + (size_t)(i / f->group) * (size_t)columns;
        k->codes_dot(&dot);
        dot.next = NULL;
    }
}

static void clear_unwritten(uint64_t mask, float *x, int m)
{
    for (int t = 0; mask != UINT64_MAX && t < CELLS; t++) {
        for (int r = 0; !(mask >> t & 1) && r < m; r++) {
            x[r * CELLS + t] = 0;
        }
    }
}

void tada_codes_scores(const tada_codes *c, const float *q, int m, float *scores, float *scratch)
{
    int dim = c->codec->layout.head_dim;
    memset(scores, 0, (size_t)m * CELLS * sizeof *scores);
    multiply(c, c->codec->recipe.axis == TADA_AXIS_CHANNEL, q, (size_t)dim, dim, CELLS, m, scores, CELLS, scratch);
    clear_unwritten(c->mask, scores, m);
}

void tada_codes_values(const tada_codes *c, float *weights, int m, float *out, size_t stride, float *scratch)
{
    clear_unwritten(c->mask, weights, m);
    multiply(c, c->codec->recipe.axis == TADA_AXIS_TOKEN, weights, CELLS, CELLS, c->codec->layout.head_dim, m, out,
             stride, scratch);
}
