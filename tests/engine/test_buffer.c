/*
 * The rows that others see of a compressed cache tensor, through ggml alone: read at once, row by row and in
 * odd pieces they are the same, also when they have just been written.  test_buffer LIB_DIR PLUGIN
 */
#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WIDTH = 128, CELLS = 500, STREAMS = 2, TOTAL = CELLS * STREAMS, ROW = WIDTH * 2, BYTES = TOTAL * ROW };

static int failures;

static void check(const char *name, bool good)
{
    printf("%s%s\n", good ? "ok      " : "FAILED  ", name);
    failures += !good;
}

static bool swapped_out;

/* In place of that of the system, also for the plug-in: of pages that are swapped out the kernel says that
 * they are not in memory. */
__attribute__((visibility("default"))) int mincore(void *at, size_t n, unsigned char *in_memory)
{
    if (swapped_out) {
        memset(in_memory, 0, (n + 4095) / 4096);
        return 0;
    }
    return (int)syscall(SYS_mincore, at, n, in_memory);
}

static void random_rows(uint16_t *rows, int64_t n, unsigned seed)
{
    srand(seed);
    for (int64_t i = 0; i < n * WIDTH; i++) {
        rows[i] = ggml_fp32_to_fp16((float)(rand() % 2001 - 1000) / 500.0f);
    }
}

/* In pieces of so many bytes, from the end to the beginning or the other way round. */
static bool same_in_pieces(const struct ggml_tensor *tensor, size_t piece, bool backwards)
{
    char *whole = malloc(BYTES), *parts = malloc(BYTES);
    size_t n = (BYTES + piece - 1) / piece;
    ggml_backend_tensor_get(tensor, whole, 0, BYTES);
    for (size_t i = 0; i < n; i++) {
        size_t at = (backwards ? n - 1 - i : i) * piece, size = BYTES - at < piece ? BYTES - at : piece;
        ggml_backend_tensor_get(tensor, parts + at, at, size);
    }
    bool same = memcmp(whole, parts, BYTES) == 0;
    free(whole);
    free(parts);
    return same;
}

/* Rows that were read, written and read again, one by one: what is hot comes back as it was written. */
static bool fresh_after_write(struct ggml_tensor *tensor, int64_t cell)
{
    uint16_t before[WIDTH], rows[2 * WIDTH], after[WIDTH];
    random_rows(rows, 2, (unsigned)cell + 7);
    ggml_backend_tensor_get(tensor, before, (size_t)cell * ROW, ROW);
    ggml_backend_tensor_set(tensor, rows, (size_t)cell * ROW, 2 * ROW);
    ggml_backend_tensor_get(tensor, after, (size_t)cell * ROW, ROW);
    return memcmp(before, after, ROW) != 0 && memcmp(rows, after, ROW) == 0;
}

