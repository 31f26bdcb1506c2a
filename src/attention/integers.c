#include "integers.h"

#include <math.h>
#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

/* Integers of a vector are at most so large, and so long (root of the sum of squares) that the product of two
 * vectors fits 32 bits. */
static const float word_top = 32767.0f, word_length = 46000.0f;

bool tada_integers_can(const tada_codec *c)
{
    bool channels = c->recipe.axis == TADA_AXIS_CHANNEL;
    bool means = c->layout.head_means_bytes > 0 || (c->recipe.centring == TADA_CENTRE_TOKENS && !channels);
    return channels == (c->kind == TADA_K) && !means && c->layout.head_dim <= TADA_CODES_DIM;
}

/* The parts of the scratch. */
typedef struct parts {
    uint8_t *codes, *tops;
    int16_t *integers, *x, *raise, *factor, *offset;
    float *inverse, *bias, *factors, *reach, *rest;
} parts;

/* A part of so many floats at its own cache lines; NULL without memory. */
static void *take(float *memory, size_t *at, size_t floats)
{
    float *part = memory ? memory + *at : NULL;
    *at += (floats + 15) / 16 * 16;
    return part;
}

/* Groups of columns that share factors, at most. */
static size_t groups_most(const tada_codec *c)
{
    return (size_t)(c->kind == TADA_K ? c->layout.n_groups : c->layout.head_dim / 16);
}

/* Returns the floats that all parts take. */
static size_t parts_make(const tada_codec *c, float *memory, parts *p)
{
    size_t dim = (size_t)c->layout.head_dim, rows = c->kind == TADA_K ? dim : CELLS;
    size_t codes = CELLS * dim / 4, tables = groups_most(c) * rows, at = 0;
    p->codes = take(memory, &at, codes);
    p->integers = take(memory, &at, 2 * codes);
    p->tops = take(memory, &at, tables / 4);
    p->raise = take(memory, &at, tables / 2);
    p->factor = take(memory, &at, tables / 2);
    p->offset = take(memory, &at, tables / 2);
    p->reach = take(memory, &at, tables);
    p->rest = take(memory, &at, tables);
    p->factors = take(memory, &at, tada_tile_factors(c));
    p->x = take(memory, &at, TADA_INTEGERS_ROWS * CELLS / 2);
    p->inverse = take(memory, &at, TADA_INTEGERS_ROWS);
    p->bias = take(memory, &at, groups_most(c) * TADA_INTEGERS_ROWS);
    return at;
}

size_t tada_integers_scratch(const tada_codec *c)
{
    parts p;
    return parts_make(c, NULL, &p);
}

static float larger(float a, float b)
{
    return a > b ? a : b;
}

static float smaller(float a, float b)
{
    return a < b ? a : b;
}

static float largest16(const float most[16])
{
    float top = 0;
    for (int i = 0; i < 16; i++) {
        top = larger(most[i], top);
    }
    return top;
}

/* Sixteen values side by side, so that none waits for another. */
static float size_of(const float *x, int n)
{
    float most[16] = {0};
    for (int d = 0; d < n; d += 16) {
        for (int i = 0; i < 16; i++) {
            most[i] = larger(fabsf(x[d + i]), most[i]);
        }
    }
    return largest16(most);
}

static float squares_of(const float *x, int n, float divisor)
{
    float sums[16] = {0}, sum = 0;
    for (int d = 0; d < n; d += 16) {
        for (int i = 0; i < 16; i++) {
            float y = x[d + i] / divisor;
            sums[i] += y * y;
        }
    }
    for (int i = 0; i < 16; i++) {
        sum += sums[i];
    }
    return sum;
}

void tada_integers_queries(const float *q, int m, int dim, int16_t *integers, float *inverse)
{
    const float magic = 12582912.0f; /* what is added to it is rounded to the nearest integer */
    for (int r = 0; r < m; r++, q += dim, integers += dim) {
        float top = size_of(q, dim), squares = squares_of(q, dim, top);
        float most = smaller(word_top, word_length / sqrtf(squares));
        /* A row of zeros, or one that is not finite. */
        bool sound = squares >= 1.0f && squares <= (float)dim && top >= 0x1p-100f;
        inverse[r] = sound ? top / most : squares * 0.0f;
        inverse[r] = top < 0x1p-100f ? 0.0f : inverse[r];
        if (!sound) {
            memset(integers, 0, (size_t)dim * sizeof *integers);
            continue;
        }
        for (int d = 0; d < dim; d++) {
            integers[d] = (int16_t)(int)(q[d] / top * most + magic - magic);
        }
    }
}

/* How many bits the largest code of each row and group takes; codes are moved up until the first of them is
 * bit 14. Codes of groups that lie on a coarse grid are small, for all that their scale is large. */
static void raise_codes(int n, parts *p)
{
    for (int i = 0; i < n; i++) {
        union {
            float f;
            int32_t i;
        } reach = {.f = (float)p->tops[i]};
        /* The power of two above: no code has its mantissa. */
        reach.i = (reach.i & 0x7f800000) + 0x00800000;
        reach.f = p->tops[i] ? reach.f : 0.0f;
        p->reach[i] = reach.f;
        p->raise[i] = (int16_t)(p->tops[i] ? (int)(0x1p15f / reach.f) : 0);
    }
}

/* The power of two below. Scales of 16 bits have three digits, so that all integers come out exact but those
 * of scales that are thousands of times smaller than others: a rounding that is the same in all cells would
 * not average out. */
