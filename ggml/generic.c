/*
 * The path that is always right and never fast: an op that touches cache tensors is run by the CPU backend on
 * decoded rows, and rows that it changed are encoded again.
 */
#include "metrics.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_DECODED = GGML_MAX_SRC + 1, COMPARE_ROWS = 256 };

/* A plane that takes part in the op: the cells that some view of it covers, as f16 rows. */
typedef struct decoded {
    cache_plane *cache;
    int64_t first, end;
    char *rows;
} decoded;

typedef struct decoded_list {
    decoded items[MAX_DECODED];
    int n;
} decoded_list;

static size_t row_bytes(const cache_plane *c)
{
    return (size_t)c->width * 2;
}

static decoded *find(decoded_list *list, const cache_plane *c)
{
    for (int i = 0; i < list->n; i++) {
        if (list->items[i].cache == c) {
            return &list->items[i];
        }
    }
    return NULL;
}

/* Views of one plane share their rows, so that an op in place works in place. */
static void cover(decoded_list *list, const struct ggml_tensor *tensor)
{
    cache_plane *c = tada_plane_of(tensor);
    if (!c) {
        return;
    }
    size_t offset = tada_plane_offset(c, tensor);
    int64_t first = (int64_t)(offset / row_bytes(c));
    int64_t end = (int64_t)((offset + ggml_nbytes(tensor) + row_bytes(c) - 1) / row_bytes(c));
    decoded *d = find(list, c);
    if (!d) {
        d = &list->items[list->n++];
        *d = (decoded){c, first, end, NULL};
    }
    d->first = first < d->first ? first : d->first;
    d->end = end > d->end ? end : d->end;
}

static bool decode(decoded *d, int n_threads)
{
    size_t bytes = (size_t)(d->end - d->first) * row_bytes(d->cache);
    d->rows = aligned_alloc(64, (bytes + 63) / 64 * 64);
    return d->rows &&
           tada_plane_get_bytes(d->cache, (size_t)d->first * row_bytes(d->cache), d->rows, bytes, n_threads);
}

/* The tensor on host memory. */
static void shadow_make(struct ggml_tensor *shadow, const struct ggml_tensor *tensor, decoded_list *list)
{
    *shadow = *tensor;
    shadow->view_src = NULL;
    shadow->view_offs = 0;
    if (tada_is_ours(tensor)) {
        /* The CPU backend looks for a layout of its own behind these; tensors of others keep theirs. */
        shadow->buffer = NULL;
        shadow->extra = NULL;
    }
    cache_plane *c = tada_plane_of(tensor);
    if (c) {
        const decoded *d = find(list, c);
        shadow->data = d->rows + (tada_plane_offset(c, tensor) - (size_t)d->first * row_bytes(c));
    }
}

/* Also takes -0 for 0: turning the zeros of an unwritten cell must not write it. */
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
static bool encode_changes(const decoded *d, int n_threads)
{
    cache_plane *c = d->cache;
    size_t bytes = row_bytes(c);
    char *before = malloc(COMPARE_ROWS * bytes);
    bool done = before != NULL;
    for (int64_t at = d->first; at < d->end && done; at += COMPARE_ROWS) {
        int64_t n = d->end - at < COMPARE_ROWS ? d->end - at : COMPARE_ROWS;
        const char *after = d->rows + (size_t)(at - d->first) * bytes;
        /* All of a chunk is compared before any of it is written: writing may compress, and so change, its
         * neighbours. */
        bool changed[COMPARE_ROWS];
        done = tada_plane_get_bytes(c, (size_t)at * bytes, before, (size_t)n * bytes, n_threads);
        for (int64_t i = 0; i < n && done; i++) {
            changed[i] = rows_differ((const uint16_t *)(const void *)(after + (size_t)i * bytes),
                                     (const uint16_t *)(const void *)(before + (size_t)i * bytes), c->width);
        }
        for (int64_t i = 0; i < n && done;) {
            int64_t end = i;
            while (end < n && changed[end]) {
                end++;
            }
            if (end > i) {
                done = tada_plane_set_bytes(c, (size_t)(at + i) * bytes, after + (size_t)i * bytes,
                                            (size_t)(end - i) * bytes, n_threads);
            }
            i = end + 1;
        }
    }
    free(before);
    return done;
}

static enum ggml_status run(ggml_backend_t cpu, struct ggml_tensor *op, decoded_list *list, int n_threads)
{
    cover(list, op);
    for (int i = 0; i < GGML_MAX_SRC; i++) {
        if (op->src[i]) {
            cover(list, op->src[i]);
        }
    }
    /* Without a plane (recurrent states, say) nothing is decoded: the CPU backend works on our memory. */
    if (list->n > 0 && (tada_metrics_generic(op->op) || tada_plugin_wants("TADA_DEBUG"))) {
        tada_plugin_log("%s on %s takes the generic path: right, but slow", ggml_op_name(op->op), op->name);
    }
    for (int i = 0; i < list->n; i++) {
        if (!decode(&list->items[i], n_threads)) {
            return GGML_STATUS_ALLOC_FAILED;
        }
    }
    struct ggml_tensor target, sources[GGML_MAX_SRC];
    shadow_make(&target, op, list);
    for (int i = 0; i < GGML_MAX_SRC; i++) {
        if (op->src[i]) {
            shadow_make(&sources[i], op->src[i], list);
            /* Its value is there already: a leaf of the little graph. */
            sources[i].op = GGML_OP_NONE;
            memset(sources[i].src, 0, sizeof sources[i].src);
            target.src[i] = &sources[i];
        }
    }
    struct ggml_init_params params = {ggml_tensor_overhead() * 4 + ggml_graph_overhead_custom(64, false),
                                      NULL, true};
    struct ggml_context *context = ggml_init(params);
    if (!context) {
        return GGML_STATUS_ALLOC_FAILED;
    }
    struct ggml_cgraph *graph = ggml_new_graph_custom(context, 64, false);
    ggml_build_forward_expand(graph, &target);
    enum ggml_status status = ggml_backend_graph_compute(cpu, graph);
    ggml_free(context);
    cache_plane *written = tada_plane_of(op);
    if (status == GGML_STATUS_SUCCESS && written && !encode_changes(find(list, written), n_threads)) {
        status = GGML_STATUS_ALLOC_FAILED;
    }
    return status;
}

enum ggml_status tada_generic_compute(ggml_backend_t cpu, struct ggml_tensor *op, int n_threads)
{
    decoded_list list = {.n = 0};
    enum ggml_status status = run(cpu, op, &list, n_threads);
    for (int i = 0; i < list.n; i++) {
        free(list.items[i].rows);
    }
    if (status == GGML_STATUS_ALLOC_FAILED) {
        tada_plugin_log("out of memory in %s: use a smaller context", ggml_op_name(op->op));
    }
    return status;
}
