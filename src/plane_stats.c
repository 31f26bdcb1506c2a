/* What a plane holds, counted while it changes, so that another thread can look at any time. */
#include "plane.h"

/* No atomic addition, as nobody else adds. */
void tada_count(_Atomic int64_t *counter, int64_t n)
{
    if (n != 0) {
        atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                              memory_order_relaxed);
    }
}

void tada_plane_recount(tada_plane *p, const tada_tile *tile, tada_counted before)
{
    tada_counted now = tada_tile_counted(tile);
    tada_count(&p->n_written, now.written - before.written);
    tada_count(&p->n_hot, (now.level == TADA_HOT) - (before.level == TADA_HOT));
    tada_count(&p->n_warm, (now.level == TADA_WARM) - (before.level == TADA_WARM));
    tada_count(&p->n_cold, (now.level == TADA_COLD) - (before.level == TADA_COLD));
}

void tada_plane_recount_all(tada_plane *p)
{
    int64_t written = 0, of_level[TADA_COLD + 1] = {0};
    for (int64_t i = 0; i < p->n_tiles; i++) {
        tada_counted now = tada_tile_counted(&p->tiles[i]);
        written += now.written;
        of_level[now.level]++;
    }
    p->n_written = written;
    p->n_hot = of_level[TADA_HOT];
    p->n_warm = of_level[TADA_WARM];
    p->n_cold = of_level[TADA_COLD];
}

static int64_t count_of(const _Atomic int64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void tada_plane_get_stats(const tada_plane *p, tada_plane_stats *stats)
{
    const uint8_t *begin = (const uint8_t *)p->tiles, *slots = (const uint8_t *)p->slots,
                  *sinks = (const uint8_t *)p->sinks;
    int64_t cells = p->shape.n_cells * p->shape.n_streams;
    size_t marked = (size_t)count_of(&p->marked_rows) * (size_t)p->shape.width * 2;
    *stats = (tada_plane_stats){.cells = cells,
                                .written = count_of(&p->n_written),
                                .tiles = p->n_tiles,
                                .hot = count_of(&p->n_hot),
                                .warm = count_of(&p->n_warm),
                                .cold = count_of(&p->n_cold),
                                .compressions = count_of(&p->compressions),
                                .reopens = count_of(&p->reopens),
                                .nonfinite = count_of(&p->nonfinite),
                                .bytes = p->bytes + marked,
                                .bytes_f16 = (size_t)cells * (size_t)p->shape.width * 2,
                                .bytes_table = (size_t)(slots - begin),
                                .bytes_hot = (size_t)(sinks - slots),
                                .bytes_sinks = (size_t)(p->cold - sinks) + marked,
                                .bytes_cold = p->bytes - (size_t)(p->cold - begin)};
}