static float power_below(float x)
{
    return x > 0 && x < 0x1p126f ? ldexpf(1.0f, ilogbf(x)) : 1.0f;
}

/* Of K: what a code is multiplied by goes into integers, as far as it is from the middle of its range; the
 * middle goes into `rest`, as does the offset. Returns what a unit is. */
static float spread_k(const tada_factors *f, int dim, int groups, parts *p)
{
    raise_codes(groups * dim, p);
    for (int i = 0; i < groups * dim; i++) {
        p->reach[i] *= f->scale[i];
    }
    float top = size_of(p->reach, groups * dim), longest = 0;
    top = top > 0 ? top : 1;
    for (int g = 0; g < groups; g++) {
        longest = larger(squares_of(p->reach + g * dim, dim, 2 * top), longest);
    }
    float per = power_below(smaller(word_top, word_length / sqrtf(longest)) / top);
    for (int i = 0; i < groups * dim; i++) {
        int factor = (int)(p->reach[i] * per + 0.5f), middle = factor / 2;
        p->factor[i] = (int16_t)factor;
        p->offset[i] = (int16_t)-middle;
        p->rest[i] = f->offset[i] + (float)middle / per;
    }
    return 1 / per;
}

/* Of V: all goes into integers. Returns what a unit is. */
static float spread_v(const tada_factors *f, int groups, parts *p)
{
    enum { MOST = 32760 };
    float tops[16] = {0};
    raise_codes(groups * CELLS, p);
    for (int first = 0; first < groups * CELLS; first += 16) {
        for (int l = 0; l < 16; l++) {
            int i = first + l;
            float most = f->offset[i] + f->scale[i] * (float)p->tops[i];
            p->reach[i] *= f->scale[i];
            tops[l] = larger(larger(p->reach[i], fabsf(f->offset[i])), larger(fabsf(most), tops[l]));
        }
    }
    float per = power_below(MOST / largest16(tops));
    for (int i = 0; i < groups * CELLS; i++) {
        p->factor[i] = (int16_t)(p->reach[i] * per + 0.5f);
        /* Rounded to the nearest: what is cut off is positive. */
        p->offset[i] = (int16_t)((int)(f->offset[i] * per + (MOST + 0.5f)) - MOST);
    }
    return 1 / per;
}

/* The integers of a head, [rows / 2][columns][2], and what K has beside them. Returns what a unit is. */
static float make_integers(const tada_codec *c, const tada_cold *cold, int head, parts *p)
{
    const tada_kernels *k = tada_kernels_get();
    bool channels = c->kind == TADA_K;
    int dim = c->layout.head_dim, rows = channels ? dim : CELLS, columns = channels ? CELLS : dim;
    tada_head h;
    tada_tile_open_head(c, cold, head, p->factors, &h);
    int group = h.factors.group;
    tada_tile_unpack_head(c, &h, p->codes);
    k->code_tops(p->codes, rows, columns, group, p->tops);
    float unit =
        channels ? spread_k(&h.factors, dim, columns / group, p) : spread_v(&h.factors, columns / group, p);
    k->widen(&(tada_widen){p->codes, rows, columns, group, p->raise, p->factor, p->offset, p->integers});
    return unit;
}

void tada_integers_scores(const tada_codec *c, const tada_cold *cold, uint64_t mask, int head, const float *q,
                          const int16_t *integers, const float *inverse, int m, float *scores, size_t lds,
                          float *scratch)
{
    const tada_kernels *k = tada_kernels_get();
    int dim = c->layout.head_dim, groups = c->layout.n_groups;
    parts p;
    parts_make(c, scratch, &p);
    float unit = make_integers(c, cold, head, &p);
    for (int g = 0; g < groups; g++) {
        k->rows_dot(q, (size_t)dim, m, dim, p.rest + g * dim, p.bias + g * m);
    }
    k->integers_dot(&(tada_integers_dot){.integers = p.integers,
                                         .n_pairs = dim / 2,
                                         .n = CELLS,
                                         .m = m,
                                         .x = integers,
                                         .ldx = (size_t)dim,
                                         .inverse = inverse,
                                         .unit = unit,
                                         .bias = p.bias,
                                         .group = CELLS / groups,
                                         .out = scores,
                                         .ldo = lds});
    for (int t = 0; t < CELLS && mask != UINT64_MAX; t++) {
        for (int r = 0; r < m && !(mask >> t & 1); r++) {
            scores[(size_t)r * lds + (size_t)t] = 0;
        }
    }
}

void tada_integers_values(const tada_codec *c, const tada_cold *cold, uint64_t mask, int head, float *weights,
                          size_t ldw, const float *sums, int m, float *out, size_t ldo, float *scratch)
{
    const tada_kernels *k = tada_kernels_get();
    int dim = c->layout.head_dim;
    parts p;
    parts_make(c, scratch, &p);
    for (int t = 0; t < CELLS && mask != UINT64_MAX; t++) {
        for (int r = 0; r < m && !(mask >> t & 1); r++) {
            weights[(size_t)r * ldw + (size_t)t] = 0;
        }
    }
    float unit = make_integers(c, cold, head, &p);
    k->weights_to_integers(weights, ldw, m, sums, p.x, p.inverse);
    k->integers_dot(&(tada_integers_dot){.integers = p.integers,
                                         .n_pairs = CELLS / 2,
                                         .n = dim,
                                         .m = m,
                                         .x = p.x,
                                         .ldx = CELLS,
                                         .inverse = p.inverse,
                                         .unit = unit,
                                         .out = out,
                                         .ldo = ldo});
}
