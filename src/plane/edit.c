/* Rows that change where they are, without opening their tiles: as after a shift of all positions. */
#include "common/lent.h"
#include "spoilt.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

/* What one thread needs: the rows of a tile [64][width], room for those of them that change, scratch of
 * the codec. */
typedef struct workspace {
    uint16_t *tile, *rows;
    float *scratch;
} workspace;

typedef struct plane_edit {
    tada_plane *plane;
    const uint8_t *chosen;
    tada_edit edit;
    void *context;
    workspace *work; /* of each thread that takes part */
    int n_workers;
    _Atomic int64_t next_tile;
    atomic_bool refused;
    atomic_int_fast64_t compressions;
    atomic_int_fast64_t nonfinite; /* rows that have become so */
} plane_edit;

static bool workspace_make(const tada_plane *p, workspace *w)
{
    w->tile = malloc(p->tile_values * sizeof *w->tile);
    w->rows = malloc(p->tile_values * sizeof *w->rows);
    w->scratch = malloc(tada_plane_encode_scratch(p) * sizeof *w->scratch + 1);
    return w->tile && w->rows && w->scratch;
}

static void workspaces_done(workspace *w, int n)
{
    for (int i = 0; w && i < n; i++) {
        free(w[i].tile);
        free(w[i].rows);
        free(w[i].scratch);
    }
    free(w);
}

/* One for each thread; NULL: memory is short. */
static workspace *workspaces_make(const tada_plane *p, int n)
{
    workspace *w = calloc((size_t)n, sizeof *w);
    bool made = w != NULL;
    for (int i = 0; i < n && made; i++) {
        made = workspace_make(p, &w[i]);
    }
    if (!made) {
        workspaces_done(w, n);
    }
    return made ? w : NULL;
}

/* The written cells of a tile that are to change: their numbers and their places in it. */
static int choose(const plane_edit *e, int64_t index, int64_t *cells, int *places)
{
    const tada_plane *p = e->plane;
    int64_t within = index % p->tiles_per_stream * CELLS;
    int64_t begin = index / p->tiles_per_stream * p->shape.n_cells + within;
    int n = 0;
    /* No cell beyond the stream's end is ever written. */
    for (uint64_t left = p->tiles[index].mask; left; left &= left - 1) {
        int place = __builtin_ctzll(left);
        if (e->chosen[begin + place]) {
            cells[n] = begin + place;
            places[n++] = place;
        }
    }
    return n;
}

/* Layers with rows that have changed are encoded again, each by itself. */
static void encode_changed(plane_edit *e, int64_t index, uint64_t changed, uint16_t *rows, float *scratch)
{
    tada_plane *p = e->plane;
    tada_tile *tile = &p->tiles[index];
    bool any = false;
    tile->hot = rows;
    for (tada_layer *l = &tile->codes; l; l = tada_layer_next(p, l)) {
        if (l->cells & changed) {
            tada_plane_encode(p, index, l, l->cells & tile->mask, scratch);
            any = true;
        }
    }
    /* Sinks may have changed, or all rows be gone. */
    tada_plane_encode(p, index, NULL, 0, scratch);
    tile->hot = NULL;
    if (tada_plane_coded(p, index)) {
        tada_layers_tidy(p, index);
    } else {
        tada_layers_cut(p, index);
    }
    e->compressions += any;
}

static bool edit_tile(plane_edit *e, int64_t index, workspace *w, int thread)
{
    tada_plane *p = e->plane;
    tada_tile *tile = &p->tiles[index];
    size_t width = (size_t)p->shape.width;
    int64_t cells[CELLS];
    int places[CELLS];
    int n = choose(e, index, cells, places);
    uint64_t changed = 0;
    if (n == 0) {
        return true;
    }
    uint16_t *rows = tile->hot;
    if (!rows) {
        rows = w->tile;
        tada_plane_decode(p, index, rows, w->scratch);
    }
    for (int i = 0; i < n; i++) {
        memcpy(w->rows + (size_t)i * width, rows + (size_t)places[i] * width, width * 2);
    }
    if (!e->edit(e->context, thread, cells, n, w->rows)) {
        return false;
    }
    for (int i = 0; i < n; i++) {
        uint16_t *row = rows + (size_t)places[i] * width;
        bool was_finite = tada_row_peak(row, p->shape.width) < TADA_HALF_INFINITY;
        memcpy(row, w->rows + (size_t)i * width, width * 2);
        int peak = tada_row_peak(row, p->shape.width);
        e->nonfinite += was_finite && peak >= TADA_HALF_INFINITY;
        if (peak == 0) {
            memset(row, 0, width * 2);
            tile->mask &= ~((uint64_t)1 << places[i]);
        }
        changed |= (uint64_t)1 << places[i];
        if (tile->hot) {
            tada_layers_forget(p, index, places[i]);
        }
    }
    if (!tile->hot) {
        encode_changed(e, index, changed, rows, w->scratch);
    }
    return true;
}

static void edit_part(void *context, int thread, int n_threads)
{
    plane_edit *e = context;
    (void)n_threads;
    for (int64_t i; thread < e->n_workers && !e->refused &&
                    (i = atomic_fetch_add(&e->next_tile, 1)) < e->plane->n_tiles;) {
        if (!edit_tile(e, i, &e->work[thread], thread)) {
            e->refused = true;
        }
    }
}

enum tada_status tada_plane_edit(tada_plane *p, const uint8_t *chosen, tada_edit edit, void *context,
                                 const tada_threads *threads, tada_error *error)
{
    enum tada_status status = tada_lent_check(threads, error);
    if (status != TADA_OK) {
        return status;
    }
    plane_edit e = {.plane = p, .chosen = chosen, .edit = edit, .context = context};
    /* All memory before the first change: rows that have been changed cannot be told from the others. */
    int n_threads = tada_lent_count(threads);
    e.n_workers = n_threads < p->n_tiles ? n_threads : (int)p->n_tiles;
    e.work = workspaces_make(p, e.n_workers);
    if (!e.work) {
        return tada_fail(error, TADA_E_MEMORY, "Out of memory for rows to be changed: use fewer threads.");
    }
    tada_lent_run(threads, edit_part, &e);
    workspaces_done(e.work, e.n_workers);
    tada_count(&p->compressions, e.compressions);
    tada_count(&p->nonfinite, e.nonfinite);
    p->spoilt = p->spoilt || e.nonfinite > 0;
    tada_plane_recount_all(p);
    return e.refused ? tada_fail(error, TADA_E_ARGUMENT, "The rows of a tile could not be changed.")
                     : TADA_OK;
}
