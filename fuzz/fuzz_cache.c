/* Everything that an engine does to a cache, in any order, against a plain one. */
#include "cache_attend.h"
#include "cache_model.h"
#include "cache_shift.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_ROWS = 130, MOST_STEPS = 24 };

typedef struct cache_case {
    fuzz_input *in;
    cache_model k, v;
    int head_dim;
    int data; /* what its rows are like */
} cache_case;

/* ---- rows and cells ---- */

static void make_row(fuzz_random *random, int data, uint64_t cell, uint16_t *row, int width)
{
    uint64_t kind = fuzz_bits(random) % 12;
    memset(row, 0, (size_t)width * 2);
    for (int d = 0; d < width && kind > 0; d++) {
        uint64_t bits = fuzz_bits(random);
        /* About even in [-2, 2], in a size that the row or the channel has. */
        int exponent = 15 - __builtin_ctzll(bits | 1 << 8);
        exponent -= kind == 1 ? 4 : 0;
        exponent += data == 1 && d % 17 == 3 ? 4 : 0;
        if (data == 2) { /* constant channels */
            bits = (uint64_t)d * 0x9e3779b97f4a7c15u;
            exponent = 14 + d % 3;
        }
        exponent -= data == 3 ? 8 : 0; /* near the subnormals */
        row[d] = (uint16_t)((bits >> 20 & 0x8000) | (uint64_t)(exponent < 0 ? 0 : exponent) << 10 |
                            (bits >> 40 & 1023));
        if (data == 4) { /* few values */
            row[d] = (uint16_t[]){0, 0x3800, 0xb800, 0x3c00}[bits >> 30 & 3];
        }
    }
    if (data == 5 && cell % 64 < 4) { /* rows that stand out where sequences begin */
        row[0] = 0x5000;
    }
}

static int64_t make_cells(cache_case *c, int64_t *cells)
{
    fuzz_input *in = c->in;
    int64_t per_stream = c->k.shape.n_cells, total = c->k.total, streams = c->k.shape.n_streams;
    int pattern = fuzz_below(in, 5);
    int64_t n = 1 + fuzz_below(in, fuzz_below(in, 3) ? 12 : MOST_ROWS);
    int64_t start = fuzz_below(in, (int)total), stream = start / per_stream;
    fuzz_random random = fuzz_seed((uint32_t)start);
    for (int64_t i = 0; i < n; i++) {
        switch (pattern) {
        case 0: /* anywhere */
            cells[i] = (int64_t)(fuzz_bits(&random) % (uint64_t)total);
            break;
        case 1: /* streams in turn */
            cells[i] = i % streams * per_stream + (start + i / streams) % per_stream;
            break;
        case 2: /* two sequences, cell by cell */
            cells[i] = stream * per_stream + (start + i % 2 * 130 + i / 2) % per_stream;
            break;
        case 3: /* backwards */
            cells[i] = stream * per_stream + (start + n - i) % per_stream;
            break;
        default:
            cells[i] = stream * per_stream + (start + i) % per_stream;
        }
    }
    return n;
}

/* ---- operations ---- */

static void write_cells(cache_case *c, bool zeros)
{
    int64_t cells[MOST_ROWS], n = make_cells(c, cells);
    int width = c->k.shape.width;
    uint16_t *rows = fuzz_memory((size_t)n * (size_t)width * 2);
    fuzz_random random = fuzz_seed((uint32_t)fuzz_below(c->in, 65536));
    for (int plane = 0; plane < 2; plane++) {
        for (int64_t i = 0; i < n; i++) {
            make_row(&random, c->data, (uint64_t)cells[i], rows + i * width, width);
        }
        memset(rows, zeros ? 0 : rows[0] & 255, zeros ? (size_t)n * (size_t)width * 2 : 1);
        cache_model_write(plane ? &c->v : &c->k, rows, cells, n);
    }
    free(rows);
}

static void mark(cache_case *c)
{
    int64_t cells[8];
    int n = 1 + fuzz_below(c->in, 8);
    for (int i = 0; i < n; i++) {
        cells[i] = fuzz_below(c->in, 65536) % (c->k.total + 2) - 1;
        cells[i] = cells[i] < 0 || cells[i] >= c->k.total ? 0 : cells[i];
    }
    cache_model_mark(&c->k, cells, n);
    cache_model_mark(&c->v, cells, n);
}

typedef struct change {
    int what, width;
} change;

