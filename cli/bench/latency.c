/* Times of single tokens. A cache that compresses a tile at once is slow at one place of each tile, which
 * neither the speed nor, with one token of 64, the 99th percentile alone tells. */
#include "latency.h"

#include "output/statistics.h"
#include "tada.h"

#include <math.h>
#include <stdlib.h>

enum { CELLS = TADA_TILE_CELLS };

/* The times at one place of all tiles, in units of the median of the tile's tokens. */
struct places {
    double *ratios[CELLS];
    size_t n[CELLS];
};

static double median_of(double *samples, size_t n)
{
    sort_samples(samples, n);
    return quantile_of(samples, n, 0.5);
}

/* All whole runs of as many tokens as a tile has. The median of each stands for what tokens of that depth
 * take. */
static void add_runs(struct places *places, const float *seconds, int n, int depth)
{
    for (int first = 0; first + CELLS <= n; first += CELLS) {
        double run[CELLS];
        for (int i = 0; i < CELLS; i++) {
            run[i] = seconds[first + i];
        }
        double median = median_of(run, CELLS);
        for (int i = first; i < first + CELLS; i++) {
            int place = (depth + i) % CELLS;
            places->ratios[place][places->n[place]++] = seconds[i] / median;
        }
    }
}

static void find_place(struct places *places, struct latency *latency)
{
    for (int i = 0; i < CELLS; i++) {
        double ratio = places->n[i] ? median_of(places->ratios[i], places->n[i]) : 0;
        if (ratio > latency->place_ratio) {
            latency->place = i;
            latency->place_ratio = ratio;
        }
    }
}

bool latency_of(const float *seconds, int n_repeat, int n, int depth, struct latency *latency)
{
    size_t all = (size_t)n_repeat * (size_t)n, each = (size_t)n_repeat * (size_t)(n / CELLS);
    double *sorted = malloc((all + CELLS * each) * sizeof *sorted);
    struct places places = {.n = {0}};
    *latency = (struct latency){.place = -1};
    if (!sorted) {
        return false;
    }
    for (int i = 0; i < CELLS; i++) {
        places.ratios[i] = sorted + all + (size_t)i * each;
    }
    for (int r = 0; r < n_repeat; r++) {
        add_runs(&places, seconds + (size_t)r * (size_t)n, n, depth);
    }
    find_place(&places, latency);
    for (size_t i = 0; i < all; i++) {
        sorted[i] = 1e3 * (double)seconds[i];
    }
    sort_samples(sorted, all);
    latency->median = quantile_of(sorted, all, 0.5);
    latency->p99 = quantile_of(sorted, all, 0.99);
    latency->max = sorted[all - 1];
    free(sorted);
    return true;
}
