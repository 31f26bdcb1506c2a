/*
 * Settling planes: what stays hot, what becomes cold, and which cold tiles are refined.
 *
 * All that decides what a plane holds afterwards is done by one thread, in order: which tiles move, which
 * refinements go, and which slots are taken. Then any threads make the codes.
 */
#include "common/lent.h"
#include "spoilt.h"
#include "plane.h"

#include <stdlib.h>

bool tada_plane_unsettled(const tada_plane *p)
{
    return p->n_borrowed > 0 || p->opened;
}

/* New rows of a tile may be of two sizes. */
enum { PARTS = 2 };

/* Cells of a tile that are encoded together as one layer. */
typedef struct moving_part {
    uint64_t cells;
    tada_layer *layer; /* the layer that they become; NULL: a new one, unless there are no cells */
} moving_part;

/* A hot tile that becomes cold. */
typedef struct moving {
    tada_plane *plane;
    int64_t index;
    tada_counted before;
    uint64_t coded; /* cells whose codes change when they are encoded again */
    moving_part parts[PARTS];
    int n_fines; /* refinements that the layers of these parts get */
} moving;

/* A tile of a stream by its last write, whether attention sees it, and which of those that move it is; -1:
 * none. */
typedef struct ranked {
    uint64_t stamp;
    bool seen;
    int64_t index, job;
} ranked;

struct tada_settling {
    moving *jobs;
    ranked *ranks;   /* for one stream at a time, */
    int64_t *job_at; /* as this: the job of each of its tiles; -1: none */
    tada_plane **planes;
    int n_planes;
    int64_t n_jobs;
    _Atomic int64_t next;
    size_t scratch_bytes;
    float *scratch; /* so that end() can always do it all */
    uint16_t *rows; /* of a cold tile whose layers are merged */
};

static int later_first(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return x->stamp < y->stamp ? 1 : x->stamp > y->stamp ? -1 : x->index < y->index ? -1 : 1;
}

static ranked ranked_of(const tada_plane *p, int64_t index, int64_t job)
{
    return (ranked){p->tiles[index].stamp, !tada_tile_unseen(p, index), index, job};
}

/* Those that tada_layers_before puts first come last. */
static int seen_first(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return x->seen != y->seen ? (x->seen ? -1 : 1) : later_first(a, b);
}

/* The last written tiles of a stream stay hot, as many as are its own; the others become cold, those written
 * first before the others. Those without rows become empty. */
static void choose_cold(tada_settling *s, tada_plane *p, int64_t first)
{
    int64_t n = 0, most = p->n_own / p->shape.n_streams;
    for (int64_t i = first; i < first + p->tiles_per_stream; i++) {
        if (tada_tile_level(&p->tiles[i]) == TADA_HOT) {
            s->ranks[n++] = ranked_of(p, i, -1);
            tada_layers_tidy(p, i);
        } else if (!p->tiles[i].mask) {
            tada_plane_release(p, &p->tiles[i]);
            tada_layers_drop(p, i);
        }
        s->job_at[i - first] = -1;
    }
    if (n > most) {
        qsort(s->ranks, (size_t)n, sizeof *s->ranks, later_first);
    }
    for (int64_t i = n - 1; i >= most; i--) {
        const tada_tile *tile = &p->tiles[s->ranks[i].index];
        s->job_at[s->ranks[i].index - first] = s->n_jobs;
        s->jobs[s->n_jobs++] =
            (moving){.plane = p, .index = s->ranks[i].index, .before = tada_tile_counted(p, tile)};
    }
}

/* Whether a part of a tile that becomes cold gets a new layer. A cold tile has one layer at least: if all
 * of its rows are sinks, it is one without cells. */
static bool adds(const moving *m, int part)
{
    bool none = part == 0 && m->plane->tiles[m->index].codes.base < 0;
    return (m->parts[part].cells || none) && !m->parts[part].layer;
}

static int added(const moving *m)
{
    int n = 0;
    for (int i = 0; i < PARTS; i++) {
        n += adds(m, i);
    }
    return n;
}

