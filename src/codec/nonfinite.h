/* Values that are not finite, in rows of f16: what they may touch and what not (doc/reference/format.md,
 * "Non-finite values"). */
#ifndef TADA_CODEC_NONFINITE_H
#define TADA_CODEC_NONFINITE_H

#include "common/half.h"
#include "tada.h"

/* The largest magnitude of a row, as bits: 0 of zeros, TADA_HALF_INFINITY or more when not all is finite. */
static inline int tada_row_peak(const uint16_t *row, int n)
{
    int16_t peak = 0;
    for (int i = 0; i < n; i++) {
        int16_t size = (int16_t)(row[i] & 0x7fff);
        peak = size > peak ? size : peak;
    }
    return peak;
}

/* Whether those of rows [64][width] that are in mask are finite. */
bool tada_rows_finite(const uint16_t *rows, uint64_t mask, int width);

/* Values [64][columns] of the cells of a tile, before any rotation: those that are not finite become the
 * finite value of their column that is nearest to the mean of these, or 0 where there is none. */
void tada_nonfinite_replace(float *x, int columns, uint64_t mask);

/* What rows [n][stride] in f16 add to out [m][ldo], where some may not be finite: only to sums that give them
 * a weight. As values_rows of the kernels otherwise. */
void tada_nonfinite_values(const float *weights, size_t ldw, int m, int dim, const uint16_t *rows,
                           size_t stride, int n, float *out, size_t ldo);

#endif
