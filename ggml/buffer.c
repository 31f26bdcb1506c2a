/*
 * Buffers. A cache tensor occupies the bytes of its compressed plane; whoever reads or writes it from outside
 * sees the f16 rows that it stands for. Everything else that is put here (results, recurrent states, caches
 * of other types) is kept as it is.
 */
#include "metrics.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CHUNK_ROWS = 1024, SESSION_ROWS = 16 };

static atomic_bool has_planes;
static atomic_size_t planes_bytes;
static atomic_uint_fast64_t touches;

bool tada_has_planes(void)
{
    return has_planes;
}

size_t tada_cache_bytes(void)
{
    return planes_bytes;
}

const struct ggml_tensor *tada_root(const struct ggml_tensor *tensor)
{
    return tensor->view_src ? tensor->view_src : tensor;
}

/* "cache_k_l12": K or V of layer 12. Tensors with other tags (indexers, recurrent states) stay as they are.
 */
static bool cache_name(const char *name, enum tada_kind *kind, int *layer)
{
    char letter, rest;
    if (sscanf(name, "cache_%c_l%9d%c", &letter, layer, &rest) != 2 || (letter != 'k' && letter != 'v') ||
        *layer < 0) {
        return false;
    }
    *kind = letter == 'k' ? TADA_K : TADA_V;
    return true;
}

bool tada_is_ours(const struct ggml_tensor *tensor)
{
    const struct ggml_tensor *root = tada_root(tensor);
    return root->buffer && root->buffer->buft->iface.get_name == tada_buffer_type(NULL)->iface.get_name;
}

bool tada_is_kept(const struct ggml_tensor *tensor)
{
    return tada_is_ours(tensor) && tada_root(tensor)->buffer->usage != GGML_BACKEND_BUFFER_USAGE_COMPUTE;
}

bool tada_is_cache(const struct ggml_tensor *tensor)
{
    return tada_is_kept(tensor) && strncmp(tada_root(tensor)->name, "cache_", 6) == 0;
}

bool tada_plane_shape(const struct ggml_tensor *tensor, tada_shape *shape, tada_spec *spec, int *layer)
{
    if (tensor->view_src || tensor->type != GGML_TYPE_F16 || tensor->ne[3] != 1 ||
        !cache_name(tensor->name, &shape->kind, layer)) {
        return false;
    }
    shape->width = (int)tensor->ne[0];
    shape->n_cells = tensor->ne[1];
    shape->n_streams = tensor->ne[2];
    if (tensor->ne[0] > 1 << 20) {
        return false;
    }
    *spec = tada_plugin_spec_of(*layer, shape);
    return tada_plane_bytes(spec, shape) > 0;
}

bool tada_is_plane(const struct ggml_tensor *tensor)
{
    tada_shape shape;
    tada_spec spec;
    int layer;
    return tada_is_cache(tensor) && tada_plane_shape(tada_root(tensor), &shape, &spec, &layer);
}

cache_plane *tada_plane_of(const struct ggml_tensor *tensor)
{
    if (tada_whole()) {
        return tada_whole_plane_of(tensor);
    }
    /* Nothing else of ours has an `extra`. */
    return tada_is_cache(tensor) ? tada_root(tensor)->extra : NULL;
}

size_t tada_plane_offset(const cache_plane *c, const struct ggml_tensor *tensor)
{
    return (size_t)((const char *)tensor->data - c->base);
}

size_t tada_plane_bytes_f16(const cache_plane *c)
{
    return (size_t)(c->width * c->n_cells * c->n_streams) * 2;
}

/* ---- the f16 tensor that a plane stands for ---- */

void tada_planes_touch(void)
{
    touches++;
}

void tada_plane_warn(const cache_plane *c)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;
    tada_plane_stats stats;
    tada_plane_get_stats(c->plane, &stats);
    if (stats.nonfinite > 0 && !atomic_flag_test_and_set(&told)) {
        tada_plugin_log(
            "%c of layer %d has values that are not finite (NaN, or too large for f16): the model is "
            "damaged, "
            "or made for wider numbers. They spoil what attends to their tokens, and no other tokens",
            c->kind == TADA_K ? 'K' : 'V', c->layer);
    }
}

