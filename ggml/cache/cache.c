/*
 * Caches: the list of cache buffers, and how a tensor becomes a plane. transfer.c reads and writes rows from
 * outside of graphs; graphs do so through operations/.
 */
#include "cache.h"

#include "base/log.h"
#include "base/pages.h"
#include "base/probe.h"
#include "base/threads.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_ROWS = 1024 }; /* rows that are moved at once when a tensor becomes a plane */

struct ggml_backend_buffer_type cache_buffer_type;

static pthread_mutex_t buffers_lock = PTHREAD_MUTEX_INITIALIZER;
static cache_buffer *buffers;
static atomic_int n_buffers;
static atomic_uint_fast64_t planes_made;

bool cache_any(void)
{
    return atomic_load_explicit(&n_buffers, memory_order_relaxed) > 0;
}

/* ---- shapes ---- */

/* Tensors with other tags (indexers, recurrent states) stay as they are. */
bool cache_name(const char *name, enum tada_kind *kind, int *layer)
{
    char letter, rest;
    if (sscanf(name, "cache_%c_l%9d%c", &letter, layer, &rest) != 2 || (letter != 'k' && letter != 'v') ||
        *layer < 0) {
        return false;
    }
    *kind = letter == 'k' ? TADA_K : TADA_V;
    return true;
}

bool cache_shape(const cache_policy *policy, const struct ggml_tensor *tensor, tada_shape *shape,
                 tada_spec *spec, int *layer, bool *fits)
{
    if (tensor->view_src || tensor->type != GGML_TYPE_F16 || tensor->ne[3] != 1 || tensor->ne[0] > 1 << 20 ||
        !cache_name(tensor->name, &shape->kind, layer)) {
        return false;
    }
    shape->width = (int)tensor->ne[0];
    shape->n_cells = tensor->ne[1];
    shape->n_streams = tensor->ne[2];
    *spec = policy_spec(policy, *layer, shape, fits);
    return !spec->stock && tada_plane_bytes(spec, shape) > 0;
}

size_t cache_shape_bytes(const cache_policy *policy, const struct ggml_tensor *tensor)
{
    tada_shape shape;
    tada_spec spec;
    int layer;
    bool fits;
    return cache_shape(policy, tensor, &shape, &spec, &layer, &fits) ? tada_plane_bytes(&spec, &shape) : 0;
}

/* ---- buffers ---- */

cache_buffer *cache_buffer_make(size_t size, int n_tensors, const cache_policy *policy)
{
    cache_buffer *b = calloc(1, sizeof *b);
    tada_pool *pool = b ? tada_pool_create() : NULL;
    char *base = pool ? pages_reserve(size) : NULL;
    if (!base) {
        log_line(GGML_LOG_LEVEL_ERROR, "out of memory for a buffer of %.1f MiB: use a smaller context",
                 (double)size / 1048576);
        tada_pool_free(pool);
        free(b);
        return NULL;
    }
    if (n_tensors == 0) {
        pages_enlarge(base, size, true); /* weights, perhaps, as in other memory of the host */
    }
    b->base = base;
    b->size = size;
    b->policy = policy;
    b->pool = pool;
    b->n_tensors = n_tensors;
    pthread_mutex_lock(&buffers_lock);
    b->next = buffers;
    buffers = b;
    n_buffers++;
    pthread_mutex_unlock(&buffers_lock);
    return b;
}

/* As far as it has been made. */
static void free_plane(cache_plane *c)
{
    if (c) {
        tada_plane_free(c->plane);
        if (c->memory) {
            pages_free(c->memory, c->bytes);
        }
        lost_free(&c->lost);
        free(c);
    }
}