/* The last layer of a tile whose rows are of the size of the given ones, if there are so many of these at
 * least. NULL: there are not. */
static tada_layer *alike(const tada_plane *p, int64_t index, uint64_t cells, int least)
{
    tada_layer *found = NULL;
    int n = 0;
    for (tada_layer *l = &p->tiles[index].codes; l; l = tada_layer_next(p, l)) {
        if (l->cells && !tada_layers_apart(p, index, cells | l->cells)) {
            found = l;
            n++;
        }
    }
    return n >= least ? found : NULL;
}

/* Rows are encoded together with those of a layer. */
static void join(moving_part *part, tada_layer *layer)
{
    part->layer = layer;
    part->cells |= layer->cells;
    layer->cells = 0;
}

/* The layer of a tile that others can be encoded together with, and its rows have the same codes again:
 * those of a row follow from the row alone. NULL: there is none. */
static tada_layer *open_to_all(const tada_plane *p, int64_t index)
{
    const tada_recipe *r = &p->codec.recipe;
    tada_layer *layer = &p->tiles[index].codes;
    bool alone = r->axis == TADA_AXIS_TOKEN && tada_recipe_settles(r);
    return alone && layer->cells && layer->shift == 0 ? layer : NULL;
}

/* Rows that codes give keep them. The others become layers of their own, one for each size, or are encoded
 * together with a layer of their size. */
static void choose_cells(moving *m)
{
    tada_plane *p = m->plane;
    tada_layer *last = &p->tiles[m->index].codes;
    moving_part *small = &m->parts[0], *large = &m->parts[1];
    tada_layer *open = open_to_all(p, m->index);
    int room = tada_layers_left(p, m->index);
    for (tada_layer *l = last; l; l = tada_layer_next(p, l)) {
        m->coded |= l->cells;
        last = l;
    }
    small->cells = tada_plane_coded(p, m->index) & ~m->coded;
    large->cells = tada_layers_apart(p, m->index, small->cells);
    small->cells &= ~large->cells;
    if (open && small->cells) {
        m->coded &= ~open->cells;
        join(small, open);
    }
    for (int i = 0; i < PARTS; i++) {
        /* Two of a size, where there is room: what stays, and what is written again and again. */
        int least = added(m) > room ? 1 : 2;
        tada_layer *layer = adds(m, i) && m->coded ? alike(p, m->index, m->parts[i].cells, least) : NULL;
        if (layer) {
            join(&m->parts[i], layer);
        }
    }
    if (added(m) > room && !small->layer && !large->layer) {
        small->cells |= large->cells;
        large->cells = 0;
    }
    if (added(m) > room) {
        join(small->layer ? large : small, last->cells ? last : &p->tiles[m->index].codes);
    }
}

/* Rows that have become zeros may have left layers without cells. */
static void tidy_cold(tada_plane *p, int64_t index)
{
    if (tada_plane_coded(p, index)) {
        tada_layers_tidy(p, index);
    }
}

/* Which cells of a tile are in its second layer when it makes do with one or two of them. With two, there is
 * one for each size of rows; or if all are of one size, the first layer stays as it is, and the others are
 * joined. */
static uint64_t second_of(const tada_plane *p, int64_t index, int most)
{
    uint64_t cells = tada_plane_coded(p, index), large = 0;
    if (most > 1) {
        large = tada_layers_apart(p, index, cells);
        large = large ? large : cells & ~p->tiles[index].codes.cells;
    }
    return large == cells ? 0 : large;
}

/* Makes one or two layers of all cells of a tile that are in codes, or will be. */
static void merge_job(moving *m, int most)
{
    tada_plane *p = m->plane;
    tada_layer *first = &p->tiles[m->index].codes;
    uint64_t second = second_of(p, m->index, most), cells = tada_plane_coded(p, m->index) & ~second;
    tada_layers_cut(p, m->index);
    if (first->cells == cells) {
        m->parts[0] = (moving_part){second, NULL};
        m->parts[1] = (moving_part){0};
    } else {
        m->parts[0] = (moving_part){cells, first->base < 0 ? NULL : first};
        m->parts[1] = (moving_part){second, NULL};
    }
}

