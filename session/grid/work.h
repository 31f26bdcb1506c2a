/* The parts of the scratch of a grid, which fit.c and store.c share. */
#ifndef TADA_SESSION_GRID_WORK_H
#define TADA_SESSION_GRID_WORK_H

#include "grid.h"
#include "kernels/kernels.h"

enum { GRID_CODE_BITS = 8 };

typedef struct grid_work {
    float *x;              /* [64][width], the rows in float */
    float *columns;        /* [width][64], their transpose */
    float *scale, *offset; /* [width] */
    uint8_t *codes;        /* [64][width] */
    uint16_t *words;       /* axis channel [width], axis token [64][width / group] */
    uint8_t *lane_codes;   /* [group][TADA_LANES], at least 64 of these */
    uint16_t *rows;        /* [64][width] */
} grid_work;

/* Divides the scratch, of grid_scratch floats, into its parts. */
grid_work grid_work_make(const grid_shape *grid, float *scratch);

/* Makes the n f16 rows that codes and words stand for. Overwrites scale, offset and columns. */
void grid_decode(const grid_shape *grid, int n, const grid_work *w, uint16_t *rows);

#endif
