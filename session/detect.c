/*
 * On which grids the rows of a plane lie. Samples of them are tried with every axis, rotation and group that
 * a recipe may have, so that a session needs no plan and no model to be packed.
 */
#include "packed.h"

#include <stdlib.h>

enum { CELLS = TADA_TILE_CELLS, SAMPLES = 5, TOKEN_ROWS = 16 };

typedef struct sample {
    int n;          /* rows */
    uint16_t *rows; /* [2 * CELLS][width] */
} sample;

/* How many of the samples' rows lie on the grid. */
static int count_rows(const tada_grid *grid, const sample *samples, float *scratch)
{
    int count = 0;
    for (int i = 0; i < SAMPLES; i++) {
        const sample *s = &samples[i];
        if (grid->axis == TADA_AXIS_TOKEN) {
            int n = s->n < TOKEN_ROWS ? s->n : TOKEN_ROWS;
            count += n ? __builtin_popcountll(tada_grid_fit(grid, s->rows, n, scratch)) : 0;
            continue;
        }
        /* The first run begins anywhere, the second one where a tile does. */
        int first = tada_grid_longest(grid, s->rows, s->n, scratch);
        int second =
            tada_grid_longest(grid, s->rows + (size_t)first * (size_t)grid->width, s->n - first, scratch);
        /* Any one or two rows are on some grid in many columns. */
        count += (first > 3 ? first : 0) + (second > 3 ? second : 0);
    }
    return count;
}

/* Fewer than these are chance. */
static int enough(const tada_grid *grid)
{
    return grid->axis == TADA_AXIS_TOKEN ? TOKEN_ROWS / 2 : CELLS / 8;
}

/* The widest group for which as many rows fit: the fewer scales, the smaller. */
static void widen(tada_grid *grid, int count, const sample *samples, float *scratch)
{
    tada_grid wider = *grid;
    for (wider.group = grid->group + 16; wider.group <= grid->width; wider.group += 16) {
        if (tada_grid_check(&wider) && count_rows(&wider, samples, scratch) >= count) {
            grid->group = wider.group;
        }
    }
}

static bool search(tada_grid *grid, const sample *samples, float *scratch)
{
    tada_grid best = *grid, next = *grid;
    int most = 0;
    for (int axis = 0; axis < 2; axis++) {
        next.axis = axis ? TADA_AXIS_TOKEN : TADA_AXIS_CHANNEL;
        next.group = axis ? 16 : 0;
        for (next.rotation = 1; next.rotation <= TADA_GRID_BLOCK;
             next.rotation = next.rotation == 1 ? 16 : 2 * next.rotation) {
            int count = tada_grid_check(&next) ? count_rows(&next, samples, scratch) : 0;
            if (count >= enough(&next) && count > most) {
                most = count;
                best = next;
            }
        }
        if (most > 0 && best.axis == TADA_AXIS_TOKEN) {
            widen(&best, most, samples, scratch);
        }
        if (most > 0) {
            /* No rows lie on grids both ways. */
            *grid = best;
            return true;
        }
    }
    return false;
}

enum tada_status tada_session_detect(const tada_source *source, uint64_t at, uint64_t rows, tada_grid *grid,
                                     bool *found, tada_error *error)
{
    enum tada_status status = TADA_OK;
    tada_grid widest = {TADA_AXIS_TOKEN, grid->width, 1, 16};
    size_t row = (size_t)grid->width;
    uint16_t *all = malloc(SAMPLES * 2 * CELLS * row * sizeof *all);
    float *scratch = malloc(tada_grid_scratch(&widest) * sizeof *scratch);
    sample samples[SAMPLES];
    if (!all || !scratch) {
        status = tada_fail(error, TADA_E_MEMORY, "Out of memory for the rows of %.150s.", source->path);
    }
    for (int i = 0; i < SAMPLES && status == TADA_OK; i++) {
        uint64_t first = rows * (uint64_t)(2 * i + 1) / (2 * SAMPLES);
        uint64_t n = rows - first < 2 * CELLS ? rows - first : 2 * CELLS;
        samples[i] = (sample){(int)n, all + (size_t)i * 2 * CELLS * row};
        status = tada_source_read(source, at + first * row * 2, samples[i].rows, (size_t)n * row * 2, error);
    }
    if (status == TADA_OK) {
        *found = (tada_grid_check(grid) && count_rows(grid, samples, scratch) >= 2 * enough(grid)) ||
                 search(grid, samples, scratch);
    }
    free(all);
    free(scratch);
    return status;
}