/* The same of a cold tile, which has more than `most` layers, and whose rows have been decoded. */
static void merge_decoded(tada_settling *s, tada_plane *p, int64_t index, int most)
{
    tada_tile *tile = &p->tiles[index];
    tada_layer *first = &tile->codes;
    tada_counted before = tada_tile_counted(p, tile);
    bool refined = tada_layers_has_fine(p, index);
    tile->hot = s->rows;
    uint64_t second = second_of(p, index, most), cells = tada_plane_coded(p, index) & ~second;
    tada_layers_cut(p, index);
    /* What is taken now is less than what was given back. */
    if (first->cells != cells) {
        if (refined && first->fine < 0) {
            tada_layer_take_fine(p, index, first);
        }
        tada_plane_encode(p, index, first, cells, s->scratch);
    }
    if (second) {
        tada_layer *layer = tada_layers_add(p, index);
        if (refined) {
            tada_layer_take_fine(p, index, layer);
        }
        tada_plane_encode(p, index, layer, second, s->scratch);
    }
    tile->hot = NULL;
    tidy_cold(p, index);
    tada_plane_recount(p, tile, before);
    tada_count(&p->merges, 1);
}

/* How many slots codes take when all tiles that move have become cold. */
static int64_t slots_wanted(const tada_settling *s, const tada_plane *p, int64_t first, int64_t first_job)
{
    int64_t n = 0;
    for (int64_t i = first; i < first + p->tiles_per_stream; i++) {
        n += tada_layers_count(p, i);
    }
    for (int64_t j = first_job; j < s->n_jobs; j++) {
        n += added(&s->jobs[j]);
    }
    return n;
}

/* Whether a tile stays in f16. It is exact then whatever its codes have, so it takes no place of a window. */
static bool stays_hot(const tada_plane *p, const ranked *r)
{
    return p->tiles[r->index].hot && r->job < 0;
}

/* How many layers a tile will have. */
static int layers_of(const tada_settling *s, const tada_plane *p, const ranked *r)
{
    return tada_layers_count(p, r->index) + (r->job >= 0 ? added(&s->jobs[r->job]) : 0);
}

/* Makes do with `most` layers of a tile that has more, or will have: with one or two. Hot ones, whose rows
 * are there, give up all. */
static void merge(tada_settling *s, tada_plane *p, const ranked *r, int most)
{
    if (r->job >= 0) {
        merge_job(&s->jobs[r->job], most);
    } else if (p->tiles[r->index].hot) {
        tada_layers_drop(p, r->index);
    } else {
        tada_plane_decode(p, r->index, s->rows, s->scratch);
        merge_decoded(s, p, r->index, most);
    }
}

/* Where there are too few slots, tiles give up theirs in the order of tada_layers_before: first all but two,
 * then all but one. Returns how many slots codes take then. */
static int64_t make_room(tada_settling *s, tada_plane *p, int64_t first, int64_t first_job)
{
    /* The tiles of the window stay refined; without a window, the tile that was left last. */
    int64_t fines = p->most_refined > 0 && p->window_slots < 1 ? 1 : p->window_slots;
    int64_t wanted = slots_wanted(s, p, first, first_job), n = 0, room = p->slots_per_stream - fines;
    if (wanted <= room) {
        return wanted;
    }
    for (int64_t i = first; i < first + p->tiles_per_stream; i++) {
        ranked r = ranked_of(p, i, s->job_at[i - first]);
        if (layers_of(s, p, &r) > (stays_hot(p, &r) ? 0 : 1)) {
            s->ranks[n++] = r;
        }
    }
    qsort(s->ranks, (size_t)n, sizeof *s->ranks, seen_first);
    for (int most = PARTS; most > 0; most--) {
        for (int64_t i = n - 1; i >= 0 && wanted > room; i--) {
            const ranked *r = &s->ranks[i];
            int layers = layers_of(s, p, r);
            /* What a hot tile gives up comes with the last round. */
            if (stays_hot(p, r) ? most == 1 : layers > most) {
                merge(s, p, r, most);
                wanted -= layers - layers_of(s, p, r);
            }
        }
    }
    return wanted;
}

