#include "rope.h"

#include "kernels/kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *tada_rope_problem(const tada_rope *r, int width)
{
    if (r->n_dims < 2 || r->n_dims > TADA_ROPE_DIMS || r->n_dims % 2 != 0) {
        return "A rope must turn an even number of values of a head, from 2 to 1024.";
    }
    if (r->n_heads < 1 || r->column < 0 || (r->n_heads > 1 && r->head_stride < r->n_dims) ||
        r->column + (int64_t)(r->n_heads - 1) * r->head_stride + r->n_dims > width) {
        return "The values that a rope turns must lie within the rows of the plane, head after head.";
    }
    if (r->pairs != TADA_ROPE_NEIGHBOURS && r->pairs != TADA_ROPE_HALVES) {
        return "A rope must turn pairs of neighbours, or of values half of a head apart.";
    }
    return NULL;
}

static float stretch_of(const tada_rope *r)
{
    return r->attn_factor * (r->ext_factor != 0 ? 1.0f + 0.1f * logf(1.0f / r->freq_scale) : 1.0f);
}

bool tada_rope_stretches(const tada_rope *r)
{
    return !(fabsf(stretch_of(r) - 1) < 1e-4f);
}

bool tada_rope_equals(const tada_rope *a, const tada_rope *b)
{
    return a->column == b->column && a->n_dims == b->n_dims && a->head_stride == b->head_stride &&
           a->n_heads == b->n_heads && a->pairs == b->pairs && a->n_ctx_orig == b->n_ctx_orig &&
           a->freq_base == b->freq_base && a->freq_scale == b->freq_scale && a->ext_factor == b->ext_factor &&
           a->attn_factor == b->attn_factor && a->beta_fast == b->beta_fast && a->beta_slow == b->beta_slow &&
           !a->factors == !b->factors &&
           (!a->factors || memcmp(a->factors, b->factors, (size_t)a->n_dims / 2 * sizeof *a->factors) == 0);
}

tada_rope *tada_rope_copy(const tada_rope *r)
{
    size_t factors = r->factors ? (size_t)r->n_dims / 2 * sizeof *r->factors : 0;
    tada_rope *copy = malloc(sizeof *copy + factors);
    if (copy) {
        *copy = *r;
        copy->factors = factors ? memcpy(copy + 1, r->factors, factors) : NULL;
    }
    return copy;
}

/* The number of the pair, not rounded, that makes `turns` full turns over the original context. */
static float pair_of(const tada_rope *r, float turns)
{
    const float two_pi = 2 * (float)3.14159265358979323846;
    return (float)r->n_dims * logf((float)r->n_ctx_orig / (turns * two_pi)) / (2 * logf(r->freq_base));
}

/* YaRN: how much of its own angle a pair keeps. Pairs up to `low` keep all of it (1), those from `high` on
 * are interpolated (0). */
static float share_as_they_do(float low, float high, int pair)
{
    float y = ((float)pair - low) / fmaxf(0.001f, high - low);
    return 1 - fminf(1, fmaxf(0, y));
}

/* The angle of each pair is the one before times a constant, rounded each time: ggml's way. */
void tada_rope_angles(const tada_rope *r, int32_t distance, float *angles)
{
    int n = r->n_dims / 2;
    float low = 0, high = 0, stretch = stretch_of(r);
    float angle = (float)distance, slower = powf(r->freq_base, -2.0f / (float)r->n_dims);
    if (r->ext_factor != 0) {
        low = fmaxf(0, floorf(pair_of(r, r->beta_fast)));
        high = fminf((float)(r->n_dims - 1), ceilf(pair_of(r, r->beta_slow)));
    }
    for (int i = 0; i < n; i++) {
        float as_it_is = r->factors ? angle / r->factors[i] : angle;
        float theta = r->freq_scale * as_it_is;
        if (r->ext_factor != 0) {
            float share = share_as_they_do(low, high, i) * r->ext_factor;
            theta = theta * (1 - share) + as_it_is * share;
        }
        angles[i] = cosf(theta) * stretch;
        angles[n + i] = sinf(theta) * stretch;
        angle *= slower;
    }
}

/* direction: 1, or -1 for back. */
static void turn_pairs(const tada_rope *r, const float *angles, float direction, float *x)
{
    int n = r->n_dims / 2, step = r->pairs == TADA_ROPE_NEIGHBOURS ? 2 : 1, other = step == 2 ? 1 : n;
    for (int i = 0; i < n; i++) {
        float *a = x + i * step, *b = a + other;
        float cosine = angles[i], sine = angles[n + i] * direction, x0 = *a, x1 = *b;
        *a = x0 * cosine - x1 * sine;
        *b = x0 * sine + x1 * cosine;
    }
}

void tada_rope_turn(const tada_rope *r, const float *angles, float *x)
{
    turn_pairs(r, angles, 1, x);
}

void tada_rope_turn_back(const tada_rope *r, const float *angles, float *x)
{
    turn_pairs(r, angles, -1, x);
}

void tada_rope_turn_row(const tada_rope *r, const float *angles, uint16_t *row)
{
    const tada_kernels *k = tada_kernels_get();
    float x[TADA_ROPE_DIMS];
    for (int h = 0; h < r->n_heads; h++) {
        uint16_t *head = row + r->column + (size_t)h * (size_t)r->head_stride;
        k->half_to_float(head, x, r->n_dims);
        tada_rope_turn(r, angles, x);
        k->half_from_float(x, head, r->n_dims);
    }
}
