/*
 * Shifts of positions. A layer of a tile that moves as one keeps its codes and remembers by how much: q . R k
 * = (R^T q) . k, so attention turns queries instead. One of which a part moves by another distance becomes
 * two with the same codes. Rows in f16 are turned where they are, and so are, decoded and encoded again,
 * those of layers that cannot remember.
 */
#include "shift.h"

#include "common/half.h"
#include "common/lent.h"
#include "spoilt.h"
#include "rope.h"
#include "sinks.h"

#include <stdlib.h>

enum {
    CELLS = TADA_TILE_CELLS,
    FEW_TILES = 8 /* tiles in f16 that are turned sooner than other threads begin */
};

typedef struct plane_shift {
    tada_plane *plane;
    const tada_rope *rope;
    const int32_t *deltas;
    bool stretches, remembers; /* whether the rope stretches rows, and tiles can remember it */
    bool turns;                /* whether a tile is to remember more than it does */
    uint8_t *chosen;           /* [n_cells * n_streams] cells that are edited */
    uint64_t *kept;            /* [n_tiles] cells of a tile that keep their codes, which remember */
    uint64_t *apart;           /* [n_tiles] those of them that get a layer of their own */
} plane_shift;

static int64_t first_cell(const tada_plane *p, int64_t tile)
{
    return tile / p->tiles_per_stream * p->shape.n_cells + tile % p->tiles_per_stream * CELLS;
}

bool tada_shift_fits(const tada_plane *p, const tada_rope *r)
{
    int dim = p->codec.layout.head_dim;
    return !tada_rope_stretches(r) && p->compressed && p->shape.kind == TADA_K &&
           r->column % dim + r->n_dims <= dim && (r->n_heads == 1 || r->head_stride == dim);
}

/* By how much the first of some cells of a tile moves. */
static int32_t distance_of(const plane_shift *s, int64_t tile, uint64_t cells)
{
    return cells ? s->deltas[first_cell(s->plane, tile) + __builtin_ctzll(cells)] : 0;
}

/* Those that move by as much as the first of them. */
static uint64_t like_first(const plane_shift *s, int64_t tile, uint64_t cells)
{
    uint64_t like = 0;
    for (uint64_t left = cells; left; left &= left - 1) {
        int cell = __builtin_ctzll(left);
        like |= (uint64_t)(distance_of(s, tile, left) == distance_of(s, tile, cells)) << cell;
    }
    return like;
}

/* Whether codes can remember what they do and how far these cells move. */
static bool in_reach(const plane_shift *s, int64_t tile, const tada_layer *layer, uint64_t cells)
{
    int64_t sum = (int64_t)layer->shift + distance_of(s, tile, cells);
    return sum >= -TADA_SHIFT_FARTHEST && sum <= TADA_SHIFT_FARTHEST;
}

/* Notes which cells of a tile keep their codes. room: what the stream has left for layers that part. */
static void remember(plane_shift *s, int64_t tile, tada_room *room)
{
    const tada_plane *p = s->plane;
    int parted = 0;
    for (const tada_layer *l = &p->tiles[tile].codes; s->remembers && l; l = tada_layer_next(p, l)) {
        uint64_t like = like_first(s, tile, l->cells), rest = l->cells & ~like;
        if (like_first(s, tile, rest) != rest || !in_reach(s, tile, l, like) || !in_reach(s, tile, l, rest) ||
            (rest && (tada_layers_left(p, tile) <= parted || !tada_room_take(room, l)))) {
            continue;
        }
        parted += rest != 0;
        s->kept[tile] |= l->cells;
        s->apart[tile] |= rest;
        s->turns = s->turns || distance_of(s, tile, like) != 0 || distance_of(s, tile, rest) != 0;
    }
}

/* Chooses the cells of a tile that are edited: neither those that keep their codes, nor sinks beside codes.
 * Returns whether there are any. */
static bool choose(const plane_shift *s, int64_t tile)
{
    const tada_tile *t = &s->plane->tiles[tile];
    int64_t first = first_cell(s->plane, tile);
    bool any = false;
    for (uint64_t left = t->mask & ~s->kept[tile] & ~(t->hot ? 0 : t->sinks); left; left &= left - 1) {
        int64_t cell = first + __builtin_ctzll(left);
        s->chosen[cell] = s->stretches || s->deltas[cell] != 0;
        any = any || s->chosen[cell];
    }
    return any;
}

/* Plans what is to be done with each tile; returns how many tiles are edited. */
static int64_t plan(plane_shift *s)
{
    tada_plane *p = s->plane;
    int64_t edited = 0;
    tada_room room = {0};
    for (int64_t i = 0; i < p->n_tiles; i++) {
        if (s->remembers && i % p->tiles_per_stream == 0) {
            room = tada_room_of(p, i / p->tiles_per_stream);
        }
        if (p->tiles[i].hot) {
            tada_layers_tidy(p, i);
        }
        if (p->tiles[i].mask) {
            remember(s, i, &room);
            edited += choose(s, i);
        }
    }
    return edited;
}