static size_t heap(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static bool all_zero(const struct ggml_tensor *tensor, int64_t cell)
{
    static const uint16_t none[WIDTH];
    uint16_t row[WIDTH];
    ggml_backend_tensor_get(tensor, row, (size_t)cell * ROW, ROW);
    return memcmp(row, none, ROW) == 0;
}

/* Attention over the first stream, with its rows as keys and as values. */
static bool attend(ggml_backend_dev_t device, struct ggml_tensor *k)
{
    enum { DIM = 64, HEADS = WIDTH / DIM };
    ggml_backend_t backend = ggml_backend_dev_init(device, NULL);
    struct ggml_context *context = ggml_init((struct ggml_init_params){
        .mem_size = 16 * ggml_tensor_overhead() + ggml_graph_overhead(), .no_alloc = true});
    struct ggml_tensor *q = ggml_new_tensor_3d(context, GGML_TYPE_F32, DIM, 1, HEADS);
    struct ggml_tensor *kv = ggml_view_3d(context, k, DIM, CELLS, HEADS, ROW, DIM * 2, 0);
    struct ggml_tensor *out = ggml_flash_attn_ext(context, q, kv, kv, NULL, 0.125f, 0, 0);
    struct ggml_cgraph *graph = ggml_new_graph(context);
    ggml_build_forward_expand(graph, out);
    ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors(context, backend);
    float values[DIM * HEADS];
    for (int i = 0; i < DIM * HEADS; i++) {
        values[i] = (float)(i % 7) / 7;
    }
    ggml_backend_tensor_set(q, values, 0, sizeof values);
    bool done = ggml_backend_graph_compute(backend, graph) == GGML_STATUS_SUCCESS;
    ggml_backend_buffer_free(buffer);
    ggml_free(context);
    ggml_backend_free(backend);
    return done;
}

enum { ODD_DIM = 64, ODD_HEADS = 2, ODD_CELLS = CELLS - 1, ODD_VALUES = ODD_DIM * ODD_HEADS };

/* What attention gives whose heads begin in the middle of a row, so that the last one reaches into the next
 * row: no model has that, but ggml can do it. */
static bool attend_odd(ggml_backend_t backend, struct ggml_tensor *k, struct ggml_tensor *v, float *values)
{
    struct ggml_context *context = ggml_init((struct ggml_init_params){
        .mem_size = 16 * ggml_tensor_overhead() + ggml_graph_overhead(), .no_alloc = true});
    struct ggml_tensor *q = ggml_new_tensor_3d(context, GGML_TYPE_F32, ODD_DIM, 1, ODD_HEADS), *views[2];
    for (int i = 0; i < 2; i++) {
        views[i] = ggml_view_3d(context, i ? v : k, ODD_DIM, ODD_CELLS, ODD_HEADS, ROW, ODD_DIM * 2,
                                (WIDTH - ODD_DIM) * 2);
    }
    struct ggml_tensor *out = ggml_flash_attn_ext(context, q, views[0], views[1], NULL, 0.125f, 0, 0);
    struct ggml_cgraph *graph = ggml_new_graph(context);
    ggml_build_forward_expand(graph, out);
    ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors(context, backend);
    for (int i = 0; i < ODD_VALUES; i++) {
        values[i] = (float)(i % 7) / 7;
    }
    ggml_backend_tensor_set(q, values, 0, ODD_VALUES * sizeof *values);
    bool done = ggml_backend_graph_compute(backend, graph) == GGML_STATUS_SUCCESS;
    ggml_backend_tensor_get(out, values, 0, ODD_VALUES * sizeof *values);
    ggml_backend_buffer_free(buffer);
    ggml_free(context);
    return done;
}

/* K and V of a layer, and tensors that are no cache with the rows that these are read as. */
static bool odd_heads(ggml_backend_dev_t device)
{
    ggml_backend_buffer_type_t type = ggml_backend_dev_buffer_type(device);
    ggml_backend_t backend = ggml_backend_dev_init(device, NULL);
    struct ggml_context *contexts[2];
    ggml_backend_buffer_t buffers[2];
    struct ggml_tensor *tensors[2][2];
    float got[ODD_VALUES], want[ODD_VALUES];
    uint16_t *rows = malloc(BYTES / STREAMS);
    for (int i = 0; i < 2; i++) {
        contexts[i] =
            ggml_init((struct ggml_init_params){.mem_size = 4 * ggml_tensor_overhead(), .no_alloc = true});
        for (int j = 0; j < 2; j++) {
            tensors[i][j] = ggml_new_tensor_2d(contexts[i], GGML_TYPE_F16, WIDTH, CELLS);
            ggml_format_name(tensors[i][j], "%s_%c_l0", i ? "other" : "cache", j ? 'v' : 'k');
        }
        buffers[i] = ggml_backend_alloc_ctx_tensors_from_buft(contexts[i], type);
        ggml_backend_buffer_clear(buffers[i], 0);
    }
    for (int j = 0; j < 2; j++) {
        random_rows(rows, CELLS, 11 + (unsigned)j);
        ggml_backend_tensor_set(tensors[0][j], rows, 0, BYTES / STREAMS);
    }
    bool done = attend_odd(backend, tensors[0][0], tensors[0][1], got);
    for (int j = 0; j < 2; j++) {
        ggml_backend_tensor_get(tensors[0][j], rows, 0, BYTES / STREAMS);
        ggml_backend_tensor_set(tensors[1][j], rows, 0, BYTES / STREAMS);
    }
    done = done && attend_odd(backend, tensors[1][0], tensors[1][1], want);
    for (int i = 0; i < 2; i++) {
        ggml_backend_buffer_free(buffers[i]);
        ggml_free(contexts[i]);
    }
    ggml_backend_free(backend);
    free(rows);
    return done && memcmp(got, want, sizeof got) == 0;
}

/* Tensors of a cache that end at multiples of the CPU's alignment, and of no larger one: the host stops where
 * they do not fit into the buffer that it has asked for. */
static bool small_tensors(ggml_backend_dev_t device)
{
    struct ggml_context *context =
        ggml_init((struct ggml_init_params){.mem_size = 8 * ggml_tensor_overhead(), .no_alloc = true});
    for (int i = 0; i < 2; i++) {
        ggml_format_name(ggml_new_tensor_2d(context, GGML_TYPE_F16, 16, 3), "cache_%c_l0", i ? 'v' : 'k');
    }
    ggml_backend_buffer_t buffer =
        ggml_backend_alloc_ctx_tensors_from_buft(context, ggml_backend_dev_buffer_type(device));
    bool made = buffer && strcmp(ggml_backend_buffer_name(buffer), "TADA") == 0;
    ggml_backend_buffer_free(buffer);
    ggml_free(context);
    return made;
}

/* K of a context, in a buffer of its own. */
typedef struct cache {
    ggml_backend_dev_t device;
    struct ggml_context *context;
    struct ggml_tensor *k, *streams[2]; /* the second: views of its streams */
    ggml_backend_buffer_t buffer;
    uint16_t *rows, *back; /* what is written, and what is read */
} cache;

static cache cache_make(ggml_backend_dev_t device)
{
    cache c = {.device = device, .rows = malloc(BYTES), .back = malloc(BYTES)};
    c.context =
        ggml_init((struct ggml_init_params){.mem_size = 8 * ggml_tensor_overhead(), .no_alloc = true});
    c.k = ggml_new_tensor_3d(c.context, GGML_TYPE_F16, WIDTH, CELLS, STREAMS);
    ggml_set_name(c.k, "cache_k_l0");
    for (size_t i = 0; i < 2; i++) {
        c.streams[i] = ggml_view_2d(c.context, c.k, WIDTH, CELLS, c.k->nb[1], i * c.k->nb[2]);
    }
    c.buffer = ggml_backend_alloc_ctx_tensors_from_buft(c.context, ggml_backend_dev_buffer_type(device));
    ggml_backend_buffer_clear(c.buffer, 0);
    check("less memory than f16", c.buffer && ggml_backend_buffer_get_size(c.buffer) < BYTES * 3 / 4);
    return c;
}

static void cache_done(cache *c)
{
    free(c->rows);
    free(c->back);
    ggml_backend_buffer_free(c->buffer);
    ggml_free(c->context);
}

static void before_attention(const cache *c)
{
    struct ggml_tensor *k = c->k;
    uint16_t *rows = c->rows, *back = c->back;
    random_rows(rows, TOTAL, 1);
    ggml_backend_tensor_set(k, rows, 0, BYTES);
    ggml_backend_tensor_get(k, back, 0, BYTES);
    check("rows that no attention has read are exact", memcmp(rows, back, BYTES) == 0);
    size_t taken = heap();
    for (int i = 0; i < 200000; i++) {
        ggml_backend_tensor_set(k, rows, 0, ROW);
    }
    check("writing them again and again takes no memory", heap() < taken + (1 << 20));
}

static void after_attention(const cache *c)
{
    struct ggml_tensor *k = c->k;
    uint16_t *rows = c->rows, *back = c->back;
    swapped_out = true;
    check("attention reads them", attend(c->device, k));
    swapped_out = false;
    ggml_backend_tensor_get(k, back, 0, BYTES);
    check("then they are compressed", memcmp(rows, back, BYTES) != 0);
    check("... and still there, also if they were swapped out", !all_zero(k, 300) && !all_zero(k, 800));
    ggml_backend_tensor_set(k, rows, 0, BYTES);
    ggml_backend_tensor_get(k, back, 0, BYTES);
    check("the first cells of each stream are exact",
          memcmp(rows, back, 4 * ROW) == 0 &&
              memcmp(rows + CELLS * WIDTH, back + CELLS * WIDTH, 4 * ROW) == 0);
    const size_t pieces[] = {ROW, 3 * ROW, 63 * ROW, 64 * ROW, 65 * ROW, 100, ROW + 2};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        char name[64];
        snprintf(name, sizeof name, "the same in pieces of %zu bytes", pieces[i]);
        check(name, same_in_pieces(k, pieces[i], false) && same_in_pieces(k, pieces[i], true));
    }
    check("a row that was written between two reads", fresh_after_write(k, 130) && fresh_after_write(k, 970));
}