/* How many refinements codes that a tile gets now may have that they do not have yet. */
static int fines_wanted(const moving *m)
{
    int n = 0;
    for (int i = 0; i < PARTS; i++) {
        n += adds(m, i) || (m->parts[i].layer && m->parts[i].layer->fine < 0);
    }
    return n;
}

/* Slots that refinements of a tile have, or may get. */
static int fines_of(const tada_settling *s, const tada_plane *p, const ranked *r)
{
    int n = r->job >= 0 ? fines_wanted(&s->jobs[r->job]) : 0;
    for (const tada_layer *l = &p->tiles[r->index].codes; l; l = tada_layer_next(p, l)) {
        n += l->fine >= 0;
    }
    return n;
}

/* Whether a tile is cold and has nothing but refined layers, several of them. */
static bool could_merge(const tada_settling *s, const tada_plane *p, int64_t first, int64_t index)
{
    bool all = tada_tile_level(&p->tiles[index]) == TADA_COLD && !tada_tile_unseen(p, index) &&
               s->job_at[index - first] < 0 && tada_layers_count(p, index) > 1;
    for (const tada_layer *l = &p->tiles[index].codes; l && all; l = tada_layer_next(p, l)) {
        all = l->fine >= 0;
    }
    return all;
}

/* Makes one layer of those of a cold tile, if its rows are of one size. Returns how many layers are gone. */
static int merge_alike(tada_settling *s, tada_plane *p, int64_t index)
{
    tada_tile *tile = &p->tiles[index];
    int layers = tada_layers_count(p, index);
    tada_plane_decode(p, index, s->rows, s->scratch);
    tile->hot = s->rows;
    bool alike = !tada_layers_apart(p, index, tada_plane_coded(p, index));
    tile->hot = NULL;
    if (alike) {
        merge_decoded(s, p, index, 1);
    }
    return layers - tada_layers_count(p, index);
}

/*
 * Where refinements of tiles that attention sees would have to go, but all can stay if layers of refined
 * tiles are merged, these are, those written first before others: rows that are rounded twice to their
 * refinement lose far less than rows that lose it. left: free slots; returns how many there are then.
 */
static int64_t merge_refined(tada_settling *s, tada_plane *p, int64_t first, int64_t left)
{
    int64_t wanted = 0, most = 0, n = 0;
    for (int64_t i = first; i < first + p->tiles_per_stream; i++) {
        ranked r = ranked_of(p, i, s->job_at[i - first]);
        wanted += r.seen ? fines_of(s, p, &r) : 0;
        if (could_merge(s, p, first, i)) {
            s->ranks[n++] = r;
            most += tada_layers_count(p, i) - 1;
        }
    }
    if (wanted <= left || wanted - most > left + most) {
        return left;
    }
    qsort(s->ranks, (size_t)n, sizeof *s->ranks, seen_first);
    for (int64_t i = n - 1; i >= 0 && wanted > left; i--) {
        int gone = merge_alike(s, p, s->ranks[i].index);
        wanted -= gone;
        left += gone;
    }
    return left;
}

/* Lets a tile have so many refinements, that of its new codes first. */
static void give_fines(tada_settling *s, tada_plane *p, const ranked *r, int n)
{
    tada_tile *tile = &p->tiles[r->index];
    tada_counted before = tada_tile_counted(p, tile);
    if (r->job >= 0) {
        int wanted = fines_wanted(&s->jobs[r->job]);
        s->jobs[r->job].n_fines = n < wanted ? n : wanted;
        n -= s->jobs[r->job].n_fines;
    }
    for (tada_layer *l = &tile->codes; l; l = tada_layer_next(p, l)) {
        if (l->fine >= 0 && n-- <= 0) {
            tada_layer_return_fine(p, l);
        }
    }
    tada_plane_recount(p, tile, before);
}

/* Which of the tiles that are refined stay so, and which of those that become cold will be: those that
 * attention sees and that were written last, while slots are left. */
