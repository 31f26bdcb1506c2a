#include "codes.h"

#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

bool tada_codes_can(const tada_codec *c)
{
    /* With words of 8 bits, zero is about the middle of the codes, however few of them occur, and what
     * rounding does to a weight counts as often as that: for 4 bits it is little. */
    bool near = c->recipe.scale != TADA_SCALE_8 || c->recipe.bits <= 4;
    return near && (c->recipe.centring != TADA_CENTRE_TOKENS || c->recipe.axis == TADA_AXIS_CHANNEL) &&
           c->layout.head_dim <= TADA_CODES_DIM;
}

static size_t longest(const tada_codec *c)
{
    return c->layout.head_dim > CELLS ? (size_t)c->layout.head_dim : CELLS;
}

/* Floats of one tile's scales and zero points. */
static size_t factors_floats(const tada_codec *c)
{
    return (tada_tile_factors(c) + 15) / 16 * 16;
}

size_t tada_codes_scratch(const tada_codec *c)
{
    return TADA_BATCH * factors_floats(c) + TADA_ROWS * longest(c) / 2 + 2 * TADA_ROWS + 16 +
           CELLS * (size_t)c->layout.head_dim / 2;
}

/* What is multiplied with the codes of a batch: x has a row of `inner` values for each of m rows and each
 * tile, and out one of `outer` values. */
typedef struct product {
    const float *x;
    size_t ldx, x_tile;
    int inner, outer, m;
    float *out;
    size_t ldo, out_tile;
} product;

/*
 * m rows of x times the codes of a head. `folds_scale`: a scale belongs to what is summed over (the channels
 * of K, the cells of V), so it goes into x; else to what is left, and goes into the sums.
 */
static void multiply(const tada_codes *c, bool folds_scale, const product *p, float *scratch)
{
    const tada_kernels *k = tada_kernels_get();
    tada_head head[TADA_BATCH];
    /* What comes next is fetched in order, an eighth here, an eighth while folding, the rest while summing.
     */
    const uint8_t *next = c->next;
    size_t share = c->codec->layout.record_bytes / 512 * 64;
    for (int j = 0; j < c->n_tiles; j++) {
        tada_tile_open_head(c->codec, &c->cold[j], c->head, scratch + (size_t)j * factors_floats(c->codec),
                            &head[j]);
        for (const uint8_t *end = next + share; next < end; next += 64) {
            tada_fetch_line(next);
        }
    }
    const tada_factors *f = &head[0].factors;
    scratch += TADA_BATCH * factors_floats(c->codec);
    /* Every member is set one by one: clearing them all first takes as long as a third of a tile. */
    tada_fold fold;
    fold.x = p->x;
    fold.ldx = p->ldx;
    fold.x_tile = p->x_tile;
    fold.factors_tile = factors_floats(c->codec);
    fold.n_tiles = c->n_tiles;
    fold.m = p->m;
    fold.scale = fold.offset = NULL;
    fold.ldf = longest(c->codec);
    fold.inverse = scratch;
    fold.bias = scratch + TADA_ROWS;
    fold.folded = (int16_t *)(void *)(scratch + 2 * TADA_ROWS);
    tada_dot dot;
    dot.bits = c->codec->recipe.bits;
    dot.step = p->outer / 16;
    dot.m = p->m;
    dot.ldx = fold.ldf;
    dot.ldo = p->ldo;
    /* A group is a range of what is summed over, or of what is left. */
    int inner = folds_scale ? p->inner : f->group, outer = folds_scale ? f->group : p->outer;
    fold.n = inner;
    dot.n_fours = inner / 4;
    dot.n_vectors = outer / 16;
    for (int g = 0; g < (folds_scale ? p->outer / outer : p->inner / inner); g++) {
        size_t at = (size_t)g * (size_t)(folds_scale ? inner : outer);
        if (folds_scale) {
            fold.scale = f->scale + at;
            fold.offset = f->offset + at;
        } else {
            fold.x = p->x + (size_t)g * (size_t)inner;
        }
        fold.next = next;
        next += g == 0 ? share * (size_t)c->n_tiles : 0;
        fold.next_end = next;
        k->fold(&fold);
        dot.first = folds_scale ? g * outer / 16 : g * inner / 4 * dot.step;
        for (int j = 0; j < c->n_tiles; j++) {
            dot.low = head[j].sections.of[0].low;
            dot.high = head[j].sections.of[0].high;
            dot.x = fold.folded + (size_t)(j * p->m) * fold.ldf;
            dot.inverse = fold.inverse + j * p->m;
            dot.bias = fold.bias + j * p->m;
            dot.scale = folds_scale ? NULL : head[j].factors.scale + at;
            dot.offset = folds_scale ? NULL : head[j].factors.offset + at;
            dot.out = p->out + (size_t)j * p->out_tile + (folds_scale ? g * outer : 0);
            dot.next = next;
            next += g == 0 ? c->codec->layout.record_bytes - 2 * share : 0;
            dot.next_end = next;
            if (head[j].widths) {
                k->sections_dot(&dot, &head[j].sections);
            } else {
                k->codes_dot(&dot);
            }
        }
    }
}

