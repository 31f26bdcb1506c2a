/* What a plane holds, counted while it changes, so that another thread can look at any time. */
#include "plane.h"

/* Not one atomic addition, as one thread at a time adds: others only read. */
void tada_count(_Atomic int64_t *counter, int64_t n)
{
    if (n != 0) {
        atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                              memory_order_relaxed);
    }
}

tada_counted tada_tile_counted(const tada_plane *p, const tada_tile *tile)
{
    bool cold = tada_tile_level(tile) == TADA_COLD, refined = cold;
    for (const tada_layer *l = &tile->codes; cold && l; l = tada_layer_next(p, l)) {
        refined = refined && l->fine >= 0;
    }
    return (tada_counted){__builtin_popcountll(tile->mask), tada_tile_level(tile), refined,
                          cold && tile->codes.next >= 0};
}

void tada_plane_recount(tada_plane *p, const tada_tile *tile, tada_counted before)
{
    tada_counted now = tada_tile_counted(p, tile);
    tada_count(&p->n_written, now.written - before.written);
    tada_count(&p->n_hot, (now.level == TADA_HOT) - (before.level == TADA_HOT));
    tada_count(&p->n_cold, (now.level == TADA_COLD) - (before.level == TADA_COLD));
    tada_count(&p->n_refined, now.refined - before.refined);
    tada_count(&p->n_layered, now.layered - before.layered);
}

void tada_plane_recount_all(tada_plane *p)
{
    int64_t written = 0, refined = 0, layered = 0, of_level[TADA_COLD + 1] = {0};
    for (int64_t i = 0; i < p->n_tiles; i++) {
        tada_counted now = tada_tile_counted(p, &p->tiles[i]);
        written += now.written;
        refined += now.refined;
        layered += now.layered;
        of_level[now.level]++;
    }
    p->n_written = written;
    p->n_hot = of_level[TADA_HOT];
    p->n_cold = of_level[TADA_COLD];
    p->n_refined = refined;
    p->n_layered = layered;
}

static int64_t count_of(const _Atomic int64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void tada_plane_get_stats(const tada_plane *p, tada_plane_stats *stats)
{
    const uint8_t *begin = (const uint8_t *)p->tiles, *own = (const uint8_t *)p->own,
                  *sinks = (const uint8_t *)p->sinks;
    int64_t cells = p->shape.n_cells * p->shape.n_streams;
    size_t marked = (size_t)count_of(&p->marked_rows) * (size_t)p->shape.width * 2;
    *stats = (tada_plane_stats){.cells = cells,
                                .written = count_of(&p->n_written),
                                .tiles = p->n_tiles,
                                .hot = count_of(&p->n_hot),
                                .cold = count_of(&p->n_cold),
                                .refined = count_of(&p->n_refined),
                                .layered = count_of(&p->n_layered),
                                .compressions = count_of(&p->compressions),
                                .reopens = count_of(&p->reopens),
                                .merges = count_of(&p->merges),
                                .nonfinite = count_of(&p->nonfinite),
                                .bytes = p->bytes + marked,
                                .bytes_f16 = (size_t)cells * (size_t)p->shape.width * 2,
                                .bytes_table = (size_t)(own - begin),
                                .bytes_hot = (size_t)(sinks - own),
                                .bytes_sinks = (size_t)(p->cold - sinks) + marked,
                                .bytes_cold = p->bytes - (size_t)(p->cold - begin)};
}
