/* Any rows through a cold tile: nothing crashes, all kernel sets give the same bits, finite rows stay finite,
 * and what a tile decodes to, with its refinement and without, encodes to it again. */
#include "fuzz.h"
#include "common/half.h"
#include "codec/tile.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = TADA_TILE_CELLS, MOST_WIDTH = 320 };

/* Rows by a pattern of bits that the input chooses. */
static void fill(fuzz_input *in, enum tada_type type, int n, uint8_t *rows)
{
    static const uint32_t special[] = {0,          0x80000000, 0x7f800000, 0xff800000, 0x7fc00000,
                                       0x7f800001, 0x00000001, 0x807fffff, 0x7f7fffff, 0x477fe000,
                                       0x477ff000, 0x33800000, 0x38800000};
    fuzz_random random = fuzz_seed((uint32_t)fuzz_below(in, 65536));
    int pattern = fuzz_below(in, 7), shift = fuzz_below(in, 32);
    float size = ldexpf(1, fuzz_below(in, 48) - 28),
          mean = ldexpf((float)(fuzz_below(in, 7) - 3), fuzz_below(in, 20) - 6);
    for (int i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)fuzz_bits(&random);
        float value = fuzz_normal(&random) * size;
        switch (pattern) {
        case 0: /* out of the input, byte by byte */
            bits = (uint32_t)(fuzz_byte(in) | fuzz_byte(in) << 8) | (uint32_t)fuzz_byte(in) << 24;
            break;
        case 1: /* any finite number */
            bits &= type == TADA_F16 ? 0xffffbfff : 0xbfffffff;
            break;
        case 2: /* anything at all */
            break;
        case 3: /* around a mean */
            value += mean;
            memcpy(&bits, &value, sizeof bits);
            break;
        case 4: /* a few values far out, also not finite ones */
            memcpy(&bits, &value, sizeof bits);
            bits = bits % 61 == 0 ? special[bits / 61 % (sizeof special / sizeof *special)] : bits;
            break;
        case 5: /* few values */
            bits = special[bits >> shift & 7] | (bits & 0x80000000);
            break;
        default: /* channels of a size each */
            value = ldexpf(value, i % 16 - 8);
            memcpy(&bits, &value, sizeof bits);
        }
        if (type == TADA_F32) {
            memcpy(rows + 4 * (size_t)i, &bits, sizeof bits);
        } else {
            /* The upper half of a float is a number of f16 as well, of another size. */
            uint16_t half = (uint16_t)(pattern < 3 ? bits : bits >> 16);
            memcpy(rows + 2 * (size_t)i, &half, sizeof half);
        }
    }
}

static bool is_finite(uint16_t half)
{
    return (half & 0x7c00) != 0x7c00;
}

/* As f16: what of f32 is beyond its range counts as not finite. */
static bool all_finite(const uint8_t *rows, enum tada_type type, int n)
{
    for (int i = 0; i < n; i++) {
        float value;
        uint16_t half;
        memcpy(&value, rows + 4 * (size_t)i * (type == TADA_F32), sizeof value);
        memcpy(&half, rows + 2 * (size_t)i * (type == TADA_F16), sizeof half);
        if (type == TADA_F32 ? !(fabsf(value) < 65520.0f) : !is_finite(half)) {
            return false;
        }
    }
    return true;
}

typedef struct codec_case {
    char text[256];
    tada_spec spec;
    tada_shape shape;
    enum tada_type type;
    const uint8_t *rows;
    int64_t cells[2 * CELLS];
    int n;
} codec_case;

/* What the cells read as after the rows were compressed. False: the plane cannot be. */
static bool pass(const codec_case *c, int threads, uint16_t *out)
{
    size_t bytes = tada_plane_bytes(&c->spec, &c->shape), width = (size_t)c->shape.width;
    void *memory = bytes ? aligned_alloc(64, (bytes + 63) / 64 * 64) : NULL;
    tada_pool *pool = tada_pool_create();
    tada_plane *plane = NULL;
    tada_error error = {""};
    enum tada_status status = TADA_E_ARGUMENT;
    if (bytes) {
        memset(memory, 0xa5, bytes);
        status = tada_plane_create(&c->spec, &c->shape, memory, bytes, &plane, &error);
    }
    if (status == TADA_OK) {
        size_t row = width * (c->type == TADA_F32 ? 4 : 2);
        float one[MOST_WIDTH] = {1};
        const int64_t last = c->shape.n_cells - 1;
        if (tada_plane_write(plane, pool, c->rows, c->type, row, c->cells, c->n, &error) != TADA_OK ||
            tada_plane_write(plane, pool, one, TADA_F32, width * 4, &last, 1, &error) != TADA_OK ||
            tada_plane_settle(plane, fuzz_threads(threads), NULL) != TADA_OK ||
            tada_plane_read(plane, 0, c->shape.n_cells, out, fuzz_threads(threads), &error) != TADA_OK) {
            fuzz_fail("%s: %s", c->text, error.text);
        }
        tada_plane_stats stats;
        tada_plane_get_stats(plane, &stats);
        if (stats.written < 0 || stats.refined > stats.cold || stats.hot + stats.cold > stats.tiles) {
            fuzz_fail("%s: counts are wrong", c->text);
        }
    }
    tada_plane_free(plane);
    tada_pool_free(pool);
    free(memory);
    return status == TADA_OK;
}

