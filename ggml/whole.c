/*
 * TADA_DEVICE=all: the device runs all of a model, not only what touches its cache. llama.cpp's RPC server
 * needs that, because its clients send every operation of their layers to the one device of the server. What
 * has nothing to do with a cache goes to the CPU backend, in runs as long as possible.
 *
 * A tensor comes anew with each request there: no `extra`, no call of init_tensor, and outside of graphs not
 * even what it is a view of. So a plane is known by the addresses of the f16 tensor that it stands for. These
 * are never touched (the client insists on them, but address space costs nothing); the plane has memory of
 * its own. Nothing says which buffer is to hold a cache either, so a tensor is plain memory until the first
 * attention reads it, and that also tells that the cache is one that attention can read.
 */
#include "plugin.h"

#include "ggml-impl.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static bool whole;
static atomic_int n_threads_of_server = 1;

const char *tada_whole_init(void)
{
    const char *device = getenv("TADA_DEVICE");
    whole = device && *device && strcmp(device, "cache") != 0;
    return !whole || strcmp(device, "all") == 0
               ? NULL
               : "TADA_DEVICE must be 'cache' or 'all' (for an RPC server): set it to one of them";
}

bool tada_whole(void)
{
    return whole;
}

void tada_whole_set_threads(int n_threads)
{
    n_threads_of_server = n_threads;
}

int tada_whole_threads(void)
{
    return n_threads_of_server;
}

/* ---- planes ---- */

/* What a tensor's own buffer knows of it; NULL: it is not ours, or of no bytes. */
static cache_buffer *buffer_of(const struct ggml_tensor *tensor)
{
    ggml_backend_buffer_t buffer = tensor->buffer;
    return buffer && buffer->buft == tada_buffer_type(NULL) ? buffer->context : NULL;
}

/* The one that a part of [from, from + size) belongs to. */
static cache_plane *plane_at(const cache_buffer *b, const char *from, size_t size)
{
    for (cache_plane *c = b->planes; c; c = c->next) {
        if (from < c->base + tada_plane_bytes_f16(c) && c->base < from + size) {
            return c;
        }
    }
    return NULL;
}

cache_plane *tada_whole_plane_of(const struct ggml_tensor *tensor)
{
    const cache_buffer *b = buffer_of(tensor);
    return b && b->planes ? plane_at(b, tensor->data, 1) : NULL;
}

static void tell(cache_buffer *b, const char *name, const char *why)
{
    if (!b->told) {
        b->told = true;
        tada_plugin_log("%s and others stay as they are: %s", name, why);
    }
}

/* Rows that were there before the plane was, such as a state that was restored first of all. */
static bool move_in(cache_plane *c, char *raw)
{
    size_t size = tada_plane_bytes_f16(c), page = (size_t)sysconf(_SC_PAGESIZE),
           chunk = (size_t)c->width * 2 * 64;
    bool done = true;
    for (size_t at = 0; at < size && done; at += chunk) {
        size_t n = size - at < chunk ? size - at : chunk;
        /* The first byte is zero, and each one is like that before it. */
        if (raw[at] != 0 || memcmp(raw + at, raw + at + 1, n - 1) != 0) {
            done = tada_plane_set_bytes(c, at, raw + at, n, tada_whole_threads());
        }
    }
    uintptr_t first = ((uintptr_t)raw + page - 1) / page * page, end = ((uintptr_t)raw + size) / page * page;
    if (done && first < end) {
        (void)madvise((void *)first, end - first, MADV_DONTNEED);
    }
    return done;
}

/* Makes a plane of a tensor that attention reads in heads of a given size; false: it stays plain memory. */
static bool make_plane(const struct ggml_tensor *root, int64_t head_dim)
{
    cache_buffer *b = buffer_of(root);
    tada_shape shape;
    tada_spec spec;
    int layer;
    if (!b || root->view_src || !tada_is_cache(root)) {
        return false;
    }
    if (root->type != GGML_TYPE_F16) {
        tell(b, root->name, "only caches of type f16 are compressed");
        return false;
    }
    /* The buffer holds all of a tensor: whoever made it has checked that. */
    if (!ggml_is_contiguous(root) || plane_at(b, root->data, ggml_nbytes(root))) {
        return false;
    }
    if (!tada_plane_shape(root, &shape, &spec, &layer)) {
        return false;
    }
    if (tada_plugin_refusal()) {
        tell(b, root->name, tada_plugin_refusal());
        return false;
    }
    if (shape.head_dim == 0 && head_dim % 16 == 0 && shape.width % head_dim == 0) {
        shape.head_dim = (int)head_dim;
    }
    size_t bytes = tada_plane_bytes(&spec, &shape);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        tell(b, root->name, "memory is short");
        return false;
    }
    (void)madvise(memory, bytes, MADV_HUGEPAGE);
    cache_plane *c = tada_buffer_add_plane(b, root, layer, &spec, &shape, memory, bytes);
    if (!c) {
        munmap(memory, bytes);
        return false;
    }
    c->memory = memory;
    if (!move_in(c, root->data)) {
        tada_plugin_log("out of memory while %s was compressed: rows of it are lost", root->name);
    }
    return true;
}

static void report(const cache_buffer *b)
{
    size_t bytes = 0, f16 = 0;
    int n = 0, first = b->planes->layer, last = first;
    for (const cache_plane *c = b->planes; c; c = c->next) {
        bytes += c->bytes;
        f16 += tada_plane_bytes_f16(c);
        first = c->layer < first ? c->layer : first;
        last = c->layer > last ? c->layer : last;
        n++;
    }
    tada_plugin_log("layers %d to %d: %d planes compressed in %.2f MiB instead of %.2f MiB (%.1f %%)", first,
                    last, n, (double)bytes / 1048576, (double)f16 / 1048576,
                    100 * (double)bytes / (double)f16);
}