static void choose_refined(tada_settling *s, tada_plane *p, int64_t first, int64_t left)
{
    int64_t n = 0, wanted = 0, cold = 0, tiles = p->most_refined;
    for (int64_t i = first; i < first + p->tiles_per_stream; i++) {
        ranked r = ranked_of(p, i, s->job_at[i - first]);
        /* What a hot tile has kept comes after those that are left now: most of it may be gone soon. */
        r.stamp += r.job >= 0 ? p->clock : 0;
        int fines = fines_of(s, p, &r);
        if (fines > 0) {
            s->ranks[n++] = r;
            wanted += fines;
            cold += !stays_hot(p, &r);
        }
    }
    if (wanted > left || cold > tiles) {
        qsort(s->ranks, (size_t)n, sizeof *s->ranks, seen_first);
    }
    for (int64_t i = 0; i < n; i++) {
        bool hot = stays_hot(p, &s->ranks[i]);
        int fines = fines_of(s, p, &s->ranks[i]);
        int given = !hot && tiles == 0 ? 0 : fines < left ? fines : (int)left;
        give_fines(s, p, &s->ranks[i], given);
        left -= given;
        tiles -= !hot && tiles > 0;
    }
}

/* The layers that new rows become, for which there are slots. False: the stream has no room for one. */
static bool take_layers(moving *m)
{
    bool taken = true;
    for (int i = 0; i < PARTS && taken; i++) {
        if (adds(m, i)) {
            m->parts[i].layer = tada_layers_add(m->plane, m->index);
            taken = m->parts[i].layer != NULL;
        }
    }
    return taken;
}

static void add_layers(moving *m)
{
    tada_plane *p = m->plane;
    for (int most = PARTS; most > 0 && !take_layers(m); most--) {
        merge_job(m, most);
    }
    tada_count(&p->merges, ((m->parts[0].cells | m->parts[1].cells) & m->coded) != 0);
}

static void take_fines(moving *m)
{
    for (int i = 0; i < PARTS; i++) {
        tada_layer *layer = m->parts[i].layer;
        if (m->n_fines > 0 && layer && layer->fine < 0) {
            tada_layer_take_fine(m->plane, m->index, layer);
            m->n_fines--;
        }
    }
}

static void plan_stream(tada_settling *s, tada_plane *p, int64_t stream)
{
    int64_t first = stream * p->tiles_per_stream, first_job = s->n_jobs;
    choose_cold(s, p, first);
    if (s->n_jobs == first_job) {
        return;
    }
    for (int64_t j = first_job; j < s->n_jobs; j++) {
        choose_cells(&s->jobs[j]);
    }
    int64_t wanted = make_room(s, p, first, first_job);
    int64_t left = merge_refined(s, p, first, p->slots_per_stream - wanted);
    choose_refined(s, p, first, left);
    for (int64_t j = first_job; j < s->n_jobs; j++) {
        add_layers(&s->jobs[j]);
    }
    for (int64_t j = first_job; j < s->n_jobs; j++) {
        take_fines(&s->jobs[j]);
    }
    p->frozen = true;
}

/* ---- of several planes ---- */

tada_settling *tada_settling_create(void)
{
    return calloc(1, sizeof(tada_settling));
}

/* Frees all that tada_settling_begin has made. */
static void reset(tada_settling *s)
{
    free(s->jobs);
    free(s->ranks);
    free(s->job_at);
    free(s->planes);
    free(s->scratch);
    free(s->rows);
    *s = (tada_settling){0};
}

void tada_settling_free(tada_settling *s)
{
    if (s) {
        reset(s);
        free(s);
    }
}

static int64_t most_moving(const tada_plane *p)
{
    int64_t n = 0;
    for (int64_t i = 0; i < p->n_tiles; i++) {
        n += p->tiles[i].hot != NULL;
    }
    return n;
}

