/*
 * Restoring saved cells. Codes of a tile go to a tile as they are where its cells come to lie in one tile, at
 * the same places, and nothing else is there. All other rows are decoded and written, and their codes go to
 * layers of their tiles, cell by cell, so that they lose nothing.
 */
#include "state.h"

#include "codec/move.h"
#include "rope.h"
#include "shift.h"
#include "problem.h"
#include "sinks.h"
#include "spoilt.h"

#include <stdlib.h>
#include <string.h>

enum {
    CELLS = TADA_TILE_CELLS,
    MOST_BORROWED = 16 /* hot tiles, before some of them are compressed */
};

typedef struct placing {
    tada_plane *plane;
    tada_pool *pool;
    const tada_state *state;
    const int64_t *cells; /* of all pieces */
    uint64_t first_stamp; /* that pieces get: larger than all before */
    uint64_t stamp;       /* of the piece that is being placed */
    bool turns;           /* the plane can remember the state's shifts */
    uint16_t *rows;       /* [64][width] */
    uint8_t *codes;       /* of a layer, as the codec wants them */
    float *scratch;
} placing;

static size_t width(const tada_plane *p)
{
    return (size_t)p->shape.width;
}

static const uint8_t *fines_of(const tada_layout *l, const uint8_t *codes)
{
    return codes + (size_t)l->n_units * l->record_bytes + l->head_means_bytes;
}

static void copy_fines(const tada_layout *l, const uint8_t *codes, uint8_t *to, size_t stride)
{
    const uint8_t *from = fines_of(l, codes);
    for (size_t u = 0; u < (size_t)l->n_units; u++) {
        memcpy(to + u * stride, from + u * l->fine_bytes, l->fine_bytes);
    }
}

/* Layer i of a piece as the codec wants it; until the next one. */
static tada_cold cold_of(const placing *g, const tada_piece *piece, uint32_t i)
{
    const tada_layout *l = &g->plane->codec.layout;
    size_t base = (size_t)l->n_units * l->record_bytes + l->head_means_bytes;
    bool fine = piece->layers[i].fine;
    tada_cold cold = {g->codes, l->record_bytes, g->codes + (size_t)l->n_units * l->record_bytes,
                      fine ? g->codes + base : NULL};
    memcpy(g->codes, piece->codes[i], base);
    if (fine) {
        copy_fines(l, piece->codes[i], cold.fine, cold.stride);
    }
    return cold;
}

/* All rows of a piece, at the places that they had in their tile; zeros elsewhere. */
static void decode(const placing *g, const tada_piece *piece)
{
    const tada_plane *p = g->plane;
    const uint8_t *row = piece->rows;
    memset(g->rows, 0, p->tile_values * 2);
    for (uint32_t i = 0; i < piece->head.n_layers; i++) {
        const tada_state_layer *layer = &piece->layers[i];
        tada_cold cold = cold_of(g, piece, i);
        tada_tile_decode_cells(&p->codec, &cold, layer->cells, g->rows, g->scratch);
        tada_shift_turn(g->state->rope, layer->cells, layer->shift, p->shape.width, g->rows);
    }
    for (uint64_t left = piece->exact; left; left &= left - 1, row += width(p) * 2) {
        memcpy(g->rows + (size_t)__builtin_ctzll(left) * width(p), row, width(p) * 2);
    }
}

/* ---- codes as they are ---- */

/* Finds the tile that a piece can become as it is: all of its cells lie in it, at the places that they
 * had, and they are all that it will hold. That tile is emptied. This is done for all pieces before the
 * first one is placed, so that there is room. */
static void choose_tile(const placing *g, tada_piece *piece)
{
    tada_plane *p = g->plane;
    int64_t n = __builtin_popcountll(piece->head.chosen);
    tada_cells_run run = tada_cells_next(p, g->cells + piece->at, n);
    tada_tile *tile = &p->tiles[run.tile];
    piece->tile = -1;
    if (!p->compressed || run.n != n || run.chosen != piece->head.chosen || tile->mask & ~run.chosen) {
        return;
    }
    tada_counted before = tada_tile_counted(p, tile);
    tada_plane_release(p, tile);
    tada_layers_drop(p, run.tile);
    tada_sinks_reset(p, run.tile);
    tile->mask = 0;
    tada_plane_recount(p, tile, before);
    piece->tile = run.tile;
}