/* Rows of cells [cell, cell + n) of one tile, by way of the tile that was read last. */
static bool read_few(cache_plane *c, int64_t cell, int64_t n, void *rows)
{
    read_tile *t = c->last_read;
    size_t row_bytes = (size_t)c->width * 2;
    if (t->cache != c || t->touches != touches || cell < t->first || cell + n > t->first + t->n) {
        int64_t within = cell % c->n_cells / TADA_TILE_CELLS * TADA_TILE_CELLS;
        size_t bytes = row_bytes * TADA_TILE_CELLS;
        t->cache = NULL;
        if (t->bytes < bytes) {
            free(t->rows);
            t->rows = malloc(bytes);
            t->bytes = t->rows ? bytes : 0;
        }
        t->first = cell - cell % c->n_cells + within;
        t->n = c->n_cells - within < TADA_TILE_CELLS ? c->n_cells - within : TADA_TILE_CELLS;
        t->touches = touches;
        if (!t->rows || tada_plane_read(c->plane, t->first, t->n, t->rows, 1, NULL) != TADA_OK) {
            return false;
        }
        t->cache = c;
    }
    memcpy(rows, t->rows + (size_t)(cell - t->first) * (size_t)c->width, (size_t)n * row_bytes);
    return true;
}

bool tada_plane_get_bytes(cache_plane *c, size_t offset, void *data, size_t size, int n_threads)
{
    size_t row_bytes = (size_t)c->width * 2;
    char *to = data;
    uint16_t *row = NULL;
    bool done = true;
    while (size > 0 && done) {
        size_t within = offset % row_bytes, part;
        int64_t cell = (int64_t)(offset / row_bytes);
        /* The caller's memory may have any alignment; the library's rows may not. */
        if (within == 0 && size >= row_bytes && (uintptr_t)to % 2 == 0) {
            int64_t n = (int64_t)(size / row_bytes);
            int64_t in_tile = TADA_TILE_CELLS - cell % c->n_cells % TADA_TILE_CELLS;
            bool few = n < TADA_TILE_CELLS && n <= in_tile && cell % c->n_cells + n <= c->n_cells;
            part = (size_t)n * row_bytes;
            done =
                few ? read_few(c, cell, n, to)
                    : tada_plane_read(c->plane, cell, n, (uint16_t *)(void *)to, n_threads, NULL) == TADA_OK;
        } else {
            part = row_bytes - within < size ? row_bytes - within : size;
            row = row ? row : malloc(row_bytes);
            done = row && tada_plane_read(c->plane, cell, 1, row, 1, NULL) == TADA_OK;
            if (done) {
                memcpy(to, (char *)row + within, part);
            }
        }
        to += part;
        offset += part;
        size -= part;
    }
    free(row);
    return done;
}

/* Many rows at once are a saved sequence that is restored: the first ones are its sinks, and would be spoilt
 * where the sequence does not begin with the stream. */
static void mark_restored(const cache_plane *c, const int64_t *cells, int64_t n)
{
    if (n >= SESSION_ROWS) {
        tada_plane_mark_sinks(c->plane, cells, c->n_sinks < n ? c->n_sinks : n);
    }
}

