/*
 * Products with f16 rows and with decoded tiles. Sums run in an order of each set's own, so the bound is that
 * of any order: each of n additions and multiplications rounds once, relative to the sum of all magnitudes.
 */
#include "guard.h"
#include "numbers.h"
#include "sets.h"
#include "tests.h"

enum { CELLS = TADA_TILE_CELLS };

/* Half a unit in the last place of float. */
#define ROUNDING 0x1p-24

typedef struct sum {
    double value, size; /* size: of the magnitudes */
} sum;

static void add_product(sum *s, double a, double b)
{
    s->value += a * b;
    s->size += fabs(a * b);
}

static void check_sum(const char *what, int row, int column, double got, const sum *want, int n)
{
    /* Products below the smallest float may vanish. */
    double bound = want->size * (n + 1) * ROUNDING + n * 0x1p-149;
    if (!(fabs(got - want->value) <= bound)) {
        fail_case("%s of row %d, column %d is %.9g instead of %.9g, bound %g", what, row, column, got,
                  want->value, bound);
    }
}

/* What lies between the rows is not a number and must stay so. */
static void check_gaps(const float *x, int rows, size_t ld, int n)
{
    for (int r = 0; r + 1 < rows; r++) {
        for (size_t i = (size_t)n; i < ld; i++) {
            if (!isnan(x[(size_t)r * ld + i])) {
                fail_case("wrote between the rows, row %d, column %zu", r, i);
            }
        }
    }
}

static int finite_kind(void)
{
    static const int kinds[] = {NUMBERS_NORMAL,   NUMBERS_NORMAL, NUMBERS_OUTLIERS, NUMBERS_FAR,
                                NUMBERS_HALF_MAX, NUMBERS_ZERO,   NUMBERS_DENORMAL};
    return kinds[random_below(sizeof kinds / sizeof kinds[0])];
}

/* ---- transpose_halves ---- */

void test_transpose_halves(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    for (enum guard_side side = 0; side < GUARD_SIDES; side++) {
        for (int dim = 1; dim <= 288; dim += dim < 100 ? 1 : 4) {
            size_t stride = (size_t)dim + (size_t)(random_below(2) ? random_below(40) : 0);
            guard_start(side);
            uint16_t *rows = guard_take(rows_size(CELLS, stride, dim), sizeof *rows);
            float *out = guard_take((size_t)dim * CELLS, sizeof *out);
            for (int t = 0; t < CELLS; t++) {
                for (int d = 0; d < dim; d++) {
                    rows[(size_t)t * stride + (size_t)d] = (uint16_t)random_bits();
                }
            }
            case_is("transpose of %d values at stride %zu", dim, stride);
            k->transpose_halves(rows, stride, dim, out);
            guard_check();
            for (int t = 0; t < CELLS; t++) {
                for (int d = 0; d < dim; d++) {
                    float want;
                    tada_kernels_scalar.half_to_float(rows + (size_t)t * stride + d, &want, 1);
                    if (!same_float(out[d * CELLS + t], want)) {
                        fail_case("cell %d, channel %d is %g", t, d, (double)out[d * CELLS + t]);
                    }
                }
            }
        }
    }
}

/* ---- multiply ---- */

