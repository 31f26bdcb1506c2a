/* One step of the online softmax. */
#include "guard.h"
#include "numbers.h"
#include "sets.h"
#include "tests.h"

/* Half a unit in the last place of float; and what exp may be off by, relative: some of those. */
#define ROUNDING 0x1p-24
#define EXP_ERROR 4e-7

typedef struct step {
    tada_softmax s;
    float *x, *mask, *max, *sum, *out, *rotated; /* as they were before, rows without gaps */
} step;

enum masks { MASK_NONE, MASK_CAUSAL, MASK_BIAS, MASK_ALL_HIDDEN, MASKS };

static float *copy_of(const float *x, int rows, size_t ld, int n)
{
    float *copy = guard_take((size_t)(rows * n), sizeof *copy);
    for (int r = 0; r < rows; r++) {
        memcpy(copy + r * n, x + (size_t)r * ld, (size_t)n * sizeof *copy);
    }
    return copy;
}

static void step_make(step *c, int group, int queries, int n, int masks, float spread)
{
    int m = group * queries, dim = 16 * (1 + random_below(16));
    size_t lds = (size_t)n + (size_t)(random_below(2) ? random_below(70) : 0);
    int ldo = dim + (random_below(2) ? random_below(20) : 0);
    float *scores = guard_take(rows_size(m, lds, n), sizeof *scores), *mask = NULL;
    float *slope = guard_take((size_t)group, sizeof *slope), *max = guard_take((size_t)m, sizeof *max);
    float *sum = guard_take((size_t)m, sizeof *sum), *cells_sum = guard_take((size_t)m, sizeof *sum);
    float *out = guard_take(rows_size(m, (size_t)ldo, dim), sizeof *out), *rotated = NULL;
    numbers_fill(scores, m, lds, n, NUMBERS_NORMAL);
    for (int r = 0; r < m; r++) {
        for (int t = 0; t < n; t++) {
            scores[(size_t)r * lds + (size_t)t] *= spread;
        }
        /* Nothing so far, or sums that a larger score may shrink. */
        bool fresh = random_below(2);
        max[r] = fresh ? -INFINITY : 3 * spread * random_normal();
        sum[r] = fresh ? 0 : 1 + fabsf(random_normal());
    }
    numbers_fill(out, m, (size_t)ldo, dim, NUMBERS_NORMAL);
    if (random_below(2)) {
        rotated = guard_take(rows_size(m, (size_t)ldo, dim), sizeof *rotated);
        numbers_fill(rotated, m, (size_t)ldo, dim, NUMBERS_NORMAL);
    }
    for (int g = 0; g < group; g++) {
        slope[g] = exp2f(-0.5f * (float)g);
    }
    if (masks != MASK_NONE) {
        mask = guard_take(rows_size(queries, lds, n), sizeof *mask);
        for (int i = 0; i < queries; i++) {
            int seen = random_below(n + 1);
            for (int t = 0; t < n; t++) {
                bool hidden = masks == MASK_CAUSAL ? t >= seen
                              : masks == MASK_BIAS ? !random_below(3)
                                                   : i % 2;
                mask[(size_t)i * lds + (size_t)t] = hidden               ? -INFINITY
                                                    : masks == MASK_BIAS ? -fabsf(random_normal())
                                                                         : 0;
            }
        }
    }
    c->s = (tada_softmax){.m = m,
                          .group = group,
                          .n = n,
                          .softcap = random_below(3) ? 0 : 20.0f,
                          .scores = scores,
                          .mask = mask,
                          .lds = lds,
                          .slope = slope,
                          .max = max,
                          .sum = sum,
                          .cells_sum = cells_sum,
                          .out = out,
                          .rotated = rotated,
                          .ldo = ldo,
                          .dim = dim};
    c->x = copy_of(scores, m, lds, n);
    c->mask = mask ? copy_of(mask, queries, lds, n) : NULL;
    c->max = copy_of(max, 1, 0, m);
    c->sum = copy_of(sum, 1, 0, m);
    c->out = copy_of(out, m, (size_t)ldo, dim);
    c->rotated = rotated ? copy_of(rotated, m, (size_t)ldo, dim) : NULL;
}

static void expect(const char *what, int row, int at, double got, double want, double bound)
{
    if (!(fabs(got - want) <= bound)) {
        fail_case("%s %d of row %d is %.9g instead of %.9g, bound %g", what, at, row, got, want, bound);
    }
}

static void check_scaled(const char *what, int row, const float *got, const float *before, double factor,
                         const tada_softmax *s)
{
    for (int d = 0; d < s->ldo && (row + 1 < s->m || d < s->dim); d++) {
        if (d >= s->dim) {
            assert_true(isnan(got[d]));
        } else if (factor == 1 && got[d] != before[d]) {
            fail_case("%s changed without a larger score", what);
        } else {
            double want = factor * (double)before[d];
            expect(what, row, d, (double)got[d], want, fabs(want) * 1e-5 + 1e-38);
        }
    }
}

