/* Golden files in memory: their parts, and how tiles are encoded into them and decoded. */
#ifndef TADA_GOLDEN_H
#define TADA_GOLDEN_H

#include "codec/tile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CELLS = TADA_TILE_CELLS };

/* The start of a golden file; without padding, and little-endian as the tile itself. */
typedef struct golden_header {
    char magic[8];
    uint32_t version, kind, bits, group, centring, rotation, axis, scale, search, width, head_dim, tile_bytes;
    uint32_t fine_bits, fine_bytes;
    uint64_t mask, tile_mask;
} golden_header;

_Static_assert(sizeof(golden_header) == 80, "the header must have no padding");

/* A golden file in memory: header, rows, tile, refinement, rows decoded with it, rows decoded without. */
typedef struct golden {
    tada_codec codec;
    size_t row_bytes, tile_bytes, fine_bytes, refined_bytes, bytes;
    uint16_t *rows;
    uint8_t *tile, *fine;
    uint8_t *refined, *decoded; /* after any number of bytes */
    uint8_t *memory;
} golden;

static golden golden_alloc(const tada_codec *c)
{
    golden f = {.codec = *c};
    f.row_bytes = (size_t)CELLS * 2 * (size_t)c->layout.width;
    f.tile_bytes = tada_cold_bytes(&c->recipe, c->layout.width, 0);
    f.fine_bytes = (size_t)c->layout.n_units * c->layout.fine_bytes;
    f.refined_bytes = f.fine_bytes ? f.row_bytes : 0;
    f.bytes = sizeof(golden_header) + 2 * f.row_bytes + f.tile_bytes + f.fine_bytes + f.refined_bytes;
    f.memory = calloc(1, f.bytes);
    assert_non_null(f.memory);
    f.rows = (uint16_t *)(void *)(f.memory + sizeof(golden_header));
    f.tile = (uint8_t *)f.rows + f.row_bytes;
    f.fine = f.tile + f.tile_bytes;
    f.refined = f.fine + f.fine_bytes;
    f.decoded = f.refined + f.refined_bytes;
    return f;
}

/* A tile with room for its refinement, which is as far apart as its records. */
typedef struct apart {
    tada_cold cold;
    uint8_t *memory;
} apart;

static apart apart_make(const tada_codec *c, const uint8_t *tile, const uint8_t *fine)
{
    const tada_layout *l = &c->layout;
    size_t bytes = tada_cold_bytes(&c->recipe, l->width, 0);
    apart a = {.memory = calloc(2, bytes)};
    assert_non_null(a.memory);
    memcpy(a.memory, tile, bytes);
    a.cold = tada_cold_make(c, a.memory);
    a.cold.fine = fine ? a.memory + bytes : NULL;
    for (size_t u = 0; fine && u < (size_t)l->n_units; u++) {
        memcpy(a.cold.fine + u * a.cold.stride, fine + u * l->fine_bytes, l->fine_bytes);
    }
    return a;
}

static float *scratch_make(size_t floats)
{
    float *scratch = aligned_alloc(64, (floats * sizeof *scratch + 63) / 64 * 64);
    assert_non_null(scratch);
    return scratch;
}

/* rows: anywhere. fine: NULL to have none written. Returns the mask of the tile. */
static uint64_t encode(const golden *f, const void *rows, uint64_t mask, uint8_t *tile, uint8_t *fine)
{
    const tada_layout *l = &f->codec.layout;
    uint16_t *aligned = malloc(f->row_bytes);
    float *scratch = scratch_make(tada_tile_encode_scratch(&f->codec));
    assert_non_null(aligned);
    memcpy(aligned, rows, f->row_bytes);
    apart a = apart_make(&f->codec, tile, fine);
    mask = tada_tile_encode(&f->codec, aligned, mask, &a.cold, scratch);
    memcpy(tile, a.memory, f->tile_bytes);
    for (size_t u = 0; fine && u < (size_t)l->n_units; u++) {
        memcpy(fine + u * l->fine_bytes, a.cold.fine + u * a.cold.stride, l->fine_bytes);
    }
    free(a.memory);
    free(aligned);
    free(scratch);
    return mask;
}

/* fine: NULL: without it. */
static void decode(const golden *f, const uint8_t *tile, const uint8_t *fine, uint64_t mask, void *rows)
{
    uint16_t *aligned = malloc(f->row_bytes);
    float *scratch = scratch_make(tada_tile_scratch(&f->codec));
    assert_non_null(aligned);
    apart a = apart_make(&f->codec, tile, fine);
    tada_tile_decode(&f->codec, &a.cold, mask, aligned, scratch);
    memcpy(rows, aligned, f->row_bytes);
    free(a.memory);
    free(aligned);
    free(scratch);
}

#endif
