#include "nonfinite.h"

#include "common/half.h"
#include "kernels/kernels.h"

#include <math.h>

enum { CELLS = TADA_TILE_CELLS };

bool tada_rows_finite(const uint16_t *rows, uint64_t mask, int width)
{
    for (uint64_t left = mask; left; left &= left - 1) {
        size_t t = (size_t)__builtin_ctzll(left);
        if (tada_row_peak(rows + t * (size_t)width, width) >= TADA_HALF_INFINITY) {
            return false;
        }
    }
    return true;
}

/* What takes the place of values of one column that are not finite: the finite value of the column that is
 * nearest to its mean, or 0. It occurs already, so that the range of the column stays and decoded values
 * lie on the same multiples of a scale. It is an average one, so that a row of nothing else is no outlier,
 * rotated or not. It is of the column, because rows may belong to other sequences. */
static float stand_in(const float *x, int columns, uint64_t mask)
{
    float sum = 0, best = 0, least = INFINITY;
    int n = 0;
    for (uint64_t left = mask; left; left &= left - 1) {
        float v = x[__builtin_ctzll(left) * columns];
        sum += isfinite(v) ? v : 0;
        n += isfinite(v);
    }
    float mean = n ? sum / (float)n : 0;
    for (uint64_t left = mask; left; left &= left - 1) {
        float v = x[__builtin_ctzll(left) * columns], distance = fabsf(v - mean);
        if (distance < least) {
            least = distance;
            best = v;
        }
    }
    return best;
}

void tada_nonfinite_replace(float *x, int columns, uint64_t mask)
{
    for (int d = 0; d < columns; d++) {
        float value = stand_in(x + d, columns, mask);
        for (int t = 0; t < CELLS; t++) {
            float *at = &x[t * columns + d];
            *at = isfinite(*at) ? *at : value;
        }
    }
}

/* Adds a row that is not finite. A weight of 0 leaves it out: 0 times an infinity is no 0. */
static void add_row(const float *weights, size_t ldw, int m, int dim, const uint16_t *row, float *out,
                    size_t ldo)
{
    for (int r = 0; r < m; r++) {
        float weight = weights[(size_t)r * ldw];
        for (int d = 0; d < dim && weight != 0; d++) {
            out[(size_t)r * ldo + (size_t)d] += weight * tada_half_to_float(row[d]);
        }
    }
}

void tada_nonfinite_values(const float *weights, size_t ldw, int m, int dim, const uint16_t *rows,
                           size_t stride, int n, float *out, size_t ldo)
{
    int from = 0;
    for (int t = 0; t <= n; t++) {
        const uint16_t *row = rows + (size_t)t * stride;
        if (t < n && tada_row_peak(row, dim) < TADA_HALF_INFINITY) {
            continue;
        }
        if (t > from) {
            tada_kernels_get()->values_rows(weights + from, ldw, m, dim, rows + (size_t)from * stride, stride,
                                            t - from, out, ldo);
        }
        if (t < n) {
            add_row(weights + t, ldw, m, dim, row, out, ldo);
        }
        from = t + 1;
    }
}
