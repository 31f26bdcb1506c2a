/* Reading rows. */
#include "plane.h"
#include "common/lent.h"
#include "problem.h"
#include "sinks.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

size_t tada_plane_read_scratch(const tada_plane *p)
{
    return p->compressed ? tada_plane_scratch(p) * sizeof(float) + p->tile_values * 2 : 0;
}

/* Reading cells [first, first + n), tile by tile. */
typedef struct plane_read {
    const tada_plane *plane;
    int64_t first, n;
    uint16_t *rows;
    int64_t end_tile;
    _Atomic int64_t next_tile;
    atomic_bool failed;
} plane_read;

/* The cells of a tile that are wanted. decoded: room for its rows and scratch, NULL until one needs it.
 * False: memory is short. */
static bool read_tile(const plane_read *r, int64_t index, float **decoded)
{
    const tada_plane *p = r->plane;
    const tada_tile *tile = &p->tiles[index];
    int64_t stream = index / p->tiles_per_stream;
    int64_t begin = stream * p->shape.n_cells + index % p->tiles_per_stream * CELLS;
    int64_t end =
        begin + CELLS < (stream + 1) * p->shape.n_cells ? begin + CELLS : (stream + 1) * p->shape.n_cells;
    int64_t from = begin > r->first ? begin : r->first, to = end < r->first + r->n ? end : r->first + r->n;
    size_t width = (size_t)p->shape.width, bytes = (size_t)(to - from) * width * 2;
    uint16_t *out = r->rows + (size_t)(from - r->first) * width;
    const uint16_t *rows = tile->hot;
    if (!rows && !tile->mask) {
        memset(out, 0, bytes);
        return true;
    }
    if (!rows) {
        size_t floats = tada_plane_scratch(p);
        *decoded = *decoded ? *decoded : malloc(tada_plane_read_scratch(p));
        if (!*decoded) {
            return false;
        }
        tada_plane_decode(p, index, (uint16_t *)(void *)(*decoded + floats), *decoded);
        rows = (uint16_t *)(void *)(*decoded + floats);
    }
    memcpy(out, rows + (size_t)(from - begin) * width, bytes);
    return true;
}

static void read_part(void *context, int thread, int n_threads)
{
    plane_read *r = context;
    float *decoded = NULL;
    (void)thread;
    (void)n_threads;
    for (int64_t i; (i = atomic_fetch_add_explicit(&r->next_tile, 1, memory_order_relaxed)) < r->end_tile;) {
        if (!read_tile(r, i, &decoded)) {
            r->failed = true;
        }
    }
    free(decoded);
}

static enum tada_status read_make(const tada_plane *p, int64_t first, int64_t n, uint16_t *rows,
                                  plane_read *r, tada_error *error)
{
    int64_t total = p->shape.n_cells * p->shape.n_streams;
    if (first < 0 || n < 0 || first > total - n) {
        return tada_fail(error, TADA_E_ARGUMENT,
                         "The plane has %lld cells: it can't give %lld from cell %lld on.", (long long)total,
                         (long long)n, (long long)first);
    }
    *r = (plane_read){.plane = p, .first = first, .n = n, .rows = rows};
    if (n > 0) {
        r->next_tile = tada_tile_of(p, first);
        r->end_tile = tada_tile_of(p, first + n - 1) + 1;
    }
    return TADA_OK;
}

enum tada_status tada_plane_read(const tada_plane *p, int64_t first, int64_t n, uint16_t *rows,
                                 const tada_threads *threads, tada_error *error)
{
    plane_read r;
    enum tada_status status = read_make(p, first, n, rows, &r, error);
    status = status == TADA_OK ? tada_lent_check(threads, error) : status;
    if (status != TADA_OK) {
        return status;
    }
    tada_lent_run(r.end_tile - r.next_tile > 1 ? threads : NULL, read_part, &r);
    return r.failed ? tada_fail(error, TADA_E_MEMORY,
                                "Out of memory while decoding cells: free some and try again.")
                    : TADA_OK;
}

enum tada_status tada_plane_read_in(const tada_plane *p, int64_t first, int64_t n, uint16_t *rows,
                                    void *scratch, tada_error *error)
{
    plane_read r = {0};
    float *decoded = scratch;
    enum tada_status status = read_make(p, first, n, rows, &r, error);
    for (int64_t i = r.next_tile; status == TADA_OK && i < r.end_tile; i++) {
        read_tile(&r, i, &decoded);
    }
    return status;
}