static bool moved(const tada_piece *piece)
{
    bool any = false;
    for (uint32_t i = 0; i < piece->head.n_layers; i++) {
        any = any || piece->layers[i].shift != 0;
    }
    return any;
}

/* Free slots of a stream: tiles give up refinements, those that were written up to a stamp. */
static bool get_room(tada_plane *p, int64_t stream, int64_t n, uint64_t stamp)
{
    while (tada_layers_room(p, stream) < n) {
        if (!tada_layers_unrefine(p, stream, stamp)) {
            return false;
        }
    }
    return true;
}

/* A slot for a refinement of a tile with this stamp: others that were written before it make room. */
static bool get_fine(tada_plane *p, int64_t index, uint64_t stamp)
{
    int64_t stream = index / p->tiles_per_stream, most = p->most_refined - !tada_layers_has_fine(p, index);
    while (tada_layers_refined(p, stream) > most) {
        if (!tada_layers_unrefine(p, stream, stamp - 1)) {
            return false;
        }
    }
    return get_room(p, stream, 1, stamp - 1);
}

static void place_fine(tada_plane *p, const uint8_t *codes, int64_t index, tada_layer *layer, uint64_t stamp)
{
    if (get_fine(p, index, stamp)) {
        tada_layer_take_fine(p, index, layer);
        tada_cold cold = tada_layer_cold(p, layer);
        copy_fines(&p->codec.layout, codes, cold.fine, cold.stride);
    }
}

/* The layers of a piece for a tile without codes. False: there is no room for all, and none was placed. */
static bool place_layers(const placing *g, const tada_piece *piece, int64_t index)
{
    tada_plane *p = g->plane;
    const tada_layout *l = &p->codec.layout;
    if (!get_room(p, index / p->tiles_per_stream, piece->head.n_layers, UINT64_MAX)) {
        return false;
    }
    for (uint32_t i = 0; i < piece->head.n_layers; i++) {
        tada_layer *layer = tada_layers_add(p, index);
        if (!layer) {
            tada_layers_drop(p, index);
            return false;
        }
        layer->cells = piece->layers[i].cells;
        layer->shift = piece->layers[i].shift;
        tada_cold cold = tada_layer_cold(p, layer);
        for (size_t u = 0; u < (size_t)l->n_units; u++) {
            memcpy(cold.records + u * cold.stride, piece->codes[i] + u * l->record_bytes, l->record_bytes);
        }
        if (l->head_means_bytes) {
            memcpy(cold.head_means, piece->codes[i] + (size_t)l->n_units * l->record_bytes,
                   l->head_means_bytes);
        }
        p->frozen = true;
    }
    tada_layer *layer = &p->tiles[index].codes;
    for (uint32_t i = 0; i < piece->head.n_layers; i++, layer = tada_layer_next(p, layer)) {
        if (piece->layers[i].fine) {
            place_fine(p, piece->codes[i], index, layer, g->stamp);
        }
    }
    return true;
}

static void note_rows(tada_plane *p, const uint16_t *rows, uint64_t cells)
{
    for (uint64_t left = cells; left; left &= left - 1) {
        const uint16_t *row = rows + (size_t)__builtin_ctzll(left) * width(p);
        tada_spoilt_note(p, tada_row_peak(row, p->shape.width));
    }
}

