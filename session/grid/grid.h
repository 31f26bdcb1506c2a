/*
 * Rows that a compressed cache has decoded lie on grids: each value is a small integer times a scale that it
 * shares with its group, turned back by a rotation and rounded to f16 (doc/reference/format.md). A run of
 * such rows is found again as integers, without knowing the recipe, and is stored in few bits.
 * doc/reference/session.md has the bytes.
 */
#ifndef TADA_SESSION_GRID_GRID_H
#define TADA_SESSION_GRID_GRID_H

#include "tada.h"

enum {
    GRID_WIDTH = 1 << 16, /* of a row, at most */
    GRID_BLOCK = 4096,    /* of a rotation, at most */
    GRID_GROUP = 256,
};

/* What the rows of a plane have in common. */
typedef struct grid_shape {
    enum tada_axis axis; /* a scale for each column of a run; for `group` columns of each row */
    int width;           /* a multiple of 16 */
    int rotation;        /* values that are rotated together: 1 (none), or a power of two from 16 on */
    int group;           /* axis token: a multiple of 16; axis channel: 0 */
    bool doubled;        /* axis token: codes count twice, so that zero points may be half steps */
} grid_shape;

/* False: no sound one. */
bool grid_check(const grid_shape *grid);

/* Bytes that a run of up to 64 rows may have, and floats of scratch that each of the calls needs. */
size_t grid_most_bytes(const grid_shape *grid);
size_t grid_scratch(const grid_shape *grid);

/*
 * Which of n (1 to 64) f16 rows [n][width] lie on a grid; bit i is row i. Axis channel: all or none. Codes
 * and words are left in the scratch for grid_put.
 */
uint64_t grid_fit(const grid_shape *grid, const uint16_t *rows, int n, float *scratch);

/* Bytes that grid_put would write. */
size_t grid_bytes(const grid_shape *grid, int first, int n, float *scratch);

/* Writes rows first to first + n - 1 of those that were just fitted, all of which lie on a grid (axis
 * channel: all rows that there are). Returns the bytes of the run. */
size_t grid_put(const grid_shape *grid, int first, int n, float *scratch, uint8_t *bytes);

/*
 * How many of n f16 rows, from the first on, should be one run of the axis channel; 0: the first one is
 * better left as it is. *bytes: of that run.
 */
int grid_cut(const grid_shape *grid, const uint16_t *rows, int n, float *scratch, size_t *bytes);

/* First bytes of a run that tell how many it has; how many a run of n rows that begins so has, 0: damaged. */
size_t grid_head_bytes(const grid_shape *grid);
size_t grid_run_bytes(const grid_shape *grid, int n, const uint8_t *head);

/* The n rows of a run. */
void grid_get(const grid_shape *grid, int n, const uint8_t *bytes, uint16_t *rows, float *scratch);

#endif
