#include "codes.h"

#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

bool tada_codes_can(const tada_codec *c)
{
    /* With scale words of 8 bits, zero is about the middle of the codes, however few of them occur, and what
     * rounding does to a weight counts as often as that: for 4 bits it is little. */
    bool near = c->recipe.scale != TADA_SCALE_8 || c->recipe.bits <= 4;
    return near && (c->recipe.centring != TADA_CENTRE_TOKENS || c->recipe.axis == TADA_AXIS_CHANNEL) &&
           c->layout.head_dim <= TADA_CODES_DIM;
}

/* Floats of one tile's scales and zero points. */
static size_t factors_floats(const tada_codec *c)
{
    return (tada_tile_factors(c) + 15) / 16 * 16;
}

/* Groups of a head, and the most values that are summed up in one of them. */
static int n_groups(const tada_codec *c)
{
    const tada_layout *l = &c->layout;
    return c->recipe.axis == TADA_AXIS_CHANNEL ? l->n_groups
           : l->group < l->head_dim            ? l->head_dim / l->group
                                               : 1;
}

static size_t longest(const tada_codec *c)
{
    return c->kind == TADA_K ? (size_t)c->layout.head_dim : CELLS;
}

/* The parts of the scratch; what is of a row is there for each group, of the largest batch. */
typedef struct work {
    float *factors, *inverse, *bias;
    int16_t *folded;
    uint8_t *joined; /* of one tile */
} work;

/* A part of so many floats at its own cache lines; NULL without memory. */
static void *take(float *memory, size_t *at, size_t floats)
{
    float *part = memory ? memory + *at : NULL;
    *at += (floats + 15) / 16 * 16;
    return part;
}

/* Returns the floats that all parts take. */
static size_t work_make(const tada_codec *c, float *memory, work *w)
{
    size_t rows = (size_t)n_groups(c) * TADA_ROWS, codes = CELLS * (size_t)c->layout.head_dim, at = 0;
    w->factors = take(memory, &at, TADA_BATCH * factors_floats(c));
    w->folded = take(memory, &at, rows * longest(c) / 2);
    w->inverse = take(memory, &at, rows);
    w->bias = take(memory, &at, rows);
    w->joined = take(memory, &at, c->layout.fine_bits ? codes / 4 : 0);
    return at;
}

