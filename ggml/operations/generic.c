/* Decoded rows for the host's own operations: shadows for readers, and writers computed by themselves. */
#include "generic.h"

#include "base/cpu.h"
#include "base/log.h"

#include "ggml-impl.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_DECODED = GGML_MAX_SRC + 1, COMPARE_ROWS = 256 };

typedef struct decoded_list {
    decoded items[MAX_DECODED];
    int n;
} decoded_list;

void generic_cover(decoded *d, const struct ggml_tensor *tensor)
{
    const cache_plane *c = d->cache;
    size_t offset = cache_plane_offset(c, tensor);
    int64_t first = (int64_t)(offset / cache_row_bytes(c));
    int64_t end = (int64_t)((offset + ggml_nbytes(tensor) + cache_row_bytes(c) - 1) / cache_row_bytes(c));
    bool none = d->end == d->first;
    d->first = none || first < d->first ? first : d->first;
    d->end = none || end > d->end ? end : d->end;
}

size_t generic_bytes(const decoded *d)
{
    return (size_t)(d->end - d->first) * cache_row_bytes(d->cache);
}

void generic_shadow(struct ggml_tensor *shadow, const struct ggml_tensor *tensor, const decoded *d)
{
    *shadow = *tensor;
    shadow->view_src = NULL;
    shadow->view_offs = 0;
    shadow->op = GGML_OP_NONE;
    memset(shadow->src, 0, sizeof shadow->src);
    if (d) {
        shadow->data =
            d->rows + (cache_plane_offset(d->cache, tensor) - (size_t)d->first * cache_row_bytes(d->cache));
    }
    if (cache_buffer_of(tensor)) {
        /* With these the CPU back-end may take the tensor for one in a layout of its own. Tensors in other
         * buffers keep them. */
        shadow->buffer = NULL;
        shadow->extra = NULL;
    }
}

void generic_tell(const struct ggml_tensor *op)
{
    if (metrics_generic(op->op) || log_wants("TADA_DEBUG")) {
        log_line(GGML_LOG_LEVEL_WARN, "%s on %s takes the generic path: right, but slow",
                 ggml_op_name(op->op), op->name);
    }
}

/* ---- one operation by itself ---- */

static decoded *find_decoded(decoded_list *list, const cache_plane *c)
{
    for (int i = 0; c && i < list->n; i++) {
        if (list->items[i].cache == c) {
            return &list->items[i];
        }
    }
    return NULL;
}

/* Views of one plane share their rows, so that an operation in place works in place. */
static void cover_rows(decoded_list *list, const struct ggml_tensor *tensor)
{
    cache_plane *c = cache_plane_of(tensor);
    decoded *d = find_decoded(list, c);
    if (c && !d) {
        d = &list->items[list->n++];
        *d = (decoded){.cache = c};
    }
    if (d) {
        generic_cover(d, tensor);
    }
}

static bool decode_rows(decoded *d)
{
    size_t bytes = generic_bytes(d);
    d->rows = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (d->rows) {
        cache_get(d->cache, (size_t)d->first * cache_row_bytes(d->cache), d->rows, bytes);
    }
    return d->rows != NULL;
}

/* -0 counts as 0: a rope may change the sign of zeros, and an unwritten cell must stay unwritten. */
static bool rows_differ(const uint16_t *a, const uint16_t *b, int64_t width)
{
    for (int64_t i = 0; i < width; i++) {
        if (a[i] != b[i] && ((a[i] | b[i]) & 0x7fff) != 0) {
            return true;
        }
    }
    return false;
}

/* Writes back the rows that differ from those that the plane still holds: the others keep their codes. */
static bool encode_changes(const decoded *d)
{
    cache_plane *c = d->cache;
    size_t bytes = cache_row_bytes(c);
    char *before = malloc(COMPARE_ROWS * bytes);
    bool done = before != NULL;
    for (int64_t at = d->first; at < d->end && done; at += COMPARE_ROWS) {
        int64_t n = d->end - at < COMPARE_ROWS ? d->end - at : COMPARE_ROWS;
        const char *after = d->rows + (size_t)(at - d->first) * bytes;
        /* All of a chunk is compared before any of it is written: writing may compress, and so change, its
         * neighbours. */
        bool changed[COMPARE_ROWS];
        cache_get(c, (size_t)at * bytes, before, (size_t)n * bytes);
        for (int64_t i = 0; i < n; i++) {
            changed[i] = rows_differ((const uint16_t *)(const void *)(after + (size_t)i * bytes),
                                     (const uint16_t *)(const void *)(before + (size_t)i * bytes), c->width);
        }
        for (int64_t i = 0; i < n && done;) {
            int64_t end = i;
            while (end < n && changed[end]) {
                end++;
            }
            if (end > i) {
                done = cache_set(c, (size_t)(at + i) * bytes, after + (size_t)i * bytes,
                                 (size_t)(end - i) * bytes);
            }
            i = end + 1;
        }
    }
    free(before);
    return done;
}

static enum ggml_status run_decoded(struct ggml_tensor *op, decoded_list *list, int n_threads)
{
    struct ggml_tensor target, sources[GGML_MAX_SRC], *nodes[] = {&target};
    struct ggml_cgraph graph = {.size = 1, .n_nodes = 1, .nodes = nodes};
    cover_rows(list, op);
    for (int i = 0; i < GGML_MAX_SRC; i++) {
        if (op->src[i]) {
            cover_rows(list, op->src[i]);
        }
    }
    for (int i = 0; i < list->n; i++) {
        if (!decode_rows(&list->items[i])) {
            return GGML_STATUS_ALLOC_FAILED;
        }
    }
    ggml_backend_t cpu = cpu_backend_make(n_threads);
    if (!cpu) {
        return GGML_STATUS_ALLOC_FAILED;
    }
    decoded *written = find_decoded(list, cache_plane_of(op));
    generic_shadow(&target, op, written);
    target.op = op->op;
    for (int i = 0; i < GGML_MAX_SRC; i++) {
        if (op->src[i]) {
            generic_shadow(&sources[i], op->src[i], find_decoded(list, cache_plane_of(op->src[i])));
            target.src[i] = &sources[i];
        }
    }
    enum ggml_status status = cpu_compute(cpu, &graph);
    cpu_backend_free(cpu);
    if (status == GGML_STATUS_SUCCESS && written && !encode_changes(written)) {
        status = GGML_STATUS_ALLOC_FAILED;
    }
    return status;
}

enum ggml_status generic_compute(struct ggml_tensor *op, int n_threads)
{
    decoded_list list = {.n = 0};
    enum ggml_status status = run_decoded(op, &list, n_threads);
    for (int i = 0; i < list.n; i++) {
        free(list.items[i].rows);
    }
    if (status == GGML_STATUS_ALLOC_FAILED) {
        log_line(GGML_LOG_LEVEL_ERROR, "out of memory in %s: use a smaller context", ggml_op_name(op->op));
    }
    return status;
}
