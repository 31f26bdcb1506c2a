/* Tensors become planes when a graph attends to them for the first time. What stays uncompressed is logged,
 * once for each buffer. */
#include "model.h"

#include "operations/attention.h"
#include "base/log.h"

#include "ggml-impl.h"

#include <stdlib.h>
#include <string.h>

static atomic_uint_fast64_t last_fingerprint;

uint64_t model_fingerprint(void)
{
    return last_fingerprint;
}

/* Norms stay as they are however the other weights are quantised, so one of them tells the model. */
static uint64_t find_model(const struct ggml_cgraph *cgraph)
{
    uint64_t fingerprint = 0;
    for (int i = 0; i < cgraph->n_nodes; i++) {
        const struct ggml_tensor *norm =
            cgraph->nodes[i]->op == GGML_OP_MUL ? cgraph->nodes[i]->src[1] : NULL;
        if (norm && strcmp(norm->name, "blk.0.attn_norm.weight") == 0 && norm->type == GGML_TYPE_F32 &&
            norm->buffer && norm->data) {
            size_t size = ggml_nbytes(norm);
            void *values = malloc(size);
            if (values) {
                ggml_backend_tensor_get(norm, values, 0, size);
                fingerprint = tada_model_fingerprint(values, size);
            }
            free(values);
            break;
        }
    }
    last_fingerprint = fingerprint;
    return fingerprint;
}

/* The plan of a policy is for this model, as far as can be told. */
static bool plan_fits(const cache_buffer *b, uint64_t fingerprint)
{
    const tada_plan *plan = b->policy->plan;
    uint64_t planned = plan ? tada_plan_get_info(plan)->fingerprint : 0;
    return !planned || !fingerprint || planned == fingerprint;
}

/* Logs that a tensor of a cache stays uncompressed, and what reads it. *told: another buffer of the same
 * graph has said so. */
static void tell_read_plain(const struct ggml_tensor *reader, const struct ggml_tensor *tensor,
                            bool has_attention, bool *told)
{
    enum tada_kind kind;
    int layer;
    cache_buffer *b = cache_buffer_of(tensor);
    if (!b || b->told_plain || b->planes || tensor->type != GGML_TYPE_F16 ||
        !cache_name(tensor->name, &kind, &layer)) {
        return;
    }
    (void)cache_buffer_plain(b);
    if (has_attention) {
        log_line(GGML_LOG_LEVEL_INFO,
                 "%s and others of its buffer stay as they are: %s reads them, not flash attention",
                 tensor->name, ggml_op_name(reader->op));
    } else if (!*told) {
        *told = true;
        log_line(
            GGML_LOG_LEVEL_WARN,
            "the KV cache stays in f16: this model is computed without flash attention, which a compressed "
            "cache needs (-fa on, where the model can)");
    }
}

/* What reads rows of a cache, and is neither attention nor a view; nor what changes them where they are, as a
 * K-shift does: it says nothing of who reads them. */
static bool is_reader(const struct ggml_tensor *op)
{
    enum tada_kind kind;
    int layer;
    return !ggml_op_is_empty(op->op) && op->op != GGML_OP_SET_ROWS && op->op != GGML_OP_FLASH_ATTN_EXT &&
           !(op->view_src && cache_name(op->view_src->name, &kind, &layer));
}

/* The caches that a graph attends to, and whether planes were made for it. */
typedef struct attended {
    cache_buffer *buffers[8];
    int n;
    bool made;
} attended;

static void note_attended(attended *a, cache_buffer *b)
{
    for (int i = 0; i < a->n; i++) {
        if (a->buffers[i] == b) {
            return;
        }
    }
    if (a->n < (int)(sizeof a->buffers / sizeof *a->buffers)) {
        a->buffers[a->n++] = b;
    }
}

static void tell_other_model(cache_buffer *b)
{
    if (!b->told_plan) {
        b->told_plan = true;
        log_line(GGML_LOG_LEVEL_WARN,
                 "the plan is for another model: this one has the cache 'tada' where it does "
                 "not fit; make one for it with 'tada calibrate'");
    }
}