/* A cold tile: its sinks are kept beside its codes. False: it cannot be, and the tile is empty. */
static bool place_cold(const placing *g, const tada_piece *piece, int64_t index)
{
    tada_plane *p = g->plane;
    tada_tile *tile = &p->tiles[index];
    uint64_t in_codes = piece->head.mask & ~piece->exact;
    if (piece->head.hot || in_codes & tada_sinks_placed(p, index) || !place_layers(g, piece, index)) {
        return false;
    }
    if (!tada_sinks_set(p, index, piece->exact)) {
        tada_layers_drop(p, index);
        return false;
    }
    /* A cold tile has codes, and be it of no cell. */
    tada_layer *none = NULL;
    if (!in_codes &&
        (!get_room(p, index / p->tiles_per_stream, 1, UINT64_MAX) || !(none = tada_layers_add(p, index)))) {
        tada_sinks_reset(p, index);
        return false;
    }
    tile->mask = piece->head.mask;
    if (piece->exact) {
        decode(g, piece);
        note_rows(p, g->rows, piece->exact);
        tile->hot = g->rows;
        tada_plane_encode(p, index, none, 0, g->scratch);
        tile->hot = NULL;
    }
    return true;
}

static int64_t cell_of(const tada_plane *p, int64_t index, int place)
{
    return index / p->tiles_per_stream * p->shape.n_cells + index % p->tiles_per_stream * CELLS + place;
}

/* Marks those cells as sinks that can be sinks here. */
static void mark(tada_plane *p, int64_t index, uint64_t sinks)
{
    for (uint64_t left = sinks; left; left &= left - 1) {
        int64_t cell = cell_of(p, index, __builtin_ctzll(left));
        tada_plane_mark_sinks(p, &cell, 1);
    }
}

/* A hot tile, which settling makes a cold one without encoding what has codes. False: memory is short, and
 * the tile is empty. */
static bool place_hot(const placing *g, const tada_piece *piece, int64_t index)
{
    tada_plane *p = g->plane;
    tada_tile *tile = &p->tiles[index];
    tile->hot = tada_plane_acquire(p, g->pool, index);
    p->opened = true;
    if (!tile->hot) {
        return false;
    }
    decode(g, piece);
    memcpy(tile->hot, g->rows, p->tile_values * 2);
    note_rows(p, g->rows, piece->exact);
    tile->mask = piece->head.mask;
    if (!moved(piece) || g->turns) {
        (void)place_layers(g, piece, index);
    }
    tada_tile_drop_zeros(p, index);
    mark(p, index, piece->head.sinks);
    return true;
}

static enum tada_status short_of_memory(tada_error *error)
{
    return tada_fail(error, TADA_E_MEMORY, "Out of memory for saved cells: free some and try again.");
}

static enum tada_status place_tile(const placing *g, const tada_piece *piece, tada_error *error)
{
    tada_plane *p = g->plane;
    tada_tile *tile = &p->tiles[piece->tile];
    tada_counted before = tada_tile_counted(p, tile);
    bool done = true;
    tile->stamp = g->stamp;
    tada_tile_see(p, piece->tile, true);
    /* Rows of zeros of another piece may have opened it. */
    tada_plane_release(p, tile);
    if (piece->head.mask && ((moved(piece) && !g->turns) || !place_cold(g, piece, piece->tile))) {
        done = place_hot(g, piece, piece->tile);
    }
    tada_plane_recount(p, tile, before);
    return done ? TADA_OK : short_of_memory(error);
}

/* ---- rows ---- */

/* The layer of a tile that codes can be added to as they are: what their cells share is the same. Most often
 * both were cut from one tile before. NULL: there is none. */
static tada_layer *layer_for(const placing *g, int64_t index, const tada_cold *codes, int32_t shift)
{
    const tada_plane *p = g->plane;
    for (tada_layer *l = &p->tiles[index].codes; l; l = tada_layer_next(p, l)) {
        tada_cold cold = l->base >= 0 ? tada_layer_cold(p, l) : *codes;
        if (l->base >= 0 && l->shift == shift && !cold.fine == !codes->fine &&
            tada_tile_shares(&p->codec, &cold, codes)) {
            return l;
        }
    }
    return NULL;
}