void cache_buffer_free(cache_buffer *b)
{
    pthread_mutex_lock(&buffers_lock);
    cache_buffer **at = &buffers;
    while (*at != b) {
        at = &(*at)->next;
    }
    *at = b->next;
    n_buffers--;
    pthread_mutex_unlock(&buffers_lock);
    const probe *p = probe_get();
    while (b->planes) {
        cache_plane *c = b->planes;
        b->planes = c->next;
        if (p && p->forget) {
            p->forget(c);
        }
        metrics_remove(&c->counted);
        free_plane(c);
    }
    tada_pool_free(b->pool);
    pages_free(b->base, b->size);
    scratch_free(&b->last_read.rows);
    scratch_free(&b->last_read.decoding);
    ranges_free(&b->restored);
    free(b);
}

cache_plane *cache_plane_at(const cache_buffer *b, const char *from, size_t size)
{
    for (cache_plane *c = b->planes; c; c = c->next) {
        if (from < c->base + c->bytes_f16 && c->base < from + size) {
            return c;
        }
    }
    return NULL;
}

void cache_buffer_clear(cache_buffer *b, uint8_t value)
{
    size_t page = pages_size();
    cache_touch(b);
    b->restored.n = 0;
    for (cache_plane *c = b->planes; c; c = c->next) {
        tada_plane_clear(c->plane);
        /* Pages given back read as zeros, which is no tile table: it says where sinks are. */
        (void)pages_drop(c->memory, c->bytes);
        tada_plane_clear(c->plane);
        lost_clear(&c->lost);
        c->awaited = false;
        if (c->enlarged) {
            c->enlarged = false;
            pages_enlarge(c->memory, c->bytes, false);
        }
    }
    tada_pool_trim(b->pool);
    bool zeroed = pages_drop(b->base, b->size);
    for (size_t at = 0; at < b->size && (value != 0 || !zeroed); at += page) {
        size_t n = b->size - at < page ? b->size - at : page;
        if (!cache_plane_at(b, b->base + at, n)) {
            memset(b->base + at, value, n);
        }
    }
}

cache_buffer *cache_buffer_of(const struct ggml_tensor *tensor)
{
    ggml_backend_buffer_t buffer = tensor->buffer ? tensor->buffer : cache_root(tensor)->buffer;
    return buffer && buffer->buft == &cache_buffer_type ? buffer->context : NULL;
}

void cache_buffer_expect(cache_buffer *b, size_t bytes, size_t bytes_f16)
{
    pthread_mutex_lock(&buffers_lock);
    b->expected += bytes;
    b->expected_f16 += bytes_f16;
    pthread_mutex_unlock(&buffers_lock);
}

void cache_buffer_expect_none(cache_buffer *b)
{
    pthread_mutex_lock(&buffers_lock);
    b->expected = b->expected_f16 = 0;
    pthread_mutex_unlock(&buffers_lock);
}

bool cache_buffer_plain(cache_buffer *b)
{
    bool is_news = !b->told_plain;
    b->told_plain = true;
    cache_buffer_expect_none(b);
    return is_news;
}

void cache_bytes(size_t *reserved, size_t *used, size_t *f16)
{
    size_t sums[3] = {0};
    pthread_mutex_lock(&buffers_lock);
    for (const cache_buffer *b = buffers; b; b = b->next) {
        if (!b->planes) {
            sums[0] += b->expected;
            sums[2] += b->expected_f16;
        }
        for (const cache_plane *c = b->planes; c; c = c->next) {
            size_t in_memory = used ? pages_resident(c->memory, c->bytes) : 0;
            sums[0] += c->bytes;
            sums[1] += in_memory < c->bytes ? in_memory : c->bytes; /* the last page has more */
            sums[2] += c->bytes_f16;
        }
    }
    pthread_mutex_unlock(&buffers_lock);
    size_t *to[] = {reserved, used, f16};
    for (int i = 0; i < 3; i++) {
        if (to[i]) {
            *to[i] = sums[i];
        }
    }
}

