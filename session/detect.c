/*
 * On which grids the rows of a plane lie. Samples of them are tried with every axis, rotation and group that
 * a recipe may have, so that a session needs no plan and no model to be packed.
 */
#include "format.h"

#include <stdlib.h>

enum { CELLS = TADA_TILE_CELLS, SAMPLES = 4, TOKEN_ROWS = 16 };

typedef struct sample {
    int n;          /* rows */
    uint16_t *rows; /* [2 * CELLS][width] */
} sample;

/* Bytes of a row. */
static double sample_cost(const grid_shape *grid, const sample *s, float *scratch)
{
    double raw = 2.0 * grid->width;
    if (grid->axis == TADA_AXIS_TOKEN) {
        int n = s->n < TOKEN_ROWS ? s->n : TOKEN_ROWS;
        uint64_t fits = grid_fit(grid, s->rows, n, scratch);
        double bytes = 0;
        for (int i = 0; i < n; i++) {
            bytes += fits >> i & 1 ? (double)grid_bytes(grid, i, 1, scratch) : raw;
        }
        return bytes / n;
    }
    /* The first run begins anywhere, the second one where a tile does. */
    size_t bytes = 0;
    int first = grid_cut(grid, s->rows, s->n, scratch, &bytes);
    double cost = first ? (double)bytes / first : raw;
    int second =
        first ? grid_cut(grid, s->rows + (size_t)first * (size_t)grid->width, s->n - first, scratch, &bytes)
              : 0;
    return second > 0 && second >= first ? (double)bytes / second : cost;
}

/* Bytes over those of f16 rows. */
static double cost_of(const grid_shape *grid, const sample *samples, float *scratch)
{
    double cost = 0;
    for (int i = 0; i < SAMPLES; i++) {
        cost += sample_cost(grid, &samples[i], scratch) / (2.0 * grid->width * SAMPLES);
    }
    return cost;
}

static void consider_grid(const grid_shape *grid, const sample *samples, float *scratch, grid_shape *best,
                          double *least)
{
    double cost = grid_check(grid) ? cost_of(grid, samples, scratch) : 1;
    if (cost < *least) {
        *least = cost;
        *best = *grid;
    }
}

/* The grid that makes the samples smallest. Returns its cost; 1: there is none that does. */
static double search_grid(grid_shape *grid, const sample *samples, float *scratch)
{
    grid_shape best = *grid, next = *grid;
    double least = 1;
    for (int token = 0; token < 3; token++) {
        next.axis = token ? TADA_AXIS_TOKEN : TADA_AXIS_CHANNEL;
        next.group = token ? 16 : 0;
        next.doubled = token == 2;
        for (next.rotation = 1; next.rotation <= GRID_BLOCK;
             next.rotation = next.rotation == 1 ? 16 : 2 * next.rotation) {
            consider_grid(&next, samples, scratch, &best, &least);
        }
    }
    next = best;
    if (least < 1 && best.axis == TADA_AXIS_TOKEN) {
        /* Rows that lie on grids in groups of 16 may do so in wider ones, which need fewer scales. */
        for (next.group = 32; next.group <= GRID_GROUP; next.group += 16) {
            consider_grid(&next, samples, scratch, &best, &least);
        }
    }
    *grid = best;
    return least;
}

enum tada_status session_detect(const source_file *source, uint64_t at, uint64_t rows, session_guess *guess,
                                tada_error *error)
{
    enum tada_status status = TADA_OK;
    grid_shape most_scratch = {TADA_AXIS_TOKEN, guess->grid.width, 1, 16, false};
    size_t row = (size_t)guess->grid.width;
    uint16_t *all = malloc(SAMPLES * 2 * CELLS * row * sizeof *all);
    float *scratch = malloc(grid_scratch(&most_scratch) * sizeof *scratch);
    sample samples[SAMPLES];
    if (!all || !scratch) {
        status = tada_fail(error, TADA_E_MEMORY, "Out of memory for the rows of %.150s.", source->path);
    }
    for (int i = 0; i < SAMPLES && status == TADA_OK; i++) {
        uint64_t first = rows * (uint64_t)(2 * i + 1) / (2 * SAMPLES);
        uint64_t n = rows - first < 2 * CELLS ? rows - first : 2 * CELLS;
        samples[i] = (sample){(int)n, all + (size_t)i * 2 * CELLS * row};
        status = source_read(source, at + first * row * 2, samples[i].rows, (size_t)n * row * 2, error);
    }
    if (status == TADA_OK) {
        /* Most planes lie on the same grid as the plane before, so that is tried first. */
        double cost =
            guess->cost < 1 && grid_check(&guess->grid) ? cost_of(&guess->grid, samples, scratch) : 1;
        guess->cost = cost <= guess->cost * 1.25 && cost < 1 ? guess->cost
                                                             : search_grid(&guess->grid, samples, scratch);
    }
    free(all);
    free(scratch);
    return status;
}