/* A tile with its refinement, in memory of just its size. */
typedef struct coded_tile {
    tada_cold cold;
    size_t bytes, fine_bytes;
    uint64_t mask;
} coded_tile;

static coded_tile tile_make(const tada_codec *c)
{
    coded_tile tile = {.bytes =
                           (size_t)c->layout.n_units * c->layout.record_bytes + c->layout.head_means_bytes};
    tile.cold = tada_cold_make(c, fuzz_memory(tile.bytes));
    memset(tile.cold.records, 0, tile.bytes);
    /* As far apart as the records. */
    tile.fine_bytes = c->layout.fine_bits ? (size_t)c->layout.n_units * c->layout.record_bytes : 0;
    if (tile.fine_bytes) {
        tile.cold.fine = fuzz_memory(tile.fine_bytes);
        memset(tile.cold.fine, 0, tile.fine_bytes);
    }
    return tile;
}

static void tile_free(coded_tile *tile)
{
    free(tile->cold.records);
    free(tile->cold.fine);
}

static void tile_encode(const tada_codec *c, const uint16_t *rows, uint64_t mask, coded_tile *tile)
{
    float *scratch = fuzz_memory(tada_tile_encode_scratch(c) * sizeof *scratch);
    tile->mask = tada_tile_encode(c, rows, mask, &tile->cold, scratch);
    free(scratch);
}

static void tile_decode(const tada_codec *c, const coded_tile *tile, bool refined, uint16_t *rows)
{
    float *scratch = fuzz_memory(tada_tile_scratch(c) * sizeof *scratch);
    tada_cold cold = tile->cold;
    cold.fine = refined ? cold.fine : NULL;
    tada_tile_decode(c, &cold, tile->mask, rows, scratch);
    free(scratch);
}

static void tiles_equal(const codec_case *c, const coded_tile *a, const coded_tile *b, bool refined,
                        const char *what)
{
    if (a->mask != b->mask || memcmp(a->cold.records, b->cold.records, a->bytes) != 0 ||
        (refined && a->fine_bytes && memcmp(a->cold.fine, b->cold.fine, a->fine_bytes) != 0)) {
        fuzz_fail("%s of kind %d, width %d, head size %d: another tile %s", c->text, c->shape.kind,
                  c->shape.width, c->shape.head_dim, what);
    }
}

/* Whether what a tile decodes to is to give it again. Rows near the end of the range of f16, or that a
 * rotation may take there, need not. */
static bool settles(const tada_codec *c, const uint16_t *rows)
{
    float most = 0;
    for (int i = 0; i < CELLS * c->layout.width; i++) {
        float size = fabsf(tada_half_to_float(rows[i]));
        most = size < INFINITY && size > most ? size : most;
    }
    return c->recipe.centring == TADA_CENTRE_NONE && c->recipe.scale != TADA_SCALE_32 &&
           most * (float)c->layout.rotation < 30000;
}