bool tada_plane_set_bytes(cache_plane *c, size_t offset, const void *data, size_t size, int n_threads)
{
    size_t row_bytes = (size_t)c->width * 2;
    const char *from = data;
    int64_t cells[CHUNK_ROWS];
    uint16_t *row = malloc(row_bytes);
    bool done = row != NULL, begins = true;
    tada_backend_settle(c);
    tada_planes_touch();
    while (size > 0 && done) {
        size_t within = offset % row_bytes, part;
        int64_t n = 1;
        cells[0] = (int64_t)(offset / row_bytes);
        const void *rows = from;
        if (within == 0 && size >= row_bytes && (uintptr_t)from % 2 == 0) {
            n = (int64_t)(size / row_bytes) < CHUNK_ROWS ? (int64_t)(size / row_bytes) : CHUNK_ROWS;
            part = (size_t)n * row_bytes;
            for (int64_t i = 1; i < n; i++) {
                cells[i] = cells[0] + i;
            }
        } else {
            part = row_bytes - within < size ? row_bytes - within : size;
            done = tada_plane_read(c->plane, cells[0], 1, row, 1, NULL) == TADA_OK;
            memcpy((char *)row + within, from, part);
            rows = row;
        }
        done =
            done && tada_plane_write(c->plane, c->pool, rows, TADA_F16, row_bytes, cells, n, NULL) == TADA_OK;
        if (done && begins) {
            mark_restored(c, cells, n);
        }
        tada_plane_warn(c);
        done = done && tada_backend_encode(c, n_threads) == TADA_OK;
        begins = false;
        from += part;
        offset += part;
        size -= part;
    }
    free(row);
    return done;
}

static int outside_threads(void)
{
    if (tada_whole()) {
        return tada_whole_threads();
    }
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > 8 ? 8 : (int)n;
}

/* What is asked for lies within the plane. Only a client of an RPC server can ask for anything else. */
static bool is_within(const cache_plane *c, const struct ggml_tensor *tensor, size_t offset, size_t size)
{
    size_t all = tada_plane_bytes_f16(c), start = tada_plane_offset(c, tensor);
    bool within = start <= all && offset <= all - start && size <= all - start - offset;
    if (!within) {
        tada_plugin_log("rows of %s that are asked for lie beyond it: they are neither read nor written",
                        tensor->name);
    }
    return within;
}

static void buffer_set(ggml_backend_buffer_t buffer, struct ggml_tensor *tensor, const void *data,
                       size_t offset, size_t size)
{
    (void)buffer;
    cache_plane *c = tada_plane_of(tensor);
    if (!c) {
        memcpy((char *)tensor->data + offset, data, size);
        return;
    }
    if (!is_within(c, tensor, offset, size)) {
        return;
    }
    offset += tada_plane_offset(c, tensor);
    if (!tada_plane_set_bytes(c, offset, data, size, outside_threads())) {
        tada_plugin_log("out of memory while rows were written to %s: they are not stored", tensor->name);
    } else {
        tada_metrics_written(c, offset, size);
    }
}

static void buffer_get(ggml_backend_buffer_t buffer, const struct ggml_tensor *tensor, void *data,
                       size_t offset, size_t size)
{
    (void)buffer;
    cache_plane *c = tada_plane_of(tensor);
    if (!c) {
        memcpy(data, (const char *)tensor->data + offset, size);
        return;
    }
    if (!is_within(c, tensor, offset, size)) {
        memset(data, 0, size);
        return;
    }
    offset += tada_plane_offset(c, tensor);
    if (!tada_plane_get_bytes(c, offset, data, size, outside_threads())) {
        tada_plugin_log("out of memory while rows were read from %s: they read as zeros", tensor->name);
        memset(data, 0, size);
    } else {
        tada_metrics_read(c, offset, size);
    }
}

static void buffer_memset(ggml_backend_buffer_t buffer, struct ggml_tensor *tensor, uint8_t value,
                          size_t offset, size_t size)
{
    char chunk[4096];
    const cache_plane *c = tada_plane_of(tensor);
    if (!c) {
        memset((char *)tensor->data + offset, value, size);
        return;
    }
    if (!is_within(c, tensor, offset, size)) {
        return;
    }
    memset(chunk, value, sizeof chunk);
    while (size > 0) {
        size_t part = size < sizeof chunk ? size : sizeof chunk;
        buffer_set(buffer, tensor, chunk, offset, part);
        offset += part;
        size -= part;
    }
}