static void check_row(const step *c, int r)
{
    const tada_softmax *s = &c->s;
    double y[4 * TADA_TILE_CELLS], wrong[4 * TADA_TILE_CELLS], top = -INFINITY, sum = 0, bound = 0, worst = 0;
    for (int t = 0; t < s->n; t++) {
        double x = (double)c->x[r * s->n + t], mask = 0;
        y[t] = s->softcap > 0 ? (double)s->softcap * tanh(x) : x;
        wrong[t] = s->softcap > 0 ? (double)s->softcap * 6e-7 : 0;
        if (c->mask) {
            mask = (double)s->slope[r % s->group] * (double)c->mask[r / s->group * s->n + t];
        }
        y[t] += mask;
        wrong[t] += isinf(mask) ? 0 : (fabs(y[t]) + 2 * fabs(mask)) * ROUNDING;
        top = fmax(top, y[t]);
        worst = fmax(worst, wrong[t]);
    }
    if (isinf(top)) {
        /* Nothing is seen: weights of zero, and the rest stays. */
        for (int t = 0; t < s->n; t++) {
            expect("weight", r, t, (double)s->scores[(size_t)r * s->lds + (size_t)t], 0, 0);
        }
        assert_true(s->max[r] == c->max[r] && s->sum[r] == c->sum[r] && s->cells_sum[r] == 0);
        check_scaled("sum of values", r, s->out + (size_t)r * (size_t)s->ldo, c->out + r * s->dim, 1, s);
        return;
    }
    double max = (double)s->max[r], shrink = exp((double)c->max[r] - max);
    expect("maximum", r, 0, max, fmax((double)c->max[r], top), worst + fabs(top) * ROUNDING);
    if (!(max > (double)c->max[r])) {
        shrink = 1;
    }
    for (int t = 0; t < s->n; t++) {
        double want = exp(y[t] - max);
        double limit = want * (EXP_ERROR + wrong[t] + 2 * fabs(y[t] - max) * ROUNDING) + 2e-38;
        limit = isinf(y[t]) ? 0 : limit;
        expect("weight", r, t, (double)s->scores[(size_t)r * s->lds + (size_t)t], want, limit);
        sum += want;
        bound += limit + want * (s->n + 1) * ROUNDING;
    }
    expect("sum of these cells", r, 0, (double)s->cells_sum[r], sum, bound);
    sum += shrink * (double)c->sum[r];
    bound += sum * 1e-6;
    expect("sum", r, 0, (double)s->sum[r], sum, bound);
    check_scaled("sum of values", r, s->out + (size_t)r * (size_t)s->ldo, c->out + r * s->dim, shrink, s);
    if (s->rotated) {
        check_scaled("rotated sum", r, s->rotated + (size_t)r * (size_t)s->ldo, c->rotated + r * s->dim,
                     shrink, s);
    }
    for (size_t t = (size_t)s->n; t < s->lds && r + 1 < s->m; t++) {
        assert_true(isnan(s->scores[(size_t)r * s->lds + t]));
    }
}

void test_softmax(void **state)
{
    static const float spreads[] = {0, 0.01f, 1, 10, 60, 1000};
    const tada_kernels *k = TEST_BEGIN(state);
    for (int group = 1; group <= TADA_ROWS; group += group < 8 ? 1 : 8) {
        for (int queries = 1; queries * group <= TADA_ROWS; queries += queries < 4 ? 1 : 5) {
            for (int masks = 0; masks < MASKS; masks++) {
                for (size_t i = 0; i < sizeof spreads / sizeof spreads[0]; i++) {
                    step c;
                    guard_start((enum guard_side)random_below(GUARD_SIDES));
                    step_make(&c, group, queries, TADA_TILE_CELLS * (1 + random_below(4)), masks, spreads[i]);
                    case_is("softmax, group %d, queries %d, cells %d, mask %d, cap %g, spread %g, lds %zu, "
                            "head size %d at %d",
                            group, queries, c.s.n, masks, (double)c.s.softcap, (double)spreads[i], c.s.lds,
                            c.s.dim, c.s.ldo);
                    k->softmax(&c.s);
                    guard_check();
                    for (int r = 0; r < c.s.m; r++) {
                        check_row(&c, r);
                    }
                }
            }
        }
    }
}

/* A score that is not finite is of no consequence to the other rows, nor to its own where the mask hides it,
 * and no weight is ever negative. */
void test_softmax_not_finite(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    for (int again = 0; again < 200; again++) {
        step c;
        guard_start((enum guard_side)random_below(GUARD_SIDES));
        bool hidden = random_below(2);
        int masks = !hidden && random_below(2) ? MASK_NONE : MASK_BIAS;
        step_make(&c, 1 + random_below(4), 1 + random_below(8), TADA_TILE_CELLS, masks, 1);
        int bad = random_below(c.s.m);
        for (int i = 1 + random_below(3); i > 0; i--) {
            int t = random_below(c.s.n);
            float *score = &c.s.scores[(size_t)bad * c.s.lds + (size_t)t];
            if (!hidden || isinf(c.s.mask[(size_t)(bad / c.s.group) * c.s.lds + (size_t)t])) {
                *score = random_below(3) ? NAN : random_below(2) ? INFINITY : -INFINITY;
            }
        }
        case_is("softmax with row %d of %d not finite%s", bad, c.s.m, hidden ? ", but hidden" : "");
        k->softmax(&c.s);
        guard_check();
        for (int r = 0; r < c.s.m; r++) {
            for (int t = 0; t < c.s.n && r == bad; t++) {
                assert_false(c.s.scores[(size_t)r * c.s.lds + (size_t)t] < 0);
            }
            if (r != bad || hidden) {
                check_row(&c, r);
            }
        }
    }
}
