/* Codes as integers, and sums over them. Integers are the same on every set; sums are exact until they become
 * floats. */
#include "guard.h"
#include "numbers.h"
#include "sets.h"
#include "tests.h"

enum { CELLS = TADA_TILE_CELLS };

#define ROUNDING 0x1p-24

static void check_widen(const tada_kernels *k, enum guard_side side, int rows, int columns, int bits,
                        int group)
{
    size_t n = (size_t)rows * (size_t)columns, tables = (size_t)(columns / group * rows);
    guard_start(side);
    uint8_t *codes = guard_take(n, 1), *tops = guard_take(tables, 1);
    int16_t *raise = guard_take(tables, 2);
    int16_t *factor = guard_take(tables, 2), *offset = guard_take(tables, 2);
    int16_t *got = guard_take(n, 2), *want = guard_take(n, 2);
    for (size_t i = 0; i < n; i++) {
        codes[i] = (uint8_t)random_below(1 << bits);
    }
    for (size_t i = 0; i < tables; i++) {
        raise[i] = (int16_t)(1 << (15 - bits - random_below(3)));
        factor[i] = (int16_t)(random_below(8) ? random_below(32768) : random_below(2) * 32767);
        offset[i] = (int16_t)-random_below(32768);
    }
    case_is("widen, %d rows, %d columns in groups of %d, %d bits", rows, columns, group, bits);
    tada_widen w = {codes, rows, columns, group, raise, factor, offset, got};
    k->widen(&w);
    w.integers = want;
    tada_kernels_scalar.widen(&w);
    k->code_tops(codes, rows, columns, group, tops);
    guard_check();
    for (size_t i = 0; i < tables; i++) {
        int most = 0, row = (int)i % rows, first = (int)i / rows * group;
        for (int j = first; j < first + group; j++) {
            int code = codes[(row / 4 * (columns / 16) + j / 16) * 64 + j % 16 * 4 + row % 4];
            most = code > most ? code : most;
        }
        if (tops[i] != most) {
            fail_case("the largest code of row %d is %d instead of %d", row, tops[i], most);
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (got[i] != want[i]) {
            fail_case("word %zu is %d instead of %d", i, got[i], want[i]);
        }
    }
    for (int i = 0; i < rows; i++) {
        /* As kernels.h says it, for one column. */
        int j = random_below(columns), at = j / group * rows + i;
        int code = codes[(i / 4 * (columns / 16) + j / 16) * 64 + j % 16 * 4 + i % 4];
        double exact = floor((double)(code * raise[at]) * factor[at] / 32768 + 0.5) + offset[at];
        int word = got[(i / 2 * columns + j) * 2 + i % 2];
        if (word != (int)exact) {
            fail_case("row %d, column %d is %d instead of %g", i, j, word, exact);
        }
    }
}

void test_widen(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    static const int widths[] = {2, 3, 4, 5, 6, 8};
    for (int rows = 16; rows <= 256; rows += 16) {
        for (int columns = 16; columns <= 256; columns += 16) {
            int group = columns;
            while (group % 32 == 0 && random_below(2)) {
                group /= 2;
            }
            check_widen(k, (enum guard_side)random_below(GUARD_SIDES), rows, columns, widths[random_below(6)],
                        group);
        }
    }
}

static void check_weights(const tada_kernels *k, enum guard_side side, int m, int kind)
{
    size_t ldw = CELLS + (size_t)random_below(20);
    int bad_row = random_below(4) ? -1 : random_below(m);
    guard_start(side);
    float *weights = guard_take(rows_size(m, ldw, CELLS), sizeof *weights), *sums = guard_take((size_t)m, 4),
          *inverse = guard_take((size_t)m, 4);
    int16_t *integers = guard_take((size_t)m * CELLS, 2);
    for (int r = 0; r < m; r++) {
        float *row = weights + (size_t)r * ldw;
        for (int t = 0; t < CELLS; t++) {
            row[t] = kind == 0   ? expf(-fabsf(random_normal()) * 10)
                     : kind == 1 ? 1.0f
                     : kind == 2 ? (t == r % CELLS ? 1.0f : 0.0f)
                     : kind == 3 ? 0.0f
                                 : expf(-80 - fabsf(random_normal()));
        }
        if (r == bad_row) {
            row[random_below(CELLS)] = random_below(2) ? NAN : INFINITY;
        }
        sums[r] = 0;
        for (int t = 0; t < CELLS; t++) {
            sums[r] += row[t];
        }
        /* Weights that do not count any more may be in it. */
        sums[r] *= random_below(2) ? 1.0f : 1.0f + (float)random_below(3);
    }
    case_is("weights_to_integers, %d rows, kind %d, bad row %d", m, kind, bad_row);
    k->weights_to_integers(weights, ldw, m, sums, integers, inverse);
    guard_check();
    for (int r = 0; r < m; r++) {
        const float *row = weights + (size_t)r * ldw;
        int64_t all = 0;
        if (r == bad_row) {
            if (isfinite(inverse[r])) {
                fail_case("row %d has the unit %g", r, (double)inverse[r]);
            }
            continue;
        }
        for (int t = 0; t < CELLS; t++) {
            all += integers[r * CELLS + t];
        }
        double sum = (double)sums[r], unit = fmax(sum / 65500, fmin(sum, 1) / 32767);
        for (int t = 0; t < CELLS; t++) {
            double got = (double)integers[r * CELLS + t] * (double)inverse[r];
            if (!(fabs(got - (double)row[t]) <= 0.501 * unit + 1e-6 * (double)row[t] + 0x1p-115)) {
                fail_case("row %d, cell %d is %g instead of %g", r, t, got, (double)row[t]);
            }
        }
        if (all > 65536) {
            fail_case("the sum of row %d is %lld", r, (long long)all);
        }
    }
}

void test_weights_to_integers(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    for (int m = 1; m <= TADA_INTEGERS_ROWS; m++) {
        for (int kind = 0; kind < 5; kind++) {
            check_weights(k, (enum guard_side)random_below(GUARD_SIDES), m, kind);
        }
    }
}

static void check_integers(const tada_kernels *k, enum guard_side side, int m, int n, int n_pairs,
                           bool biased, bool largest)
{
    int group = n;
    while (group % 32 == 0 && random_below(2)) {
        group /= 2;
    }
    size_t ldx = 2 * (size_t)n_pairs + (size_t)random_below(20), ldo = (size_t)n + (size_t)random_below(20);
    guard_start(side);
    int16_t *integers = guard_take((size_t)(2 * n_pairs * n), 2);
    int16_t *x = guard_take(rows_size(m, ldx, 2 * n_pairs), 2);
    float *inverse = guard_take((size_t)m, 4), *bias = guard_take((size_t)(n / group * m), 4);
    float *out = guard_take(rows_size(m, ldo, n), 4), *before = guard_take((size_t)(m * n), 4);
    /* So that their sums fit, as those of cells do by the sum of x. */
    int most = largest ? 32767 : 2000, x_most = 65536 / (2 * n_pairs);
    for (int i = 0; i < 2 * n_pairs * n; i++) {
        integers[i] = (int16_t)(largest ? (random_below(2) ? most : -most) : random_below(2 * most) - most);
    }
    for (int r = 0; r < m; r++) {
        for (int i = 0; i < 2 * n_pairs; i++) {
            x[(size_t)r * ldx + (size_t)i] = (int16_t)(largest ? x_most : random_below(2 * x_most) - x_most);
        }
        inverse[r] = ldexpf(1 + (float)random_below(100) / 100, random_below(20) - 20);
    }
    numbers_fill(bias, 1, 0, n / group * m, NUMBERS_NORMAL);
    numbers_fill(before, m, (size_t)n, n, NUMBERS_NORMAL);
    for (int r = 0; r < m && !biased; r++) {
        memcpy(out + (size_t)r * ldo, before + r * n, (size_t)n * sizeof *out);
    }
    case_is("integers_dot, %d rows, %d columns in groups of %d, %d pairs, bias %d, largest %d", m, n, group,
            n_pairs, biased, largest);
    float unit = 0.37f;
    k->integers_dot(&(tada_integers_dot){integers, n_pairs, n, m, x, ldx, inverse, unit, biased ? bias : NULL,
                                         group, out, ldo});
    guard_check();
    for (int r = 0; r < m; r++) {
        for (int j = 0; j < n; j++) {
            int64_t sum = 0;
            for (int i = 0; i < 2 * n_pairs; i++) {
                sum += (int64_t)x[(size_t)r * ldx + (size_t)i] * integers[(i / 2 * n + j) * 2 + i % 2];
            }
            double start = (double)(biased ? bias[j / group * m + r] : before[r * n + j]);
            double product = (double)inverse[r] * (double)unit * (double)sum;
            double got = (double)out[(size_t)r * ldo + (size_t)j], want = start + product;
            if (!(fabs(got - want) <= 4 * ROUNDING * (fabs(start) + fabs(product)))) {
                fail_case("row %d, column %d is %.9g instead of %.9g", r, j, got, want);
            }
        }
        for (size_t j = (size_t)n; j < ldo && r + 1 < m; j++) {
            assert_true(isnan(out[(size_t)r * ldo + j]));
        }
    }
}

void test_integers(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    for (int m = 1; m <= TADA_INTEGERS_ROWS; m++) {
        for (int n = 16; n <= 256; n += 16) {
            check_integers(k, (enum guard_side)random_below(GUARD_SIDES), m, n, 8 * (1 + random_below(16)),
                           random_below(2), random_below(2));
        }
    }
}

void test_rows_dot(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    for (int m = 1; m <= TADA_INTEGERS_ROWS; m++) {
        int n = 16 * (1 + random_below(16));
        size_t lda = (size_t)n + (size_t)random_below(20);
        guard_start((enum guard_side)random_below(GUARD_SIDES));
        float *a = guard_take(rows_size(m, lda, n), 4), *b = guard_take((size_t)n, 4),
              *out = guard_take((size_t)m, 4);
        numbers_fill(a, m, lda, n, NUMBERS_NORMAL);
        numbers_fill(b, 1, 0, n, random_below(2) ? NUMBERS_NORMAL : NUMBERS_OUTLIERS);
        case_is("rows_dot, %d rows of %d values", m, n);
        k->rows_dot(a, lda, m, n, b, out);
        guard_check();
        for (int r = 0; r < m; r++) {
            double sum = 0, size = 0;
            for (int i = 0; i < n; i++) {
                double product = (double)a[(size_t)r * lda + (size_t)i] * (double)b[i];
                sum += product;
                size += fabs(product);
            }
            if (!(fabs((double)out[r] - sum) <= size * (n + 1) * ROUNDING)) {
                fail_case("row %d is %g instead of %g", r, (double)out[r], sum);
            }
        }
    }
}
