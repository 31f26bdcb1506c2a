/* Settling a plane: what stays hot, and the codes of the rest. */
#include "plane.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

bool tada_plane_unsettled(const tada_plane *p)
{
    return p->n_borrowed > 0 || p->opened;
}

typedef struct hot_tile {
    uint64_t stamp, mask;
    int64_t index, stream;
} hot_tile;

static int by_stream_later_first(const void *a, const void *b)
{
    const hot_tile *x = a, *y = b;
    if (x->stream != y->stream) {
        return x->stream < y->stream ? -1 : 1;
    }
    return x->stamp < y->stamp ? 1 : x->stamp > y->stamp ? -1 : 0;
}

/* Brings the tiles that stay hot to the front: of each stream the last written ones, as many as its window
 * has, whatever the other streams do. Returns how many. */
static int64_t keep_windows(const tada_plane *p, hot_tile *hot, int64_t n)
{
    int64_t quota = p->n_slots / p->shape.n_streams, kept = 0, stream = -1, of_stream = 0;
    qsort(hot, (size_t)n, sizeof *hot, by_stream_later_first);
    for (int64_t i = 0; i < n; i++) {
        hot_tile tile = hot[i];
        of_stream = tile.stream == stream ? of_stream + 1 : 1;
        stream = tile.stream;
        if (of_stream <= quota) {
            hot[i] = hot[kept];
            hot[kept++] = tile;
        }
    }
    return kept;
}

enum tada_status tada_plane_settle(tada_plane *p, int n_threads)
{
    if (!tada_plane_unsettled(p)) {
        return TADA_OK;
    }
    int64_t n_hot = 0;
    for (int64_t i = 0; i < p->n_tiles; i++) {
        n_hot += p->tiles[i].hot != NULL;
    }
    hot_tile *hot = malloc((size_t)n_hot * sizeof *hot + 1);
    size_t scratch_floats = (tada_tile_encode_scratch(&p->codec) + 15) / 16 * 16;
    float *scratch = malloc(scratch_floats * (size_t)n_threads * sizeof *scratch);
    if (!hot || !scratch) {
        free(hot);
        free(scratch);
        return TADA_E_MEMORY;
    }
    n_hot = 0;
    for (int64_t i = 0; i < p->n_tiles; i++) {
        tada_tile *tile = &p->tiles[i];
        if (tile->hot && !tile->mask) {
            tada_plane_release(p, tile);
        } else if (tile->hot) {
            hot[n_hot++] = (hot_tile){tile->stamp, tile->mask, i, i / p->tiles_per_stream};
        }
    }
    int64_t keep = keep_windows(p, hot, n_hot);
    if (n_hot > keep) {
        p->frozen = true;
        for (int64_t i = keep; i < n_hot; i++) {
            tada_plane_take_place(p, hot[i].index);
        }
#pragma omp parallel num_threads(n_threads) if (n_hot - keep > 1)
        {
            float *mine = scratch + scratch_floats * (size_t)omp_get_thread_num();
#pragma omp for schedule(dynamic, 1)
            for (int64_t i = keep; i < n_hot; i++) {
                tada_plane_encode(p, hot[i].index, mine);
            }
        }
        for (int64_t i = keep; i < n_hot; i++) {
            tada_plane_release(p, &p->tiles[hot[i].index]);
            tada_plane_recount(p, &p->tiles[hot[i].index], hot[i].mask, true);
            tada_count(&p->compressions, 1);
        }
    }
    for (int64_t i = 0; i < keep; i++) {
        tada_tile *tile = &p->tiles[hot[i].index];
        if (tada_plane_is_slot(p, tile->hot)) {
            continue;
        }
        int64_t slot = tada_plane_free_slot(p, hot[i].index);
        uint16_t *own = tada_plane_slot(p, slot);
        memcpy(own, tile->hot, p->slot_values * 2);
        tada_plane_release(p, tile);
        p->used[slot] = 1;
        tile->hot = own;
    }
    p->opened = false;
    free(hot);
    free(scratch);
    return TADA_OK;
}
