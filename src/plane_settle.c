/*
 * Settling planes: what stays hot, what becomes warm or cold.
 *
 * All that decides what a plane holds afterwards is done by one thread, in order: which tiles move, and which
 * places they get. In between, any threads make the codes.
 */
#include "lent.h"
#include "nonfinite.h"
#include "plane.h"
#include "sinks.h"

#include <stdlib.h>

bool tada_plane_unsettled(const tada_plane *p)
{
    return p->n_borrowed > 0 || p->opened;
}

/* A tile that is hot or warm, and what it becomes; a warm one that becomes cold leaves codes in a place. */
typedef struct moving {
    tada_plane *plane;
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
            list[n++] = (moving){.plane = p,
                                 .index = i,
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
static void take_place(moving *m)
{
    tada_plane *p = m->plane;
    if (m->before.level == TADA_WARM) {
        m->from = tada_plane_cold(p, m->index);
        m->codec = tada_plane_codec(p, m->index);
        m->taken = &p->taken[p->n_places + p->tiles[m->index].place];
    }
    tada_plane_take_place(p, m->index, m->to == TADA_WARM);
}

static bool is_copied(const moving *m)
{
    return m->codec == &m->plane->codec;
}

static void move(const moving *m, uint16_t *rows, float *scratch)
{
    tada_plane *p = m->plane;
    tada_tile *tile = &p->tiles[m->index];
    if (is_copied(m)) {
        tada_cold to = tada_plane_cold(p, m->index);
        tada_cold_copy(m->codec, &m->from, &to);
    } else if (m->codec) {
        tada_tile_decode(m->codec, &m->from, tada_plane_coded(p, m->index), rows, scratch);
        tada_plane_turn(p, m->index, rows);
        tada_sinks_restore(p, m->index, rows);
        tile->hot = rows;
        tada_plane_encode(p, m->index, scratch);
        tile->hot = NULL;
    } else {
        tada_plane_encode(p, m->index, scratch);
    }
}

static void moved(const moving *m)
{
    tada_plane *p = m->plane;
    tada_tile *tile = &p->tiles[m->index];
    tada_plane_release(p, tile);
    if (m->taken) {
        *m->taken = 0;
    }
    tada_plane_recount(p, tile, m->before);
    tada_count(&p->compressions, !is_copied(m));
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

/* ---- of several planes ---- */

/* The rounds: what becomes cold makes room for what becomes warm. */
static const enum tada_level rounds[TADA_SETTLING_ROUNDS] = {TADA_COLD, TADA_WARM};

struct tada_settling {
    moving *list, **jobs; /* all tiles of all planes, and those that move in this round */
    tada_plane **planes;
    int n_planes, round;
    int64_t n, n_jobs;
    _Atomic int64_t next;
    size_t scratch_bytes;
    float *scratch; /* so that next() can always go on */
};

tada_settling *tada_settling_create(void)
{
    return calloc(1, sizeof(tada_settling));
}

/* Nothing is begun any more. */
static void end(tada_settling *s)
{
    free(s->list);
    free(s->jobs);
    free(s->planes);
    free(s->scratch);
    *s = (tada_settling){0};
}

void tada_settling_free(tada_settling *s)
{
    if (s) {
        end(s);
        free(s);
    }
}

static int64_t most_moving(const tada_plane *p)
{
    int64_t n = 0;
    for (int64_t i = 0; i < p->n_tiles; i++) {
        n += p->tiles[i].hot != NULL || p->tiles[i].warm;
    }
    return n;
}

/* All memory before the first change. */
static bool get_memory(tada_settling *s, tada_plane *const *planes, int n)
{
    size_t most = 0;
    for (int i = 0; i < n; i++) {
        size_t bytes = (scratch_floats(planes[i]) + rows_floats(planes[i])) * sizeof(float);
        if (tada_plane_unsettled(planes[i])) {
            most += (size_t)most_moving(planes[i]);
            s->scratch_bytes = bytes > s->scratch_bytes ? bytes : s->scratch_bytes;
        }
    }
    s->list = malloc(most * sizeof *s->list + 1);
    s->jobs = malloc(most * sizeof *s->jobs + 1);
    s->planes = malloc((size_t)n * sizeof *s->planes + 1);
    s->scratch = aligned_alloc(64, s->scratch_bytes + 64);
    return s->list && s->jobs && s->planes && s->scratch;
}

/* What moves in this round, and where to. */
static void start_round(tada_settling *s)
{
    enum tada_level to = rounds[s->round];
    s->n_jobs = 0;
    for (int64_t i = 0; i < s->n; i++) {
        moving *m = &s->list[i];
        if (m->to == to && m->before.level != to) {
            take_place(m);
            m->plane->frozen = true;
            s->jobs[s->n_jobs++] = m;
        }
    }
    atomic_store_explicit(&s->next, 0, memory_order_relaxed);
}

static void finish(tada_settling *s)
{
    for (int64_t i = 0; i < s->n; i++) {
        if (s->list[i].to == TADA_HOT) {
            tada_plane_own(s->list[i].plane, s->list[i].index);
        }
    }
    for (int i = 0; i < s->n_planes; i++) {
        s->planes[i]->opened = false;
        tada_nonfinite_recheck(s->planes[i]);
    }
    end(s);
}

/* Begins the first round from this one on in which there is something to do. False: there is none. */
static bool go_on(tada_settling *s)
{
    for (; s->round < TADA_SETTLING_ROUNDS; s->round++) {
        start_round(s);
        if (s->n_jobs > 0) {
            return true;
        }
    }
    finish(s);
    return false;
}

enum tada_status tada_settling_begin(tada_settling *s, tada_plane *const *planes, int n, tada_error *error)
{
    bool settled = true;
    if (s->planes) {
        return tada_fail(error, TADA_E_ARGUMENT,
                         "This settling has begun already: go on to its end before it begins again.");
    }
    for (int i = 0; i < n; i++) {
        settled = settled && !tada_plane_unsettled(planes[i]);
    }
    if (settled) {
        return TADA_OK;
    }
    if (!get_memory(s, planes, n)) {
        end(s);
        return tada_fail(error, TADA_E_MEMORY, "Out of memory to compress rows: free some and try again.");
    }
    for (int i = 0; i < n; i++) {
        if (tada_plane_unsettled(planes[i])) {
            int64_t gathered = gather(planes[i], s->list + s->n);
            choose(planes[i], s->list + s->n, gathered);
            s->n += gathered;
            s->planes[s->n_planes++] = planes[i];
        }
    }
    go_on(s);
    return TADA_OK;
}

size_t tada_settling_scratch(const tada_settling *s)
{
    return s->planes ? s->scratch_bytes : 0;
}

void tada_settling_work(tada_settling *s, void *scratch)
{
    if (!scratch) {
        return;
    }
    for (int64_t i; (i = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed)) < s->n_jobs;) {
        const moving *m = s->jobs[i];
        move(m, (uint16_t *)(void *)((float *)scratch + scratch_floats(m->plane)), scratch);
    }
}

bool tada_settling_next(tada_settling *s)
{
    if (!s->planes) {
        return false;
    }
    tada_settling_work(s, s->scratch);
    for (int64_t i = 0; i < s->n_jobs; i++) {
        moved(s->jobs[i]);
    }
    s->round++;
    return go_on(s);
}

/* ---- of one ---- */

typedef struct settle_run {
    tada_settling settling;
    uint8_t *scratch; /* of all threads but the first, which has the settling's own; or NULL */
} settle_run;

static void settle_part(void *context, int thread, int n_threads)
{
    settle_run *r = context;
    (void)n_threads;
    if (thread == 0) {
        tada_settling_work(&r->settling, r->settling.scratch);
    } else if (r->scratch) {
        tada_settling_work(&r->settling,
                           r->scratch + (size_t)(thread - 1) * tada_settling_scratch(&r->settling));
    }
}

enum tada_status tada_plane_settle(tada_plane *p, const tada_threads *threads, tada_error *error)
{
    settle_run r = {0};
    enum tada_status status = tada_lent_check(threads, error);
    status = status == TADA_OK ? tada_settling_begin(&r.settling, &p, 1, error) : status;
    size_t others = (size_t)tada_lent_count(threads) - 1;
    if (status == TADA_OK && r.settling.n_jobs > 1 && others > 0) {
        /* Without it, the first thread does all. */
        r.scratch = aligned_alloc(64, others * tada_settling_scratch(&r.settling));
    }
    while (r.settling.n_jobs > 0) {
        if (r.scratch && r.settling.n_jobs > 1) {
            tada_lent_run(threads, settle_part, &r);
        }
        tada_settling_next(&r.settling);
    }
    free(r.scratch);
    return status;
}
