/*
 * Shifts of positions. A tile that moves as one keeps its codes and remembers by how much: q . R k = (R^T q)
 * . k, so attention turns queries instead. Rows in f16 are turned where they are, and so are, decoded and
 * encoded again, those of tiles that cannot remember.
 */
#include "common/half.h"
#include "common/lent.h"
#include "spoilt.h"
#include "rope.h"
#include "sinks.h"

#include <stdlib.h>

enum {
    CELLS = TADA_TILE_CELLS,
    FARTHEST = 1 << 24, /* distances up to which a float tells all of them apart */
    FEW_TILES = 8       /* tiles in f16 that are turned sooner than other threads begin */
};

typedef struct plane_shift {
    tada_plane *plane;
    const tada_rope *rope;
    const int32_t *deltas;
    bool stretches, remembers; /* whether the rope stretches rows, and tiles can remember it */
    uint8_t *chosen;           /* [n_cells * n_streams] cells that are edited */
    uint8_t *kept;             /* [n_tiles] tiles that remember */
} plane_shift;

static int64_t first_cell(const tada_plane *p, int64_t tile)
{
    return tile / p->tiles_per_stream * p->shape.n_cells + tile % p->tiles_per_stream * CELLS;
}

/* Whether each coding head is turned in the same place, or not at all. */
static bool fits_heads(const tada_plane *p, const tada_rope *r)
{
    int dim = p->codec.layout.head_dim;
    return p->compressed && p->shape.kind == TADA_K && r->column % dim + r->n_dims <= dim &&
           (r->n_heads == 1 || r->head_stride == dim);
}

/* Whether all cells of a layer move by the same distance, which goes to *distance. */
static bool moves_as_one(const plane_shift *s, int64_t tile, const tada_layer *layer, int32_t *distance)
{
    const int32_t *deltas = s->deltas + first_cell(s->plane, tile);
    uint64_t left = layer->cells;
    *distance = left ? deltas[__builtin_ctzll(left)] : 0;
    for (; left; left &= left - 1) {
        if (deltas[__builtin_ctzll(left)] != *distance) {
            return false;
        }
    }
    return true;
}

static bool can_remember(const plane_shift *s, int64_t tile)
{
    const tada_tile *t = &s->plane->tiles[tile];
    bool can = s->remembers && !t->hot;
    for (const tada_layer *l = &t->codes; can && l; l = tada_layer_next(s->plane, l)) {
        int32_t distance;
        can = moves_as_one(s, tile, l, &distance);
        int64_t sum = (int64_t)l->shift + distance;
        can = can && sum >= -FARTHEST && sum <= FARTHEST;
    }
    return can;
}

/* Chooses the cells of a tile that change. Returns whether there are any. */
static bool choose(const plane_shift *s, int64_t tile)
{
    int64_t first = first_cell(s->plane, tile);
    bool any = false;
    for (uint64_t left = s->plane->tiles[tile].mask; left; left &= left - 1) {
        int64_t cell = first + __builtin_ctzll(left);
        s->chosen[cell] = s->stretches || s->deltas[cell] != 0;
        any = any || s->chosen[cell];
    }
    return any;
}

/* Says of each tile what is to be done with it; returns how many are edited. */
static int64_t plan(const plane_shift *s, bool *any_kept)
{
    int64_t edited = 0;
    *any_kept = false;
    for (int64_t i = 0; i < s->plane->n_tiles; i++) {
        if (s->plane->tiles[i].mask) {
            s->kept[i] = can_remember(s, i);
            *any_kept = *any_kept || s->kept[i];
            edited += !s->kept[i] && choose(s, i);
        }
    }
    return edited;
}

static bool turn_rows(void *context, int thread, const int64_t *cells, int n, uint16_t *rows)
{
    const plane_shift *s = context;
    float turn[TADA_ROPE_DIMS];
    (void)thread;
    for (int i = 0; i < n; i++) {
        if (i == 0 || s->deltas[cells[i]] != s->deltas[cells[i - 1]]) {
            tada_rope_angles(s->rope, s->deltas[cells[i]], turn);
        }
        tada_rope_turn_row(s->rope, turn, rows + (size_t)i * (size_t)s->plane->shape.width);
    }
    return true;
}

