/* Any rows through a cold tile: nothing crashes, all kernel sets give the same bits, finite rows stay finite.
 */
#include "fuzz.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = 64, MOST_WIDTH = 320 };

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
    free(rows);
    free(weights);
    free(first);
    free(other);
    return 0;
}
