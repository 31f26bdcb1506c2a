/* Saved cells: whatever bytes are restored, they are refused or the plane goes on; what was saved comes back.
 */
#include "fuzz.h"

#include "crc.h"
#include "plane/state.h"

#include <stdlib.h>
#include <string.h>

enum { CELLS = 320, MOST_WIDTH = 128 };

typedef struct held {
    tada_plane *plane;
    tada_pool *pool;
    void *memory;
    int width;
} held;

static bool make(const tada_spec *spec, const tada_shape *shape, held *h)
{
    size_t bytes = tada_plane_bytes(spec, shape);
    *h = (held){.width = shape->width};
    if (!bytes) {
        return false;
    }
    h->memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    h->pool = tada_pool_create();
    if (tada_plane_create(spec, shape, h->memory, bytes, &h->plane, NULL) != TADA_OK) {
        tada_pool_free(h->pool);
        free(h->memory);
        return false;
    }
    return true;
}

static void done(held *h)
{
    tada_plane_free(h->plane);
    tada_pool_free(h->pool);
    free(h->memory);
}

static void settle(const held *h)
{
    if (tada_plane_settle(h->plane, NULL, NULL) != TADA_OK) {
        fuzz_fail("a plane with restored cells does not settle");
    }
}

static void write_rows(const held *h, fuzz_input *in, int most)
{
    fuzz_random random = fuzz_seed((uint32_t)fuzz_below(in, 65536));
    int first = fuzz_below(in, CELLS), n = 1 + fuzz_below(in, most);
    float x[MOST_WIDTH];
    for (int64_t cell = first; cell < CELLS && cell < first + n; cell++) {
        for (int d = 0; d < h->width; d++) {
            x[d] = fuzz_normal(&random);
        }
        if (tada_plane_write(h->plane, h->pool, x, TADA_F32, sizeof x, &cell, 1, NULL) != TADA_OK) {
            fuzz_fail("a row cannot be written");
        }
    }
    if (fuzz_below(in, 2)) {
        settle(h);
    }
}

static void shift(const held *h, fuzz_input *in, int head)
{
    int32_t deltas[CELLS];
    tada_rope rope = {.n_dims = head,
                      .n_heads = h->width / head,
                      .head_stride = head,
                      .pairs = TADA_ROPE_HALVES,
                      .freq_base = 10000,
                      .freq_scale = 1,
                      .attn_factor = 1};
    for (int i = 0; i < CELLS; i++) {
        deltas[i] = 7;
    }
    if (fuzz_below(in, 2) && tada_plane_shift(h->plane, &rope, deltas, NULL, NULL) != TADA_OK) {
        fuzz_fail("a plane cannot be shifted");
    }
}

static void go_on(const held *h, fuzz_input *in, int head)
{
    uint16_t *rows = fuzz_memory((size_t)CELLS * (size_t)h->width * 2);
    settle(h);
    write_rows(h, in, 100);
    shift(h, in, head);
    settle(h);
    if (tada_plane_read(h->plane, 0, CELLS, rows, NULL, NULL) != TADA_OK) {
        fuzz_fail("a plane with restored cells cannot be read");
    }
    float q[MOST_WIDTH] = {1}, out[MOST_WIDTH];
    tada_attention a = {.k = h->plane,
                        .v = h->plane,
                        .k_dim = head,
                        .v_dim = head,
                        .k_head_stride = head,
                        .v_head_stride = head,
                        .n_heads = h->width / head,
                        .n_heads_kv = h->width / head,
                        .n_streams = 1,
                        .n_cells = CELLS,
                        .n_queries = 1,
                        .q = q,
                        .q_head = (size_t)head * 4,
                        .scale = 0.1f,
                        .out = out,
                        .out_head = (size_t)head * 4};
    (void)tada_attention_run(&a, h->pool, NULL, NULL);
    free(rows);
}