/* Whole streams of one plane are copied as they are; all else goes through get and set. */
static bool buffer_copy(ggml_backend_buffer_t buffer, const struct ggml_tensor *from, struct ggml_tensor *to)
{
    (void)buffer;
    cache_plane *c = tada_plane_of(from);
    if (!c || c != tada_plane_of(to)) {
        return false;
    }
    size_t stream = (size_t)(c->n_cells * c->width) * 2;
    size_t offset = tada_plane_offset(c, from), offset_to = tada_plane_offset(c, to);
    if (ggml_nbytes(from) != stream || offset % stream != 0 || offset_to % stream != 0) {
        return false;
    }
    tada_backend_settle(c);
    tada_planes_touch();
    return tada_plane_copy_stream(c->plane, c->pool, (int64_t)(offset / stream),
                                  (int64_t)(offset_to / stream), outside_threads(), NULL) == TADA_OK;
}

static void buffer_clear(ggml_backend_buffer_t buffer, uint8_t value)
{
    cache_buffer *b = buffer->context;
    tada_planes_touch();
    for (cache_plane *c = b->planes; c; c = c->next) {
        tada_backend_forget(c);
        tada_plane_clear(c->plane);
        if (c->memory) {
            (void)madvise(c->memory, c->bytes, MADV_DONTNEED);
        }
    }
    if (value != 0 && !b->planes) {
        memset(b->base, value, b->size);
    } else if (madvise(b->base, b->size, MADV_DONTNEED) != 0) {
        memset(b->base, 0, b->size);
    }
    /* Pages given back read as zeros, which is no tile table: it says where sinks are. */
    for (cache_plane *c = b->planes; c; c = c->next) {
        tada_plane_clear(c->plane);
    }
}

cache_plane *tada_buffer_add_plane(cache_buffer *b, const struct ggml_tensor *tensor, int layer,
                                   const tada_spec *spec, const tada_shape *shape, void *memory, size_t bytes)
{
    cache_plane *c = calloc(1, sizeof *c);
    tada_error error = {"out of memory"};
    if (!c || tada_plane_create(spec, shape, memory, bytes, &c->plane, &error) != TADA_OK) {
        tada_plugin_log("%s: %s", tensor->name, error.text);
        free(c);
        return NULL;
    }
    c->kind = shape->kind;
    planes_bytes += c->bytes = bytes;
    c->layer = layer;
    c->width = shape->width;
    c->n_cells = shape->n_cells;
    c->n_streams = shape->n_streams;
    c->n_sinks = spec->sinks;
    c->pool = b->pool;
    c->last_read = &b->last_read;
    c->base = tensor->data;
    c->next = b->planes;
    b->planes = c;
    has_planes = true;
    tada_metrics_add(c);
    return c;
}

static enum ggml_status buffer_init_tensor(ggml_backend_buffer_t buffer, struct ggml_tensor *tensor)
{
    cache_buffer *b = buffer->context;
    tada_shape shape;
    tada_spec spec;
    int layer;
    if (tada_whole() || tensor->view_src || buffer->usage == GGML_BACKEND_BUFFER_USAGE_COMPUTE) {
        return GGML_STATUS_SUCCESS;
    }
    if (!tada_plane_shape(tensor, &shape, &spec, &layer)) {
        enum tada_kind kind;
        static atomic_flag told = ATOMIC_FLAG_INIT;
        if (cache_name(tensor->name, &kind, &layer) && !atomic_flag_test_and_set(&told)) {
            tada_plugin_log("%s stays as it is: caches of type %s are not compressed, those of type f16 are",
                            tensor->name, ggml_type_name(tensor->type));
        }
        return GGML_STATUS_SUCCESS;
    }
    cache_plane *c =
        tada_buffer_add_plane(b, tensor, layer, &spec, &shape, tensor->data, tada_plane_bytes(&spec, &shape));
    tensor->extra = c;
    return c ? GGML_STATUS_SUCCESS : GGML_STATUS_ALLOC_FAILED;
}

