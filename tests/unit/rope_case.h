/* Rotary positions in double, and ropes of every kind. */
#ifndef TADA_TEST_ROPE_CASE_H
#define TADA_TEST_ROPE_CASE_H

#include "support.h"

/* For rows of heads of `dim` values, of which rope rotates `n_dims` from `offset` on. */
static inline tada_rope rope_of(int dim, int n_heads, int offset, int n_dims)
{
    return (tada_rope){.column = offset,
                       .n_dims = n_dims,
                       .n_heads = n_heads,
                       .head_stride = dim,
                       .pairs = random_below(2) ? TADA_ROPE_HALVES : TADA_ROPE_NEIGHBOURS,
                       .n_ctx_orig = 2048,
                       .freq_base = random_below(2) ? 10000 : 500000,
                       .freq_scale = 1,
                       .attn_factor = 1,
                       .beta_fast = 32,
                       .beta_slow = 1};
}

/* YaRN, by the factor 4, without its stretch. */
static inline void add_yarn(tada_rope *r)
{
    r->freq_scale = 0.25f;
    r->ext_factor = 1;
    r->attn_factor = 1.0f / (1.0f + 0.1f * logf(4.0f));
}

static inline double stretch_of(const tada_rope *r)
{
    return (double)r->attn_factor * (r->ext_factor != 0 ? 1 + 0.1 * log(1 / (double)r->freq_scale) : 1);
}

static inline double yarn_pair(const tada_rope *r, double rotations)
{
    return r->n_dims * log(r->n_ctx_orig / (rotations * 2 * 3.14159265358979323846)) /
           (2 * log((double)r->freq_base));
}

/* The angle of a pair at a distance, as papers have it. */
static inline double angle_of(const tada_rope *r, int pair, double distance)
{
    double angle = distance * pow((double)r->freq_base, -2.0 * pair / r->n_dims);
    angle /= r->factors ? (double)r->factors[pair] : 1;
    if (r->ext_factor == 0) {
        return angle * (double)r->freq_scale;
    }
    double low = fmax(0, floor(yarn_pair(r, (double)r->beta_fast)));
    double high = fmin(r->n_dims - 1, ceil(yarn_pair(r, (double)r->beta_slow)));
    double ramp = 1 - fmin(1, fmax(0, (pair - low) / fmax(0.001, high - low)));
    ramp *= (double)r->ext_factor;
    return angle * (double)r->freq_scale * (1 - ramp) + angle * ramp;
}

/* A row, in place. */
static inline void rope_row(const tada_rope *r, double distance, double *row)
{
    int half = r->n_dims / 2;
    for (int h = 0; h < r->n_heads; h++) {
        double *x = row + r->column + h * r->head_stride;
        for (int i = 0; i < half; i++) {
            bool apart = r->pairs == TADA_ROPE_HALVES;
            double *a = x + (apart ? i : 2 * i), *b = a + (apart ? half : 1), first = *a, second = *b;
            double angle = angle_of(r, i, distance);
            *a = (first * cos(angle) - second * sin(angle)) * stretch_of(r);
            *b = (first * sin(angle) + second * cos(angle)) * stretch_of(r);
        }
    }
}

#endif