/* All memory before the first change. */
static bool get_memory(tada_settling *s, tada_plane *const *planes, int n)
{
    size_t most = 0, longest = 0, values = 0;
    for (int i = 0; i < n; i++) {
        size_t bytes = tada_plane_encode_scratch(planes[i]) * sizeof(float), tiles;
        if (tada_plane_unsettled(planes[i])) {
            tiles = (size_t)planes[i]->tiles_per_stream;
            longest = tiles > longest ? tiles : longest;
            values = planes[i]->tile_values > values ? planes[i]->tile_values : values;
            most += (size_t)most_moving(planes[i]);
            s->scratch_bytes = bytes > s->scratch_bytes ? bytes : s->scratch_bytes;
        }
    }
    s->scratch_bytes = (s->scratch_bytes + 63) / 64 * 64;
    s->jobs = malloc(most * sizeof *s->jobs + 1);
    s->ranks = malloc(longest * sizeof *s->ranks + 1);
    s->job_at = malloc(longest * sizeof *s->job_at + 1);
    s->planes = malloc((size_t)n * sizeof *s->planes + 1);
    s->scratch = aligned_alloc(64, s->scratch_bytes + 64);
    s->rows = malloc(values * sizeof *s->rows + 1);
    return s->jobs && s->ranks && s->job_at && s->planes && s->scratch && s->rows;
}

enum tada_status tada_settling_begin(tada_settling *s, tada_plane *const *planes, int n, tada_error *error)
{
    bool settled = true;
    if (n < 0) {
        return tada_fail(error, TADA_E_ARGUMENT, "The number of planes to settle must be 0 or more.");
    }
    if (s->planes) {
        return tada_fail(error, TADA_E_ARGUMENT,
                         "This settling has begun already: end it before it begins again.");
    }
    for (int i = 0; i < n; i++) {
        settled = settled && !tada_plane_unsettled(planes[i]);
    }
    if (settled) {
        return TADA_OK;
    }
    if (!get_memory(s, planes, n)) {
        reset(s);
        return tada_fail(error, TADA_E_MEMORY, "Out of memory to compress rows: free some and try again.");
    }
    for (int i = 0; i < n; i++) {
        for (int64_t stream = 0; tada_plane_unsettled(planes[i]) && stream < planes[i]->shape.n_streams;
             stream++) {
            plan_stream(s, planes[i], stream);
        }
        if (tada_plane_unsettled(planes[i])) {
            s->planes[s->n_planes++] = planes[i];
        }
    }
    /* Calls of work while nothing was begun have counted it up. */
    atomic_store_explicit(&s->next, 0, memory_order_relaxed);
    if (s->n_jobs == 0) {
        tada_settling_end(s);
    }
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
        const moving *m = &s->jobs[i];
        for (int j = 0; j < PARTS && (j == 0 || m->parts[j].layer); j++) {
            tada_plane_encode(m->plane, m->index, m->parts[j].layer, m->parts[j].cells, scratch);
        }
    }
}

/* Moves the rows of all tiles that stay hot into the plane, as borrowed tiles go back to the pool. */
static void finish(tada_plane *p)
{
    for (int64_t i = 0; i < p->n_tiles; i++) {
        if (p->tiles[i].hot) {
            tada_plane_own(p, i);
        }
    }
    p->opened = false;
    tada_spoilt_recheck(p);
}

void tada_settling_end(tada_settling *s)
{
    if (!s->planes) {
        return;
    }
    tada_settling_work(s, s->scratch);
    for (int64_t i = 0; i < s->n_jobs; i++) {
        tada_plane *p = s->jobs[i].plane;
        tada_tile *tile = &p->tiles[s->jobs[i].index];
        tada_plane_release(p, tile);
        tidy_cold(p, s->jobs[i].index);
        tada_plane_recount(p, tile, s->jobs[i].before);
        tada_count(&p->compressions, s->jobs[i].parts[0].layer != NULL);
    }
    for (int i = 0; i < s->n_planes; i++) {
        finish(s->planes[i]);
    }
    reset(s);
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
    if (r.scratch) {
        tada_lent_run(threads, settle_part, &r);
    }
    tada_settling_end(&r.settling);
    free(r.scratch);
    return status;
}