size_t cache_scratch_bytes(void)
{
    size_t bytes = scratch_total();
    pthread_mutex_lock(&buffers_lock);
    for (const cache_buffer *b = buffers; b; b = b->next) {
        bytes += tada_pool_bytes(b->pool);
    }
    pthread_mutex_unlock(&buffers_lock);
    return bytes;
}

/* ---- planes ---- */

uint64_t cache_planes_made(void)
{
    return atomic_load_explicit(&planes_made, memory_order_relaxed);
}

cache_plane *cache_plane_of(const struct ggml_tensor *tensor)
{
    const cache_buffer *b = cache_buffer_of(tensor);
    return b && b->planes ? cache_plane_at(b, tensor->data, 1) : NULL;
}

size_t cache_plane_offset(const cache_plane *c, const struct ggml_tensor *tensor)
{
    return (size_t)((const char *)tensor->data - c->base);
}

void cache_touch(cache_buffer *b)
{
    b->touches++;
}

bool cache_settle(cache_plane *c)
{
    if (!tada_plane_unsettled(c->plane)) {
        return true;
    }
    tada_threads threads = threads_lend();
    uint64_t since = metrics_clock();
    bool done = tada_plane_settle(c->plane, &threads, NULL) == TADA_OK;
    metrics_encoding(since);
    cache_touch(c->buffer);
    return done;
}

void cache_enlarge(cache_plane *c)
{
    tada_plane_stats stats;
    if (!c->enlarged) {
        tada_plane_get_stats(c->plane, &stats);
        if (stats.written > stats.cells / 2) {
            c->enlarged = true;
            pages_enlarge(c->memory, c->bytes, true);
        }
    }
}

void cache_warn_nonfinite(const cache_plane *c)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;
    tada_plane_stats stats;
    tada_plane_get_stats(c->plane, &stats);
    if (stats.nonfinite > 0 && !atomic_flag_test_and_set(&told)) {
        log_line(GGML_LOG_LEVEL_WARN,
                 "%c of layer %d has values that are not finite (NaN, or too large for f16): the model is "
                 "damaged, or made for wider numbers. They spoil what attends to their tokens, and no other "
                 "tokens",
                 c->kind == TADA_K ? 'K' : 'V', c->layer);
    }
}

/* ---- tensors become planes ---- */

static void tell_left_plain(cache_buffer *b, const char *name, const char *why)
{
    if (cache_buffer_plain(b)) {
        log_line(GGML_LOG_LEVEL_WARN, "%s and others stay as they are: %s", name, why);
    }
}

static bool is_zero(const char *bytes, size_t n)
{
    /* The first byte is zero, and each one is like that before it. */
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0;
}

/* What was restored before there was a plane goes into it as it came. */
static bool move_restored(cache_plane *c)
{
    const cache_buffer *b = c->buffer;
    size_t first = (size_t)(c->base - b->base);
    bool done = true;
    for (int i = 0; i < b->restored.n && done; i++) {
        size_t offset = b->restored.items[i].offset, size = b->restored.items[i].size;
        if (offset >= first && offset + size <= first + c->bytes_f16) {
            done = cache_set(c, offset - first, b->base + offset, size);
        }
    }
    return done;
}

/* Rows that graphs have written before: they stay exact until the plane settles. */
static bool move_written(cache_plane *c)
{
    bool done = true;
    for (int64_t cell = 0, total = c->n_cells * c->n_streams; cell < total && done; cell++) {
        const char *raw = c->base + (size_t)cell * cache_row_bytes(c);
        int64_t next = total - cell < CHUNK_ROWS ? total - cell : CHUNK_ROWS;
        if (cell % CHUNK_ROWS == 0 && !pages_touched(raw, (size_t)next * cache_row_bytes(c))) {
            cell += next - 1; /* nor is it made to be, by looking at it */
        } else if (!is_zero(raw, cache_row_bytes(c)) &&
                   is_zero((const char *)cache_read_tile(c, cell), cache_row_bytes(c))) {
            /* What was read of the tile is older, but only rows that are still to come are looked at. */
            done = tada_plane_write(c->plane, c->buffer->pool, raw, TADA_F16, cache_row_bytes(c), &cell, 1,
                                    NULL) == TADA_OK;
        }
    }
    cache_touch(c->buffer); /* what was read was read before this */
    return done;
}