/* The same for a cell, whatever other cells change with it. */
static bool change_rows(void *context, int thread, const int64_t *cells, int n, uint16_t *rows)
{
    const change *e = context;
    (void)thread;
    for (int i = 0; i < n; i++) {
        uint16_t *row = rows + (size_t)i * (size_t)e->width;
        for (int d = 0; d + 1 < e->width && e->what == 0;
             d += 2) { /* by a quarter of a turn, as a shift does */
            uint16_t x = row[d];
            row[d] = row[d + 1];
            row[d + 1] = x ^ 0x8000;
        }
        for (int d = 0; d < e->width && e->what == 1; d++) {
            row[d] ^= 0x8000;
        }
        if (e->what == 2 && cells[i] % 3 == 0) {
            memset(row, 0, (size_t)e->width * 2);
        }
    }
    return true;
}

static void edit(cache_case *c)
{
    change e = {fuzz_below(c->in, 3), c->k.shape.width};
    int64_t first = fuzz_below(c->in, 65536) % c->k.total, n = 1 + fuzz_below(c->in, 65536) % c->k.total;
    int every = 1 + fuzz_below(c->in, 3), threads = 1 + fuzz_below(c->in, 3);
    uint8_t *chosen = calloc((size_t)c->k.total, 1);
    for (int64_t i = first; i < c->k.total && i < first + n; i += every) {
        chosen[i] = 1;
    }
    cache_model_edit(&c->k, chosen, change_rows, &e, threads);
    if (fuzz_below(c->in, 2)) {
        cache_model_edit(&c->v, chosen, change_rows, &e, threads);
    }
    free(chosen);
}

/* A context that moves: from a cell on, by a distance; and some cells by another one. */
static void shift(cache_case *c)
{
    int dim = c->head_dim, total = (int)c->k.total;
    int first = fuzz_below(c->in, 65536) % total, distance = fuzz_below(c->in, 600) - 300;
    int odd = fuzz_below(c->in, 2) ? fuzz_below(c->in, 65536) % total : total;
    int threads = 1 + fuzz_below(c->in, 3);
    /* The same for all shifts of a plane. */
    tada_rope rope = {.column = c->data % 2 ? dim / 4 : 0,
                      .n_dims = c->data % 2 ? dim / 2 : dim,
                      .n_heads = c->k.shape.width / dim,
                      .head_stride = dim,
                      .pairs = c->data % 4 < 2 ? TADA_ROPE_HALVES : TADA_ROPE_NEIGHBOURS,
                      .freq_base = 10000,
                      .freq_scale = 1,
                      .attn_factor = 1};
    int32_t *deltas = calloc((size_t)total, sizeof *deltas);
    for (int i = 0; i < total; i++) {
        deltas[i] = i < first ? 0 : i >= odd && i % 7 == 0 ? 11 : distance;
    }
    cache_model_shift(&c->k, &rope, deltas, threads);
    if (fuzz_below(c->in, 4) == 0) {
        cache_model_shift(&c->v, &rope, deltas, threads);
    }
    free(deltas);
}

/* Rows that came out of a cold tile go into it again as they were: no loss grows with how often a session is
 * saved. */
static void restore(cache_case *c, cache_model *m)
{
    const tada_recipe *r = m->shape.kind == TADA_K ? &m->spec.k : &m->spec.v;
    size_t row = (size_t)m->shape.width * 2;
    bool exact = r->centring == TADA_CENTRE_NONE && r->scale == TADA_SCALE_16 && !m->maybe_marked;
    uint16_t *saved = fuzz_memory((size_t)m->total * row);
    uint8_t *other = fuzz_memory((size_t)m->n_tiles), *refined = fuzz_memory((size_t)m->n_tiles);
    int64_t *cells = fuzz_memory((size_t)m->total * sizeof *cells), n = 0, n_marks = 0;
    int64_t *marks = fuzz_memory((size_t)m->total * sizeof *marks);
    cache_model_settle(m, 1 + fuzz_below(c->in, 3));
    memcpy(saved, m->rows, (size_t)m->total * row);
    for (int64_t i = 0; i < m->n_tiles; i++) {
        other[i] = m->hot[i] || m->moved[i];
    }
    memcpy(refined, m->refined, (size_t)m->n_tiles);
    exact = exact && !m->any_layered;
    uint16_t *rows = fuzz_memory((size_t)m->total * row);
    for (int64_t i = 0; i < m->total; i++) {
        if (cache_model_written(m, i)) {
            memcpy(rows + n * m->shape.width, cache_model_row(m, i), row);
            cells[n++] = i;
        }
        if (m->marks[i]) {
            marks[n_marks++] = i;
        }
    }
    cache_model_clear(m);
    cache_model_write(m, rows, cells, n);
    cache_model_mark(m, marks, n_marks);
    cache_model_settle(m, 1 + fuzz_below(c->in, 3));
    exact = exact && !m->any_layered;
    for (int64_t i = 0; i < m->total && exact; i++) {
        int64_t tile = i / m->shape.n_cells * m->tiles_per_stream + i % m->shape.n_cells / TADA_TILE_CELLS;
        /* Another tile may be written last, and have the refinement. */
        bool same = !other[tile] && (m->hot[tile] || m->refined[tile] >= refined[tile]);
        if (same && memcmp(saved + i * m->shape.width, cache_model_row(m, i), row) != 0) {
            fuzz_fail("%s of kind %d, width %d, head size %d: cell %lld changes when it is restored", m->text,
                      m->shape.kind, m->shape.width, m->shape.head_dim, (long long)i);
        }
    }
    free(saved);
    free(other);
    free(refined);
    free(cells);
    free(marks);
    free(rows);
}