static bool turn_rows(void *context, int thread, const int64_t *cells, int n, uint16_t *rows)
{
    const plane_shift *s = context;
    float angles[TADA_ROPE_DIMS];
    (void)thread;
    for (int i = 0; i < n; i++) {
        if (i == 0 || s->deltas[cells[i]] != s->deltas[cells[i - 1]]) {
            tada_rope_angles(s->rope, s->deltas[cells[i]], angles);
        }
        tada_rope_turn_row(s->rope, angles, rows + (size_t)i * (size_t)s->plane->shape.width);
    }
    return true;
}

/* Sinks of a cold tile are not in its codes. */
static void turn_sinks(const plane_shift *s, int64_t tile)
{
    tada_plane *p = s->plane;
    float angles[TADA_ROPE_DIMS];
    for (tada_sinks run = tada_sinks_next(p, tile, 0); run.n > 0;
         run = tada_sinks_next(p, tile, run.first + run.n)) {
        const int32_t *deltas = s->deltas + first_cell(p, tile) + run.first;
        for (int i = 0; i < run.n; i++) {
            uint16_t *row = run.rows + (size_t)i * (size_t)p->shape.width;
            if (s->stretches || deltas[i] != 0) {
                bool was_finite = tada_row_peak(row, p->shape.width) < TADA_HALF_INFINITY;
                tada_rope_angles(s->rope, deltas[i], angles);
                tada_rope_turn_row(s->rope, angles, row);
                tada_spoilt_note(p, was_finite ? tada_row_peak(row, p->shape.width) : 0);
            }
        }
    }
}

/* Adds to what the layers of a tile remember. Of a hot tile, the rows that come from these layers are
 * turned, too. */
static void turn_codes(const plane_shift *s, int64_t tile)
{
    tada_plane *p = s->plane;
    for (tada_layer *l = &p->tiles[tile].codes; l; l = tada_layer_next(p, l)) {
        uint64_t apart = l->cells & s->apart[tile];
        /* The new ones come to the end of the list, and have no other cells. */
        if (apart && apart != l->cells) {
            tada_layers_part(p, tile, l, apart);
        }
    }
    for (tada_layer *l = &p->tiles[tile].codes; l; l = tada_layer_next(p, l)) {
        int32_t distance = l->cells & s->kept[tile] ? distance_of(s, tile, l->cells) : 0;
        l->shift += distance;
        if (p->tiles[tile].hot) {
            tada_shift_turn(p->rope, l->cells, distance, p->shape.width, p->tiles[tile].hot);
        }
    }
}

/* All memory before the first change. */
static enum tada_status shift(plane_shift *s, const tada_threads *threads, tada_error *error)
{
    tada_plane *p = s->plane;
    int64_t edited = plan(s);
    bool learns = s->turns && !p->rope;
    tada_rope *rope = learns ? tada_rope_copy(s->rope) : NULL;
    enum tada_status status = TADA_OK;
    if (learns && !rope) {
        status = tada_fail(error, TADA_E_MEMORY, "Out of memory for a shift: free some and try again.");
    } else if (edited > 0) {
        status = tada_plane_edit(p, s->chosen, turn_rows, s, edited > FEW_TILES ? threads : NULL, error);
    }
    if (status != TADA_OK) {
        free(rope);
        return status;
    }
    p->rope = learns ? rope : p->rope;
    for (int64_t i = 0; i < p->n_tiles; i++) {
        turn_codes(s, i);
        if (!p->tiles[i].hot) {
            turn_sinks(s, i);
        }
    }
    return TADA_OK;
}

/* Forgets the plane's rope when no layer remembers a distance, so that layers can remember another rope. */
static void forget_rope(tada_plane *p)
{
    bool used = false;
    for (int64_t i = 0; i < p->n_tiles && p->rope && !used; i++) {
        for (const tada_layer *l = &p->tiles[i].codes; l; l = tada_layer_next(p, l)) {
            used = used || (l->cells && l->shift != 0);
        }
    }
    if (!used) {
        free(p->rope);
        p->rope = NULL;
    }
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
    size_t cells = (size_t)(p->shape.n_cells * p->shape.n_streams), tiles = (size_t)p->n_tiles;
    forget_rope(p);
    plane_shift s = {.plane = p, .rope = rope, .deltas = deltas, .stretches = tada_rope_stretches(rope)};
    s.remembers = tada_shift_fits(p, rope) && (!p->rope || tada_rope_equals(p->rope, rope));
    s.kept = calloc(2 * tiles * sizeof *s.kept + cells, 1);
    if (!s.kept) {
        return tada_fail(error, TADA_E_MEMORY, "Out of memory for a shift: free some and try again.");
    }
    s.apart = s.kept + tiles;
    s.chosen = (uint8_t *)(s.apart + tiles);
    status = shift(&s, threads, error);
    free(s.kept);
    return status;
}

void tada_shift_turn(const tada_rope *rope, uint64_t cells, int32_t distance, int width, uint16_t *rows)
{
    float angles[TADA_ROPE_DIMS];
    if (distance == 0) {
        return;
    }
    tada_rope_angles(rope, distance, angles);
    for (uint64_t left = cells; left; left &= left - 1) {
        uint16_t *row = rows + (size_t)__builtin_ctzll(left) * (size_t)width;
        tada_rope_turn_row(rope, angles, row);
        tada_half_saturate(row, width);
    }
}