/* The first cells of a case as one tile. */
static void check_tile(const codec_case *c)
{
    tada_codec codec = {.kind = c->shape.kind, .recipe = c->shape.kind == TADA_K ? c->spec.k : c->spec.v};
    size_t width = (size_t)c->shape.width;
    uint64_t mask = 0;
    if (codec.recipe.bits == 16 && !codec.recipe.quarters) {
        return;
    }
    codec.layout = tada_layout_make(&codec.recipe, c->shape.width, c->shape.head_dim);
    uint16_t *rows = fuzz_memory(CELLS * width * sizeof *rows),
             *back = fuzz_memory(CELLS * width * sizeof *back);
    memset(rows, 0xff, CELLS * width * sizeof *rows);
    for (int i = 0; i < c->n && c->cells[i] < CELLS; i++) {
        mask |= (uint64_t)1 << c->cells[i];
        for (size_t d = 0; d < width; d++) {
            float value;
            uint16_t half;
            memcpy(&value, c->rows + 4 * ((size_t)i * width + d) * (c->type == TADA_F32), sizeof value);
            memcpy(&half, c->rows + 2 * ((size_t)i * width + d) * (c->type == TADA_F16), sizeof half);
            rows[(size_t)c->cells[i] * width + d] = c->type == TADA_F32 ? tada_half_from_float(value) : half;
        }
    }
    coded_tile tile = tile_make(&codec), other = tile_make(&codec), alone = tile_make(&codec);
    free(alone.cold.fine);
    alone.cold.fine = NULL;
    fuzz_kernels(0);
    tile_encode(&codec, rows, mask, &tile);
    for (int i = 0, n = fuzz_n_kernels(); i < n; i++) {
        fuzz_kernels(i);
        tile_encode(&codec, rows, mask, &other);
        tiles_equal(c, &tile, &other, true, "by another kernel set");
    }
    tile_encode(&codec, rows, mask, &alone);
    tiles_equal(c, &tile, &alone, false, "without a refinement");
    if (settles(&codec, rows)) {
        tile_decode(&codec, &tile, false, back);
        tile_encode(&codec, back, tile.mask, &other);
        tiles_equal(c, &tile, &other, false, "of rows decoded without the refinement");
        tile_decode(&codec, &tile, true, back);
        tile_encode(&codec, back, tile.mask, &other);
        tiles_equal(c, &tile, &other, true, "of rows decoded with the refinement");
    }
    tile_free(&tile);
    tile_free(&other);
    tile_free(&alone);
    free(rows);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int dims[] = {16, 32, 48, 64, 80, 96, 128, 160, 256, 320};
    fuzz_input in = {data, size, 0};
    codec_case c = {.n = 1 + fuzz_below(&in, 2 * CELLS)};
    c.spec = fuzz_spec(&in, c.text, sizeof c.text);
    c.spec.window = 0;
    int head = dims[fuzz_below(&in, 10)], most = head < 64 ? 4 : MOST_WIDTH / head,
        heads = 1 + fuzz_below(&in, most);
    c.shape = (tada_shape){(enum tada_kind)fuzz_below(&in, 2), head * heads, 5 * CELLS, 1, head};
    c.type = (enum tada_type)fuzz_below(&in, 2);
    int step = 1 + fuzz_below(&in, 2);
    for (int i = 0; i < c.n; i++) {
        c.cells[i] = i * step;
    }
    int values = c.n * c.shape.width;
    uint8_t *rows = fuzz_memory((size_t)values * 4);
    float *weights = fuzz_memory((size_t)c.shape.width / 8 * sizeof *weights);
    uint16_t *first = fuzz_memory((size_t)c.shape.n_cells * (size_t)c.shape.width * 2),
             *other = fuzz_memory((size_t)c.shape.n_cells * (size_t)c.shape.width * 2);
    for (int i = 0; i < c.shape.width / 8; i++) {
        weights[i] = (float)(i * 7 % 5);
    }
    c.spec.k.weights = fuzz_below(&in, 2) ? weights : NULL;
    int threads = 1 + fuzz_below(&in, 3);
    fill(&in, c.type, values, rows);
    c.rows = rows;
    bool finite = all_finite(rows, c.type, values);
    fuzz_kernels(0);
    if (pass(&c, 1, first)) {
        for (int64_t i = 0; finite && i < c.shape.n_cells * c.shape.width; i++) {
            if (!is_finite(first[i])) {
                fuzz_fail("%s of kind %d, width %d, head size %d: finite rows decode to a value that is not",
                          c.text, c.shape.kind, c.shape.width, c.shape.head_dim);
            }
        }
        for (int i = 1, n = fuzz_n_kernels(); i < n; i++) {
            fuzz_kernels(i);
            pass(&c, threads, other);
            if (finite && memcmp(first, other, (size_t)c.shape.n_cells * (size_t)c.shape.width * 2) != 0) {
                fuzz_fail("%s of kind %d, width %d, head size %d: %s gives other bits than scalar", c.text,
                          c.shape.kind, c.shape.width, c.shape.head_dim, tada_kernels_name());
            }
        }
    }
    check_tile(&c);
    free(rows);
    free(weights);
    free(first);
    free(other);
    return 0;
}