static void clear_unwritten(const tada_codes *c, float *x, size_t ldx, int m)
{
    for (int j = 0; j < c->n_tiles; j++) {
        for (int t = 0; c->mask[j] != UINT64_MAX && t < CELLS; t++) {
            for (int r = 0; !(c->mask[j] >> t & 1) && r < m; r++) {
                x[(size_t)r * ldx + (size_t)(j * CELLS + t)] = 0;
            }
        }
    }
}

/* The means over heads of a tile as f16 rows [64][head_dim]; bytes are the upper halves of f16. */
static const uint16_t *head_means(const tada_codes *c, int tile, float *scratch)
{
    const uint8_t *means = c->cold[tile].head_means;
    uint16_t *rows = (uint16_t *)(void *)scratch;
    size_t n = CELLS * (size_t)c->codec->layout.head_dim;
    if (c->codec->recipe.centring == TADA_CENTRE_HEADS16) {
        memcpy(rows, means, n * sizeof *rows);
        return rows;
    }
    for (size_t i = 0; i < n; i++) {
        rows[i] = (uint16_t)(means[i] << 8);
    }
    return rows;
}

void tada_codes_scores(const tada_codes *c, const float *q, int m, float *scores, size_t lds, float *scratch)
{
    int dim = c->codec->layout.head_dim;
    product p = {.x = q, .ldx = (size_t)dim, .inner = dim, .outer = CELLS, .m = m};
    p.out = scores;
    p.ldo = lds;
    p.out_tile = CELLS;
    bool means = c->codec->layout.head_means_bytes > 0;
    for (int r = 0; r < m && !means; r++) {
        memset(scores + (size_t)r * lds, 0, (size_t)c->n_tiles * CELLS * sizeof *scores);
    }
    for (int j = 0; j < c->n_tiles && means; j++) {
        const uint16_t *rows = head_means(c, j, scratch);
        tada_kernels_get()->scores_rows(q, m, dim, rows, (size_t)dim, CELLS, scores + j * CELLS, lds);
    }
    multiply(c, c->codec->recipe.axis == TADA_AXIS_CHANNEL, &p, scratch);
    clear_unwritten(c, scores, lds, m);
}

void tada_codes_values(const tada_codes *c, float *weights, size_t ldw, int m, float *out, size_t ldo,
                       float *scratch)
{
    product p = {.x = weights,
                 .ldx = ldw,
                 .x_tile = CELLS,
                 .inner = CELLS,
                 .outer = c->codec->layout.head_dim,
                 .m = m};
    p.out = out;
    p.ldo = ldo;
    clear_unwritten(c, weights, ldw, m);
    for (int j = 0; j < c->n_tiles && c->codec->layout.head_means_bytes > 0; j++) {
        const uint16_t *rows = head_means(c, j, scratch);
        tada_kernels_get()->values_rows(weights + j * CELLS, ldw, m, p.outer, rows, (size_t)p.outer, CELLS,
                                        out, ldo);
    }
    multiply(c, c->codec->recipe.axis == TADA_AXIS_TOKEN, &p, scratch);
}