static void refused(cache_case *c)
{
    tada_error error = {""};
    int64_t total = c->k.total, bad[] = {0, total + fuzz_below(c->in, 65536)};
    uint16_t *rows = calloc((size_t)c->k.shape.width * 2, sizeof *rows);
    rows[0] = 0x3c00;
    if (tada_plane_write(c->k.plane, c->k.pool, rows, TADA_F16, (size_t)c->k.shape.width * 2, bad, 2,
                         &error) != TADA_E_ARGUMENT ||
        tada_plane_read(c->k.plane, total, 1, rows, NULL, &error) != TADA_E_ARGUMENT ||
        tada_plane_copy_stream(c->k.plane, c->k.pool, 0, c->k.shape.n_streams, NULL, &error) !=
            TADA_E_ARGUMENT) {
        fuzz_fail("%s: cells that do not exist are accepted", c->k.text);
    }
    free(rows);
}

static void step(cache_case *c)
{
    int what = fuzz_below(c->in, 16);
    fuzz_kernels(fuzz_below(c->in, fuzz_n_kernels()));
    switch (what) {
    case 0:
        write_cells(c, true);
        break;
    case 1:
        edit(c);
        break;
    case 2: {
        int64_t from = fuzz_below(c->in, (int)c->k.shape.n_streams),
                to = fuzz_below(c->in, (int)c->k.shape.n_streams);
        cache_model_copy(&c->k, from, to, 1 + fuzz_below(c->in, 3));
        cache_model_copy(&c->v, from, to, 1 + fuzz_below(c->in, 3));
        break;
    }
    case 3:
        mark(c);
        break;
    case 4:
        restore(c, fuzz_below(c->in, 2) ? &c->k : &c->v);
        break;
    case 5:
        refused(c);
        break;
    case 6:
        if (fuzz_below(c->in, 8) == 0) {
            cache_model_clear(&c->k);
            cache_model_clear(&c->v);
        }
        break;
    case 7:
    case 8:
        if (c->head_dim) {
            cache_attend(c->in, &c->k, &c->v, c->head_dim);
        }
        break;
    case 9:
    case 10:
    case 11:
        cache_model_settle(&c->k, 1 + fuzz_below(c->in, 3));
        cache_model_settle(&c->v, 1 + fuzz_below(c->in, 3));
        break;
    case 12:
        shift(c);
        break;
    default:
        write_cells(c, false);
    }
}

/* Tells the head size that a shape has not, or leaves the row as one head. */
static void set_head_dim(cache_model *m, int head_dim)
{
    if (m->shape.head_dim == 0 && tada_plane_set_head_dim(m->plane, head_dim) == TADA_OK) {
        m->shape.head_dim = head_dim;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int dims[] = {16, 32, 48, 64, 80, 96, 128, 256};
    fuzz_input in = {data, size, 0};
    cache_case c = {.in = &in, .head_dim = 0};
    char text[256];
    tada_spec spec = fuzz_spec(&in, text, sizeof text);
    int dim = dims[fuzz_below(&in, 8)], heads = 1 + fuzz_below(&in, dim < 64 ? 3 : 160 / dim + 1);
    tada_shape shape = {TADA_K, dim * heads, 1 + fuzz_below(&in, 300), 1 + fuzz_below(&in, 3),
                        fuzz_below(&in, 3) ? dim : 0};
    c.data = fuzz_below(&in, 8);
    tada_pool *pool = tada_pool_create();
    if (cache_model_make(&c.k, text, &spec, &shape, pool)) {
        shape.kind = TADA_V;
        if (cache_model_make(&c.v, text, &spec, &shape, pool)) {
            set_head_dim(&c.k, dim);
            set_head_dim(&c.v, dim);
            c.head_dim = dim;
            for (int i = 0; i < MOST_STEPS && fuzz_more(&in); i++) {
                step(&c);
                if (i % 3 == 2) {
                    cache_model_compare(&c.k, 1 + i % 2);
                    cache_model_compare(&c.v, 1 + i % 2);
                }
            }
            cache_model_settle(&c.k, 2);
            cache_model_settle(&c.v, 2);
            cache_model_compare(&c.k, 3);
            cache_model_compare(&c.v, 3);
            cache_model_free(&c.v);
        }
        cache_model_free(&c.k);
    }
    tada_pool_free(pool);
    return 0;
}
