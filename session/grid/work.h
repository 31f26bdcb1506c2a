/* What the two halves of the grids share: the parts of the scratch. */
#ifndef TADA_SESSION_GRID_WORK_H
#define TADA_SESSION_GRID_WORK_H

#include "grid.h"
#include "kernels/kernels.h"

enum { TADA_GRID_CODE_BITS = 8 };

typedef struct tada_grid_work {
    float *x;              /* [64][width] */
    float *turned;         /* [width][64] */
    float *scale, *offset; /* [width] */
    uint8_t *codes;        /* [64][width] */
    uint16_t *words;       /* axis channel [width], axis token [64][width / group] */
    uint8_t *lane_codes;   /* [group][TADA_LANES], at least 64 of these */
    uint16_t *rows;        /* [64][width] */
} tada_grid_work;

tada_grid_work tada_grid_work_make(const tada_grid *grid, float *scratch);

/* The n rows that codes and words stand for. Overwrites scale, offset and turned. */
void tada_grid_decode(const tada_grid *grid, int n, const tada_grid_work *w, uint16_t *rows);

#endif