/* A plane with its memory, in no buffer's list yet. NULL: the error says why not. */
static cache_plane *plane_alloc(const struct ggml_tensor *root, const tada_spec *spec,
                                const tada_shape *shape, int layer, tada_error *error)
{
    cache_plane *c = calloc(1, sizeof *c);
    snprintf(error->text, sizeof error->text, "out of memory");
    if (!c) {
        return NULL;
    }
    *c = (cache_plane){.buffer = cache_buffer_of(root),
                       .kind = shape->kind,
                       .layer = layer,
                       .width = shape->width,
                       .n_cells = shape->n_cells,
                       .n_streams = shape->n_streams,
                       .n_sinks = spec->sinks,
                       .base = root->data,
                       .bytes_f16 = ggml_nbytes(root),
                       .bytes = tada_plane_bytes(spec, shape)};
    if (lost_make(&c->lost, shape->n_cells * shape->n_streams)) {
        c->memory = pages_reserve(c->bytes);
    }
    if (!c->memory || tada_plane_create(spec, shape, c->memory, c->bytes, &c->plane, error) != TADA_OK) {
        free_plane(c);
        return NULL;
    }
    return c;
}

/* Takes over the rows that the tensor holds already. */
static bool take_over_rows(cache_plane *c)
{
    return cache_read_ready(c) &&
           (!pages_touched(c->base, c->bytes_f16) || (move_restored(c) && move_written(c)));
}

/* Puts the plane into the list of its buffer: from now on it stands for its tensor. */
static void enter_plane(cache_plane *c)
{
    cache_buffer *b = c->buffer;
    /* Whoever touches the address space of the tensor from now on is wrong, and stops there. */
    pages_close(c->base, c->bytes_f16);
    pthread_mutex_lock(&buffers_lock);
    c->next = b->planes;
    b->planes = c;
    planes_made++;
    pthread_mutex_unlock(&buffers_lock);
    c->counted = (counted_plane){.plane = c->plane, .kind = c->kind, .memory = c->memory, .bytes = c->bytes};
    metrics_add(&c->counted, b->pool);
}

cache_plane *cache_plane_make(const struct ggml_tensor *root, int64_t head_dim, bool fits)
{
    cache_buffer *b = cache_buffer_of(root);
    tada_shape shape;
    tada_spec spec;
    tada_error error;
    enum tada_kind kind;
    int layer;
    bool known;
    if (!b || root->view_src || !cache_name(root->name, &kind, &layer) || !ggml_is_contiguous(root) ||
        cache_plane_at(b, root->data, ggml_nbytes(root))) {
        return NULL;
    }
    if (root->type != GGML_TYPE_F16) {
        tell_left_plain(b, root->name, "only caches of type f16 are compressed");
        return NULL;
    }
    cache_policy own = *b->policy;
    if (own.plan && !fits) {
        own.plan = NULL;
    }
    if (!cache_shape(&own, root, &shape, &spec, &layer, &known)) {
        tell_left_plain(b, root->name, "rows of this width cannot be compressed");
        return NULL;
    }
    if (shape.head_dim == 0 && head_dim % 16 == 0 && shape.width % head_dim == 0) {
        shape.head_dim = (int)head_dim;
    }
    cache_plane *c = plane_alloc(root, &spec, &shape, layer, &error);
    if (!c) {
        tell_left_plain(b, root->name, error.text);
        return NULL;
    }
    if (!take_over_rows(c)) {
        tell_left_plain(b, root->name, "memory is short");
        free_plane(c);
        return NULL;
    }
    enter_plane(c);
    return c;
}
