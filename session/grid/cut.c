/*
 * Where runs end. Codes of a tile are on grids of that tile, but nobody says where in a file tiles begin,
 * which of their cells are missing, and which rows are exact. Rows of two tiles lie on a grid, too, where
 * codes of 8 bits are enough for the multiples of two scales at once: the end of a tile shows in the sizes.
 */
#include "grid.h"

enum { CELLS = TADA_TILE_CELLS, SHORTEST = 4, STEP = 8 };

/* How many rows lie on grids together. Where n rows do, n - 1 of them do. */
static int longest_run(const grid_shape *g, const uint16_t *rows, int n, float *scratch)
{
    int least = 0, most = n < CELLS ? n : CELLS;
    for (int next = most; least < most; next = (least + most + 1) / 2) {
        if (grid_fit(g, rows, next, scratch)) {
            least = next;
        } else {
            most = next - 1;
        }
    }
    return least;
}

/* Bytes of n rows: of a run, or as they are. */
static size_t run_cost(const grid_shape *g, const uint16_t *rows, int n, float *scratch)
{
    size_t raw = 2 * (size_t)n * (size_t)g->width;
    if (n == 0 || !grid_fit(g, rows, n, scratch)) {
        return raw;
    }
    size_t coded = grid_bytes(g, 0, n, scratch);
    return coded < raw ? coded : raw;
}

int grid_cut(const grid_shape *g, const uint16_t *rows, int n, float *scratch, size_t *bytes)
{
    int end = longest_run(g, rows, n, scratch), best = end;
    if (end < SHORTEST) {
        return 0;
    }
    *bytes = run_cost(g, rows, end, scratch);
    size_t least = *bytes;
    /* Roughly, then exactly: the further from the end of the tile, the more rows need wide codes. */
    for (int step = STEP; step >= 1; step /= STEP) {
        int from = step == STEP ? STEP : best - STEP + 1, to = step == STEP ? end : best + STEP;
        for (int i = from < 1 ? 1 : from; i < to && i < end; i += step) {
            size_t first = run_cost(g, rows, i, scratch);
            size_t rest = run_cost(g, rows + (size_t)i * (size_t)g->width, end - i, scratch);
            if (first + rest < least) {
                least = first + rest;
                *bytes = first;
                best = i;
            }
        }
    }
    return best >= SHORTEST && *bytes < 2 * (size_t)best * (size_t)g->width ? best : 0;
}