/* Stream 0 is copied over stream 1, of which something has been read before. */
static void copied_stream(const cache *c)
{
    struct ggml_tensor *k = c->k;
    uint16_t *back = c->back;
    ggml_backend_tensor_get(k, back, CELLS * ROW, ROW);
    ggml_backend_tensor_copy(c->streams[0], c->streams[1]);
    ggml_backend_tensor_get(k, back, CELLS * ROW, ROW);
    ggml_backend_tensor_get(k, back + WIDTH, 0, ROW);
    check("a row of a stream that has been copied over", memcmp(back, back + WIDTH, ROW) == 0);
    ggml_backend_tensor_get(k, back, 0, BYTES);
    check("a stream that was copied", memcmp(back, back + CELLS * WIDTH, BYTES / 2) == 0);
    check("... also row by row", same_in_pieces(k, ROW, false));
}

static void cleared_buffer(const cache *c)
{
    struct ggml_tensor *k = c->k;
    uint16_t *rows = c->rows, *back = c->back;
    ggml_backend_buffer_clear(c->buffer, 0);
    check("a cleared tensor", all_zero(k, 999) && all_zero(k, 0));
    /* What was read last is of a time before. */
    ggml_backend_tensor_set(k, rows, 0, BYTES);
    ggml_backend_tensor_get(k, back, 0, ROW);
    ggml_backend_buffer_clear(c->buffer, 0);
    check("... which was full when it was read last", all_zero(k, 0));
    ggml_backend_tensor_set(k, rows, 0, BYTES);
    ggml_backend_tensor_get(k, back, 0, BYTES);
    check("the first cells are exact after that, too", memcmp(rows, back, 4 * ROW) == 0);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: test_buffer LIB_DIR PLUGIN\n");
        return 2;
    }
    setenv("GGML_BACKEND_PATH", argv[2], 1);
    setenv("TADA_CACHE", "tada:4:window=64", 1);
    ggml_backend_load_all_from_path(argv[1]);
    ggml_backend_dev_t device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (!device || !ggml_backend_reg_by_name("TADA")) {
        fprintf(stderr, "the plug-in %s was not loaded\n", argv[2]);
        return 1;
    }
    cache c = cache_make(device);
    before_attention(&c);
    after_attention(&c);
    copied_stream(&c);
    cleared_buffer(&c);
    check("attention that the library cannot do reads K as K, and V as V", odd_heads(device));
    check("tensors as small as the host aligns them", small_tensors(device));
    cache_done(&c);
    return failures > 0;
}