static void correct_sum(uint8_t *bytes, size_t size)
{
    tada_crc crc;
    tada_crc_init(&crc);
    uint32_t sum = size >= 4 ? tada_crc_add(&crc, 0, bytes, size - 4) : 0;
    memcpy(bytes + size - (size >= 4 ? 4 : size), &sum, size >= 4 ? 4 : 0);
}

static void restore(const held *h, const int64_t *cells, int64_t n, const uint8_t *bytes, size_t size,
                    bool must)
{
    tada_error error = {""}, look_error = {""};
    tada_state_header header;
    bool sound = tada_state_look(bytes, size, &header, &look_error) == TADA_OK;
    bool done = tada_plane_import(h->plane, h->pool, cells, n, bytes, size, &error) == TADA_OK;
    if ((!done && (must || strlen(error.text) < 10)) || (!sound && (done || strlen(look_error.text) < 10))) {
        fuzz_fail("saved cells are refused: %s%s", error.text, look_error.text);
    }
}

/* What was restored, perhaps twice, can be saved and restored. */
static void pass_on(const held *from, const held *to, const int64_t *cells, int64_t n)
{
    size_t size = tada_plane_state_bytes(from->plane, cells, n);
    uint8_t *state = fuzz_memory(size);
    if (tada_plane_export(from->plane, cells, n, state, size, NULL) != TADA_OK) {
        fuzz_fail("restored cells cannot be saved");
    }
    restore(to, cells, n, state, size, true);
    free(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size, 0};
    char text[256];
    tada_spec spec = fuzz_spec(&in, text, sizeof text);
    int head = 16 << fuzz_below(&in, 3), width = head * (1 + fuzz_below(&in, MOST_WIDTH / head));
    tada_shape shape = {(enum tada_kind)fuzz_below(&in, 2), width, CELLS, 1, head};
    held from, to;
    if (!make(&spec, &shape, &from)) {
        return 0;
    }
    make(&spec, &shape, &to);
    for (int i = fuzz_below(&in, 6); i >= 0; i--) {
        write_rows(&from, &in, 200);
        shift(&from, &in, head);
    }
    write_rows(&to, &in, 200);
    int64_t cells[CELLS], n = 1 + fuzz_below(&in, CELLS - 1), step = 1 + fuzz_below(&in, 2),
                          first = fuzz_below(&in, CELLS),
                          place = fuzz_below(&in, 2) ? first : fuzz_below(&in, CELLS);
    n = n * step > CELLS ? CELLS / step : n;
    for (int64_t i = 0; i < n; i++) {
        cells[i] = (first + i * step) % CELLS;
    }
    size_t bytes = tada_plane_state_bytes(from.plane, cells, n);
    uint8_t *state = fuzz_memory(bytes);
    if (tada_plane_export(from.plane, cells, n, state, bytes, NULL) != TADA_OK) {
        fuzz_fail("%s: cells cannot be saved", text);
    }
    bool changed = fuzz_below(&in, 4) > 0;
    for (int i = fuzz_below(&in, 4); changed && i >= 0; i--) {
        /* Most of what can go wrong is near the beginning. */
        size_t at = (size_t)fuzz_below(&in, 65536) % (fuzz_below(&in, 2) && bytes > 200 ? 200 : bytes);
        state[at] = fuzz_byte(&in);
    }
    if (changed) {
        bytes -= fuzz_below(&in, 8) ? 0 : (size_t)fuzz_below(&in, 65536) % bytes;
        correct_sum(state, bytes);
    }
    for (int64_t i = 0; i < n; i++) {
        cells[i] = (place + i * step) % CELLS;
    }
    restore(&to, cells, n, state, bytes, !changed);
    if (!changed) {
        if (fuzz_below(&in, 2)) {
            restore(&to, cells, n, state, bytes, true);
        }
        pass_on(&to, &from, cells, n);
    }
    go_on(&to, &in, head);
    free(state);
    done(&to);
    done(&from);
    return 0;
}