static void check_multiply(const tada_kernels *k, enum guard_side side, int m, int n, int inner,
                           bool accumulate)
{
    size_t lda = (size_t)inner + (size_t)(random_below(2) ? random_below(20) : 0);
    size_t ldc = (size_t)n + (size_t)(random_below(2) ? random_below(20) : 0);
    guard_start(side);
    float *a = guard_take(rows_size(m, lda, inner), sizeof *a);
    float *b = guard_take((size_t)n * (size_t)inner, sizeof *b);
    float *c = guard_take(rows_size(m, ldc, n), sizeof *c), *before = guard_take((size_t)(m * n), sizeof *c);
    numbers_fill(a, m, lda, inner, finite_kind());
    numbers_fill(b, inner, (size_t)n, n, finite_kind());
    numbers_fill(before, m, (size_t)n, n, NUMBERS_NORMAL);
    /* A row and a column that are not finite spoil themselves alone. */
    int bad_row = random_below(8) || inner == 0 ? -1 : random_below(m);
    int bad_column = random_below(8) || inner == 0 ? -1 : random_below(n);
    if (bad_row >= 0) {
        a[(size_t)bad_row * lda + (size_t)random_below(inner)] = random_below(2) ? NAN : INFINITY;
        bad_column = -1;
    } else if (bad_column >= 0) {
        b[random_below(inner) * n + bad_column] = NAN;
    }
    for (int r = 0; r < m && accumulate; r++) {
        memcpy(c + (size_t)r * ldc, before + r * n, (size_t)n * sizeof *c);
    }
    case_is("multiply, m %d, n %d, k %d, lda %zu, ldc %zu, accumulate %d", m, n, inner, lda, ldc, accumulate);
    k->multiply(a, lda, b, c, ldc, m, n, inner, accumulate);
    guard_check();
    check_gaps(c, m, ldc, n);
    for (int r = 0; r < m; r++) {
        for (int j = 0; j < n; j++) {
            sum want = {0, 0};
            if (accumulate) {
                add_product(&want, (double)before[r * n + j], 1);
            }
            for (int i = 0; i < inner; i++) {
                add_product(&want, (double)a[(size_t)r * lda + (size_t)i], (double)b[i * n + j]);
            }
            float got = c[(size_t)r * ldc + (size_t)j];
            if (r == bad_row || j == bad_column) {
                /* Infinity times zero is no number either. */
                if (isfinite(got)) {
                    fail_case("row %d, column %d is finite", r, j);
                }
            } else {
                check_sum("the sum", r, j, (double)got, &want, inner + accumulate);
            }
        }
    }
}

void test_multiply(void **state)
{
    static const int inners[] = {0, 1, 2, 3, 15, 16, 17, 32, 63, 64, 65, 80, 128, 256};
    const tada_kernels *k = TEST_BEGIN(state);
    for (int m = 1; m <= TADA_ROWS; m++) {
        for (int n = 16; n <= 272; n += 16) {
            int inner = inners[random_below(sizeof inners / sizeof inners[0])];
            /* The large ones take most of the time. */
            inner = m * n > 3000 && inner > 64 ? inner / 8 : inner;
            check_multiply(k, (enum guard_side)random_below(GUARD_SIDES), m, n, inner, random_below(2));
        }
    }
}

/* ---- f16 rows ---- */

static int any_dim(void)
{
    return random_below(2) ? 16 * (1 + random_below(16)) : 1 + random_below(260);
}

static int any_cells(void)
{
    static const int cells[] = {0, 1, 2, 15, 16, 17, 31, 32, 33, 63, 64};
    return cells[random_below(sizeof cells / sizeof cells[0])];
}

static void check_scores_rows(const tada_kernels *k, enum guard_side side, int m, int dim, int n)
{
    size_t stride = (size_t)dim + (size_t)(random_below(2) ? random_below(70) : 0);
    size_t lds = (size_t)n + (size_t)(random_below(2) ? random_below(70) : 0);
    guard_start(side);
    float *a = guard_take((size_t)(m * dim), sizeof *a);
    uint16_t *rows = guard_take(rows_size(n, stride, dim), sizeof *rows);
    float *scores = guard_take(rows_size(m, lds, n), sizeof *scores);
    numbers_fill(a, m, (size_t)dim, dim, finite_kind());
    halves_fill(rows, n, stride, dim);
    int bad_row = random_below(6) ? -1 : random_below(m), bad_cell = n == 0 || random_below(6) ? -1 : n / 2;
    if (bad_row >= 0) {
        a[bad_row * dim + random_below(dim)] = NAN;
    }
    if (bad_cell >= 0) {
        rows[(size_t)bad_cell * stride + (size_t)random_below(dim)] = 0x7e00;
    }
    case_is("scores_rows, m %d, head size %d, stride %zu, cells %d, lds %zu", m, dim, stride, n, lds);
    k->scores_rows(a, m, dim, rows, stride, n, scores, lds);
    guard_check();
    check_gaps(scores, m, lds, n);
    for (int r = 0; r < m; r++) {
        for (int t = 0; t < n; t++) {
            sum want = {0, 0};
            for (int d = 0; d < dim; d++) {
                add_product(&want, (double)a[r * dim + d], half_value(rows[(size_t)t * stride + (size_t)d]));
            }
            float got = scores[(size_t)r * lds + (size_t)t];
            if (r != bad_row && t != bad_cell) {
                check_sum("the score", r, t, (double)got, &want, dim);
            } else if (isfinite(got)) {
                fail_case("row %d, cell %d is finite", r, t);
            }
        }
    }
}

