/*
 * Grids. Rows that a compressed cache has decoded lie on a grid: each value is a small integer (its code)
 * times a scale that its group shares, plus an offset, rotated back and rounded to f16
 * (doc/reference/format.md). These functions find the codes of such rows again without knowing the recipe,
 * and store a run of rows in few bits (doc/reference/session.md).
 *
 * They keep no state and may be called from any thread, each with its own scratch.
 */
#ifndef TADA_SESSION_GRID_GRID_H
#define TADA_SESSION_GRID_GRID_H

#include "tada.h"

enum {
    GRID_WIDTH = 1 << 16, /* values of a row, at most */
    GRID_BLOCK = 4096,    /* values that are rotated together, at most */
    GRID_GROUP = 256,     /* values that share a scale on the axis token, at most */
};

/* What the rows of a plane have in common. */
typedef struct grid_shape {
    enum tada_axis axis; /* channel: a scale for each column of a run; token: for `group` columns of a row */
    int width;           /* values of a row: a multiple of 16 */
    int rotation;        /* values that are rotated together: 1 (none), or a power of two from 16 on */
    int group;           /* axis token: a multiple of 16; axis channel: 0 */
    bool doubled;        /* axis token: a code counts as two steps, so that zero points may be half steps */
} grid_shape;

/* Whether the members are within these limits. */
bool grid_check(const grid_shape *grid);

/* The most bytes of a run of up to 64 rows. */
size_t grid_most_bytes(const grid_shape *grid);
/* Floats of scratch that each of the calls below needs: a multiple of 16. */
size_t grid_scratch(const grid_shape *grid);

/*
 * Finds which of n f16 rows [n][width], 1 to 64, lie on a grid. Bit i of the result is row i. On the axis
 * channel all of them do, or none. Leaves codes and words in the scratch, for grid_bytes and grid_put.
 */
uint64_t grid_fit(const grid_shape *grid, const uint16_t *rows, int n, float *scratch);

/* The bytes that grid_put would write. */
size_t grid_bytes(const grid_shape *grid, int first, int n, float *scratch);

/* Writes rows first to first + n - 1 of those that grid_fit was last called with. All of them must lie on a
 * grid, and on the axis channel they must be all rows. Returns how many bytes it wrote. */
size_t grid_put(const grid_shape *grid, int first, int n, float *scratch, uint8_t *bytes);

/*
 * How many of n f16 rows, from the first on, should be one run of the axis channel. 0: the first row is
 * better left as it is. *bytes: size of that run.
 */
int grid_cut(const grid_shape *grid, const uint16_t *rows, int n, float *scratch, size_t *bytes);

/* The size of the head of a run, from which grid_run_bytes tells the size of the run. */
size_t grid_head_bytes(const grid_shape *grid);
/* The size of a run of n rows that begins with `head`; 0: the head is damaged. */
size_t grid_run_bytes(const grid_shape *grid, int n, const uint8_t *head);

/* Reads the n rows of a run, whose bytes are all there. */
void grid_get(const grid_shape *grid, int n, const uint8_t *bytes, uint16_t *rows, float *scratch);

#endif