/* Sinks of a tile that remembers are not in its codes. */
static void turn_sinks(const plane_shift *s, int64_t tile)
{
    tada_plane *p = s->plane;
    float turn[TADA_ROPE_DIMS];
    for (tada_sinks run = tada_sinks_next(p, tile, 0); run.n > 0;
         run = tada_sinks_next(p, tile, run.first + run.n)) {
        const int32_t *deltas = s->deltas + first_cell(p, tile) + run.first;
        for (int i = 0; i < run.n; i++) {
            uint16_t *row = run.rows + (size_t)i * (size_t)p->shape.width;
            if (deltas[i] != 0) {
                bool was_finite = tada_row_peak(row, p->shape.width) < TADA_HALF_INFINITY;
                tada_rope_angles(s->rope, deltas[i], turn);
                tada_rope_turn_row(s->rope, turn, row);
                tada_spoilt_note(p, was_finite ? tada_row_peak(row, p->shape.width) : 0);
            }
        }
    }
}

/* All memory before the first change. */
static enum tada_status shift(plane_shift *s, const tada_threads *threads, tada_error *error)
{
    tada_plane *p = s->plane;
    bool any_kept;
    int64_t edited = plan(s, &any_kept);
    tada_rope *rope = any_kept && !p->rope ? tada_rope_copy(s->rope) : NULL;
    if (any_kept && !p->rope && !rope) {
        return tada_fail(error, TADA_E_MEMORY, "Out of memory for a shift: free some and try again.");
    }
    if (edited > 0) {
        enum tada_status status =
            tada_plane_edit(p, s->chosen, turn_rows, s, edited > FEW_TILES ? threads : NULL, error);
        if (status != TADA_OK) {
            free(rope);
            return status;
        }
    }
    p->rope = rope ? rope : p->rope;
    for (int64_t i = 0; i < p->n_tiles && any_kept; i++) {
        if (!s->kept[i]) {
            continue;
        }
        for (tada_layer *l = &p->tiles[i].codes; l; l = tada_layer_next(p, l)) {
            int32_t distance;
            l->shift += moves_as_one(s, i, l, &distance) ? distance : 0;
        }
        turn_sinks(s, i);
    }
    return TADA_OK;
}

enum tada_status tada_plane_shift(tada_plane *p, const tada_rope *rope, const int32_t *deltas,
                                  const tada_threads *threads, tada_error *error)
{
    enum tada_status status = tada_lent_check(threads, error);
    const char *wrong = tada_rope_problem(rope, p->shape.width);
    if (wrong) {
        return tada_fail(error, TADA_E_ARGUMENT, "%s", wrong);
    }
    if (status != TADA_OK) {
        return status;
    }
    size_t cells = (size_t)(p->shape.n_cells * p->shape.n_streams);
    plane_shift s = {.plane = p, .rope = rope, .deltas = deltas, .stretches = tada_rope_stretches(rope)};
    s.remembers = !s.stretches && fits_heads(p, rope) && (!p->rope || tada_rope_equals(p->rope, rope));
    s.chosen = calloc(cells + (size_t)p->n_tiles, 1);
    if (!s.chosen) {
        return tada_fail(error, TADA_E_MEMORY, "Out of memory for a shift: free some and try again.");
    }
    s.kept = s.chosen + cells;
    status = shift(&s, threads, error);
    free(s.chosen);
    return status;
}

void tada_plane_turn(const tada_plane *p, const tada_layer *layer, uint16_t *rows)
{
    float turn[TADA_ROPE_DIMS];
    if (layer->shift == 0) {
        return;
    }
    tada_rope_angles(p->rope, layer->shift, turn);
    for (uint64_t left = layer->cells; left; left &= left - 1) {
        uint16_t *row = rows + (size_t)__builtin_ctzll(left) * (size_t)p->shape.width;
        tada_rope_turn_row(p->rope, turn, row);
        tada_half_saturate(row, p->shape.width);
    }
}