void test_scores_rows(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    for (int m = 1; m <= TADA_ROWS; m++) {
        for (int i = 0; i < (m < 20 ? 24 : 4); i++) {
            check_scores_rows(k, (enum guard_side)random_below(GUARD_SIDES), m, any_dim(), any_cells());
        }
    }
}

static void check_values_rows(const tada_kernels *k, enum guard_side side, int m, int dim, int n)
{
    size_t stride = (size_t)dim + (size_t)(random_below(2) ? random_below(70) : 0);
    size_t ldw = (size_t)n + (size_t)(random_below(2) ? random_below(70) : 0);
    size_t ldc = (size_t)dim + (size_t)(random_below(2) ? random_below(20) : 0);
    guard_start(side);
    float *weights = guard_take(rows_size(m, ldw, n), sizeof *weights);
    uint16_t *rows = guard_take(rows_size(n, stride, dim), sizeof *rows);
    float *c = guard_take(rows_size(m, ldc, dim), sizeof *c),
          *before = guard_take((size_t)(m * dim), sizeof *c);
    numbers_fill(weights, m, ldw, n, finite_kind());
    numbers_fill(before, m, (size_t)dim, dim, NUMBERS_NORMAL);
    halves_fill(rows, n, stride, dim);
    int bad_row = n == 0 || random_below(6) ? -1 : random_below(m);
    int bad_channel = n == 0 || random_below(6) ? -1 : random_below(dim);
    if (bad_row >= 0) {
        weights[(size_t)bad_row * ldw + (size_t)random_below(n)] = NAN;
    }
    if (bad_channel >= 0) {
        rows[(size_t)random_below(n) * stride + (size_t)bad_channel] = 0x7e00;
    }
    for (int r = 0; r < m; r++) {
        memcpy(c + (size_t)r * ldc, before + r * dim, (size_t)dim * sizeof *c);
    }
    case_is("values_rows, m %d, head size %d, stride %zu, cells %d, ldw %zu, ldc %zu", m, dim, stride, n, ldw,
            ldc);
    k->values_rows(weights, ldw, m, dim, rows, stride, n, c, ldc);
    guard_check();
    check_gaps(c, m, ldc, dim);
    for (int r = 0; r < m; r++) {
        for (int d = 0; d < dim; d++) {
            sum want = {0, 0};
            add_product(&want, (double)before[r * dim + d], 1);
            for (int t = 0; t < n; t++) {
                add_product(&want, (double)weights[(size_t)r * ldw + (size_t)t],
                            half_value(rows[(size_t)t * stride + (size_t)d]));
            }
            float got = c[(size_t)r * ldc + (size_t)d];
            if (r != bad_row && d != bad_channel) {
                check_sum("the value", r, d, (double)got, &want, n + 1);
            } else if (isfinite(got)) {
                fail_case("row %d, channel %d is finite", r, d);
            }
        }
    }
}

void test_values_rows(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    for (int m = 1; m <= TADA_ROWS; m++) {
        for (int i = 0; i < (m < 20 ? 24 : 4); i++) {
            check_values_rows(k, (enum guard_side)random_below(GUARD_SIDES), m, any_dim(), any_cells());
        }
    }
}