static void buffer_free(ggml_backend_buffer_t buffer)
{
    cache_buffer *b = buffer->context;
    while (b->planes) {
        cache_plane *c = b->planes;
        b->planes = c->next;
        tada_backend_forget(c);
        tada_statistics_forget(c);
        tada_metrics_remove(c);
        planes_bytes -= c->bytes;
        tada_plane_free(c->plane);
        if (c->memory) {
            munmap(c->memory, c->bytes);
        }
        free(c);
    }
    tada_plugin_pool_free(b->pool);
    munmap(b->base, b->size);
    free(b->last_read.rows);
    free(b);
}

static void *buffer_base(ggml_backend_buffer_t buffer)
{
    return ((cache_buffer *)buffer->context)->base;
}

static const struct ggml_backend_buffer_i buffer_interface = {
    .free_buffer = buffer_free,
    .get_base = buffer_base,
    .init_tensor = buffer_init_tensor,
    .memset_tensor = buffer_memset,
    .set_tensor = buffer_set,
    .get_tensor = buffer_get,
    .cpy_tensor = buffer_copy,
    .clear = buffer_clear,
};

/* ---- buffer type ---- */

static const char *type_name(ggml_backend_buffer_type_t type)
{
    (void)type;
    return "TADA";
}

static ggml_backend_buffer_t type_alloc(ggml_backend_buffer_type_t type, size_t size)
{
    if (tada_plugin_spec()->problem[0]) {
        tada_plugin_log("%s", tada_plugin_spec()->problem);
        return NULL;
    }
    if (tada_whole()) {
        /* Perhaps another model's: what was seen of an earlier one no longer counts. */
        tada_plugin_refuse(NULL);
    }
    if (tada_plugin_refusal()) {
        tada_plugin_log("%s", tada_plugin_refusal());
        return NULL;
    }
    cache_buffer *b = calloc(1, sizeof *b);
    tada_pool *pool = tada_plugin_pool_create();
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | (tada_whole() ? MAP_NORESERVE : 0), -1, 0);
    if (base != MAP_FAILED) {
        /* Attention reads all of it for every token, and is held up by the translation of addresses. */
        (void)madvise(base, size, MADV_HUGEPAGE);
    }
    if (!b || !pool || base == MAP_FAILED) {
        tada_plugin_log("out of memory for a buffer of %.1f MiB: use a smaller context",
                        (double)size / 1048576);
        free(b);
        if (pool) {
            tada_plugin_pool_free(pool);
        }
        if (base != MAP_FAILED) {
            munmap(base, size);
        }
        return NULL;
    }
    *b = (cache_buffer){.base = base, .size = size, .pool = pool};
    return ggml_backend_buffer_init(type, buffer_interface, b, size);
}

static size_t type_alignment(ggml_backend_buffer_type_t type)
{
    (void)type;
    return 64;
}

static size_t type_alloc_size(ggml_backend_buffer_type_t type, const struct ggml_tensor *tensor)
{
    tada_shape shape;
    tada_spec spec;
    int layer;
    (void)type;
    if (!tada_whole() && tada_plane_shape(tensor, &shape, &spec, &layer)) {
        if (tada_measure_is_on()) {
            tada_measure_add_plane(&spec, &shape);
        } else {
            /* A new cache: what was seen of the graphs of an earlier one no longer counts. */
            tada_plugin_refuse(NULL);
        }
        return tada_plane_bytes(&spec, &shape);
    }
    return ggml_nbytes(tensor);
}

static bool type_is_host(ggml_backend_buffer_type_t type)
{
    (void)type;
    return false;
}

ggml_backend_buffer_type_t tada_buffer_type(ggml_backend_dev_t device)
{
    static struct ggml_backend_buffer_type type = {
        .iface = {type_name, type_alloc, type_alignment, NULL, type_alloc_size, type_is_host},
    };
    if (device) {
        type.device = device;
    }
    return &type;
}