/* llama.cpp without flash attention: K is multiplied as a matrix. */
static void see_product(const struct ggml_tensor *op)
{
    const struct ggml_tensor *root = tada_root(op->src[0]);
    cache_buffer *b = buffer_of(root);
    if (b && !b->told && strncmp(root->name, "cache_", 6) == 0 && !tada_whole_plane_of(root)) {
        tell(b, root->name, "flash attention is off, but the compressed cache needs it (-fa on)");
    }
}

void tada_whole_prepare(const struct ggml_cgraph *graph)
{
    cache_buffer *changed = NULL;
    for (int i = 0; i < graph->n_nodes; i++) {
        const struct ggml_tensor *op = graph->nodes[i];
        tada_plugin_see_model(op);
        if (op->op == GGML_OP_MUL_MAT && op->src[0]) {
            see_product(op);
        }
        for (int s = 1; op->op == GGML_OP_FLASH_ATTN_EXT && s <= 2; s++) {
            const struct ggml_tensor *root = op->src[s] ? tada_root(op->src[s]) : NULL;
            if (root && !tada_whole_plane_of(root) && make_plane(root, op->src[s]->ne[0])) {
                cache_buffer *b = buffer_of(root);
                if (changed && changed != b) {
                    report(changed);
                }
                changed = b;
            }
        }
    }
    if (changed) {
        report(changed);
    }
}

/* ---- runs of nodes ---- */

static bool touches_plane(const struct ggml_tensor *op)
{
    bool touches = tada_plane_of(op) != NULL;
    for (int i = 0; i < GGML_MAX_SRC && !touches; i++) {
        touches = op->src[i] && tada_plane_of(op->src[i]);
    }
    return touches;
}

int tada_whole_run(const struct ggml_cgraph *graph, int first)
{
    int end = first;
    while (end < graph->n_nodes &&
           (tada_is_view_op(graph->nodes[end]->op) || !touches_plane(graph->nodes[end]))) {
        end++;
    }
    return end - first;
}

enum ggml_status tada_whole_compute(ggml_backend_t cpu, struct ggml_cgraph *graph, int first, int n)
{
    struct ggml_cgraph part = ggml_graph_view(graph, first, first + n);
    return ggml_backend_graph_compute(cpu, &part);
}

/* ---- what a client may ask for ---- */

static bool is_dense(const struct ggml_tensor *tensor)
{
    return tensor->nb[0] == ggml_type_size(tensor->type);
}

static bool rows_are_sound(const struct ggml_tensor *op)
{
    const struct ggml_tensor *rows = op->src[0], *index = op->src[1];
    return rows && index && (rows->type == GGML_TYPE_F32 || rows->type == GGML_TYPE_F16) && is_dense(rows) &&
           (index->type == GGML_TYPE_I64 || index->type == GGML_TYPE_I32) && index->ne[0] >= rows->ne[1] &&
           rows->data && index->data;
}

static bool attention_is_sound(const struct ggml_tensor *op)
{
    const struct ggml_tensor *q = op->src[0], *k = op->src[1], *v = op->src[2], *mask = op->src[3],
                             *sinks = op->src[4];
    return q && k && v && q->data && k->data && v->data && op->data && q->ne[0] == k->ne[0] &&
           k->ne[1] == v->ne[1] && k->ne[2] > 0 && v->ne[2] > 0 && op->type == GGML_TYPE_F32 &&
           is_dense(op) && op->ne[0] == v->ne[0] && op->ne[1] == q->ne[2] && op->ne[2] == q->ne[1] &&
           op->ne[3] == q->ne[3] &&
           (!mask || (mask->data && is_dense(mask) && mask->ne[0] >= k->ne[1] && mask->ne[1] >= q->ne[1])) &&
           (!sinks ||
            (sinks->data && sinks->type == GGML_TYPE_F32 && is_dense(sinks) && sinks->ne[0] >= q->ne[2]));
}

/* A view of the tensor that the plane stands for, as it says, or that tensor. */
static bool is_sound(const struct ggml_tensor *tensor)
{
    const cache_plane *c = tada_plane_of(tensor);
    const struct ggml_tensor *root = tada_root(tensor);
    return !c ||
           (root->data == c->base && root->type == GGML_TYPE_F16 && ggml_is_contiguous(root) &&
            root->ne[0] == c->width && root->ne[1] == c->n_cells && root->ne[2] == c->n_streams &&
            root->ne[3] == 1 && tada_plane_offset(c, tensor) == (tensor->view_src ? tensor->view_offs : 0) &&
            tada_plane_offset(c, tensor) + ggml_nbytes(tensor) <= tada_plane_bytes_f16(c));
}

bool tada_whole_allows(const struct ggml_tensor *op)
{
    bool sound = is_sound(op);
    for (int i = 0; i < GGML_MAX_SRC && sound; i++) {
        sound = !op->src[i] || is_sound(op->src[i]);
    }
    sound = sound && (op->op != GGML_OP_SET_ROWS || rows_are_sound(op)) &&
            (op->op != GGML_OP_FLASH_ATTN_EXT || attention_is_sound(op));
    if (!sound) {
        tada_plugin_log("%s on %s reaches beyond its tensors: the client is not a llama.cpp of this version",
                        ggml_op_name(op->op), op->name);
    }
    return sound;
}
