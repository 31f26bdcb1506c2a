/* Files as llama.cpp saves them, with rows that come out of planes of ours: for tests. */
#ifndef TADA_TEST_SESSION_FILE_H
#define TADA_TEST_SESSION_FILE_H

#include "support.h"

typedef struct bytes {
    uint8_t *data;
    size_t size, capacity;
} bytes;

static inline void put(bytes *b, const void *data, size_t size)
{
    while (b->size + size > b->capacity) {
        b->capacity = b->capacity ? 2 * b->capacity : 1 << 16;
        b->data = realloc(b->data, b->capacity);
        assert_non_null(b->data);
    }
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

static inline void put_u32(bytes *b, uint32_t value)
{
    put(b, &value, sizeof value);
}

static inline void put_u64(bytes *b, uint64_t value)
{
    put(b, &value, sizeof value);
}

/* Which cells of a plane a sequence has. */
enum cells { CELLS_ALL, CELLS_LATER, CELLS_THIRD, CELLS_HOLE, CELLS_BATCHES, N_CELLS_KINDS };
static const char *const cells_names[] = {"from the first", "from 37", "each third", "with a hole",
                                          "in batches"};

static inline bool has_cell(enum cells cells, int cell)
{
    switch (cells) {
    case CELLS_LATER:
        return cell >= 37;
    case CELLS_THIRD:
        return cell % 3 == 1;
    case CELLS_HOLE:
        return cell < 150 || cell >= 333;
    case CELLS_BATCHES:
        /* Prompts that came in batches of 40, others of them of another sequence. */
        return cell / 40 % 2 == 0;
    default:
        return true;
    }
}

typedef struct session_shape {
    const char *spec;
    int width, head_dim, n_layers, n_cells;
    enum cells cells;
} session_shape;

static inline uint32_t count_cells(const session_shape *s)
{
    uint32_t n = 0;
    for (int i = 0; i < s->n_cells; i++) {
        n += has_cell(s->cells, i);
    }
    return n;
}

/* What a cache holds: channels with means and spreads of their own, as K has. */
static inline uint16_t *random_rows(int n, int width)
{
    uint16_t *rows = malloc((size_t)n * (size_t)width * sizeof *rows);
    assert_non_null(rows);
    for (int d = 0; d < width; d++) {
        float mean = 4 * random_normal(), spread = expf(0.7f * random_normal());
        for (int t = 0; t < n; t++) {
            rows[(size_t)t * (size_t)width + (size_t)d] = half_round(mean + spread * random_normal());
        }
    }
    return rows;
}

/* The rows of one layer's K or V, as llama.cpp reads them from our cache. */
static inline void put_rows(bytes *b, const session_shape *s, enum tada_kind kind)
{
    size_t width = (size_t)s->width;
    uint16_t *rows = random_rows(s->n_cells, s->width);
    tada_spec spec = spec_of(s->spec);
    if (!spec.stock) {
        tada_error error;
        tada_pool *pool = tada_pool_create();
        test_plane p = plane_of(s->spec, kind, s->width, s->n_cells, 1, s->head_dim);
        write_rows(p.plane, pool, rows, TADA_F16, s->width, 0, s->n_cells, 64);
        assert_int_equal(tada_plane_read(p.plane, 0, s->n_cells, rows, threads_of(1), &error), TADA_OK);
        plane_done(&p);
        tada_pool_free(pool);
    }
    put_u32(b, 1); /* f16 */
    put_u64(b, 2 * width);
    for (int i = 0; i < s->n_cells; i++) {
        if (has_cell(s->cells, i)) {
            put(b, rows + (size_t)i * width, 2 * width);
        }
    }
    free(rows);
}

/* A stream of a cache. extra: bytes of each cell that only some models have. transposed: V by channel,
 * without rows. */
static inline void put_stream(bytes *b, const session_shape *s, size_t extra, bool transposed, bool has_v)
{
    uint32_t n = count_cells(s);
    put_u32(b, n);
    for (uint32_t i = 0; i < n; i++) {
        put_u32(b, i);
        put_u32(b, 1);
        put(b, "extra bytes.", extra);
        put_u32(b, 0);
    }
    put_u32(b, transposed);
    put_u32(b, (uint32_t)s->n_layers);
    for (int i = 0; i < s->n_layers; i++) {
        put_rows(b, s, TADA_K);
    }
    for (int i = 0; has_v && i < s->n_layers; i++) {
        if (!transposed) {
            put_rows(b, s, TADA_V);
            continue;
        }
        put_u32(b, 1);
        put_u32(b, 2);
        put_u32(b, (uint32_t)s->width);
        for (size_t j = 0; j < (size_t)s->width * n; j++) {
            uint16_t value = (uint16_t)random_bits();
            put(b, &value, sizeof value);
        }
    }
}

static inline void put_start(bytes *b, bool whole)
{
    put_u32(b, whole ? 0x6767736e : 0x67677371);
    put_u32(b, whole ? 10 : 3);
    put_u32(b, 5);
    put(b, "five tokens that are.", 20);
    if (whole) {
        put_u32(b, 5);
        put(b, "llama", 5);
    }
}

/* The file of one sequence in one cache. */
static inline bytes sequence_file(const session_shape *s)
{
    bytes b = {0};
    put_start(&b, false);
    put_u32(&b, 1);
    put_stream(&b, s, 0, false, true);
    return b;
}

static inline void write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static inline bytes read_file(const char *path)
{
    bytes b = {0};
    uint8_t chunk[4096];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, file)) > 0;) {
        put(&b, chunk, n);
    }
    fclose(file);
    return b;
}

#endif