/* A new layer, with a refinement if wanted, if there is room for it. NULL: there is none. */
static tada_layer *new_layer(const placing *g, int64_t index, bool refined, int32_t shift)
{
    tada_plane *p = g->plane;
    if (tada_layers_left(p, index) < 1 || !get_room(p, index / p->tiles_per_stream, 1, UINT64_MAX)) {
        return NULL;
    }
    tada_layer *layer = tada_layers_add(p, index);
    if (layer) {
        layer->shift = shift;
        p->frozen = true;
    }
    if (layer && refined && get_fine(p, index, g->stamp)) {
        tada_layer_take_fine(p, index, layer);
    }
    return layer;
}

/* Cells `to` of a hot tile, which have just got the rows of cells `from` of a layer of a piece, get their
 * codes, too, if there is room. Those that were there before have theirs already, unless the refinement of
 * these has gone: a cell is in one layer. */
static void place_codes(const placing *g, const tada_piece *piece, uint32_t number, uint64_t from,
                        int64_t index, uint64_t to)
{
    tada_plane *p = g->plane;
    tada_tile *tile = &p->tiles[index];
    tada_counted before = tada_tile_counted(p, tile);
    int32_t shift = piece->layers[number].shift;
    bool refined = piece->layers[number].fine;
    tada_layers_tidy(p, index);
    uint64_t cells = to & tada_plane_coded(p, index), sources = 0;
    for (const tada_layer *l = &tile->codes; l; l = tada_layer_next(p, l)) {
        cells &= refined && l->fine < 0 ? UINT64_MAX : ~l->cells;
    }
    for (; from && to; from &= from - 1, to &= to - 1) {
        sources |= cells & to & -to ? from & -from : 0;
    }
    if (!cells) {
        return;
    }
    tada_cold codes = cold_of(g, piece, number);
    tada_layer *layer = layer_for(g, index, &codes, shift), *added = NULL;
    if (!layer) {
        layer = added = new_layer(g, index, refined, shift);
    }
    if (!layer) {
        return;
    }
    for (tada_layer *l = &tile->codes; l; l = tada_layer_next(p, l)) {
        l->cells &= ~cells;
    }
    tada_cold cold = tada_layer_cold(p, layer);
    tada_tile_move(&p->codec, &codes, sources, &cold, cells, added != NULL, g->scratch);
    layer->cells |= cells;
    tada_plane_recount(p, tile, before);
}

/* Cells of the list that lie in one tile get rows of a piece: the first of them is its cell `first`. */
static enum tada_status write_run(const placing *g, const tada_piece *piece, const tada_cells_run *run,
                                  uint64_t from, const int64_t *cells, tada_error *error)
{
    tada_plane *p = g->plane;
    uint64_t to_layer[TADA_LAYERS] = {0}, of_layer[TADA_LAYERS] = {0};
    uint64_t sinks = 0, source = from, target = run->chosen;
    uint64_t stamp = p->tiles[run->tile].stamp;
    for (int64_t i = 0; i < run->n; i++, source &= source - 1, target &= target - 1) {
        uint64_t bit = source & -source, to = target & -target;
        const uint16_t *row = g->rows + (size_t)__builtin_ctzll(source) * width(p);
        enum tada_status status =
            tada_plane_write(p, g->pool, row, TADA_F16, width(p) * 2, cells + i, 1, error);
        if (status != TADA_OK) {
            return status;
        }
        for (uint32_t j = 0; j < piece->head.n_layers; j++) {
            of_layer[j] |= piece->layers[j].cells & bit;
            to_layer[j] |= piece->layers[j].cells & bit ? to : 0;
        }
        sinks |= piece->head.sinks & bit ? to : 0;
    }
    p->tiles[run->tile].stamp = stamp >= g->first_stamp ? stamp : g->stamp;
    mark(p, run->tile, sinks);
    for (uint32_t j = 0; j < piece->head.n_layers && p->compressed && tada_tile_moves(&p->codec); j++) {
        if (piece->layers[j].shift == 0 || g->turns) {
            place_codes(g, piece, j, of_layer[j], run->tile, to_layer[j]);
        }
    }
    return p->n_borrowed > MOST_BORROWED ? tada_plane_settle(p, NULL, error) : TADA_OK;
}

