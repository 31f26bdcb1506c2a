/*
 * Saved cells of a plane (doc/reference/session.md, "Cells of a plane"): what their writer (state.c) and
 * their reader (state_check.c, state_place.c) share. A piece is what a state has of one tile.
 */
#ifndef TADA_PLANE_STATE_H
#define TADA_PLANE_STATE_H

#include "plane.h"

enum {
    TADA_STATE_VERSION = 2, /* in version 1, a tile had two layers at most */
    TADA_STATE_TILES = 5,   /* version of the tile format */
    TADA_STATE_SUM = 4,     /* bytes of the checksum at the end */
};

#define TADA_STATE_MAGIC "TADAROWS"

typedef struct tada_state_header {
    char magic[8];
    uint32_t version, tiles;
    uint64_t bytes, rows;
    uint32_t pieces, width, head_dim; /* head_dim 0: of a plane that is not compressed */
    uint32_t rope;                    /* bytes of what follows of shifts; 0: nothing does */
    uint16_t group;
    uint8_t kind, bits, centring, rotation, axis, scale, quarters, zeros[7];
} tada_state_header;

typedef struct tada_state_rope {
    int32_t column, n_dims, n_heads, head_stride, pairs, n_ctx_orig;
    float freq_base, freq_scale, ext_factor, attn_factor, beta_fast, beta_slow;
    uint32_t n_factors; /* floats that follow: none, or n_dims / 2 */
} tada_state_rope;

typedef struct tada_state_piece {
    uint64_t chosen; /* cells of the tile that were saved */
    uint64_t mask;   /* those of them that are written */
    uint64_t sinks;  /* those of these that are sinks */
    uint64_t rank;   /* larger than those of pieces whose tiles were written earlier */
    uint32_t hot, n_layers;
} tada_state_piece;

typedef struct tada_state_layer {
    uint64_t cells;
    int32_t shift;
    uint32_t fine; /* 1: it has a refinement */
} tada_state_layer;

/* Bytes of the codes of a layer: records of all units, means over heads, refinements of all units. */
static inline size_t tada_state_codes(const tada_layout *l, bool fine)
{
    return (size_t)l->n_units * (l->record_bytes + (fine ? l->fine_bytes : 0)) + l->head_means_bytes;
}

/* The cells of a list, from its beginning, that lie in one tile in ascending order. */
typedef struct tada_cells_run {
    int64_t tile, n;
    uint64_t chosen; /* bit t: cell t of the tile */
} tada_cells_run;

tada_cells_run tada_cells_next(const tada_plane *plane, const int64_t *cells, int64_t n);

/* ---- state_check.c ---- */

/* A piece that has been read; pointers are into the state. */
typedef struct tada_piece {
    tada_state_piece head;
    tada_state_layer layers[TADA_LAYERS];
    const uint8_t *codes[TADA_LAYERS];
    const uint8_t *rows; /* f16 [..][width] of those of a hot tile, or that no layer has */
    uint64_t exact;      /* these cells */
    int64_t at;          /* of its first cell in the list of cells */
    int64_t tile;        /* where its cells keep the cut in tiles; -1: nowhere */
} tada_piece;

typedef struct tada_state {
    tada_state_header header;
    tada_rope *rope; /* NULL: no layer has moved */
    tada_piece *pieces;
} tada_state;

/* Reads and checks all of a state for n cells of a plane. *state: to be freed with tada_state_free. */
enum tada_status tada_state_read(const tada_plane *plane, int64_t n, const void *bytes, size_t size,
                                 tada_state *state, tada_error *error);
void tada_state_free(tada_state *state);
/* The same of cells that are for no plane yet, but one as they say that theirs was; gives their header. */
enum tada_status tada_state_look(const void *bytes, size_t size, tada_state_header *header,
                                 tada_error *error);

#endif
