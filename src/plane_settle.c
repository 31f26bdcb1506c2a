/* Settling a plane: what stays hot, what becomes warm or cold. */
#include "nonfinite.h"
#include "plane.h"

#include "sinks.h"

#include <omp.h>
#include <stdlib.h>

bool tada_plane_unsettled(const tada_plane *p)
{
    return p->n_borrowed > 0 || p->opened;
}

/* A tile that is hot or warm, and what it becomes; a warm one that becomes cold leaves codes in a place. */
typedef struct moving {
    int64_t index, stream;
    uint64_t stamp;
    tada_counted before;
    enum tada_level to;
    tada_cold from;
    const tada_codec *codec;
    uint8_t *taken;
} moving;

static int by_stream_later_first(const void *a, const void *b)
{
    const moving *x = a, *y = b;
    if (x->stream != y->stream) {
        return x->stream < y->stream ? -1 : 1;
    }
    return x->stamp < y->stamp ? 1 : x->stamp > y->stamp ? -1 : x->index < y->index ? -1 : 1;
}

/* All that are hot or warm, but for those without rows, which become empty. */
static int64_t gather(tada_plane *p, moving *list)
{
    int64_t n = 0;
    for (int64_t i = 0; i < p->n_tiles; i++) {
        tada_tile *tile = &p->tiles[i];
        tada_counted now = tada_tile_counted(tile);
        if (now.level == TADA_HOT || now.level == TADA_WARM) {
            list[n++] = (moving){.index = i,
                                 .stream = i / p->tiles_per_stream,
                                 .stamp = tile->stamp,
                                 .before = now,
                                 .to = now.level};
        } else if (now.level == TADA_EMPTY) {
            tada_plane_release(p, tile);
        }
    }
    return n;
}

/* Of each stream the last written tiles stay hot or become warm, as many as its window has, whatever the
 * other streams do. */
static void choose(const tada_plane *p, moving *list, int64_t n)
{
    int64_t most_hot = p->n_slots / p->shape.n_streams, most = most_hot + p->warm_per_stream;
    int64_t kept = 0, hot = 0;
    qsort(list, (size_t)n, sizeof *list, by_stream_later_first);
    for (int64_t i = 0; i < n; i++) {
        bool first = i == 0 || list[i].stream != list[i - 1].stream;
        kept = first ? 1 : kept + 1;
        hot = (first ? 0 : hot) + (list[i].before.level == TADA_HOT);
        if (kept > most) {
            list[i].to = TADA_COLD;
        } else if (list[i].before.level == TADA_HOT && hot > most_hot) {
            list[i].to = TADA_WARM;
        }
    }
}

/* Before any tile moves, as several do so at once. */
static void take_place(tada_plane *p, moving *m)
{
    if (m->before.level == TADA_WARM) {
        m->from = tada_plane_cold(p, m->index);
        m->codec = tada_plane_codec(p, m->index);
        m->taken = &p->taken[p->n_places + p->tiles[m->index].place];
    }
    tada_plane_take_place(p, m->index, m->to == TADA_WARM);
}

static bool is_copied(const tada_plane *p, const moving *m)
{
    return m->codec == &p->codec;
}

static void move(tada_plane *p, const moving *m, uint16_t *rows, float *scratch)
{
    tada_tile *tile = &p->tiles[m->index];
    if (is_copied(p, m)) {
        tada_cold to = tada_plane_cold(p, m->index);
        tada_cold_copy(m->codec, &m->from, &to);
    } else if (m->codec) {
        tada_tile_decode(m->codec, &m->from, tada_plane_coded(p, m->index), rows, scratch);
        tada_sinks_restore(p, m->index, rows);
        tile->hot = rows;
        tada_plane_encode(p, m->index, scratch);
        tile->hot = NULL;
    } else {
        tada_plane_encode(p, m->index, scratch);
    }
}

static void moved(tada_plane *p, const moving *m)
{
    tada_tile *tile = &p->tiles[m->index];
    tada_plane_release(p, tile);
    if (m->taken) {
        *m->taken = 0;
    }
    tada_plane_recount(p, tile, m->before);
    tada_count(&p->compressions, !is_copied(p, m));
}

/* What one thread needs. */
static size_t scratch_floats(const tada_plane *p)
{
    size_t encode = tada_plane_encode_scratch(p), decode = tada_plane_scratch(p);
    return ((encode > decode ? encode : decode) + 15) / 16 * 16;
}

static size_t rows_floats(const tada_plane *p)
{
    return p->warm_per_stream > 0 ? (p->slot_values / 2 + 15) / 16 * 16 : 0;
}

/* All tiles that become one thing. */
static void move_to(tada_plane *p, enum tada_level to, moving *list, int64_t n, int n_threads, float *scratch)
{
    size_t floats = scratch_floats(p), each = floats + rows_floats(p);
    int64_t n_moving = 0;
    for (int64_t i = 0; i < n; i++) {
        if (list[i].to == to && list[i].before.level != to) {
            take_place(p, &list[i]);
            n_moving++;
        }
    }
    p->frozen = p->frozen || n_moving > 0;
#pragma omp parallel num_threads(n_threads) if (n_moving > 1)
    {
        float *mine = scratch + each * (size_t)omp_get_thread_num();
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < n; i++) {
            if (list[i].to == to && list[i].before.level != to) {
                move(p, &list[i], (uint16_t *)(void *)(mine + floats), mine);
            }
        }
    }
    for (int64_t i = 0; i < n; i++) {
        if (list[i].to == to && list[i].before.level != to) {
            moved(p, &list[i]);
        }
    }
}

enum tada_status tada_plane_settle(tada_plane *p, int n_threads)
{
    if (!tada_plane_unsettled(p)) {
        return TADA_OK;
    }
    int64_t n = 0;
    for (int64_t i = 0; i < p->n_tiles; i++) {
        n += p->tiles[i].hot != NULL || p->tiles[i].warm;
    }
    moving *list = malloc((size_t)n * sizeof *list + 1);
    float *scratch = malloc((scratch_floats(p) + rows_floats(p)) * (size_t)n_threads * sizeof *scratch);
    if (!list || !scratch) {
        free(list);
        free(scratch);
        return TADA_E_MEMORY;
    }
    n = gather(p, list);
    choose(p, list, n);
    /* First those that make room for the others. */
    move_to(p, TADA_COLD, list, n, n_threads, scratch);
    move_to(p, TADA_WARM, list, n, n_threads, scratch);
    for (int64_t i = 0; i < n; i++) {
        if (list[i].to == TADA_HOT) {
            tada_plane_own(p, list[i].index);
        }
    }
    p->opened = false;
    tada_nonfinite_recheck(p);
    free(list);
    free(scratch);
    return TADA_OK;
}