static enum tada_status write_piece(const placing *g, const tada_piece *piece, tada_error *error)
{
    uint64_t left = piece->head.chosen;
    int64_t n = __builtin_popcountll(left);
    const int64_t *cells = g->cells + piece->at;
    enum tada_status status = TADA_OK;
    decode(g, piece);
    for (int64_t i = 0; i < n && status == TADA_OK;) {
        tada_cells_run run = tada_cells_next(g->plane, cells + i, n - i);
        status = write_run(g, piece, &run, left, cells + i, error);
        for (int64_t j = 0; j < run.n; j++) {
            left &= left - 1;
        }
        i += run.n;
    }
    return status;
}

/* ---- all of it ---- */

static int later_first(const void *a, const void *b)
{
    const tada_piece *x = a, *y = b;
    return x->head.rank != y->head.rank ? (x->head.rank < y->head.rank) - (x->head.rank > y->head.rank)
                                        : (x->at < y->at) - (x->at > y->at);
}

/* Takes over the rope of the state, if the plane can remember shifts by it. */
static enum tada_status take_rope(placing *g, tada_error *error)
{
    tada_plane *p = g->plane;
    const tada_rope *rope = g->state->rope;
    if (rope && !p->rope) {
        p->rope = tada_rope_copy(rope);
        if (!p->rope) {
            return short_of_memory(error);
        }
    }
    g->turns = rope && tada_rope_equals(p->rope, rope);
    return TADA_OK;
}

static enum tada_status place(placing *g, tada_error *error)
{
    tada_plane *p = g->plane;
    uint32_t n = g->state->header.pieces;
    enum tada_status status = take_rope(g, error);
    qsort(g->state->pieces, n, sizeof *g->state->pieces, later_first);
    g->first_stamp = p->clock + 1;
    p->clock += n;
    for (uint32_t i = 0; i < n && status == TADA_OK; i++) {
        choose_tile(g, &g->state->pieces[i]);
    }
    for (uint32_t i = 0; i < n && status == TADA_OK; i++) {
        const tada_piece *piece = &g->state->pieces[i];
        g->stamp = g->first_stamp + (n - 1 - i);
        /* Another piece may have come to lie in the same tile. */
        if (piece->tile >= 0 && !p->tiles[piece->tile].mask) {
            status = place_tile(g, piece, error);
        } else {
            status = write_piece(g, piece, error);
        }
        if (status == TADA_OK && p->n_borrowed > MOST_BORROWED) {
            status = tada_plane_settle(p, NULL, error);
        }
    }
    return status;
}

enum tada_status tada_plane_import(tada_plane *p, tada_pool *pool, const int64_t *cells, int64_t n,
                                   const void *bytes, size_t size, tada_error *error)
{
    tada_state state;
    enum tada_status status = tada_cells_check(p, cells, n, error);
    status = status == TADA_OK ? tada_state_read(p, n, bytes, size, &state, error) : status;
    if (status != TADA_OK) {
        return status;
    }
    placing g = {.plane = p, .pool = pool, .state = &state, .cells = cells};
    size_t floats = tada_plane_scratch(p), encode = tada_plane_encode_scratch(p);
    const tada_layout *l = &p->codec.layout;
    g.rows = malloc(p->tile_values * 2);
    g.scratch = malloc((floats > encode ? floats : encode) * sizeof *g.scratch + 1);
    g.codes = malloc(2 * (size_t)l->n_units * l->record_bytes + l->head_means_bytes + 1);
    if (!g.rows || !g.scratch || !g.codes) {
        status = short_of_memory(error);
    } else if (p->n_borrowed && p->pool != pool) {
        status = tada_fail(error, TADA_E_ARGUMENT,
                           "Settle the plane before cells are restored with another pool.");
    } else {
        status = place(&g, error);
    }
    free(g.rows);
    free(g.scratch);
    free(g.codes);
    tada_state_free(&state);
    return status;
}