static void make_attended_plane(const struct ggml_tensor *view, uint64_t fingerprint, attended *a)
{
    const struct ggml_tensor *root = cache_root(view);
    cache_buffer *b = cache_buffer_of(root);
    if (!cache_plane_of(root)) {
        bool fits = plan_fits(b, fingerprint), in_plan = fits;
        tada_shape shape;
        tada_spec spec;
        int layer;
        if (!fits || (cache_shape(b->policy, root, &shape, &spec, &layer, &in_plan) && !in_plan)) {
            tell_other_model(b);
        }
        a->made = cache_plane_make(root, view->ne[0], fits) || a->made;
    }
}

/* Says what a cache takes when all of its planes are there. A host that computes layer by layer makes them
 * one after the other, and may have tensors that never become one: then the next graph tells. */
static void report_model(cache_buffer *b, bool made)
{
    size_t bytes = 0, f16 = 0;
    int n = 0, first = b->planes->layer, last = first;
    for (const cache_plane *c = b->planes; c; c = c->next) {
        bytes += c->bytes;
        f16 += c->bytes_f16;
        first = c->layer < first ? c->layer : first;
        last = c->layer > last ? c->layer : last;
        n++;
    }
    if (n == b->told_planes || (made && f16 < b->expected_f16)) {
        return;
    }
    b->told_planes = n;
    log_line(GGML_LOG_LEVEL_INFO,
             "layers %d to %d: %d planes compressed in %.2f MiB instead of %.2f MiB (%.1f %%)", first, last,
             n, (double)bytes / 1048576, (double)f16 / 1048576, 100 * (double)bytes / (double)f16);
}

/* K and V of caches of ours, in a form that the library attends to. */
static bool is_ours(const struct ggml_tensor *op)
{
    const struct ggml_tensor *k = op->src[1] ? cache_root(op->src[1]) : NULL,
                             *v = op->src[2] ? cache_root(op->src[2]) : NULL;
    tada_attention attention;
    return k && v && cache_buffer_of(k) && cache_buffer_of(v) && attention_describe(op, &attention);
}

/* Attention over something of ours that is no plane and cannot become one. */
static void tell_attention(const struct ggml_tensor *op)
{
    for (int i = 1; i <= 2; i++) {
        const struct ggml_tensor *root = op->src[i] ? cache_root(op->src[i]) : NULL;
        cache_buffer *b = root ? cache_buffer_of(root) : NULL;
        if (b && !b->told_plain && root->type != GGML_TYPE_F16) {
            (void)cache_buffer_plain(b);
            log_line(
                GGML_LOG_LEVEL_WARN,
                "%s and others stay as they are: caches are compressed where both K and V have the type f16",
                root->name);
        }
    }
}

void model_make_planes(const struct ggml_cgraph *cgraph)
{
    attended a = {.n = 0};
    uint64_t fingerprint = 0;
    bool has_attention = false, known = false, told = false;
    for (int i = 0; i < cgraph->n_nodes; i++) {
        const struct ggml_tensor *op = cgraph->nodes[i];
        if (op->op != GGML_OP_FLASH_ATTN_EXT) {
            continue;
        }
        has_attention = true;
        if (!is_ours(op)) {
            tell_attention(op);
        } else if (!cache_plane_of(cache_root(op->src[1])) || !cache_plane_of(cache_root(op->src[2]))) {
            fingerprint = known ? fingerprint : find_model(cgraph);
            known = true;
            make_attended_plane(op->src[1], fingerprint, &a);
            make_attended_plane(op->src[2], fingerprint, &a);
        }
        for (int s = 1; s <= 2; s++) {
            const cache_plane *c = op->src[s] ? cache_plane_of(op->src[s]) : NULL;
            if (c) {
                note_attended(&a, c->buffer);
            }
        }
    }
    for (int i = 0; i < cgraph->n_nodes; i++) {
        const struct ggml_tensor *op = cgraph->nodes[i];
        for (int s = 0; is_reader(op) && s < GGML_MAX_SRC; s++) {
            if (op->src[s]) {
                tell_read_plain(op, cache_root(op->src[s]), has_attention, &told);
            }
        }
    }
    for (int i = 0; i < a.n; i++) {
        report_model(a.buffers[i], a.made);
    }
}
