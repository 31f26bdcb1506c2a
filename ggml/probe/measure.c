/*
 * Sizes before anything is allocated. llama.cpp simulates its allocations (no_alloc of llama_model_params):
 * it shows its worst graphs while a context is made, and asks for the size of each cache tensor once when it
 * is asked for sums. While it lays out graphs it asks, too, but more than once.
 */
#include "measure.h"

#include "operations/attention.h"
#include "cache/cache.h"
#include "operations/nodes.h"
#include "base/pages.h"
#include "base/probe.h"

#include <string.h>

enum { MOST_CACHES = 16, MOST_READ = 4 * TADA_PLAN_LAYERS };

static struct {
    int n_threads;
    tada_measured measured;
    int n_layers;
    size_t workspace; /* at most */
    struct {
        const void *buffer;
        size_t borrowed, reading;              /* at most */
    } caches[MOST_CACHES];                     /* each has a pool of its own */
    const struct ggml_tensor *read[MOST_READ]; /* by attention */
    int n_read;
} sums;

static bool is_read(const struct ggml_tensor *root)
{
    int i = 0;
    while (i < sums.n_read && sums.read[i] != root) {
        i++;
    }
    return i < sums.n_read;
}

static void note_read(const struct ggml_tensor *root)
{
    if (!is_read(root) && sums.n_read < MOST_READ) {
        sums.read[sums.n_read++] = root;
    }
}

static void measure_plane(const struct ggml_tensor *tensor, const tada_spec *spec, const tada_shape *shape)
{
    tada_measured *m = &sums.measured;
    tada_plane_parts parts;
    if (!is_read(tensor)) {
        m->unread_as_planes += tada_plane_bytes(spec, shape);
        m->unread_as_f16 += ggml_nbytes(tensor);
    } else if (tada_plane_measure(spec, shape, &parts)) {
        m->parts.codes += parts.codes;
        m->parts.window += parts.window;
        m->parts.sinks += parts.sinks;
        m->parts.table += parts.table;
        m->parts.compressed = m->parts.compressed || parts.compressed;
        m->compressed_f16 += parts.compressed ? ggml_nbytes(tensor) : 0;
    }
}

/* The number of a cache, by the buffer that stands for it; those beyond the last share it. */
static int cache_number(const void *buffer)
{
    int i = 0;
    while (i < MOST_CACHES - 1 && sums.caches[i].buffer && sums.caches[i].buffer != buffer) {
        i++;
    }
    sums.caches[i].buffer = buffer;
    return i;
}

static void keep_most(size_t *most, size_t bytes)
{
    *most = bytes > *most ? bytes : *most;
}

/* Sets the head size of a plane from an operation that attends to it, as tada_plane_set_head_dim would. */
static void learn_head_dim(const tada_spec *spec, tada_shape *shape, int head_dim)
{
    tada_shape known = *shape;
    known.head_dim = head_dim;
    *shape = tada_plane_bytes(spec, &known) > 0 ? known : *shape;
}

/* What reading a plane from outside takes (cache/transfer.c). */
static size_t reading_bytes(const tada_spec *spec, const tada_shape *shape)
{
    size_t bytes = tada_plane_bytes(spec, shape), needed = 0;
    void *memory = pages_reserve(bytes);
    tada_plane *plane;
    if (memory && tada_plane_create(spec, shape, memory, bytes, &plane, NULL) == TADA_OK) {
        needed = scratch_rounded((size_t)shape->width * TADA_TILE_CELLS * 2) +
                 scratch_rounded(tada_plane_read_scratch(plane));
        tada_plane_free(plane);
    }
    if (memory) {
        pages_free(memory, bytes);
    }
    return needed;
}

/* What one plane after the other borrows in a batch of many rows, or several of them in one of few (nodes.h).
 */
static size_t borrowed_bytes(const tada_spec *spec, const tada_shape *shape, int64_t rows)
{
    size_t many = tada_plane_batch_bytes(spec, shape, rows),
           few = tada_plane_batch_bytes(spec, shape, shape->n_streams);
    few *= (size_t)(sums.n_layers < NODES_SETTLE ? sums.n_layers : NODES_SETTLE);
    return many > few ? many : few;
}

/* Adds what one operation needs. Borrowed tiles go back after it, and all operations share one workspace,
 * so that the largest of each counts. */
static void add_operation(const struct ggml_tensor *op)
{
    static const uint16_t some_mask;
    tada_shape k_shape, v_shape;
    tada_spec k_spec, v_spec;
    tada_attention a;
    int layer;
    bool fits;
    if (op->op != GGML_OP_FLASH_ATTN_EXT) {
        return;
    }
    const struct ggml_tensor *k = cache_root(op->src[1]), *v = cache_root(op->src[2]);
    if (!attention_describe(op, &a) || !cache_shape(policy_now(), k, &k_shape, &k_spec, &layer, &fits) ||
        !cache_shape(policy_now(), v, &v_shape, &v_spec, &layer, &fits)) {
        return;
    }
    note_read(k);
    note_read(v);
    sums.n_layers = layer >= sums.n_layers ? layer + 1 : sums.n_layers;
    int64_t rows = a.n_queries * a.n_streams;
    int cache = cache_number(k->buffer);
    keep_most(&sums.caches[cache].borrowed, borrowed_bytes(&k_spec, &k_shape, rows) +
                                                (v == k ? 0 : borrowed_bytes(&v_spec, &v_shape, rows)));
    learn_head_dim(&k_spec, &k_shape, a.k_dim);
    learn_head_dim(&v_spec, &v_shape, v == k ? a.k_dim : a.v_dim);
    keep_most(&sums.caches[cache].reading, reading_bytes(&k_spec, &k_shape));
    keep_most(&sums.caches[cache].reading, reading_bytes(&v_spec, &v_shape));
    a.mask = op->src[3] ? &some_mask : NULL;
    keep_most(&sums.workspace,
              tada_attention_bytes(&a, &k_spec, &k_shape, &v_spec, v == k ? NULL : &v_shape, sums.n_threads));
}

static const probe measuring = {.plane = measure_plane, .operation = add_operation};

void measure_begin(int n_threads)
{
    memset(&sums, 0, sizeof sums);
    sums.n_threads = n_threads;
    probe_set(&measuring);
}

void measure_planes(void)
{
    sums.measured = (tada_measured){.scratch = 0};
}

void measure_end(tada_measured *measured)
{
    *measured = sums.measured;
    measured->scratch = sums.workspace;
    for (int i = 0; i < MOST_CACHES; i++) {
        measured->scratch += sums.caches[i].borrowed + sums.caches[i].reading;
    }
    probe_set(NULL);
}