size_t tada_codes_scratch(const tada_codec *c)
{
    work w;
    size_t floats = work_make(c, NULL, &w), means = CELLS * (size_t)c->layout.head_dim / 2;
    return floats > means ? floats : means;
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

/* What comes next is fetched in order, record by record, then the refinements: an eighth while heads are
 * opened, an eighth while folding, the rest while summing. */
typedef struct ahead {
    const uint8_t *at, *end, *fine, *fine_end;
} ahead;

static ahead ahead_make(const tada_codes *c)
{
    const tada_layout *l = &c->codec->layout;
    const uint8_t *end = c->next + (size_t)c->n_tiles * l->record_bytes;
    const uint8_t *fine = c->next_fine ? c->next_fine : end;
    return (ahead){c->next, end, fine, c->next_fine ? fine + (size_t)c->n_tiles * l->record_bytes : end};
}

static size_t ahead_left(const ahead *a)
{
    return (size_t)(a->end - a->at) + (size_t)(a->fine_end - a->fine);
}

/* From *next up to the end that is returned: so many bytes, or less where the records end. */
static const uint8_t *ahead_take(ahead *a, size_t bytes, const uint8_t **next)
{
    if (a->at == a->end) {
        a->at = a->fine;
        a->end = a->fine = a->fine_end;
    }
    size_t left = (size_t)(a->end - a->at);
    *next = a->at;
    a->at += bytes < left ? bytes : left;
    return a->at;
}

/* Scales belong to what is summed over (the channels of K, the cells of V), so they go into x; else to what
 * is left, and go into the sums. A group is a range of the former or of the latter. */
typedef struct groups {
    bool folds_scale;
    int n, inner, outer;
} groups;

static groups groups_make(const tada_codes *c, bool folds_scale, const product *p)
{
    int n = n_groups(c->codec);
    return folds_scale ? (groups){true, n, p->inner, p->outer / n}
                       : (groups){false, n, p->inner / n, p->outer};
}

/* x as integers, a group after the other. */
static void fold_groups(const tada_codes *c, const product *p, const groups *g, const tada_factors *f,
                        const work *w, const uint8_t *next, const uint8_t *end)
{
    size_t rows = (size_t)(c->n_tiles * p->m);
    /* Every member is set one by one: clearing them all first takes as long as a third of a tile. */
    tada_fold fold;
    fold.x = p->x;
    fold.ldx = p->ldx;
    fold.x_tile = p->x_tile;
    fold.factors_tile = factors_floats(c->codec);
    fold.n_tiles = c->n_tiles;
    fold.m = p->m;
    fold.n = g->inner;
    fold.scale = fold.offset = NULL;
    fold.folded = w->folded;
    fold.ldf = (size_t)g->inner;
    fold.inverse = w->inverse;
    fold.bias = w->bias;
    fold.next = next;
    fold.next_end = end;
    for (int i = 0; i < g->n; i++) {
        if (g->folds_scale) {
            fold.scale = f->scale + (size_t)(i * g->inner);
            fold.offset = f->offset + (size_t)(i * g->inner);
        }
        tada_kernels_get()->fold(&fold);
        fold.x += g->folds_scale ? 0 : g->inner;
        fold.folded += rows * fold.ldf;
        fold.inverse += rows;
        fold.bias += rows;
        fold.next = end;
    }
}

/* m rows of x times the codes of a head. */
static void multiply(const tada_codes *c, bool folds_scale, const product *p, float *scratch)
{
    const tada_kernels *k = tada_kernels_get();
    tada_head head[TADA_BATCH];
    work w;
    work_make(c->codec, scratch, &w);
    groups g = groups_make(c, folds_scale, p);
    ahead a = ahead_make(c);
    size_t n = (size_t)c->n_tiles, share = ahead_left(&a) / n / 512 * 64, rows = n * (size_t)p->m;
    const uint8_t *next, *end;
    for (int j = 0; j < c->n_tiles; j++) {
        end = ahead_take(&a, share, &next);
        tada_tile_open_head(c->codec, &c->cold[j], c->head, w.factors + (size_t)j * factors_floats(c->codec),
                            &head[j]);
        for (; next < end; next += 64) {
            tada_fetch_line(next);
        }
    }
    end = ahead_take(&a, share * n, &next);
    fold_groups(c, p, &g, &head[0].factors, &w, next, end);
    tada_dot dot;
    dot.step = p->outer / 16;
    dot.n_fours = g.inner / 4;
    dot.n_vectors = g.outer / 16;
    dot.m = p->m;
    dot.ldx = (size_t)g.inner;
    dot.ldo = p->ldo;
    for (int j = 0; j < c->n_tiles; j++) {
        const tada_head *h = &head[j];
        dot.bits = c->codec->recipe.bits;
        dot.low = h->sections.of[0].low;
        dot.high = h->sections.of[0].high;
        bool sections = h->widths || h->fine.bits;
        if (h->fine.bits && g.n > 1 && !k->joins_part) {
            /* Once for all groups. */
            sections = false;
            k->unpack(&h->sections, &h->fine, w.joined);
            dot.bits = 8;
            dot.low = w.joined;
            dot.high = NULL;
        }
        for (int i = 0; i < g.n; i++) {
            size_t dots_left = (size_t)((c->n_tiles - j) * g.n - i);
            dot.next_end = ahead_take(&a, ahead_left(&a) / dots_left, &dot.next);
            size_t row = (size_t)i * rows + (size_t)(j * p->m);
            size_t at = (size_t)(i * (folds_scale ? g.inner : g.outer));
            dot.first = folds_scale ? i * dot.n_vectors : i * dot.n_fours * dot.step;
            dot.x = w.folded + row * dot.ldx;
            dot.inverse = w.inverse + row;
            dot.bias = w.bias + row;
            dot.scale = folds_scale ? NULL : h->factors.scale + at;
            dot.offset = folds_scale ? NULL : h->factors.offset + at;
            dot.out = p->out + (size_t)j * p->out_tile + (folds_scale ? i * g.outer : 0);
            if (sections) {
                k->sections_dot(&dot, &h->sections, &h->fine);
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
