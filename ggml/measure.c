/*
 * Sizes before anything is allocated. llama.cpp simulates its allocations (no_alloc of llama_model_params):
 * it shows its worst graphs while a context is made, and asks for the size of each cache tensor once when it
 * is asked for sums. While it lays out graphs it asks, too, but more than once.
 */
#include "measure.h"

#include "attention.h"
#include "cache.h"
#include "probe.h"

#include <string.h>

static struct {
    int n_threads;
    tada_plane_parts parts;
    size_t workspace, borrowed; /* at most */
} sums;

static void add_plane(const tada_spec *spec, const tada_shape *shape)
{
    tada_plane_parts parts;
    if (tada_plane_measure(spec, shape, &parts)) {
        sums.parts.codes += parts.codes;
        sums.parts.window += parts.window;
        sums.parts.sinks += parts.sinks;
        sums.parts.table += parts.table;
        sums.parts.compressed = sums.parts.compressed || parts.compressed;
    }
}

static void keep_most(size_t *most, size_t bytes)
{
    *most = bytes > *most ? bytes : *most;
}

/* As a plane does from the same operation, if it can. */
static void learn_head_dim(const tada_spec *spec, tada_shape *shape, int head_dim)
{
    tada_shape known = *shape;
    known.head_dim = head_dim;
    *shape = tada_plane_bytes(spec, &known) > 0 ? known : *shape;
}

/* What a layer borrows goes back before the next one writes, and the workspace is that of the backend, so the
 * largest of each counts. */
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
    int64_t rows = a.n_queries * a.n_streams;
    keep_most(&sums.borrowed, tada_plane_batch_bytes(&k_spec, &k_shape, rows) +
                                  (v == k ? 0 : tada_plane_batch_bytes(&v_spec, &v_shape, rows)));
    learn_head_dim(&k_spec, &k_shape, a.k_dim);
    learn_head_dim(&v_spec, &v_shape, v == k ? a.k_dim : a.v_dim);
    a.mask = op->src[3] ? &some_mask : NULL;
    keep_most(&sums.workspace,
              tada_attention_bytes(&a, &k_spec, &k_shape, &v_spec, &v_shape, sums.n_threads));
}

static const probe measuring = {.plane = add_plane, .operation = add_operation};

void measure_begin(int n_threads)
{
    memset(&sums, 0, sizeof sums);
    sums.n_threads = n_threads;
    probe_set(&measuring);
}

void measure_planes(void)
{
    memset(&sums.parts, 0, sizeof sums.parts);
}

void measure_end(tada_plane_parts *parts, size_t *most_scratch)
{
    *parts = sums.parts;
    *most_scratch = sums.workspace + sums.borrowed;
    probe_set(NULL);
}
