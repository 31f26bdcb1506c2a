/* Values that are not finite, in rows of f16: what they may touch and what not (doc/format.md, "Non-finite
 * values"). */
#ifndef TADA_PLANE_NONFINITE_H
#define TADA_PLANE_NONFINITE_H

#include "common/half.h"
#include "plane.h"

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

/* Notes a row that was written, or changed, by its peak. One thread at a time. */
static inline void tada_nonfinite_note(tada_plane *plane, int peak)
{
    if (peak >= TADA_HALF_INFINITY) {
        plane->spoilt = true;
        tada_count(&plane->nonfinite, 1);
    }
}

/* Looks whether rows in f16 that are not finite are still there. */
void tada_nonfinite_recheck(tada_plane *plane);

/* Values [64][columns] of the cells of a tile, before any rotation: those that are not finite become the
 * finite value of their column that is nearest to the mean of these, or 0 where there is none. */
void tada_nonfinite_replace(float *x, int columns, uint64_t mask);

/* What rows [n][stride] in f16 add to out [m][ldo], where some may not be finite: only to sums that give them
 * a weight. As values_rows of the kernels otherwise. */
void tada_nonfinite_values(const float *weights, size_t ldw, int m, int dim, const uint16_t *rows,
                           size_t stride, int n, float *out, size_t ldo);

#endif
